//! `Handover`: what a program gets from the one that it takes over from.
//!
//! ```text
//!   FORKMESH_HANDOVER=5          a number, and no more: who sets it has no power by it
//!     │
//!   5 is open, came through an exec, is AF_UNIX and SOCK_SEQPACKET, and a HELLO waits in it?
//!     │ no: it is left alone                            │ yes: it is taken, and close-on-exec
//!     ▼                                                 ▼
//!   None, or an error where it is such a socket       pid · pidfd · slots · mask · named descriptors
//! ```
//!
//! # Invariants
//!
//! - Nothing that a number can mean makes it wait, or take what is not its own (tests
//!   `a_number_that_is_no_hand_over_is_left_alone`, `a_socket_with_garbage_is_an_error`).
//! - What nobody takes is closed (test `what_is_not_taken_is_closed`).
//! - It is received once: a second time there is none (test `a_hand_over_is_received_once`).
//! - The predecessor is who made the socket, whoever it says it is (test
//!   `a_stranger_is_no_predecessor`).
//!
//! # Why not wait for what is missing
//!
//! Everything was sent before this process was forked. What is not there will never come.

use core::fmt;

use heapless::Vec;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;

use crate::run::RelayEnd;
use crate::run::successor::{hear, tell};
use crate::sys::socket::{self, Ancillary, Inherited};
use crate::table::{Pid, SlotSet};
use crate::wire::{
    Hello, LONGEST_LETTER, Letter, MOST_GROUPED, MOST_NAMED, MOST_PASSED, Name, Unreadable,
};

/// The variable that names the socket of a hand-over.
pub(super) const VARIABLE: &str = "FORKMESH_HANDOVER";

/// What was handed over, and the socket to the predecessor. It is [`AsFd`]: when that is readable,
/// ask [`Handover::hear`]. About 16 KiB.
///
/// When it is dropped, what was not taken is closed, and the predecessor hears that nobody takes
/// over, unless [`Handover::ready`] was said.
#[derive(Debug)]
pub struct Handover {
    socket: OwnedFd,
    hello: Hello,
    pidfd: OwnedFd,
    relay: Option<OwnedFd>,
    /// Whether the predecessor has said that it stays.
    stays: bool,
    named: Named,
}

/// Descriptors by name: those of a name lie side by side, in the order of the names.
#[derive(Debug, Default)]
struct Named {
    /// Each name, and how many descriptors a group of it has; `None` for one that is alone.
    names: Vec<(Name, Option<u16>), MOST_NAMED>,
    descriptors: Vec<OwnedFd, MOST_PASSED>,
}

/// What a predecessor says, once it has handed over.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Heard {
    /// It uses these slots no longer.
    Freed(SlotSet),
    /// It stays, and launches whoever comes next.
    Relays,
    /// Something that makes no sense.
    Odd,
    /// It has ended, or closed its end: it will say nothing more.
    Gone,
}

/// Why a hand-over failed. The predecessor goes on as if nothing had happened, as soon as this
/// process ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum HandoverError {
    /// There is a socket of the right kind, and in it no HELLO of a master: none at all, or something
    /// else. The descriptor is left as it was.
    NoHello(Option<Unreadable>),
    /// The predecessor speaks another version of letters.
    Version(u32),
    /// Another process made the socket than the one that introduces itself.
    Stranger {
        /// Who it says it is.
        said: Pid,
        /// Who made the socket; 0 for one that cannot be seen from here.
        made_by: i32,
    },
    /// Behind the HELLO comes something else than what it announced.
    Garbled,
    /// A descriptor could not be installed: the limit on open descriptors is too low.
    Missing,
    /// The kernel refused.
    Refused(Errno),
}

impl Handover {
    /// The variable that tells a program of a hand-over.
    pub const VARIABLE: &str = VARIABLE;

    /// What this process was handed over; `None` if it was started in another way. To be called once,
    /// and early: a second call finds none.
    ///
    /// The variable stays in the environment, where it does no harm: the number that it names is
    /// looked at before it is used. It never waits.
    ///
    /// # Errors
    ///
    /// [`HandoverError`]. A program that cannot take over should end, so that its predecessor goes on.
    #[cfg(feature = "std")]
    pub fn receive() -> Result<Option<Self>, HandoverError> {
        match std::env::var_os(VARIABLE) {
            Some(value) => Self::receive_from(value.as_encoded_bytes()),
            None => Ok(None),
        }
    }

