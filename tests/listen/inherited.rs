//! Listeners that come from a predecessor: the same sockets, or none.

use std::collections::BTreeSet;
use std::ffi::CString;
use std::fs;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{UnixListener, UnixStream};

use forkmesh::run::{Handover, Listen, ListenFault, Listeners, Offer, Said, Successor};
use forkmesh::table::{Pid, SlotSet};
use forkmesh::wire::{Hello, Letter, Name};
use rustix::fd::{AsFd, BorrowedFd, IntoRawFd, OwnedFd};
use rustix::io::{FdFlags, IoSlice, fcntl_dupfd_cloexec, fcntl_setfd};
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
    sendmsg, socketpair,
};
use rustix::process::{PidfdFlags, WaitId, WaitIdOptions, getpid, pidfd_open, waitid};

use crate::support::{alone, in_child, open_count, wait_readable};
use crate::tools::{Folder, address, at, lent, local, number, pipe, sockets, unix_client};

/// The variable that makes this binary another program than the tests: its unix socket's path.
const ROLE: &str = "FORKMESH_TEST_TAKES";
const SOCKETS: &str = "FORKMESH_TEST_SOCKETS";

fn list(path: &str) -> [Listen; 4] {
    let group = at("[::1]:0").per_worker(true);
    [
        local(),
        group,
        at(&format!("unix:{path}")),
        local().datagram(true),
    ]
}

/// Is the program that takes over, and ends, if this process was started to.
pub(crate) fn run_if_asked() {
    let Ok(path) = std::env::var(ROLE) else {
        return;
    };
    let value = std::env::var_os(Handover::VARIABLE).expect("a hand-over");
    let received = Handover::receive_from(value.as_bytes());
    let mut handover = received.expect("all is well").expect("a hand-over");
    let mut listeners: Listeners = Listeners::new();
    let [first, group, unix, udp] = list(&path);
    // In another order, one of them not, and another instead.
    let list = [
        unix.mode(0o600),
        group.backlog(9),
        local().no_delay(true),
        first,
    ];
    let _ = udp;
    let opened = listeners.open(&list, 4, Some(&mut handover));
    opened.expect("all can be had");
    assert_eq!(handover.names().count(), 0);
    let expected = std::env::var(SOCKETS).expect("sockets");
    let expected: Vec<u64> = expected
        .split(',')
        .map(|one| one.parse().expect("an inode"))
        .collect();
    let all = sockets();
    let [one, group @ .., unix, udp] = &expected[..] else {
        panic!("there are some")
    };
    assert!(all.contains(one) && all.contains(unix) && !all.contains(udp));
    for (number, inode) in group.iter().enumerate() {
        let tell = pipe();
        in_child(|| {
            let taken = listeners.take(number as u16, 0);
            let own = taken
                .iter()
                .find(|taken| taken.place == 1)
                .expect("its own");
            rustix::io::write(&tell.1, &self::number(&own.socket).to_ne_bytes()).expect("a pipe");
        });
        let mut bytes = [0; 8];
        assert_eq!(rustix::io::read(&tell.0, &mut bytes), Ok(8));
        assert_eq!(u64::from_ne_bytes(bytes), *inode, "in its order");
    }
    handover.ready().expect("a predecessor");
    wait_readable(handover.pidfd(), "its end");
    unix_client(path.as_ref()).expect("it listens still");
    drop(listeners);
    assert!(
        !std::fs::exists(&path).expect("a folder"),
        "the last removes it"
    );
    std::process::exit(0);
}

