//! `Letter`: what two masters say to each other while one takes over from the other.
//!
//! Each letter is one message of a socket that keeps messages apart. It begins with its kind (u32);
//! all numbers are little-endian, and a letter has exactly the length that its kind says.
//!
//! ```text
//!   kind            what lies behind it                                                descriptors
//!    1 HELLO        version u32 · "FORKMESH" · pid i32 · count u16 · relayed u16 ·        1: a pidfd of the sender;
//!                   mask u64 · 16 words                                                   and 1 to the relay, if relayed
//!    2 DESCRIPTOR   its name, 1 to 107 bytes of UTF-8                                      1
//!    3 END                                                                                 0
//!    4 GROUP        count u16 · more u16 · its name, as above                              count, 1 to 253
//!   16 READY                                                                               0
//!   17 NO ROOM      needed u32 · free u32                                                  0
//!   18 FAILED       stage u32 · errno i32                                                  0
//!   32 FREED        16 words                                                               0
//!   33 RELAYS                                                                              0
//!   48 LAUNCH       arguments u32 · variables u32                                          2: a package, a socket
//!   49 LAUNCHED     pid i32                                                                1: its pidfd
//!   50 NOT LAUNCHED errno i32                                                              0
//!   51 ENDED        code u32 · signal u32, 0 for none                                      0
//! ```
//!
//! The last four are between a master and the relay that launched it. A group whose GROUP says that there
//! is more goes on in the letter behind it, until nothing more is to come; it has 1 to 1022 descriptors,
//! in an order that is kept, and counts as one name.
//!
//! The version stands where every version will have it, and only HELLO has one: whoever cannot read
//! it says so, and hears nothing else.

use core::{fmt, str};

use crate::table::{CHILDREN, Pid, SLOTS, SlotSet};
use crate::wire::MOST_DESCRIPTORS;

/// The longest letter, in bytes.
pub const LONGEST_LETTER: usize = 160;
/// How many names a predecessor can hand descriptors over by.
pub const MOST_NAMED: usize = 64;
/// How many descriptors can share one name: one for each child that there can be.
pub const MOST_GROUPED: usize = CHILDREN;
/// How many descriptors can be handed over by name, in groups and alone.
pub const MOST_PASSED: usize = 2048;
/// How long the name of a descriptor can be, in bytes.
pub const LONGEST_NAME: usize = 107;
/// The layout that this page describes.
pub const LETTER_VERSION: u32 = 2;
/// The stage of a FAILED that the child says before it is another program: exec itself.
pub const STAGE_EXEC: u32 = 0;

const MAGIC: [u8; 8] = *b"FORKMESH";

const HELLO: u32 = 1;
const DESCRIPTOR: u32 = 2;
const END: u32 = 3;
const GROUP: u32 = 4;
const READY: u32 = 16;
const NO_ROOM: u32 = 17;
const FAILED: u32 = 18;
const FREED: u32 = 32;
const RELAYS: u32 = 33;
const LAUNCH: u32 = 48;
const LAUNCHED: u32 = 49;
const NOT_LAUNCHED: u32 = 50;
const ENDED: u32 = 51;

/// Everything that two masters can say to each other.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Letter {
    /// The predecessor introduces itself.
    Hello(Hello),
    /// A descriptor of this name comes with it.
    Descriptor(Name),
    /// Descriptors of this name come with it, and perhaps behind it.
    Group {
        /// The name of them all.
        name: Name,
        /// How many come with this letter.
        count: u16,
        /// How many come in the letters behind it.
        more: u16,
    },
    /// That was all, for now.
    End,
    /// The successor serves.
    Ready,
    /// The successor needs more slots than are free.
    NoRoom {
        /// How many it needs.
        needed: u32,
        /// How many it found free.
        free: u32,
    },
    /// The successor cannot serve.
    Failed {
        /// Which step failed: [`STAGE_EXEC`], or the program's own.
        stage: u32,
        /// The error.
        errno: i32,
    },
    /// The predecessor uses these slots no longer.
    Freed(SlotSet),
    /// The predecessor stays, and launches whoever comes next.
    Relays,
    /// To a relay: launch the program of the package, with the socket that comes behind it.
    Launch {
        /// How many of the strings in the package, behind the path, are arguments.
        arguments: u32,
        /// How many behind those are variables.
        variables: u32,
    },
    /// From a relay: this is the program's process.
    Launched(Pid),
    /// From a relay: there is no process.
    NotLaunched {
        /// Why.
        errno: i32,
    },
    /// From a relay: the program that it launched has ended.
    Ended {
        /// Its exit code, where no signal ended it.
        code: u32,
        /// The signal that ended it; 0 for none.
        signal: u32,
    },
}

/// What a predecessor says of itself.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Hello {
    /// Who it is.
    pub pid: Pid,
    /// Which signals were blocked before it blocked its own: bit n - 1 for signal n.
    pub mask: u64,
    /// The slots that it uses.
    pub slots: SlotSet,
    /// How many names of descriptors follow: 64 at the most.
    pub descriptors: u16,
    /// Whether a relay launches the successor, to which an end comes with this.
    pub relayed: bool,
}