    /// As `receive`, for a program that reads its environment by itself: `value` is what the variable
    /// [`Handover::VARIABLE`] is set to.
    ///
    /// # Errors
    ///
    /// [`HandoverError`].
    pub fn receive_from(value: &[u8]) -> Result<Option<Self>, HandoverError> {
        let number = str::from_utf8(value)
            .ok()
            .and_then(|text| text.parse().ok());
        let Some(inherited) = number.and_then(Inherited::find) else {
            return Ok(None);
        };
        let mut bytes = [0; LONGEST_LETTER + 1];
        let length = match inherited.peek(&mut bytes) {
            Ok(length) => length,
            Err(Errno::AGAIN) => return Err(HandoverError::NoHello(None)),
            Err(errno) => return Err(HandoverError::Refused(errno)),
        };
        // A HELLO of another version is the predecessor's, too: it is to hear that nobody reads it.
        match Letter::read(&bytes[..length]) {
            Ok(Letter::Hello(_)) | Err(Unreadable::Version(_)) => {}
            other => return Err(HandoverError::NoHello(other.err())),
        }
        let socket = inherited.take().map_err(HandoverError::Refused)?;
        Self::read(socket).map(Some)
    }

    /// Reads all that waits in the socket.
    fn read(socket: OwnedFd) -> Result<Self, HandoverError> {
        let mut ancillary = Ancillary::new();
        let Letter::Hello(hello) = next(&socket, &mut ancillary)? else {
            return Err(HandoverError::Garbled);
        };
        let relay = match hello.relayed {
            true => Some(last(&mut ancillary)?), // it lies behind the pidfd
            false => None,
        };
        let pidfd = last(&mut ancillary)?;
        let made_by = socket::made_by(&socket).map_err(HandoverError::Refused)?;
        if made_by != hello.pid.as_i32() {
            let said = hello.pid;
            return Err(HandoverError::Stranger { said, made_by });
        }
        let mut named = Named::default();
        for _ in 0..hello.descriptors {
            named.read(&socket, &mut ancillary)?;
        }
        match next(&socket, &mut ancillary)? {
            Letter::End => Ok(Self {
                socket,
                hello,
                pidfd,
                relay,
                stays: false,
                named,
            }),
            _ => Err(HandoverError::Garbled),
        }
    }

    /// Takes the descriptor of this name; it is close-on-exec. `None` if there is none, if it is a
    /// group, or has been taken.
    pub fn take(&mut self, name: &str) -> Option<OwnedFd> {
        let (at, first) = self.named.find(name)?;
        match self.named.names[at].1 {
            Some(_) => None,
            None => {
                self.named.names.remove(at);
                Some(self.named.descriptors.remove(first))
            }
        }
    }

    /// Takes the descriptors of this name, in the order in which they were offered; they are
    /// close-on-exec. One that was offered alone is a group of one. `None` as [`Handover::take`].
    pub fn take_group(&mut self, name: &str) -> Option<Vec<OwnedFd, MOST_GROUPED>> {
        let (at, first) = self.named.find(name)?;
        let (_, count) = self.named.names.remove(at);
        let all = 0..count.unwrap_or(1);
        Some(all.map(|_| self.named.descriptors.remove(first)).collect())
    }

    /// The names of the descriptors that have not been taken.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.named.names.iter().map(|(name, _)| name.as_str())
    }

    /// The process that is to be taken over from.
    #[must_use]
    pub const fn predecessor(&self) -> Pid {
        self.hello.pid
    }

    /// The predecessor's process: readable when it has ended.
    #[must_use]
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// The slots that the predecessor uses.
    #[must_use]
    pub const fn slots(&self) -> &SlotSet {
        &self.hello.slots
    }

    /// Which signals were blocked before the predecessor blocked its own: bit n - 1 for signal n. More
    /// are blocked now: none is to be lost between two programs.
    #[must_use]
    pub const fn mask(&self) -> u64 {
        self.hello.mask
    }

    /// Tells the predecessor that this process serves: it ends, or becomes a relay.
    ///
    /// # Errors
    ///
    /// EPIPE or ECONNRESET where it has gone; EAGAIN where it hears nothing.
    pub fn ready(&self) -> Result<(), Errno> {
        tell(&self.socket, &Letter::Ready)
    }

    /// Tells the predecessor that this many slots are needed, and only `free` were found.
    ///
    /// # Errors
    ///
    /// As [`Handover::ready`].
    pub fn no_room(&self, needed: u32, free: u32) -> Result<(), Errno> {
        tell(&self.socket, &Letter::NoRoom { needed, free })
    }

    /// Tells the predecessor that this process cannot serve, and why: in a count of steps of its own
    /// that begins with 1.
    ///
    /// # Errors
    ///
    /// As [`Handover::ready`].
    pub fn failed(&self, stage: u32, errno: i32) -> Result<(), Errno> {
        tell(&self.socket, &Letter::Failed { stage, errno })
    }

    /// The end of the hand-over: what launches later successors, where there is a relay. That is the
    /// predecessor if it has said that it stays, and the one that launched this process if that is
    /// another; it refuses while the predecessor lives, so wait for [`Handover::pidfd`] then. What was not taken is closed.
    #[must_use]
    pub fn into_relay(self) -> Option<RelayEnd> {
        let end = if self.stays {
            Some(self.socket)
        } else {
            self.relay
        };
        end.map(RelayEnd::new)
    }

    /// Whether the predecessor was launched by a relay, which is there still.
    pub(super) const fn is_relayed(&self) -> bool {
        self.relay.is_some()
    }

    /// The next thing that the predecessor says; `None` if it says nothing now. Cost: one system call.
    pub fn hear(&mut self) -> Option<Heard> {
        match hear(&self.socket) {
            Ok(Some(Letter::Freed(slots))) => {
                self.hello.slots = self.hello.slots.without(&slots);
                Some(Heard::Freed(slots))
            }
            Ok(Some(Letter::Relays)) => {
                self.stays = true;
                Some(Heard::Relays)
            }
            Ok(_) => Some(Heard::Odd),
            Err(Errno::AGAIN | Errno::INTR) => None,
            Err(_) => Some(Heard::Gone),
        }
    }
}

