//! `Layout`: what lies where in a zone. Numbers alone; whoever maps the memory casts the words.
//!
//! ```text
//!   ┌────────┬───────┬──────────┬────────────┬───────┬──────────┬────────────┬────────────┬─────────┐
//!   │ header │ roots │ rows     │ statistics │ pages │ blocks   │ free hints │ part hints │ data    │
//!   │ u64×8  │ u64×8 │ u32×(S+2)│ u32×N·C·4  │ u64×P │ u32×P·64 │ u64×P/64   │ u64×C·P/64 │ P pages │
//!   └────────┴───────┴──────────┴────────────┴───────┴──────────┴────────────┴────────────┴─────────┘
//!   0        each section begins on a cache line; the data on a page           P pages, C classes, S slots
//! ```
//!
//! P is the largest number for which everything fits: of each 4362 bytes, 4096 are data.
//!
//! # Invariants
//!
//! - Sections do not overlap, and end within the zone (test `sections_lie_apart`).
//!
//! # Why the words lie apart from the blocks
//!
//! A process that is late changes a word that it read long ago. Here it hits a word, for ever; in a
//! header within the page it would hit what a user has put there since.

use core::fmt;
use core::ops::Range;

use super::geometry::{Class, Geometry};
use super::handle::MOST_PAGES;
use crate::table::{CHILDREN, SLOTS, SlotIndex};

const LINE: usize = 64;
/// Below this, one shard of statistics; from here on, [`MOST_SHARDS`].
const LARGE: usize = 1 << 20;
const MOST_SHARDS: usize = 8;

/// How many words the header has.
pub(super) const HEADER_WORDS: usize = 8;
/// How many roots there are.
const ROOTS: usize = 8;
/// How many counters a class has in each shard.
pub(super) const COUNTERS: usize = 4;
/// The masters' rows follow those of children.
const MASTERS: usize = SLOTS - CHILDREN;

/// A part of a zone.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Section {
    /// 64-bit words: what the zone is.
    Header,
    /// 64-bit links, for those who use the zone to find what is in it.
    Roots,
    /// 32-bit words: who has joined.
    Rows,
    /// 32-bit words: counters.
    Statistics,
    /// 64-bit words: one a page.
    Pages,
    /// 32-bit words: [`Geometry::words`] a page.
    Blocks,
    /// 64-bit words: a bit a page.
    FreeHints,
    /// 64-bit words: a bit a page, for each class.
    PartHints,
    /// The pages.
    Data,
}

impl Section {
    /// All of them, in the order in which they lie.
    pub const ALL: [Self; 9] = [
        Self::Header,
        Self::Roots,
        Self::Rows,
        Self::Statistics,
        Self::Pages,
        Self::Blocks,
        Self::FreeHints,
        Self::PartHints,
        Self::Data,
    ];
}

/// What lies where in a zone.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    geometry: &'static Geometry,
    length: usize,
    slots: usize,
    shards: usize,
    pages: usize,
}

/// Why a zone cannot be laid out.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum NoLayout {
    /// Not one page fits in.
    TooSmall,
    /// More pages than a handle can name: 67,108,864.
    TooLarge,
    /// Children have 1 to 1022 slots.
    Slots,
}

impl Layout {
    /// A zone of this many bytes for the processes of `slots` children and two masters.
    ///
    /// # Errors
    ///
    /// [`NoLayout`].
    pub fn new(geometry: &'static Geometry, length: usize, slots: usize) -> Result<Self, NoLayout> {
        if slots == 0 || slots > CHILDREN {
            return Err(NoLayout::Slots);
        }
        let page = geometry.page_size() + 8 + 4 * geometry.words();
        let mut layout = Self {
            geometry,
            length,
            slots,
            shards: if length < LARGE { 1 } else { MOST_SHARDS },
            pages: length / page, // too many: sections are rounded, and hints are not counted
        };
        while layout.pages > 0 && layout.end() > length {
            let excess = layout.end() - length;
            layout.pages -= (excess / (2 * page)).clamp(1, layout.pages);
        }
        match layout.pages {
            0 => Err(NoLayout::TooSmall),
            1..=MOST_PAGES => Ok(layout),
            _ => Err(NoLayout::TooLarge),
        }
    }

