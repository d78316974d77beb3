//! Receiving: many frames a read, each with what came with it.

use core::fmt;

use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;

use crate::channel::ends::{Child, End0, End1, Parent};
use crate::sys::socket::{self, Ancillary};
use crate::table::{Pid, SlotId};
use crate::wire::{Command, FRAME_SIZE, Frame, Malformed};

/// How many frames one read takes.
const MOST: usize = 128;

/// Room for one read: 128 frames and 253 descriptors, about 7 KiB. What was read is taken out frame
/// by frame with [`Inbox::take`]; one inbox can serve many ends, one after the other.
#[derive(Debug)]
pub struct Inbox {
    frames: [[u8; FRAME_SIZE]; MOST],
    next: usize,
    filled: usize,
    ancillary: Ancillary,
    faults: Faults,
}

/// One frame, and what is known of its sender.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Parcel {
    /// What it says.
    pub command: Command,
    /// Whom it claims to be from.
    pub claimed: Option<SlotId>,
    /// Which process the kernel says it is from; `None` where the kernel was not asked, or cannot
    /// see the process from here.
    pub pid: Option<Pid>,
    /// How many descriptors came with it: as many calls of [`Inbox::descriptor`] take them.
    pub descriptors: usize,
}

/// What was wrong with what arrived, so far. Nothing of it harms the channel.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Faults {
    /// Frames without a meaning.
    pub malformed: u64,
    /// Reads that were no whole number of frames; the rest was dropped.
    pub odd: u64,
    /// Descriptors that no frame spoke of; they were closed.
    pub unexpected: u64,
    /// Descriptors that a frame spoke of and that did not come.
    pub missing: u64,
}

/// What one read brought.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Filled {
    /// How many frames.
    pub frames: usize,
    /// Whether the read was no whole number of frames.
    pub odd: bool,
    /// Whether more may wait. Where not, nothing but the end can lie behind what was read.
    pub more: bool,
}

/// Why nothing was read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ReceiveError {
    /// Nothing waits.
    Empty,
    /// Nobody who could send is left.
    Gone,
    /// As `Gone`; and whoever had the other end did not read all that was sent there. Said once.
    Unread,
    /// The kernel refused.
    Refused(Errno),
}

impl Inbox {
    /// An empty inbox.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            frames: [[0; FRAME_SIZE]; MOST],
            next: 0,
            filled: 0,
            ancillary: Ancillary::new(),
            faults: Faults {
                malformed: 0,
                odd: 0,
                unexpected: 0,
                missing: 0,
            },
        }
    }

    /// The next frame; `None` when all of the last read are out. Descriptors of the last
    /// frame that nobody took are closed then.
    ///
    /// # Errors
    ///
    /// [`Malformed`] for a frame without a meaning; it is counted, and the next one can be read.
    #[inline]
    pub fn take(&mut self) -> Option<Result<Parcel, Malformed>> {
        if self.next >= self.filled {
            self.close_descriptors();
            return None;
        }
        let frame = Frame::from_bytes(self.frames.get(self.next)?);
        self.next += 1;
        let came = if self.next == self.filled {
            self.ancillary.descriptors.len()
        } else {
            0
        };
        let command = match frame.command() {
            Ok(command) => command,
            Err(malformed) => {
                self.faults.malformed += 1;
                self.settle(came, 0);
                return Some(Err(malformed));
            }
        };
        let named = command.descriptors();
        if named != came {
            self.settle(came, named);
        }
        let pid = self.ancillary.sender.and_then(Pid::new);
        Some(Ok(Parcel {
            command,
            claimed: frame.sender(),
            pid,
            descriptors: named.min(came),
        }))
    }

    /// Whether frames of the last read are left.
    pub(crate) fn has_more(&self) -> bool {
        self.next < self.filled
    }

    /// The next descriptor that came with the frame that was read last.
    pub fn descriptor(&mut self) -> Option<OwnedFd> {
        if self.next == self.filled {
            self.ancillary.descriptors.pop()
        } else {
            None
        }
    }

    /// What was wrong so far.
    #[must_use]
    pub const fn faults(&self) -> Faults {
        self.faults
    }

    /// A frame spoke of `named` descriptors and `came` did: counts those that are missing, closes
    /// those that it did not speak of, the last ones, which lie first.
    #[cold]
    fn settle(&mut self, came: usize, named: usize) {
        self.faults.missing += named.saturating_sub(came) as u64;
        let surplus = came.saturating_sub(named);
        if surplus == 0 {
            return;
        }
        self.faults.unexpected += surplus as u64;
        self.ancillary.descriptors.rotate_left(surplus);
        socket::discard(&mut self.ancillary.descriptors, surplus);
    }

    /// Closes what came and nobody took.
    pub(crate) fn close_descriptors(&mut self) {
        let left = self.ancillary.descriptors.len();
        socket::discard(&mut self.ancillary.descriptors, left);
    }

    /// One read. Frames of an earlier one that were not taken out are lost.
    fn fill(&mut self, end: impl AsFd) -> Result<Filled, ReceiveError> {
        self.next = 0;
        self.filled = 0;
        let bytes = match socket::receive(end, self.frames.as_flattened_mut(), &mut self.ancillary)
        {
            Ok(0) => return Err(ReceiveError::Gone),
            Ok(bytes) => bytes,
            Err(Errno::AGAIN) => return Err(ReceiveError::Empty),
            Err(Errno::CONNRESET) => return Err(ReceiveError::Unread),
            Err(errno) => return Err(ReceiveError::Refused(errno)),
        };
        let frames = bytes / FRAME_SIZE;
        let odd = bytes % FRAME_SIZE != 0;
        let carried = self.ancillary.truncated || !self.ancillary.descriptors.is_empty();
        let more = frames == MOST || carried || self.ancillary.sender.is_some();
        self.faults.odd += u64::from(odd);
        self.filled = frames;
        self.ancillary.descriptors.reverse(); // so that `pop` takes them in order
        if frames == 0 {
            self.faults.unexpected += self.ancillary.descriptors.len() as u64;
            self.close_descriptors();
        }
        Ok(Filled { frames, odd, more })
    }
}

impl<L> Child<End1, L> {
    /// Reads up to 128 frames. Cost: one system call, no allocation.
    ///
    /// # Errors
    ///
    /// [`ReceiveError`]; `Empty` where nothing waits.
    pub fn receive(&self, inbox: &mut Inbox) -> Result<Filled, ReceiveError> {
        inbox.fill(self)
    }
}

impl Parent<End0> {
    /// Reads up to 128 frames. Cost: one system call, no allocation.
    ///
    /// # Errors
    ///
    /// [`ReceiveError`]; `Empty` where nothing waits.
    pub fn receive(&self, inbox: &mut Inbox) -> Result<Filled, ReceiveError> {
        inbox.fill(self)
    }
}

impl Default for Inbox {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for ReceiveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("nothing waits"),
            Self::Gone => f.write_str("nobody who could send is left"),
            Self::Unread => f.write_str("nobody is left, and not all was read"),
            Self::Refused(errno) => write!(f, "receive: {errno}"),
        }
    }
}

impl core::error::Error for ReceiveError {}
