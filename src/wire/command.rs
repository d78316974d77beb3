//! `Command`: what a frame says, once every field of it has been looked at.

use core::fmt;

use crate::table::{Generation, Pid, SlotId, SlotIndex};
use crate::wire::frame::Frame;

/// How many descriptors one message can carry: the kernel's SCM_MAX_FD.
pub const MOST_DESCRIPTORS: usize = 253;

const OPEN: u32 = 1;
const CLOSE: u32 = 2;
const QUIT: u32 = 3;
const TERMINATE: u32 = 4;
const REOPEN: u32 = 5;
const READY: u32 = 16;
const RESYNC: u32 = 17;
const FAILED: u32 = 18;
const DESCRIPTORS: u32 = 19;
const USER: u32 = 32;

const FD_NONE: i32 = -1;
const FD_FOLLOWS: i32 = -2;
const RESYNC_TABLE: i64 = 0;
const RESYNC_MESH: i64 = -1;

/// Everything that can be said on a channel.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Command {
    /// A sibling has this place. Said to that worker itself: its new mesh end comes with it.
    Open {
        /// The sibling.
        subject: Subject,
        /// Which change of the table this is: the low 32 bits of the table's version.
        version: u32,
        /// Where the sibling's descriptor is.
        attached: Attached,
    },
    /// Nobody has this place: every life before `subject` is over.
    Close {
        /// The place; the generation is that of its next life, which has not begun.
        subject: Subject,
        /// Which change of the table this is: the low 32 bits of the table's version.
        version: u32,
    },
    /// Finish what was begun, then exit.
    Quit,
    /// Exit now.
    Terminate,
    /// Open the log files again.
    Reopen,
    /// The worker serves.
    Ready,
    /// The worker missed something.
    Resync(Resync),
    /// The worker cannot serve.
    Failed {
        /// Which step of its set-up failed.
        stage: u32,
        /// The error of that step.
        errno: i32,
    },
    /// The descriptors of the last OPENs that said "follows", in their order.
    Descriptors {
        /// How many: 1 to 253.
        count: u8,
    },
    /// Something of the user's own.
    User(Message),
}

/// Whom a frame is about: never its sender.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Subject {
    /// Its place in the table.
    pub index: SlotIndex,
    /// Its life, or the next one in a CLOSE; `None` in a frame from nginx.
    pub generation: Option<Generation>,
    /// Its process; `None` where there is none.
    pub pid: Option<Pid>,
}

/// Where the descriptor of an OPEN is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Attached {
    /// It comes with this frame.
    Here,
    /// It comes with the next DESCRIPTORS frame.
    Follows,
    /// None comes: the receiver has held it since it was forked.
    Held,
}

/// What a worker missed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Resync {
    /// Every change of the table from this version (its low 32 bits) on.
    Table(u32),
    /// Its mesh pair is broken; it needs another.
    Mesh,
}

/// A message of the user's: a tag, 16 bytes, and whether a descriptor comes with it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Message {
    /// What the message is; the user's to choose.
    pub tag: u32,
    /// What it says.
    pub payload: [u8; 16],
    pub(crate) carries: bool,
}

/// Which field of a frame has no meaning, and what it was.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Malformed {
    /// No command has this number.
    Number(u32),
    /// A tag where none belongs, or a count of descriptors that no message has.
    Tag(u32),
    /// No slot has this number.
    Slot(i64),
    /// No generation has this number.
    Generation(u32),
    /// No process has this number.
    Pid(i32),
    /// Neither a descriptor nor a word for the lack of one.
    Fd(i32),
}

impl Message {
    /// A message without a descriptor.
    #[must_use]
    pub const fn new(tag: u32, payload: [u8; 16]) -> Self {
        Self {
            tag,
            payload,
            carries: false,
        }
    }

    /// Whether a descriptor comes with it.
    #[must_use]
    pub const fn carries_descriptor(&self) -> bool {
        self.carries
    }
}

impl Subject {
    /// The subject with this id and process.
    #[must_use]
    pub const fn new(slot: SlotId, pid: Option<Pid>) -> Self {
        Self {
            index: slot.index(),
            generation: Some(slot.generation()),
            pid,
        }
    }

    /// Its id; `None` where its life is not named.
    #[must_use]
    pub fn slot(&self) -> Option<SlotId> {
        self.generation
            .map(|generation| SlotId::new(self.index, generation))
    }

    fn from_frame(frame: &Frame) -> Result<Self, Malformed> {
        let index = usize::try_from(frame.slot).ok().and_then(SlotIndex::new);
        let generation = Generation::new(frame.generation);
        if generation.is_none() && frame.generation != 0 {
            return Err(Malformed::Generation(frame.generation));
        }
        if frame.pid < 0 {
            return Err(Malformed::Pid(frame.pid));
        }
        let index = index.ok_or(Malformed::Slot(frame.slot))?;
        Ok(Self {
            index,
            generation,
            pid: Pid::new(frame.pid),
        })
    }

    fn in_frame(self, frame: Frame) -> Frame {
        Frame {
            slot: self.index.as_usize() as i64,
            generation: self.generation.map_or(0, Generation::as_u32),
            pid: self.pid.map_or(0, Pid::as_i32),
            ..frame
        }
    }
}