    /// A zone of exactly so many pages, as long as it needs to be.
    ///
    /// # Errors
    ///
    /// [`NoLayout`].
    pub fn with_pages(
        geometry: &'static Geometry,
        pages: usize,
        slots: usize,
    ) -> Result<Self, NoLayout> {
        if slots == 0 || slots > CHILDREN {
            return Err(NoLayout::Slots);
        }
        match pages {
            0 => return Err(NoLayout::TooSmall),
            1..=MOST_PAGES => {}
            _ => return Err(NoLayout::TooLarge),
        }
        let mut layout = Self {
            geometry,
            length: 0,
            slots,
            shards: 1,
            pages,
        };
        layout.length = layout.end();
        if layout.length >= LARGE {
            layout.shards = MOST_SHARDS;
            layout.length = layout.end();
        }
        Ok(layout)
    }

    /// The same zone, which keeps no counters.
    #[must_use]
    pub const fn without_statistics(mut self) -> Self {
        self.shards = 0;
        self
    }

    /// The sizes of pages and of blocks.
    #[must_use]
    pub const fn geometry(&self) -> &'static Geometry {
        self.geometry
    }

    /// The length of the whole zone in bytes.
    #[must_use]
    pub const fn length(&self) -> usize {
        self.length
    }

    /// How many pages there are.
    #[must_use]
    pub const fn pages(&self) -> usize {
        self.pages
    }

    /// How many slots of children there are.
    #[must_use]
    pub const fn slots(&self) -> usize {
        self.slots
    }

    /// Where a section lies, in bytes from the beginning of the zone. The zone itself begins on a
    /// page.
    #[must_use]
    pub fn range(&self, section: Section) -> Range<usize> {
        let mut at = 0;
        for each in Section::ALL {
            let align = match each {
                Section::Data => self.geometry.page_size().max(LINE),
                _ => LINE,
            };
            at = usize::next_multiple_of(at, align);
            let end = at + self.count(each) * Self::unit(each);
            if each == section {
                return at..end;
            }
            at = end;
        }
        at..at // every section is in the list
    }

    /// How many words a section has, or bytes for [`Section::Data`].
    #[must_use]
    pub const fn count(&self, section: Section) -> usize {
        let classes = self.geometry.class_count();
        match section {
            Section::Header => HEADER_WORDS,
            Section::Roots => ROOTS,
            Section::Rows => self.slots + MASTERS,
            Section::Statistics => self.shards * classes * COUNTERS,
            Section::Pages => self.pages,
            Section::Blocks => self.pages * self.geometry.words(),
            Section::FreeHints => self.hint_words(),
            Section::PartHints => self.hint_words() * classes,
            Section::Data => self.pages * self.geometry.page_size(),
        }
    }

    const fn unit(section: Section) -> usize {
        match section {
            Section::Rows | Section::Statistics | Section::Blocks => 4,
            Section::Header | Section::Roots | Section::Pages => 8,
            Section::FreeHints | Section::PartHints => 8,
            Section::Data => 1,
        }
    }

    fn end(&self) -> usize {
        self.range(Section::Data).end
    }

    /// How many words a bit for each page takes.
    pub(super) const fn hint_words(&self) -> usize {
        self.pages.div_ceil(64)
    }

    pub(super) const fn shards(&self) -> usize {
        self.shards
    }

    /// Which row is that of a slot; `None` for a slot that this zone has no row for.
    pub(super) const fn row(&self, slot: SlotIndex) -> Option<usize> {
        let slot = slot.as_usize();
        if slot < self.slots {
            Some(slot)
        } else if slot >= CHILDREN {
            Some(self.slots + slot - CHILDREN)
        } else {
            None
        }
    }

    /// Where a block of a class lies, in bytes from the beginning of the zone.
    pub(super) fn block_at(&self, page: usize, class: Class, index: usize) -> usize {
        self.page_at(page) + index * self.geometry.size(class)
    }

    /// Where a page lies, in bytes from the beginning of the zone.
    pub(super) fn page_at(&self, page: usize) -> usize {
        self.range(Section::Data).start + page * self.geometry.page_size()
    }

    /// A number that differs, with near certainty, for zones that are not cut alike.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        let numbers = [self.slots, self.shards, self.pages];
        numbers
            .iter()
            .fold(self.geometry.fingerprint(), |hash, number| {
                (hash ^ *number as u64).wrapping_mul(0x0000_0100_0000_01B3)
            })
    }
}

impl fmt::Display for NoLayout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooSmall => "not one page fits into the zone",
            Self::TooLarge => "the zone has more pages than a handle can name",
            Self::Slots => "a zone is for 1 to 1022 children",
        })
    }
}

impl core::error::Error for NoLayout {}
