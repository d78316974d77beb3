//! `Handle`: the name of one life of one block, in 64 bits that mean the same in every process.
//!
//! ```text
//!   63 62    58 57                      32 31    26 25    20 19                0
//!  ┌──┬────────┬──────────────────────────┬────────┬────────┬──────────────────┐
//!  │ 1│ class  │ page                     │ index  │ zone   │ generation       │
//!  └──┴────────┴──────────────────────────┴────────┴────────┴──────────────────┘
//!       31: run                                                0 means "none"
//! ```
//!
//! A handle is no right: it can be copied, sent, and kept for too long. Every use of it is checked
//! against the block's word, which names a holder and a generation.
//!
//! # Invariants
//!
//! - A handle of one zone is refused by every other, as long as their tags differ (test
//!   `a_handle_of_another_zone_is_refused`).
//! - No 64 bits make an operation look outside of its zone (test `no_handle_leads_astray`).
//!
//! # Why not an address
//!
//! The zone lies elsewhere in every process, and an address names all the objects that will ever be
//! there. A stale handle is told from a fresh one for 1,048,576 lives of one block.

use core::fmt;
use core::num::NonZeroU64;

use super::geometry::Class;

const VALID: u64 = 1 << 63;
const CLASS_SHIFT: u32 = 58;
const CLASS: u64 = 0x1F;
const RUN: u64 = CLASS;
const PAGE_SHIFT: u32 = 32;
const PAGE: u64 = (1 << 26) - 1;
const INDEX_SHIFT: u32 = 26;
const INDEX: u64 = 0x3F;
const ZONE_SHIFT: u32 = 20;
const ZONE: u64 = 0x3F;
const GENERATION: u64 = (1 << 20) - 1;

/// Tells the handles of 64 zones apart. All processes give a zone the same tag.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[repr(transparent)]
pub struct ZoneTag(u8);

impl ZoneTag {
    /// The tag of the zone with this number; those 64 apart have the same one, and then a handle of
    /// the one may be taken for a handle of the other.
    #[must_use]
    pub const fn of(zone: usize) -> Self {
        Self((zone % 64) as u8)
    }
}

/// The name of one life of one block.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Handle(NonZeroU64);

impl Handle {
    pub(super) const fn new(
        zone: ZoneTag,
        class: Option<Class>,
        page: usize,
        index: usize,
        generation: u32,
    ) -> Self {
        let class = match class {
            Some(class) => class.as_usize() as u64,
            None => RUN,
        };
        let place = (page as u64 & PAGE) << PAGE_SHIFT | (index as u64 & INDEX) << INDEX_SHIFT;
        let life = (zone.0 as u64) << ZONE_SHIFT | generation as u64 & GENERATION;
        match NonZeroU64::new(VALID | class << CLASS_SHIFT | place | life) {
            Some(word) => Self(word),
            None => unreachable!(), // a bit is set
        }
    }

    /// The handle that this word stands for; `None` for 0 and for other words that are none.
    #[must_use]
    pub const fn from_u64(word: u64) -> Option<Self> {
        match NonZeroU64::new(word) {
            Some(nonzero) if word & VALID != 0 => Some(Self(nonzero)),
            _ => None,
        }
    }

    /// The word, as it is stored and sent.
    #[must_use]
    pub const fn as_u64(self) -> u64 {
        self.0.get()
    }

    /// The class of the block; `None` for a run of pages, and for a class that cannot be.
    #[must_use]
    pub const fn class(self) -> Option<Class> {
        Class::new((self.as_u64() >> CLASS_SHIFT & CLASS) as usize)
    }

    /// Whether the block is a run of pages.
    #[must_use]
    pub const fn is_run(self) -> bool {
        self.as_u64() >> CLASS_SHIFT & CLASS == RUN
    }

    /// The page that it lies in, or begins at.
    #[must_use]
    pub const fn page(self) -> usize {
        (self.as_u64() >> PAGE_SHIFT & PAGE) as usize
    }

    /// Which block of its page.
    #[must_use]
    pub const fn index(self) -> usize {
        (self.as_u64() >> INDEX_SHIFT & INDEX) as usize
    }

    /// Whose handle it is.
    #[must_use]
    pub const fn zone(self) -> ZoneTag {
        ZoneTag((self.as_u64() >> ZONE_SHIFT & ZONE) as u8)
    }

    /// Which life of the block: 0 to 1,048,575.
    #[must_use]
    pub const fn generation(self) -> u32 {
        (self.as_u64() & GENERATION) as u32
    }

    /// The same place in another life.
    pub(super) const fn in_life(self, generation: u32) -> Self {
        match NonZeroU64::new(self.as_u64() & !GENERATION | generation as u64 & GENERATION) {
            Some(word) => Self(word),
            None => unreachable!(), // the valid bit stays
        }
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// `page/index.generation`, such as `3/17.2`; a run is `3/run.2`.
impl fmt::Display for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (page, generation) = (self.page(), self.generation());
        match self.is_run() {
            true => write!(f, "{page}/run.{generation}"),
            false => write!(f, "{page}/{}.{generation}", self.index()),
        }
    }
}

/// How many pages a zone can have: 256 GiB of pages of 4096 bytes.
pub(super) const MOST_PAGES: usize = PAGE as usize + 1;

static_assertions::assert_eq_size!(Handle, Option<Handle>, u64);
static_assertions::const_assert!(Class::MOST < RUN as usize);
static_assertions::const_assert_eq!(GENERATION as u32 + 1, super::word::BlockWord::GENERATIONS);
