//! What a program can be handed over: any bytes are read as letters, and any messages, with any
//! descriptors beside them, are received or refused without a leak, and without waiting.
//!
//! Every input is the bytes of one letter. One that begins with `>` is also a script, whose steps are
//! one byte each with its operands behind it:
//!
//! ```text
//!   0b…ddd0 length bytes…   send these (at most 200), with d descriptors
//!   0b…ddd1 kind operand    send a letter of this kind, with d descriptors
//! ```
#![no_main]

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd};
use std::sync::OnceLock;

use forkmesh::run::{Handover, HandoverError, Heard};
use forkmesh::table::{Pid, SlotSet};
use forkmesh::wire::{Hello, LONGEST_LETTER, Letter, MOST_NAMED, Name};
use libfuzzer_sys::fuzz_target;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::{FdFlags, IoSlice, fcntl_setfd};
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
    sendmsg, socketpair,
};

/// More than a whole hand-over has.
const MOST_STEPS: usize = 80;
const MOST_DESCRIPTORS: usize = 7;

fuzz_target!(|data: &[u8]| {
    decode(data);
    if let [b'>', script @ ..] = data {
        let lowest = lowest_free();
        let open = open_from(lowest);
        play(script);
        assert_eq!(open_from(lowest), open, "a descriptor leaks");
    }
});

/// Reading is total, and what was read is written as it was.
fn decode(bytes: &[u8]) {
    match Letter::read(bytes) {
        Ok(letter) => {
            assert!(bytes.len() <= LONGEST_LETTER);
            assert_eq!(letter.to_bytes().as_bytes(), bytes);
        }
        Err(unreadable) => drop(unreadable.to_string()),
    }
}

fn play(mut script: &[u8]) {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let (here, there) =
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).expect("a pair");
    fcntl_setfd(&there, FdFlags::empty()).expect("it is open");
    for _ in 0..MOST_STEPS {
        let [step, rest @ ..] = script else { break };
        let descriptors = usize::from(step >> 1) & MOST_DESCRIPTORS;
        script = match (step & 1, rest) {
            (0, [length, rest @ ..]) => {
                let (bytes, rest) = rest.split_at(usize::from(*length).min(200).min(rest.len()));
                send(&here, bytes, descriptors);
                rest
            }
            (1, [kind, operand, rest @ ..]) => {
                send(
                    &here,
                    letter(*kind, *operand).to_bytes().as_bytes(),
                    descriptors,
                );
                rest
            }
            (_, rest) => rest,
        };
    }
    let number = there.into_raw_fd();
    match Handover::receive_from(number.to_string().as_bytes()) {
        Ok(Some(handover)) => look_at(handover, here),
        Ok(None) => panic!("it is a socket of the right kind"),
        Err(HandoverError::NoHello(_)) => {
            // SAFETY: it was left alone, and is ours again.
            drop(unsafe { OwnedFd::from_raw_fd(number) });
        }
        Err(error) => drop(error.to_string()),
    }
}

/// Takes every other descriptor, and hears what is left.
fn look_at(mut handover: Handover, here: OwnedFd) {
    let names: Vec<String> = handover.names().map(str::to_owned).collect();
    assert!(names.len() <= MOST_NAMED);
    for name in names.iter().step_by(2) {
        let alone = handover.take(name).is_some();
        let group = handover.take_group(name);
        assert_ne!(alone, group.is_some_and(|group| !group.is_empty()));
        assert!(handover.take(name).is_none());
    }
    assert!(handover.ready().is_ok());
    drop(here);
    while handover.hear().expect("nobody is left") != Heard::Gone {}
}

fn letter(kind: u8, operand: u8) -> Letter {
    let own = std::process::id() as i32;
    match kind % 8 {
        0 => Letter::Hello(Hello {
            pid: Pid::new(own).expect("a pid"),
            mask: operand.into(),
            slots: SlotSet::from_words([operand.into(); 16]),
            descriptors: u16::from(operand) % (MOST_NAMED as u16 + 2),
            relayed: kind & 8 != 0,
        }),
        1 => Letter::Descriptor(Name::new(&format!("name {operand}")).expect("a name")),
        2 if kind & 8 != 0 => Letter::Group {
            name: Name::new(&format!("name {}", kind >> 4)).expect("a name"),
            count: 1 + u16::from(operand & 7),
            more: u16::from(operand >> 3),
        },
        2 => Letter::End,
        3 => Letter::Relays,
        4 => Letter::Freed(SlotSet::from_words([operand.into(); 16])),
        5 => Letter::Ready,
        6 => Letter::NoRoom {
            needed: operand.into(),
            free: 0,
        },
        _ => Letter::Failed {
            stage: operand.into(),
            errno: 1,
        },
    }
}

fn send(to: &OwnedFd, bytes: &[u8], descriptors: usize) {
    let marks = [mark(); MOST_DESCRIPTORS];
    let mut space =
        [core::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if descriptors > 0 {
        assert!(ancillary.push(SendAncillaryMessage::ScmRights(&marks[..descriptors])));
    }
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    let sent = sendmsg(to, &[IoSlice::new(bytes)], &mut ancillary, flags);
    assert_eq!(sent, Ok(bytes.len()));
}

/// Something to send a descriptor of.
fn mark() -> BorrowedFd<'static> {
    static MARK: OnceLock<OwnedFd> = OnceLock::new();
    MARK.get_or_init(event).as_fd()
}

fn event() -> OwnedFd {
    eventfd(0, EventfdFlags::CLOEXEC).expect("a descriptor")
}

fn lowest_free() -> i32 {
    mark(); // is made once, and stays
    event().as_raw_fd()
}

/// How many descriptors are open from this number on, as far as a case can reach.
fn open_from(lowest: i32) -> usize {
    const REACH: i32 = 800;
    let one = |number| {
        // SAFETY: the number is asked about and not used; that it may be no descriptor is the point.
        PollFd::from_borrowed_fd(
            unsafe { BorrowedFd::borrow_raw(number) },
            PollFlags::empty(),
        )
    };
    let mut all: Vec<_> = (lowest..lowest + REACH).map(one).collect();
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    poll(&mut all, Some(&now)).expect("poll answers");
    all.iter()
        .filter(|fd| fd.revents() != PollFlags::NVAL)
        .count()
}