pub(crate) fn a_successor_takes_the_same_sockets() {
    let folder = Folder::new();
    let path = folder.path("s").display().to_string();
    let pid = in_child_with(|| {
        let mut listeners: Listeners = Listeners::new();
        listeners.open(&list(&path), 3, None).expect("free");
        // What the kernel calls them: in the order of the list.
        let mut order = Vec::new();
        for number in 0..3 {
            let (read, write) = pipe();
            in_child(|| {
                for taken in listeners.take(number, 0) {
                    let inode = self::number(&taken.socket).to_ne_bytes();
                    rustix::io::write(&write, &inode).expect("a pipe");
                }
            });
            let mut bytes = [0; 32];
            assert_eq!(rustix::io::read(&read, &mut bytes), Ok(32));
            order.push(
                bytes
                    .as_chunks()
                    .0
                    .iter()
                    .map(|c| u64::from_ne_bytes(*c))
                    .collect::<Vec<_>>(),
            );
        }
        let mut all = vec![order[0][0]];
        all.extend(order.iter().map(|worker| worker[1]));
        all.extend([order[0][2], order[0][3]]);
        let all: Vec<String> = all.iter().map(u64::to_string).collect();
        let program = std::env::current_exe().expect("/proc");
        let program = CString::new(program.as_os_str().as_bytes()).expect("no zero");
        let variables = [
            format!("{ROLE}={path}"),
            format!("{SOCKETS}={}", all.join(",")),
        ];
        let variables = variables.map(|variable| CString::new(variable).expect("no zero"));
        let variables: Vec<_> = variables.iter().map(CString::as_c_str).collect();
        let mut offer = Offer::new();
        offer.program(&program, &[], &variables).expect("absolute");
        listeners.offer(&mut offer).expect("room");
        let launched = Successor::launch(&mut alone(), &offer, &SlotSet::EMPTY, 0);
        let mut successor = launched.expect("a process");
        drop(offer);
        loop {
            wait_readable(&successor, "the successor");
            match successor.hear() {
                Some(Said::Ready) => break,
                None => {}
                said => panic!("{said:?}"),
            }
        }
        let pid = successor.pid().as_i32();
        drop(listeners); // it hands over: the file stays
        unix_client(path.as_ref()).expect("the successor listens");
        core::mem::forget(successor); // it lives on
        pid
    });
    // Its parent is gone, so that its end is seen here and its code is not.
    let pid = rustix::process::Pid::from_raw(pid).expect("a pid");
    if let Ok(pidfd) = pidfd_open(pid, PidfdFlags::empty()) {
        wait_readable(&pidfd, "the end of a successor");
        let _ = waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED);
    }
    assert_eq!(folder.files(), BTreeSet::new(), "it was the last");
}

/// Runs this in a process of its own, which says a number.
fn in_child_with(body: impl FnOnce() -> i32) -> i32 {
    let (read, write) = pipe();
    in_child(|| {
        let said = body();
        rustix::io::write(&write, &said.to_ne_bytes()).expect("a reader");
    });
    let mut bytes = [0; 4];
    assert_eq!(rustix::io::read(&read, &mut bytes), Ok(4));
    i32::from_ne_bytes(bytes)
}

