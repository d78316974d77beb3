//! `SlotId`: the name of one life of one slot, in 32 bits.
//!
//! ```text
//!   31                          10 9          0
//!  ┌──────────────────────────────┬────────────┐
//!  │ generation, 1..=2^22 - 1     │ index      │
//!  └──────────────────────────────┴────────────┘
//! ```
//!
//! A pid may be reused by the kernel and an index is reused by us; the generation is what makes an
//! old name useless. It rises at every exit and never is 0, so the word 0 can mean "nobody"
//! wherever ids are stored. It wraps after 4,194,303 lives of one slot: at the back-off cap of one
//! life a second that is 48 days of unbroken crashing.
//!
//! # Why not a pid
//!
//! A pid names a process only as long as nobody has reaped it, and differs between pid namespaces.

use core::fmt;
use core::num::NonZeroU32;

/// How many slots there are, the masters' own rows included.
pub const SLOTS: usize = 1024;

/// How many slots children can have: the last two rows belong to masters (two, for the time of an
/// upgrade).
pub const CHILDREN: usize = SLOTS - 2;

const INDEX_BITS: u32 = 10;
const LAST_GENERATION: u32 = (1 << (32 - INDEX_BITS)) - 1;

/// A place in the table: 0 to 1023, checked once, when it is made.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(transparent)]
pub struct SlotIndex(u16);

impl SlotIndex {
    /// The last place: one of the masters' own.
    pub const LAST: Self = Self(SLOTS as u16 - 1);

    /// The place with this number, unless it lies outside of the table.
    #[must_use]
    pub const fn new(index: usize) -> Option<Self> {
        if index < SLOTS {
            Some(Self(index as u16))
        } else {
            None
        }
    }

    /// The number, for indexing.
    #[must_use]
    pub const fn as_usize(self) -> usize {
        self.0 as usize
    }
}

/// Which life of a slot: 1 to 4,194,303.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(transparent)]
pub struct Generation(NonZeroU32);

impl Generation {
    /// The first life of every slot.
    pub const FIRST: Self = Self(NonZeroU32::MIN);

    /// The generation with this number, unless it is 0 or needs more than 22 bits.
    #[must_use]
    pub const fn new(generation: u32) -> Option<Self> {
        match NonZeroU32::new(generation) {
            Some(nonzero) if generation <= LAST_GENERATION => Some(Self(nonzero)),
            _ => None,
        }
    }

    /// The number.
    #[must_use]
    pub const fn as_u32(self) -> u32 {
        self.0.get()
    }

    /// The next life; the last is followed by the first.
    #[must_use]
    pub const fn next(self) -> Self {
        match Self::new(self.0.get() + 1) {
            Some(next) => next,
            None => Self::FIRST,
        }
    }
}

/// One life of one slot: index and generation in one word that is never 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct SlotId(NonZeroU32);

impl SlotId {
    /// The master: last row of the table, first life.
    pub const MASTER: Self = Self::new(SlotIndex::LAST, Generation::FIRST);

    /// The id of this life of this slot.
    #[must_use]
    pub const fn new(index: SlotIndex, generation: Generation) -> Self {
        let word = generation.as_u32() << INDEX_BITS | index.0 as u32;
        match NonZeroU32::new(word) {
            Some(word) => Self(word),
            None => unreachable!(), // a generation is never 0
        }
    }

    /// The id that this word stands for; `None` for 0 and for a generation of 0.
    #[must_use]
    pub const fn from_u32(word: u32) -> Option<Self> {
        match NonZeroU32::new(word) {
            Some(nonzero) if word >> INDEX_BITS != 0 => Some(Self(nonzero)),
            _ => None,
        }
    }

    /// The word, as it is stored and sent.
    #[must_use]
    pub const fn as_u32(self) -> u32 {
        self.0.get()
    }

    /// Where in the table.
    #[must_use]
    pub const fn index(self) -> SlotIndex {
        SlotIndex((self.0.get() & (SLOTS as u32 - 1)) as u16)
    }

    /// Which life.
    #[must_use]
    pub const fn generation(self) -> Generation {
        match Generation::new(self.0.get() >> INDEX_BITS) {
            Some(generation) => generation,
            None => unreachable!(), // checked by both constructors
        }
    }

    /// The same slot's next life.
    #[must_use]
    pub const fn next(self) -> Self {
        Self::new(self.index(), self.generation().next())
    }
}

impl fmt::Debug for SlotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// `slot.generation`, such as `3.1`.
impl fmt::Display for SlotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.index().0, self.generation().as_u32())
    }
}

static_assertions::const_assert_eq!(SLOTS, 1 << INDEX_BITS);
static_assertions::assert_eq_size!(SlotId, Option<SlotId>, u32);
