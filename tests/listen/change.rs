//! Lists that change: prepared, and then in force or forgotten.

use std::fs;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;

use forkmesh::run::{Fixed, Listen, ListenFault, ListenStep, Listeners, Tries};
use libc::{IPPROTO_TCP, TCP_DEFER_ACCEPT, TCP_FASTOPEN, TCP_NODELAY};
use rustix::io::Errno;

use crate::support::{Limit, in_child, open_count};
use crate::tools::{
    Few, Folder, address, at, local, number, option, pipe, queue, socket_address, sockets,
    unix_client,
};

pub(crate) fn a_reload_keeps_adds_and_drops() {
    let folder = Folder::new();
    let before = sockets();
    let mut few = Few::new();
    let named = folder.unix("dropped");
    few.open(&[local(), named], 2, None).expect("free");
    let first = address(&few, 0);
    let opened: Vec<u64> = sockets().difference(&before).copied().collect();
    assert_eq!(opened.len(), 2);

    // By the address that it got, in another place; one more of the same kind, at another port.
    let kept = Listen::new(first);
    few.prepare(1, &[local(), kept], 2).expect("free");
    assert_eq!(
        (few.count(), address(&few, 0)),
        (2, first),
        "nothing changes yet"
    );
    unix_client(&folder.path("dropped")).expect("it is open");
    few.commit().expect("nothing is set");
    assert_eq!((few.count(), address(&few, 1)), (2, first));
    assert_ne!(address(&few, 0), first);
    assert_eq!(folder.files().len(), 0, "it is removed");
    let now = sockets();
    assert_eq!(opened.iter().filter(|inode| now.contains(inode)).count(), 1);
    assert_eq!(now.len(), before.len() + 2);
    // A wish for any port keeps the one that there is; datagrams at the same address are another.
    few.prepare(2, &[local()], 2).expect("free");
    few.commit().expect("nothing is set");
    let kept = address(&few, 0);
    few.prepare(3, &[Listen::new(kept).datagram(true), local()], 2)
        .expect("free");
    few.commit().expect("nothing is set");
    assert_eq!((address(&few, 0), address(&few, 1)), (kept, kept));
    assert_eq!(sockets().len(), before.len() + 2);
    drop(few);
    assert_eq!(sockets(), before);
}

pub(crate) fn a_reload_changes_options_in_place() {
    let folder = Folder::new();
    let mut few = Few::new();
    let unix = folder.unix("s");
    few.open(&[local().per_worker(true), unix], 2, None)
        .expect("free");
    let before = sockets();
    let changed = local().per_worker(true).backlog(9).defer_accept(3);
    let changed = changed.fast_open(5).no_delay(true);
    few.prepare(1, &[changed, unix.mode(0o600).backlog(3)], 2)
        .expect("open");
    let mode = || {
        let file = fs::metadata(folder.path("s")).expect("a file");
        file.permissions().mode() & 0o7777
    };
    assert_eq!(mode(), 0o666, "nothing changes yet");
    few.commit().expect("all can be set");
    assert_eq!(mode(), 0o600);
    assert_eq!(sockets(), before, "all are kept");
    // Back, and rolled back.
    few.prepare(2, &[local().per_worker(true), unix], 2)
        .expect("open");
    few.roll_back();
    assert_eq!(mode(), 0o600);
    in_child(|| {
        for taken in few.take(1, 1) {
            if taken.place == 0 {
                assert_eq!(queue(&taken.socket), (0, 9));
                let tcp = |name| option(&taken.socket, IPPROTO_TCP, name, 0);
                let three = [TCP_NODELAY, TCP_DEFER_ACCEPT, TCP_FASTOPEN];
                assert_eq!(three.map(tcp), [1, 3, 5]);
            }
        }
    });
    few.prepare(3, &[local().per_worker(true), unix], 2)
        .expect("open");
    few.commit().expect("all can be set");
    let taken = few.take(0, 3).remove(0);
    assert_eq!(queue(&taken.socket), (0, 511));
    let tcp = |name| option(&taken.socket, IPPROTO_TCP, name, 0);
    let three = [TCP_NODELAY, TCP_DEFER_ACCEPT, TCP_FASTOPEN];
    assert_eq!(three.map(tcp), [0; 3]);
}

