//! What `FORKMESH_HANDOVER` can be set to, and what can wait behind it: none of it makes a program
//! wait, or take what is not its own.

use forkmesh::run::{Handover, HandoverError, Heard};
use forkmesh::table::{Pid, SlotSet};
use forkmesh::wire::{Hello, LETTER_VERSION, Letter, Name, Unreadable};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd};
use rustix::io::{FdFlags, IoSlice, fcntl_setfd};
use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags,
    SocketType, recv, send, sendmsg, socketpair,
};
use rustix::process::{PidfdFlags, getpid, pidfd_open};

use crate::support::{Limit, Marks, in_child, open_count};

/// A pair, whose second end is as an exec leaves it.
fn pair(of: SocketType) -> (OwnedFd, OwnedFd) {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let (here, there) = socketpair(AddressFamily::UNIX, of, flags, None).expect("a pair");
    through_exec(&there);
    (here, there)
}

fn through_exec(fd: impl AsFd) {
    fcntl_setfd(fd, FdFlags::empty()).expect("a descriptor");
}

fn receive(number: impl ToString) -> Result<Option<Handover>, HandoverError> {
    Handover::receive_from(number.to_string().as_bytes())
}

fn say(to: &OwnedFd, bytes: &[u8], with: &[BorrowedFd<'_>]) {
    let mut space = [core::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !with.is_empty() {
        assert!(ancillary.push(SendAncillaryMessage::ScmRights(with)));
    }
    let sent = sendmsg(
        to,
        &[IoSlice::new(bytes)],
        &mut ancillary,
        SendFlags::NOSIGNAL,
    );
    assert_eq!(sent, Ok(bytes.len()));
}

fn hello(pid: i32, descriptors: u16) -> Letter {
    Letter::Hello(Hello {
        pid: Pid::new(pid).expect("a pid"),
        mask: 0,
        slots: SlotSet::EMPTY,
        descriptors,
        relayed: false,
    })
}

fn own_pid() -> i32 {
    getpid().as_raw_nonzero().get()
}

fn letter(to: &OwnedFd, letter: &Letter, with: &[BorrowedFd<'_>]) {
    say(to, letter.to_bytes().as_bytes(), with);
}

fn descriptor(name: &str) -> Letter {
    Letter::Descriptor(Name::new(name).expect("a name"))
}

pub(crate) fn a_number_that_is_no_hand_over_is_left_alone() {
    in_child(|| {
        for text in ["", "x", "-1", "3.5", "99999999999", "\u{fc}", " 3", "3 "] {
            assert!(matches!(receive(text), Ok(None)), "{text:?}");
        }
        assert!(matches!(Handover::receive_from(b"\xff\xfe"), Ok(None)));
        let marks = Marks::new(1);
        let file = &marks.fds()[0];
        through_exec(file);
        let (_stream, stream) = pair(SocketType::STREAM);
        let (_datagram, datagram) = pair(SocketType::DGRAM);
        let (reader, writer) = rustix::pipe::pipe().expect("a pipe");
        // What is close-on-exec came through none: somebody of this process has it.
        let (own, other) = pair(SocketType::SEQPACKET);
        let pidfd = pidfd_open(getpid(), PidfdFlags::empty()).expect("a pidfd");
        letter(&other, &hello(own_pid(), 0), &[pidfd.as_fd()]);
        letter(&other, &Letter::End, &[]);
        let closed = file.as_raw_fd() + 500;
        let before = open_count();
        let others = [file, &stream, &datagram, &reader, &writer, &own];
        let others = others.map(AsRawFd::as_raw_fd);
        for number in (0..3).chain([closed]).chain(others) {
            assert!(matches!(receive(number), Ok(None)), "{number}");
        }
        assert_eq!(open_count(), before);
    });
}

pub(crate) fn a_socket_with_garbage_is_an_error() {
    in_child(|| {
        let before = open_count();
        let long = [b'x'; 4096];
        let ready = Letter::Ready.to_bytes();
        let cut = hello(own_pid(), 0).to_bytes();
        let cut = &cut.as_bytes()[..60];
        for garbage in [b"?".as_slice(), &[7; 40], &long, ready.as_bytes(), cut] {
            let (here, there) = pair(SocketType::SEQPACKET);
            say(&here, garbage, &[here.as_fd()]);
            let error = receive(there.as_raw_fd()).expect_err("garbage");
            assert!(matches!(error, HandoverError::NoHello(_)), "{error}");
            // It is left as it was, for whoever it is meant for.
            let mut bytes = [0; 4096];
            let (length, _) = recv(&there, &mut bytes, RecvFlags::empty()).expect("it is there");
            assert_eq!(bytes[..length], *garbage);
        }
        let (here, there) = pair(SocketType::SEQPACKET);
        let silent = receive(there.as_raw_fd());
        assert_eq!(silent.err(), Some(HandoverError::NoHello(None)));
        drop(here);
        let gone = receive(there.as_raw_fd()).expect_err("nobody is left");
        assert!(matches!(gone, HandoverError::NoHello(_)), "{gone}");
        drop(there);
        assert_eq!(open_count(), before);
    });
}

pub(crate) fn another_version_is_an_error() {
    in_child(|| {
        let before = open_count();
        let (here, there) = pair(SocketType::SEQPACKET);
        let mut bytes = hello(own_pid(), 0).to_bytes().as_bytes().to_vec();
        bytes[4] += 1;
        bytes.truncate(40); // its layout is not known
        say(&here, &bytes, &[here.as_fd()]);
        let error = receive(there.into_raw_fd()).expect_err("another version");
        assert_eq!(error, HandoverError::Version(LETTER_VERSION + 1));
        // The predecessor hears that nobody takes over.
        let sent = send(&here, b"?", SendFlags::NOSIGNAL);
        assert_eq!(sent, Err(rustix::io::Errno::PIPE));
        drop(here);
        assert_eq!(open_count(), before);
        assert_eq!(
            Letter::read(&bytes),
            Err(Unreadable::Version(LETTER_VERSION + 1))
        );
    });
}

pub(crate) fn a_stranger_is_no_predecessor() {
    in_child(|| {
        let before = open_count();
        let (here, there) = pair(SocketType::SEQPACKET);
        let stranger = rustix::process::getppid().expect("a parent");
        let said = stranger.as_raw_nonzero().get();
        letter(&here, &hello(said, 0), &[here.as_fd()]);
        letter(&here, &Letter::End, &[]);
        let error = receive(there.into_raw_fd()).expect_err("a stranger");
        let said = Pid::new(said).expect("a pid");
        let made_by = own_pid();
        assert_eq!(error, HandoverError::Stranger { said, made_by });
        drop(here);
        assert_eq!(open_count(), before);
    });
}

pub(crate) fn a_predecessor_that_stops_half_way() {
    in_child(|| {
        let marks = Marks::new(2);
        let mark = marks.fds()[0].as_fd();
        let one = (descriptor("one"), 1);
        let two = (descriptor("two"), 1);
        let end = (Letter::End, 0);
        let rest: [&[(Letter, usize)]; 10] = [
            &[],
            core::slice::from_ref(&one),
            &[one.clone(), two.clone()],
            &[one.clone(), end.clone()],
            &[one.clone(), one.clone(), end.clone()],
            &[
                one.clone(),
                two.clone(),
                (descriptor("three"), 1),
                end.clone(),
            ],
            &[one.clone(), (descriptor("two"), 0), end.clone()],
            &[one.clone(), (descriptor("two"), 2), end.clone()],
            &[one.clone(), (Letter::Ready, 0), end.clone()],
            &[one.clone(), two.clone(), (Letter::End, 1)],
        ];
        for letters in rest {
            for stays in [true, false] {
                let before = open_count();
                let (here, there) = pair(SocketType::SEQPACKET);
                letter(&here, &hello(own_pid(), 2), &[mark]);
                for (said, count) in letters {
                    letter(&here, said, &[mark; 2][..*count]);
                }
                let here = stays.then_some(here);
                let error = receive(there.into_raw_fd()).expect_err("it stops");
                assert_eq!(error, HandoverError::Garbled, "{letters:?}");
                drop(here);
                assert_eq!(open_count(), before);
            }
        }
        let (here, there) = pair(SocketType::SEQPACKET);
        letter(&here, &hello(own_pid(), 2), &[mark]);
        for (said, count) in [one, two, end] {
            letter(&here, &said, &[mark; 2][..count]);
        }
        let whole = receive(there.into_raw_fd()).expect("all is there");
        assert_eq!(whole.expect("a hand-over").names().count(), 2);
    });
}

fn group(of: &str, count: u16, more: u16) -> (Letter, usize) {
    let name = Name::new(of).expect("a name");
    (Letter::Group { name, count, more }, usize::from(count))
}

pub(crate) fn a_group_that_is_not_what_was_announced() {
    in_child(|| {
        let marks = Marks::new(1);
        let mark = marks.fds()[0].as_fd();
        let alone = (descriptor("g"), 1);
        let end = (Letter::End, 0);
        let cut: [&[(Letter, usize)]; 8] = [
            &[group("g", 1, 1)],
            &[group("g", 1, 1), end.clone()],
            &[group("g", 1, 1), alone.clone(), end.clone()],
            &[group("g", 1, 1), group("h", 1, 0), end.clone()],
            &[group("g", 1, 2), group("g", 1, 0), end.clone()],
            &[group("g", 1, 1), group("g", 2, 0), end.clone()],
            &[group("g", 1, 0), group("g", 1, 0), end.clone()],
            &[(group("g", 2, 0).0, 1), end.clone()],
        ];
        for letters in cut {
            let before = open_count();
            let (here, there) = pair(SocketType::SEQPACKET);
            letter(&here, &hello(own_pid(), 1), &[mark]);
            for (said, count) in letters {
                letter(&here, said, &[mark; 2][..*count]);
            }
            let error = receive(there.into_raw_fd()).expect_err("it is garbled");
            assert_eq!(error, HandoverError::Garbled, "{letters:?}");
            drop(here);
            assert_eq!(open_count(), before);
        }
        let (here, there) = pair(SocketType::SEQPACKET);
        letter(&here, &hello(own_pid(), 1), &[mark]);
        for (said, count) in [group("g", 2, 3), group("g", 2, 1), group("g", 1, 0), end] {
            letter(&here, &said, &[mark; 2][..count]);
        }
        let whole = receive(there.into_raw_fd()).expect("all is there");
        let group = whole.expect("a hand-over").take_group("g");
        assert_eq!(group.expect("a group").len(), 5);
    });
}

pub(crate) fn a_hand_over_is_received_once() {
    in_child(|| {
        let (here, there) = pair(SocketType::SEQPACKET);
        for _ in 0..2 {
            letter(&here, &hello(own_pid(), 0), &[here.as_fd()]);
            letter(&here, &Letter::End, &[]);
        }
        let number = there.into_raw_fd();
        let first = receive(number).expect("a hand-over").expect("a hand-over");
        assert!(matches!(receive(number), Ok(None)));
        drop(first);
        assert!(matches!(receive(number), Ok(None)));
    });
}

pub(crate) fn a_predecessors_last_words_are_heard() {
    in_child(|| {
        let (here, there) = pair(SocketType::SEQPACKET);
        let marks = Marks::new(1);
        letter(&here, &hello(own_pid(), 0), &[marks.fds()[0].as_fd()]);
        letter(&here, &Letter::End, &[]);
        let received = receive(there.into_raw_fd()).expect("a hand-over");
        let mut handover = received.expect("a hand-over");
        handover.ready().expect("a predecessor");
        letter(&here, &Letter::Relays, &[]);
        drop(here); // which has not read it
        assert_eq!(handover.hear(), Some(Heard::Relays));
        assert_eq!(handover.hear(), Some(Heard::Gone));
    });
}

pub(crate) fn too_few_descriptors_are_an_error() {
    in_child(|| {
        let limit = Limit::keep();
        let marks = Marks::new(1);
        let mark = marks.fds()[0].as_fd();
        for free in 0..3 {
            let before = open_count();
            let (here, there) = pair(SocketType::SEQPACKET);
            letter(&here, &hello(own_pid(), 2), &[mark]);
            letter(&here, &descriptor("one"), &[mark]);
            letter(&here, &descriptor("two"), &[mark]);
            letter(&here, &Letter::End, &[]);
            limit.set(Limit::with_free(free));
            let error = receive(there.into_raw_fd()).expect_err("there is no room");
            limit.restore();
            assert_eq!(error, HandoverError::Missing);
            drop(here);
            assert_eq!(open_count(), before);
        }
    });
}