/// The name of a descriptor: 1 to 107 bytes of UTF-8.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Name {
    bytes: [u8; LONGEST_NAME],
    length: u8,
}

/// Why a letter cannot be read.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Unreadable {
    /// It is shorter or longer than its kind.
    Length {
        /// How many bytes it has.
        bytes: usize,
    },
    /// No letter has this kind.
    Kind(u32),
    /// It would be a HELLO, and is none of ours.
    Magic,
    /// It is a HELLO in a layout that is not known here.
    Version(u32),
    /// No process has this number.
    Pid(i32),
    /// Nobody hands over so many descriptors.
    Descriptors(u16),
    /// Neither that a relay launches the successor, nor that none does.
    Relayed(u16),
    /// The name is no UTF-8.
    Name,
}

/// The bytes of a letter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LetterBytes {
    bytes: [u8; LONGEST_LETTER],
    length: usize,
}

impl Name {
    /// This name, unless it is empty or longer than 107 bytes.
    #[must_use]
    pub fn new(name: &str) -> Option<Self> {
        let mut bytes = [0; LONGEST_NAME];
        bytes
            .get_mut(..name.len())?
            .copy_from_slice(name.as_bytes());
        (!name.is_empty()).then_some(Self {
            bytes,
            length: name.len() as u8,
        })
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        let bytes = self.bytes.get(..usize::from(self.length));
        bytes
            .and_then(|bytes| str::from_utf8(bytes).ok())
            .unwrap_or_default() // it was made of text, and of no more than there is room for
    }
}

impl Letter {
    /// Reads one message.
    ///
    /// # Errors
    ///
    /// [`Unreadable`], which says what has no meaning.
    pub fn read(bytes: &[u8]) -> Result<Self, Unreadable> {
        let mut rest = Rest {
            bytes,
            length: bytes.len(),
        };
        let letter = match rest.u32()? {
            HELLO => Self::Hello(Hello::read(&mut rest)?),
            DESCRIPTOR => Self::Descriptor(rest.name()?),
            GROUP => Self::group(&mut rest)?,
            END => Self::End,
            READY => Self::Ready,
            NO_ROOM => Self::NoRoom {
                needed: rest.u32()?,
                free: rest.u32()?,
            },
            FAILED => Self::Failed {
                stage: rest.u32()?,
                errno: rest.u32()? as i32,
            },
            FREED => Self::Freed(rest.slots()?),
            RELAYS => Self::Relays,
            LAUNCH => Self::Launch {
                arguments: rest.u32()?,
                variables: rest.u32()?,
            },
            LAUNCHED => Self::Launched(rest.pid()?),
            NOT_LAUNCHED => Self::NotLaunched {
                errno: rest.u32()? as i32,
            },
            ENDED => Self::Ended {
                code: rest.u32()?,
                signal: rest.u32()?,
            },
            kind => return Err(Unreadable::Kind(kind)),
        };
        rest.end().map(|()| letter)
    }

    /// The message that says this.
    #[must_use]
    pub fn to_bytes(&self) -> LetterBytes {
        match self {
            Self::Hello(hello) => hello.write(LetterBytes::new(HELLO)),
            Self::Descriptor(name) => LetterBytes::new(DESCRIPTOR).put(name.as_str().as_bytes()),
            Self::Group { name, count, more } => {
                let bytes = LetterBytes::new(GROUP).put(&count.to_le_bytes());
                let bytes = bytes.put(&more.to_le_bytes());
                bytes.put(name.as_str().as_bytes())
            }
            Self::End => LetterBytes::new(END),
            Self::Ready => LetterBytes::new(READY),
            Self::NoRoom { needed, free } => LetterBytes::new(NO_ROOM).u32(*needed).u32(*free),
            Self::Failed { stage, errno } => {
                LetterBytes::new(FAILED).u32(*stage).u32(*errno as u32)
            }
            Self::Freed(slots) => LetterBytes::new(FREED).slots(slots),
            Self::Relays => LetterBytes::new(RELAYS),
            Self::Launch {
                arguments,
                variables,
            } => LetterBytes::new(LAUNCH).u32(*arguments).u32(*variables),
            Self::Launched(pid) => LetterBytes::new(LAUNCHED).u32(pid.as_i32() as u32),
            Self::NotLaunched { errno } => LetterBytes::new(NOT_LAUNCHED).u32(*errno as u32),
            Self::Ended { code, signal } => LetterBytes::new(ENDED).u32(*code).u32(*signal),
        }
    }

    fn group(rest: &mut Rest<'_>) -> Result<Self, Unreadable> {
        let (count, more) = (rest.u16()?, rest.u16()?);
        let most = MOST_DESCRIPTORS as u16;
        if !(1..=most).contains(&count) || usize::from(count) + usize::from(more) > MOST_GROUPED {
            return Err(Unreadable::Descriptors(count));
        }
        let name = rest.name()?;
        Ok(Self::Group { name, count, more })
    }