pub(crate) fn a_failed_preparation_changes_nothing() {
    let folder = Folder::new();
    let held = TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = at(&held.local_addr().expect("an address").to_string());
    fs::write(folder.path("file"), "text").expect("a file");
    drop(UnixListener::bind(folder.path("stale")).expect("a free path"));
    let mut few: Listeners<5, 8> = Listeners::new();
    let v6 = at("[::]:0");
    few.open(&[local().per_worker(true), v6, folder.unix("s")], 2, None)
        .expect("free");
    let group = local().per_worker(true);
    let (files, open) = (folder.files(), sockets());
    let nowhere = at("unix:/nowhere/at/all");
    let refused = ListenFault::Refused(ListenStep::Bind, Errno::NOENT);
    let stale = folder.unix("stale");
    let fixed = Listen::new(address(&few, 0));
    let udp = local().datagram(true);
    let cases: [(&[Listen], usize, ListenFault); 9] = [
        (&[group, stale, taken], 3, ListenFault::InUse),
        (&[stale, folder.unix("file")], 2, ListenFault::NoSocket),
        (&[group, stale, nowhere], 4, refused),
        (&[stale, stale], 2, ListenFault::Duplicate),
        (&[stale, fixed], 2, ListenFault::Fixed(Fixed::PerWorker)),
        (
            &[group, v6.v6_only(false)],
            3,
            ListenFault::Fixed(Fixed::V6Only),
        ),
        (&[stale, udp, v6.datagram(true)], 2, ListenFault::NoRoom),
        (&[group, v6, stale], 6, ListenFault::NoRoom),
        (
            &[group, at("[::2]:1")],
            2,
            ListenFault::Refused(ListenStep::Bind, Errno::ADDRNOTAVAIL),
        ),
    ];
    for (list, workers, fault) in cases {
        let error = few.prepare(1, list, workers).expect_err("it cannot be had");
        assert_eq!(error.fault, fault);
        assert_eq!(
            (folder.files(), sockets()),
            (files.clone(), open.clone()),
            "{fault}"
        );
        assert_eq!(few.count(), 3);
        few.commit().expect("nothing is prepared");
        assert_eq!((few.count(), sockets()), (3, open.clone()));
    }
    unix_client(&folder.path("s")).expect("it listens");
    TcpStream::connect(socket_address(address(&few, 0))).expect("it listens");
    drop((few, held));
    assert_eq!(folder.files().len(), files.len() - 1, "its own is gone");
}

/// Wherever the descriptors run out.
pub(crate) fn a_preparation_without_descriptors() {
    let folder = Folder::new();
    in_child(|| {
        let mut few = Few::new();
        let group = local().per_worker(true);
        few.open(&[group], 2, None).expect("free");
        drop(UnixListener::bind(folder.path("stale")).expect("a free path"));
        let list = [group, folder.unix("new"), folder.unix("stale"), local()];
        let (files, open) = (folder.files(), open_count());
        let limit = Limit::keep();
        let mut refusals = 0;
        for free in 0.. {
            limit.set(Limit::with_free(free));
            let prepared = few.prepare(1, &list, 3);
            limit.restore();
            let Err(error) = prepared else { break };
            // Whether somebody has a file cannot be asked: it may be so.
            let refused = ListenFault::Refused(ListenStep::Socket, Errno::MFILE);
            assert!(error.fault == refused || error.is_in_use(), "{error}");
            assert_eq!((folder.files(), open_count()), (files.clone(), open));
            refusals += 1;
        }
        assert_eq!(
            refusals, 4,
            "one socket for each, and one more of the group"
        );
        assert_eq!(open_count(), open + 4);
    });
}