impl AsFd for Handover {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Named {
    /// Which name this is, and where its descriptors begin.
    fn find(&self, name: &str) -> Option<(usize, usize)> {
        let at = self
            .names
            .iter()
            .position(|(used, _)| used.as_str() == name)?;
        let before = self.names[..at].iter();
        let first = before.map(|(_, count)| usize::from(count.unwrap_or(1)));
        Some((at, first.sum()))
    }

    /// Reads what comes under one name.
    fn read(&mut self, socket: &OwnedFd, ancillary: &mut Ancillary) -> Result<(), HandoverError> {
        let (name, group) = match next(socket, ancillary)? {
            Letter::Descriptor(name) => (name, None),
            Letter::Group { name, count, more } => (name, Some((count, more))),
            _ => return Err(HandoverError::Garbled),
        };
        let known = self.names.iter().any(|(used, _)| *used == name);
        let count = group.map(|(count, more)| count + more);
        if known || self.names.push((name, count)).is_err() {
            return Err(HandoverError::Garbled);
        }
        self.keep(ancillary)?;
        let mut left = group.map_or(0, |(_, more)| more);
        while left > 0 {
            match next(socket, ancillary)? {
                Letter::Group {
                    name: of,
                    count,
                    more,
                } if of == name && count + more == left => {
                    left = more;
                }
                _ => return Err(HandoverError::Garbled),
            }
            self.keep(ancillary)?;
        }
        Ok(())
    }

    /// All that came with a letter, which is as many as it says.
    fn keep(&mut self, ancillary: &mut Ancillary) -> Result<(), HandoverError> {
        let came = core::mem::take(&mut ancillary.descriptors);
        let mut kept = came.into_iter().map(|fd| self.descriptors.push(fd));
        let all = kept.all(|pushed| pushed.is_ok());
        all.then_some(()).ok_or(HandoverError::Garbled)
    }
}

/// The letter that waits next.
fn next(socket: &OwnedFd, ancillary: &mut Ancillary) -> Result<Letter, HandoverError> {
    let mut bytes = [0; LONGEST_LETTER + 1];
    let length = match socket::receive(socket, &mut bytes, ancillary) {
        Ok(length) => length,
        Err(Errno::AGAIN) => return Err(HandoverError::Garbled),
        Err(errno) => return Err(HandoverError::Refused(errno)),
    };
    match Letter::read(&bytes[..length]) {
        Ok(letter) if ancillary.truncated && letter.descriptors() > 0 => {
            Err(HandoverError::Missing)
        }
        Ok(letter) if letter.descriptors() == ancillary.descriptors.len() => Ok(letter),
        Err(Unreadable::Version(version)) => Err(HandoverError::Version(version)),
        _ => Err(HandoverError::Garbled),
    }
}

/// The last of the descriptors that came with a letter.
fn last(ancillary: &mut Ancillary) -> Result<OwnedFd, HandoverError> {
    ancillary.descriptors.pop().ok_or(HandoverError::Garbled)
}

impl fmt::Display for HandoverError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoHello(Some(why)) => write!(f, "nobody hands over by this socket: {why}"),
            Self::NoHello(None) => f.write_str("nobody hands over by this socket"),
            Self::Version(version) => {
                write!(f, "the predecessor hands over in version {version}")
            }
            Self::Stranger { said, made_by } => {
                write!(f, "{said} hands over by a socket of {made_by}")
            }
            Self::Garbled => f.write_str("what is handed over is not what was announced"),
            Self::Missing => f.write_str("a descriptor could not be installed"),
            Self::Refused(errno) => write!(f, "the hand-over cannot be read: {errno}"),
        }
    }
}

impl core::error::Error for HandoverError {}