/// A hand-over from this process, as a hostile predecessor could make it.
fn handed_over(named: &[(&str, &[BorrowedFd<'_>])]) -> Handover {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let pair = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None);
    let (here, there) = pair.expect("a pair");
    fcntl_setfd(&there, FdFlags::empty()).expect("a socket");
    let own = pidfd_open(getpid(), PidfdFlags::empty()).expect("a pidfd");
    let hello = Letter::Hello(Hello {
        pid: Pid::new(getpid().as_raw_nonzero().get()).expect("a pid"),
        mask: 0,
        slots: SlotSet::EMPTY,
        descriptors: named.len() as u16,
        relayed: false,
    });
    say(&here, &hello, &[own.as_fd()]);
    for (name, group) in named {
        let letter = Letter::Group {
            name: Name::new(name).expect("a name"),
            count: group.len() as u16,
            more: 0,
        };
        say(&here, &letter, group);
    }
    say(&here, &Letter::End, &[]);
    let value = there.into_raw_fd().to_string();
    let received = Handover::receive_from(value.as_bytes());
    received.expect("it is whole").expect("a hand-over")
}

fn say(to: &OwnedFd, letter: &Letter, with: &[BorrowedFd<'_>]) {
    let mut space = [core::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !with.is_empty() {
        assert!(ancillary.push(SendAncillaryMessage::ScmRights(with)));
    }
    let bytes = letter.to_bytes();
    let vector = [IoSlice::new(bytes.as_bytes())];
    let sent = sendmsg(to, &vector, &mut ancillary, SendFlags::NOSIGNAL);
    assert_eq!(sent, Ok(bytes.as_bytes().len()));
}

const NAME: &str = "forkmesh.listen.0";

/// Opens this list with what is handed over; what came of it.
fn open(named: &[(&str, &[BorrowedFd<'_>])], list: &[Listen]) -> Result<Listeners, ListenFault> {
    let mut handover = handed_over(named);
    let mut listeners: Listeners = Listeners::new();
    match listeners.open(list, 1, Some(&mut handover)) {
        Ok(()) => Ok(listeners),
        Err(error) => Err(error.fault),
    }
}

pub(crate) fn odd_descriptors_are_refused() {
    in_child(|| {
        let folder = Folder::new();
        let (pipe, _write) = pipe();
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let there = listener.local_addr().expect("an address");
        let connected = TcpStream::connect(there).expect("it listens");
        let (accepted, _) = listener.accept().expect("somebody came");
        let udp = UdpSocket::bind("127.0.0.1:0").expect("a port");
        udp.connect(there).expect("an address");
        let unconnected = UdpSocket::bind("127.0.0.1:0").expect("a port");
        let (stream, _other) = UnixStream::pair().expect("a pair");
        let kind = |family, kind| rustix::net::socket(family, kind, None).expect("a socket");
        let unbound = kind(AddressFamily::INET, SocketType::STREAM);
        let unnamed = kind(AddressFamily::UNIX, SocketType::DGRAM);
        let packets = kind(AddressFamily::UNIX, SocketType::SEQPACKET);
        let netlink = kind(AddressFamily::NETLINK, SocketType::RAW);
        let unix = UnixListener::bind(folder.path("s")).expect("a free path");
        let copy = fcntl_dupfd_cloexec(lent(&listener), 3).expect("a copy");
        let odd: [&[BorrowedFd<'_>]; 14] = [
            &[pipe.as_fd()],
            &[lent(&connected)],
            &[lent(&accepted)],
            &[lent(&udp)],
            &[lent(&stream)],
            &[unbound.as_fd()],
            &[unnamed.as_fd()],
            &[packets.as_fd()],
            &[netlink.as_fd()],
            &[lent(&listener), pipe.as_fd()],
            &[lent(&listener), copy.as_fd()],
            &[lent(&listener), lent(&unix)],
            &[lent(&listener), lent(&unconnected)],
            &[lent(&unix), lent(&unix)],
        ];
        let before = open_count();
        for (at, group) in odd.into_iter().enumerate() {
            let refused = open(&[(NAME, group)], &[local()]).expect_err("odd");
            assert_eq!(refused, ListenFault::Odd, "{at}");
            assert_eq!(open_count(), before, "{at}");
        }
        // Of one group, but one of it twice; and two groups at two addresses.
        let mut two: Listeners = Listeners::new();
        two.open(&[local().per_worker(true); 2], 2, None)
            .expect("free");
        let all: Vec<OwnedFd> = (0..2)
            .flat_map(|_| two.take(0, 0))
            .map(|l| l.socket)
            .collect();
        let twice = [all[0].as_fd(), all[0].as_fd()];
        let strange = [all[0].as_fd(), all[1].as_fd()];
        let group = local().per_worker(true);
        for odd in [&twice, &strange] {
            let refused = open(&[(NAME, odd)], &[group]);
            assert_eq!(refused.map(drop), Err(ListenFault::Odd));
        }
        // It was bound for all workers, and cannot be one for each.
        let wanted = Listen::new(there.into()).per_worker(true);
        let refused = open(&[(NAME, &[lent(&listener)])], &[wanted]);
        assert!(matches!(refused, Err(ListenFault::Fixed(_))));
        // One that blocks does not any more.
        let taken = open(&[(NAME, &[lent(&listener)])], &[Listen::new(there.into())]);
        let _taken = taken.expect("it is one");
        let accepted = listener.accept().map(drop).expect_err("nobody comes");
        assert_eq!(accepted.kind(), std::io::ErrorKind::WouldBlock);
    });
}

pub(crate) fn what_is_not_asked_for_is_closed() {
    in_child(|| {
        let folder = Folder::new();
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let unix = UnixListener::bind(folder.path("s")).expect("a free path");
        let files = folder.files();
        let before = open_count();
        let (_, inode) = files.first().expect("a file");
        let device = fs::metadata(folder.path("s")).expect("a file").dev();
        let with_file = format!("forkmesh.listen.1.file.{device}.{inode}");
        let named: [(&str, &[BorrowedFd<'_>]); 2] =
            [(NAME, &[lent(&listener)]), (&with_file, &[lent(&unix)])];
        let opened = open(&named, &[local()]).expect("free");
        assert_ne!(
            address(&opened, 0),
            listener.local_addr().expect("an address").into()
        );
        assert_eq!(open_count(), before + 1);
        assert_eq!(folder.files(), files, "it is its predecessor's");
        drop(opened);
        // A name that is none of these is the service's own.
        for name in [
            "forkmesh.listen.",
            "forkmesh.listen.x",
            "forkmesh.listen.0.file.1",
            "listen",
        ] {
            let mut handover = handed_over(&[(name, &[lent(&listener)])]);
            let mut listeners: Listeners = Listeners::new();
            listeners
                .open(&[local()], 1, Some(&mut handover))
                .expect("free");
            assert_eq!(handover.names().collect::<Vec<_>>(), [name]);
        }
        // A list that cannot be had closes what was handed over, and removes nothing.
        let taken = Listen::new(
            UdpSocket::bind("127.0.0.1:0")
                .and_then(|s| s.local_addr())
                .expect("a port")
                .into(),
        );
        let bad = at("unix:/nowhere/at/all");
        let before = open_count();
        assert!(open(&named, &[taken, folder.unix("s"), bad]).is_err());
        assert_eq!((open_count(), folder.files()), (before, files));
    });
}