pub(crate) fn rolling_back_leaves_what_was() {
    let folder = Folder::new();
    drop(UnixListener::bind(folder.path("stale")).expect("a free path"));
    let mut few = Few::new();
    few.open(&[local(), folder.unix("s")], 1, None)
        .expect("free");
    let (files, open) = (folder.files(), sockets());
    let list = [folder.unix("stale"), folder.unix("new"), local().backlog(3)];
    few.prepare(1, &list, 1).expect("free");
    unix_client(&folder.path("stale")).expect("it listens");
    assert_eq!(sockets().len(), open.len() + 2);
    few.roll_back();
    assert_eq!((folder.files(), sockets()), (files.clone(), open.clone()));
    // So does the next preparation, and the end of the master.
    few.prepare(2, &list, 1).expect("free");
    few.prepare(3, &[local()], 1).expect("open");
    assert_eq!((folder.files(), sockets()), (files, open));
    few.prepare(4, &list, 1).expect("free");
    drop(few);
    assert_eq!(folder.files().len(), 1, "the stale one");
}

pub(crate) fn an_address_in_use_and_again() {
    let held = TcpListener::bind("127.0.0.1:0").expect("a port");
    let wanted = at(&held.local_addr().expect("an address").to_string());
    let mut few = Few::new();
    few.open(&[local()], 1, None).expect("free");
    let mut tries = Tries::new().most(3).pause_ms(20);
    for again in [Some(20), Some(20), None] {
        let error = few.prepare(1, &[local(), wanted], 1).expect_err("in use");
        assert!(error.is_in_use());
        assert_eq!(error.address, wanted.address());
        assert_eq!(tries.again(), again);
    }
    drop(held);
    few.prepare(1, &[local(), wanted], 1).expect("free");
    few.commit().expect("nothing is set");
    assert_eq!(address(&few, 1), wanted.address());
    let udp = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let wanted = at(&udp.local_addr().expect("an address").to_string());
    let error = few
        .prepare(2, &[wanted.datagram(true)], 1)
        .expect_err("in use");
    assert!(error.is_in_use());
}

/// Two services cannot have one address by SO_REUSEPORT, and not know.
pub(crate) fn a_group_is_alone_at_its_address() {
    for datagram in [false, true] {
        let mut one = Few::new();
        one.open(&[local().per_worker(true).datagram(datagram)], 2, None)
            .expect("free");
        let there = Listen::new(address(&one, 0)).datagram(datagram);
        for per_worker in [true, false] {
            let mut two = Few::new();
            let error = two.open(&[there.per_worker(per_worker)], 2, None);
            assert!(error.expect_err("in use").is_in_use());
        }
    }
}

/// What a group had is what it has, in its order, whatever becomes of a reload.
pub(crate) fn a_group_grows_and_stays() {
    let before = sockets();
    let mut listeners: Listeners<2, 8> = Listeners::new();
    let group = local().per_worker(true);
    listeners.open(&[group], 2, None).expect("free");
    let mut order = Vec::new();
    let mut look = |listeners: &mut Listeners<2, 8>, count: usize| {
        assert_eq!(sockets().len(), before.len() + count);
        for number in 0..count as u16 {
            let (told, tell) = pipe();
            in_child(|| {
                let taken = listeners.take(number, 0).pop().expect("its own");
                let inode = crate::tools::number(&taken.socket).to_ne_bytes();
                rustix::io::write(&tell, &inode).expect("a reader");
            });
            let mut inode = [0; 8];
            rustix::io::read(&told, &mut inode).expect("it was told");
            let inode = u64::from_ne_bytes(inode);
            match order.get(usize::from(number)) {
                Some(known) => assert_eq!(inode, *known),
                None => order.push(inode),
            }
        }
    };
    look(&mut listeners, 2);
    listeners.prepare(1, &[group], 4).expect("room");
    listeners.roll_back();
    look(&mut listeners, 4);
    listeners.prepare(2, &[group], 1).expect("room");
    listeners.commit().expect("nothing is set");
    look(&mut listeners, 4);
    listeners.provide(5).expect("room");
    listeners.provide(2).expect("it has them");
    look(&mut listeners, 6);
    let error = listeners.provide(8).expect_err("no room");
    assert_eq!(error.fault, ListenFault::NoRoom);
    look(&mut listeners, 8);
    let left = listeners.take(7, 0).pop().expect("its own");
    assert_eq!(number(&left.socket), order[7]);
}