    /// How many descriptors come with it.
    #[must_use]
    pub const fn descriptors(&self) -> usize {
        match self {
            Self::Hello(hello) => 1 + hello.relayed as usize,
            Self::Descriptor(_) | Self::Launched(_) => 1,
            Self::Group { count, .. } => *count as usize,
            Self::Launch { .. } => 2,
            _ => 0,
        }
    }
}

impl Hello {
    fn read(rest: &mut Rest<'_>) -> Result<Self, Unreadable> {
        let version = rest.u32()?;
        if rest.chunk()? != MAGIC {
            return Err(Unreadable::Magic);
        }
        if version != LETTER_VERSION {
            return Err(Unreadable::Version(version));
        }
        let pid = rest.pid()?;
        let (descriptors, relayed) = (rest.u16()?, rest.u16()?);
        if usize::from(descriptors) > MOST_NAMED {
            return Err(Unreadable::Descriptors(descriptors));
        }
        if relayed > 1 {
            return Err(Unreadable::Relayed(relayed));
        }
        Ok(Self {
            pid,
            mask: rest.u64()?,
            slots: rest.slots()?,
            descriptors,
            relayed: relayed == 1,
        })
    }

    fn write(&self, bytes: LetterBytes) -> LetterBytes {
        let bytes = bytes.u32(LETTER_VERSION).put(&MAGIC);
        let bytes = bytes.u32(self.pid.as_i32() as u32);
        let bytes = bytes.put(&self.descriptors.to_le_bytes());
        let bytes = bytes.put(&u16::from(self.relayed).to_le_bytes());
        bytes.put(&self.mask.to_le_bytes()).slots(&self.slots)
    }
}

/// What of a letter has not been read yet.
struct Rest<'b> {
    bytes: &'b [u8],
    /// The length of the whole.
    length: usize,
}

impl Rest<'_> {
    fn chunk<const N: usize>(&mut self) -> Result<[u8; N], Unreadable> {
        let (first, rest) = self.bytes.split_first_chunk().ok_or(self.odd())?;
        self.bytes = rest;
        Ok(*first)
    }

    fn u16(&mut self) -> Result<u16, Unreadable> {
        self.chunk().map(u16::from_le_bytes)
    }

    fn pid(&mut self) -> Result<Pid, Unreadable> {
        let pid = self.u32()? as i32;
        Pid::new(pid).ok_or(Unreadable::Pid(pid))
    }

    fn u32(&mut self) -> Result<u32, Unreadable> {
        self.chunk().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, Unreadable> {
        self.chunk().map(u64::from_le_bytes)
    }

    fn slots(&mut self) -> Result<SlotSet, Unreadable> {
        let mut words = [0; SLOTS / 64];
        for word in &mut words {
            *word = self.u64()?;
        }
        Ok(SlotSet::from_words(words))
    }

    /// All that is left is a name.
    fn name(&mut self) -> Result<Name, Unreadable> {
        let bytes = core::mem::take(&mut self.bytes);
        let text = str::from_utf8(bytes).map_err(|_| Unreadable::Name)?;
        Name::new(text).ok_or(self.odd())
    }

    fn end(&self) -> Result<(), Unreadable> {
        if self.bytes.is_empty() {
            Ok(())
        } else {
            Err(self.odd())
        }
    }

    const fn odd(&self) -> Unreadable {
        Unreadable::Length { bytes: self.length }
    }
}

impl LetterBytes {
    const fn new(kind: u32) -> Self {
        let empty = Self {
            bytes: [0; LONGEST_LETTER],
            length: 0,
        };
        empty.u32(kind)
    }

    /// The bytes, to be sent as one message.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }

    const fn put(mut self, part: &[u8]) -> Self {
        let (_, room) = self.bytes.split_at_mut(self.length);
        let (room, _) = room.split_at_mut(part.len()); // the longest letter has room for every kind
        room.copy_from_slice(part);
        self.length += part.len();
        self
    }

    const fn u32(self, number: u32) -> Self {
        self.put(&number.to_le_bytes())
    }

    fn slots(self, slots: &SlotSet) -> Self {
        let words = slots.to_words();
        words
            .iter()
            .fold(self, |bytes, word| bytes.put(&word.to_le_bytes()))
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length { bytes } => write!(f, "no letter of its kind has {bytes} bytes"),
            Self::Kind(kind) => write!(f, "no letter has the kind {kind}"),
            Self::Magic => f.write_str("it is no letter of a master"),
            Self::Version(version) => write!(f, "the version {version} of letters is not known"),
            Self::Pid(pid) => write!(f, "no process has the number {pid}"),
            Self::Descriptors(count) => write!(f, "nobody hands over {count} descriptors"),
            Self::Relayed(word) => write!(f, "{word} says nothing of a relay"),
            Self::Name => f.write_str("the name of a descriptor is no text"),
        }
    }
}

impl core::error::Error for Unreadable {}

/// A HELLO and a name at its longest fit.
const _: () = assert!(
    4 + 4 + MAGIC.len() + 4 + 4 + 8 + SLOTS / 8 <= LONGEST_LETTER
        && 4 + 4 + LONGEST_NAME <= LONGEST_LETTER
);
