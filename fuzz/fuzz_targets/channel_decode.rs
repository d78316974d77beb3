//! What arrives on a channel: any bytes are read as frames and commands, and any messages, with any
//! descriptors beside them, are read by an inbox that loses and leaks none.
//!
//! Every input is bytes of a channel. One that begins with `>` is also a script, whose first byte
//! says how to read, and whose steps are one byte each with its operands behind it:
//!
//! ```text
//!   0b0ddd_dd00 length bytes…   send these (at most 200), with d descriptors
//!   0b1ddd_dd00                 the same with 31 - d frames of a user's message before it, in the message
//!   0bdddd_dd01 kind            send a frame of this kind, with d descriptors, or 253 where d is 63
//!   0btttt_tt10                 read once, take t frames, and of the descriptors of odd ones none
//!   0b…11                       nobody sends any more
//! ```
#![no_main]

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::OnceLock;

use forkmesh::channel::{Child, End1, Filled, Inbox, ReceiveError};
use forkmesh::wire::{
    Attached, Command, FRAME_SIZE, Frame, MOST_DESCRIPTORS, Message, Resync, frames,
};
use libfuzzer_sys::fuzz_target;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::IoSlice;
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
    sendmsg, socketpair, sockopt,
};

/// A longer script finds nothing that a short one does not, and takes its time.
const MOST_STEPS: usize = 24;

fuzz_target!(|data: &[u8]| {
    decode(data);
    if let [b'>', how, script @ ..] = data {
        let lowest = lowest_free();
        let open = open_from(lowest);
        Play::new(*how).run(script);
        assert_eq!(open_from(lowest), open, "a descriptor leaks");
    }
});

/// Reading is total, and what was read is read again from what is written for it.
fn decode(bytes: &[u8]) {
    let (whole, left) = frames(bytes);
    assert_eq!(whole.len() * FRAME_SIZE + left, bytes.len());
    for (number, frame) in whole.enumerate() {
        assert_eq!(frame.to_bytes(), bytes[number * FRAME_SIZE..][..FRAME_SIZE]);
        match frame.command() {
            Ok(command) => {
                assert!(command.descriptors() <= MOST_DESCRIPTORS);
                let again = Frame::new(command, frame.sender());
                assert_eq!(again.command(), Ok(command));
                assert_eq!(Frame::from_bytes(&again.to_bytes()), again);
            }
            Err(malformed) => drop(malformed.to_string()),
        }
    }
}

/// A channel, and the accounts of what went in and what came out.
struct Play {
    sender: Option<OwnedFd>,
    reader: Child<End1>,
    inbox: Inbox,
    sent: u64,
    came: u64,
    missing: u64,
    malformed: u64,
    odd: u64,
    /// Frames were left in the inbox, with what came beside the last of them.
    forgot: bool,
}