impl Attached {
    const fn from_fd(fd: i32) -> Result<Self, Malformed> {
        match fd {
            0.. => Ok(Self::Here),
            FD_NONE => Ok(Self::Held),
            FD_FOLLOWS => Ok(Self::Follows),
            _ => Err(Malformed::Fd(fd)),
        }
    }

    const fn fd(self) -> i32 {
        match self {
            Self::Here => 0,
            Self::Held => FD_NONE,
            Self::Follows => FD_FOLLOWS,
        }
    }
}

impl Command {
    /// Whether a message with this frame carries descriptors, and how many.
    #[must_use]
    pub const fn descriptors(&self) -> usize {
        match self {
            Self::Open {
                attached: Attached::Here,
                ..
            } => 1,
            Self::User(message) if message.carries => 1,
            Self::Descriptors { count } => *count as usize,
            _ => 0,
        }
    }

    #[inline]
    pub(super) fn from_frame(frame: &Frame) -> Result<Self, Malformed> {
        let version = frame.tag;
        let bare = |command| {
            if frame.tag == 0 {
                Ok(command)
            } else {
                Err(Malformed::Tag(frame.tag))
            }
        };
        match frame.number {
            OPEN => {
                let attached = Attached::from_fd(frame.fd)?;
                Ok(Self::Open {
                    subject: Subject::from_frame(frame)?,
                    version,
                    attached,
                })
            }
            CLOSE => Ok(Self::Close {
                subject: Subject::from_frame(frame)?,
                version,
            }),
            QUIT => bare(Self::Quit),
            TERMINATE => bare(Self::Terminate),
            REOPEN => bare(Self::Reopen),
            READY => bare(Self::Ready),
            RESYNC => match frame.slot {
                RESYNC_TABLE => Ok(Self::Resync(Resync::Table(version))),
                RESYNC_MESH => Ok(Self::Resync(Resync::Mesh)),
                slot => Err(Malformed::Slot(slot)),
            },
            FAILED => Ok(Self::Failed {
                stage: frame.tag,
                errno: frame.pid,
            }),
            DESCRIPTORS => match u8::try_from(frame.tag) {
                Ok(count @ 1..) if count as usize <= MOST_DESCRIPTORS => {
                    Ok(Self::Descriptors { count })
                }
                _ => Err(Malformed::Tag(frame.tag)),
            },
            USER => match Attached::from_fd(frame.fd)? {
                Attached::Follows => Err(Malformed::Fd(frame.fd)),
                attached => Ok(Self::User(user_message(frame, attached == Attached::Here))),
            },
            number => Err(Malformed::Number(number)),
        }
    }

    #[inline]
    pub(super) fn to_frame(self, sender: u32) -> Frame {
        let plain = |number| Frame {
            number,
            tag: 0,
            pid: 0,
            generation: 0,
            slot: 0,
            fd: FD_NONE,
            sender,
        };
        match self {
            Self::Open {
                subject,
                version,
                attached,
            } => subject.in_frame(Frame {
                tag: version,
                fd: attached.fd(),
                ..plain(OPEN)
            }),
            Self::Close { subject, version } => subject.in_frame(Frame {
                tag: version,
                ..plain(CLOSE)
            }),
            Self::Quit => plain(QUIT),
            Self::Terminate => plain(TERMINATE),
            Self::Reopen => plain(REOPEN),
            Self::Ready => plain(READY),
            Self::Resync(Resync::Table(version)) => Frame {
                tag: version,
                slot: RESYNC_TABLE,
                ..plain(RESYNC)
            },
            Self::Resync(Resync::Mesh) => Frame {
                slot: RESYNC_MESH,
                ..plain(RESYNC)
            },
            Self::Failed { stage, errno } => Frame {
                tag: stage,
                pid: errno,
                ..plain(FAILED)
            },
            Self::Descriptors { count } => Frame {
                tag: count.into(),
                fd: Attached::Here.fd(),
                ..plain(DESCRIPTORS)
            },
            Self::User(message) => user_frame(message, plain(USER)),
        }
    }
}

fn user_message(frame: &Frame, carries: bool) -> Message {
    let low = u64::from(frame.pid as u32) | u64::from(frame.generation) << 32;
    let payload = u128::from(low) | u128::from(frame.slot as u64) << 64;
    Message {
        tag: frame.tag,
        payload: payload.to_le_bytes(),
        carries,
    }
}

fn user_frame(message: Message, frame: Frame) -> Frame {
    let payload = u128::from_le_bytes(message.payload);
    let fd = if message.carries {
        Attached::Here.fd()
    } else {
        FD_NONE
    };
    Frame {
        tag: message.tag,
        pid: payload as i32,
        generation: (payload >> 32) as u32,
        slot: (payload >> 64) as i64,
        fd,
        ..frame
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "no command has the number {number}"),
            Self::Tag(tag) => write!(f, "the tag {tag:#x} has no meaning here"),
            Self::Slot(slot) => write!(f, "there is no slot {slot}"),
            Self::Generation(generation) => write!(f, "there is no generation {generation}"),
            Self::Pid(pid) => write!(f, "no process has the number {pid}"),
            Self::Fd(fd) => write!(f, "{fd} says nothing of a descriptor"),
        }
    }
}

impl core::error::Error for Malformed {}

static_assertions::const_assert!(MOST_DESCRIPTORS <= u8::MAX as usize);
