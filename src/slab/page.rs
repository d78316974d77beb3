//! The word of a page: what it is cut into, and who is at work on it. Pure functions on a value.
//!
//! ```text
//!    63  61 60    55 54          45 44  32 31                     0
//!  ┌───────┬────────┬──────────────┬──────┬────────────────────────┐
//!  │ kind  │ class  │ slot         │ 0    │ pages, or distance     │
//!  └───────┴────────┴──────────────┴──────┴────────────────────────┘
//!
//!                take                     cut
//!   Free ──────────────► Busy(me, class) ─────► Class(c)      blocks of one size
//!    ▲ ▲                  │          ▲            │
//!    │ └──────────────────┘          └────────────┘ only by one who holds every block of the page
//!    │           take
//!    ├─────────────────► Busy(me, run) ──► Run(pages), Tail(1), Tail(2) ...      one large block
//!    │                                      │
//!    └── the head last ◄── Freeing(me, pages) ◄── only by one who holds its block
//! ```
//!
//! All zero is free.
//!
//! # Invariants
//!
//! - Every word is decoded, or refused (test `a_page_word_is_what_was_put_in`).
//! - A page that is free has no block (audit of every model).
//! - A tail at distance d belongs to the head d pages before it, and to no other: only the one who is
//!   busy with that head writes it, and a head outlives its tails (model `runs_overlap`).

use core::fmt;

use super::geometry::Class;
use crate::table::SlotIndex;

const KIND_SHIFT: u32 = 61;
const CLASS_SHIFT: u32 = 55;
const CLASS: u64 = 0x3F;
const SLOT_SHIFT: u32 = 45;
const SLOT: u64 = 0x3FF;

const FREE: u64 = 0;
const BUSY: u64 = 1;
const CUT: u64 = 2;
const RUN: u64 = 3;
const TAIL: u64 = 4;
const FREEING: u64 = 5;

/// In the place of a class: the page is to be a part of a run.
const NO_CLASS: u64 = CLASS;

/// What a page is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Page {
    /// Nobody's, and not cut.
    Free,
    /// One slot is cutting it into blocks of a class, or putting it together; without a class, it is
    /// making it a part of a run.
    Busy(SlotIndex, Option<Class>),
    /// Cut into blocks of this class.
    Class(Class),
    /// The first of so many pages that are one block.
    Run(u32),
    /// The block begins so many pages before.
    Tail(u32),
    /// The first of so many pages that one slot is giving back.
    Freeing(SlotIndex, u32),
}

/// What a page is, in 64 bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct PageWord(u64);

impl PageWord {
    /// The word that says this.
    #[must_use]
    pub const fn new(page: Page) -> Self {
        let (kind, class, slot, count) = match page {
            Page::Free => (FREE, 0, 0, 0),
            Page::Busy(slot, Some(class)) => (BUSY, class.as_usize() as u64, slot.as_usize(), 0),
            Page::Busy(slot, None) => (BUSY, NO_CLASS, slot.as_usize(), 0),
            Page::Class(class) => (CUT, class.as_usize() as u64, 0, 0),
            Page::Run(pages) => (RUN, 0, 0, pages),
            Page::Tail(distance) => (TAIL, 0, 0, distance),
            Page::Freeing(slot, pages) => (FREEING, 0, slot.as_usize(), pages),
        };
        Self(kind << KIND_SHIFT | class << CLASS_SHIFT | (slot as u64) << SLOT_SHIFT | count as u64)
    }

    /// The word as it lies in memory, whatever it is.
    #[must_use]
    pub const fn from_u64(word: u64) -> Self {
        Self(word)
    }

    /// The word, to be stored.
    #[must_use]
    pub const fn as_u64(self) -> u64 {
        self.0
    }

    /// What the page is; `None` if nothing of ours was ever written here.
    #[must_use]
    pub const fn page(self) -> Option<Page> {
        let number = self.0 >> CLASS_SHIFT & CLASS;
        let class = Class::new(number as usize);
        let Some(slot) = SlotIndex::new((self.0 >> SLOT_SHIFT & SLOT) as usize) else {
            return None; // ten bits: there is one
        };
        let count = self.0 as u32;
        let page = match (self.0 >> KIND_SHIFT, class) {
            (FREE, _) => Page::Free,
            (BUSY, Some(class)) => Page::Busy(slot, Some(class)),
            (BUSY, None) if number == NO_CLASS => Page::Busy(slot, None),
            (CUT, Some(class)) => Page::Class(class),
            (RUN, _) => Page::Run(count),
            (TAIL, _) => Page::Tail(count),
            (FREEING, _) => Page::Freeing(slot, count),
            _ => return None,
        };
        if Self::new(page).0 == self.0 {
            Some(page)
        } else {
            None
        }
    }

    /// Whether this is what the page is.
    #[must_use]
    pub const fn is(self, page: Page) -> bool {
        self.0 == Self::new(page).0
    }
}

impl fmt::Debug for PageWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.page() {
            Some(page) => page.fmt(f),
            None => write!(f, "{:#018x}", self.0),
        }
    }
}

static_assertions::const_assert_eq!(PageWord::new(Page::Free).0, 0);
static_assertions::const_assert!((Class::MOST as u64) < NO_CLASS);