impl Play {
    fn new(how: u8) -> Self {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let (sender, reader) =
            socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None).expect("a pair");
        sockopt::set_socket_passcred(&reader, how & 1 != 0).expect("it is a socket");
        Self {
            sender: Some(sender),
            reader: Child::from_fd(reader),
            inbox: Inbox::new(),
            sent: 0,
            came: 0,
            missing: 0,
            malformed: 0,
            odd: 0,
            forgot: false,
        }
    }

    fn run(mut self, mut script: &[u8]) {
        for _ in 0..MOST_STEPS {
            let [step, rest @ ..] = script else { break };
            script = self.step(*step, rest);
        }
        self.sender = None;
        let end = loop {
            if let Err(end) = self.read(usize::MAX) {
                break end;
            }
        };
        assert_eq!(end, ReceiveError::Gone);
        self.balance();
    }

    fn step<'s>(&mut self, step: u8, rest: &'s [u8]) -> &'s [u8] {
        let operand = step >> 2;
        match (step & 3, rest) {
            (0, [length, rest @ ..]) => {
                let length = usize::from(*length).min(200).min(rest.len());
                let (bytes, rest) = rest.split_at(length);
                let descriptors = usize::from(operand & 31);
                if operand & 32 == 0 {
                    self.send(bytes, descriptors);
                } else {
                    let mut long = plain().repeat(31 - descriptors);
                    long.extend_from_slice(bytes);
                    self.send(&long, descriptors);
                }
                rest
            }
            (1, [kind, rest @ ..]) => {
                let descriptors = match usize::from(operand) {
                    63 => MOST_DESCRIPTORS,
                    some => some,
                };
                let bytes = match command(*kind, descriptors) {
                    Some(command) => Frame::new(command, None).to_bytes(),
                    None => carrier(),
                };
                self.send(&bytes, descriptors);
                rest
            }
            (2, rest) => {
                let _ = self.read(operand.into());
                rest
            }
            (3, rest) => {
                self.sender = None;
                rest
            }
            _ => rest,
        }
    }

    fn send(&mut self, bytes: &[u8], descriptors: usize) {
        let Some(sender) = &self.sender else { return };
        let descriptors = vec![mark(); descriptors];
        let mut space =
            [core::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() {
            assert!(ancillary.push(SendAncillaryMessage::ScmRights(&descriptors)));
        }
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        match sendmsg(sender, &[IoSlice::new(bytes)], &mut ancillary, flags) {
            // A stream makes no message of nothing: what was to go beside it goes nowhere.
            Ok(0) => {}
            Ok(length) => {
                assert_eq!(length, bytes.len());
                self.sent += descriptors.len() as u64;
            }
            Err(errno) => {
                assert!([rustix::io::Errno::AGAIN, rustix::io::Errno::TOOMANYREFS].contains(&errno))
            }
        }
    }

    /// One read, of which `most` frames are taken out.
    fn read(&mut self, most: usize) -> Result<Filled, ReceiveError> {
        let filled = self.reader.receive(&mut self.inbox)?;
        self.odd += u64::from(filled.odd);
        for number in 0..most {
            match self.inbox.take() {
                Some(Ok(parcel)) => {
                    let named = parcel.command.descriptors();
                    assert!(parcel.descriptors <= named);
                    self.missing += (named - parcel.descriptors) as u64;
                    self.came += parcel.descriptors as u64;
                    if number % 2 == 0 {
                        let taken = std::iter::from_fn(|| self.inbox.descriptor()).count();
                        assert_eq!(taken, parcel.descriptors);
                    }
                }
                Some(Err(_)) => {
                    assert!(self.inbox.descriptor().is_none());
                    self.malformed += 1;
                }
                None => return Ok(filled),
            }
        }
        self.forgot |= filled.frames > most;
        Ok(filled)
    }

    /// Every descriptor that was sent came with its frame or was counted as one that was not spoken
    /// of; every one that was spoken of came or was counted as missing.
    fn balance(&self) {
        let faults = self.inbox.faults();
        assert_eq!(faults.malformed, self.malformed);
        assert_eq!(faults.missing, self.missing);
        assert_eq!(faults.odd, self.odd);
        if self.forgot {
            assert!(self.came + faults.unexpected <= self.sent);
        } else {
            assert_eq!(self.came + faults.unexpected, self.sent);
        }
    }
}

fn plain() -> [u8; FRAME_SIZE] {
    Frame::new(Command::User(Message::new(1, [2; 16])), None).to_bytes()
}

/// A user's message that says that a descriptor comes with it.
fn carrier() -> [u8; FRAME_SIZE] {
    let mut bytes = plain();
    bytes[24..28].fill(0);
    bytes
}

/// One of the commands; `None` for a message with a descriptor.
fn command(kind: u8, descriptors: usize) -> Option<Command> {
    let open = |attached| {
        let subject = forkmesh::wire::Subject {
            index: forkmesh::table::SlotIndex::new(kind.into())?,
            generation: None,
            pid: None,
        };
        let version = kind.into();
        Some(Command::Open {
            subject,
            version,
            attached,
        })
    };
    match kind % 10 {
        0 => open(Attached::Here),
        1 => open(Attached::Held),
        2 => open(Attached::Follows),
        3 => Some(Command::Descriptors {
            count: descriptors.max(1) as u8,
        }),
        4 => Some(Command::Descriptors {
            count: kind % 253 + 1,
        }),
        5 => Some(Command::Quit),
        6 => Some(Command::Ready),
        7 => Some(Command::Resync(Resync::Mesh)),
        8 => Some(Command::User(Message::new(kind.into(), [kind; 16]))),
        _ => None,
    }
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

/// How many descriptors are open from this number on, as far as a case can reach: one poll of them
/// all says which there are not.
fn open_from(lowest: i32) -> usize {
    const REACH: i32 = 300;
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
