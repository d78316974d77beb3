//! `Frame`: the shape of 32 bytes, and nothing of their meaning.

use core::fmt;
use core::mem::offset_of;

use crate::table::SlotId;
use crate::wire::{Command, Malformed};

/// How many bytes a frame has.
pub const FRAME_SIZE: usize = 32;

/// One frame, as it lies in memory and on a channel.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(C)]
pub struct Frame {
    pub(super) number: u32,
    pub(super) tag: u32,
    pub(super) pid: i32,
    pub(super) generation: u32,
    pub(super) slot: i64,
    pub(super) fd: i32,
    pub(super) sender: u32,
}

/// Fewer bytes than a frame has.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Short {
    /// How many there were.
    pub bytes: usize,
}

impl Frame {
    /// The frame that says this, in the name of `sender`.
    #[must_use]
    #[inline]
    pub fn new(command: Command, sender: Option<SlotId>) -> Self {
        command.to_frame(sender.map_or(0, SlotId::as_u32))
    }

    /// The frame at the start of these bytes.
    ///
    /// # Errors
    ///
    /// [`Short`] where there are fewer than 32.
    pub fn read(bytes: &[u8]) -> Result<Self, Short> {
        match bytes.first_chunk() {
            Some(frame) => Ok(Self::from_bytes(frame)),
            None => Err(Short { bytes: bytes.len() }),
        }
    }

    /// The frame that these bytes are: any 32 bytes are one.
    #[must_use]
    #[inline]
    pub const fn from_bytes(bytes: &[u8; FRAME_SIZE]) -> Self {
        let (command, rest) = split::<8, 24>(bytes);
        let (pid, rest) = split::<4, 20>(rest);
        let (generation, rest) = split::<4, 16>(rest);
        let (slot, rest) = split::<8, 8>(rest);
        let (fd, sender) = split::<4, 4>(rest);
        let command = u64::from_ne_bytes(*command);
        Self {
            number: command as u32,
            tag: (command >> 32) as u32,
            pid: i32::from_ne_bytes(*pid),
            generation: u32::from_ne_bytes(*generation),
            slot: i64::from_ne_bytes(*slot),
            fd: i32::from_ne_bytes(*fd),
            sender: u32::from_ne_bytes(*sender),
        }
    }

    /// The bytes that this frame is.
    #[must_use]
    #[inline]
    pub fn to_bytes(&self) -> [u8; FRAME_SIZE] {
        let command = u64::from(self.number) | u64::from(self.tag) << 32;
        let mut bytes = [0; FRAME_SIZE];
        let (words, _) = bytes.as_chunks_mut::<8>();
        if let [first, second, third, fourth] = words {
            *first = command.to_ne_bytes();
            *second = pair(self.pid.to_ne_bytes(), self.generation.to_ne_bytes());
            *third = self.slot.to_ne_bytes();
            *fourth = pair(self.fd.to_ne_bytes(), self.sender.to_ne_bytes());
        }
        bytes
    }

    /// What the frame says.
    ///
    /// # Errors
    ///
    /// [`Malformed`], which names the field that has no meaning.
    #[inline]
    pub fn command(&self) -> Result<Command, Malformed> {
        Command::from_frame(self)
    }

    /// Who claims to have sent it; `None` where nobody is named, as in a frame from nginx.
    #[must_use]
    pub const fn sender(&self) -> Option<SlotId> {
        SlotId::from_u32(self.sender)
    }
}

/// The whole frames at the start of these bytes, and how many bytes are left over behind them.
pub fn frames(bytes: &[u8]) -> (impl ExactSizeIterator<Item = Frame> + '_, usize) {
    let (frames, rest) = bytes.as_chunks();
    (frames.iter().map(Frame::from_bytes), rest.len())
}

const fn split<const A: usize, const B: usize>(bytes: &[u8]) -> (&[u8; A], &[u8; B]) {
    match (bytes.first_chunk(), bytes.last_chunk()) {
        (Some(first), Some(last)) => (first, last),
        _ => unreachable!(), // the sizes above add up to 32
    }
}

fn pair(low: [u8; 4], high: [u8; 4]) -> [u8; 8] {
    let [a, b, c, d] = low;
    let [e, f, g, h] = high;
    [a, b, c, d, e, f, g, h]
}

impl fmt::Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes are no frame of {FRAME_SIZE}", self.bytes)
    }
}

impl core::error::Error for Short {}

static_assertions::assert_eq_size!(Frame, [u8; FRAME_SIZE]);
static_assertions::const_assert_eq!(align_of::<Frame>(), 8);
static_assertions::const_assert_eq!(offset_of!(Frame, number), 0);
static_assertions::const_assert_eq!(offset_of!(Frame, tag), 4);
static_assertions::const_assert_eq!(offset_of!(Frame, pid), 8);
static_assertions::const_assert_eq!(offset_of!(Frame, generation), 12);
static_assertions::const_assert_eq!(offset_of!(Frame, slot), 16);
static_assertions::const_assert_eq!(offset_of!(Frame, fd), 24);
static_assertions::const_assert_eq!(offset_of!(Frame, sender), 28);
