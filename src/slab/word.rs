//! The word of a block: who has it, and in which life. Pure functions on a value.
//!
//! ```text
//!    31   30 29                     20 19                      0
//!  ┌────────┬─────────────────────────┬─────────────────────────┐
//!  │ nobody │ unused, free, published │ generation              │
//!  │ private│ slot of the holder      │                         │
//!  │ offered│ slot of the holder      │                         │
//!  └────────┴─────────────────────────┴─────────────────────────┘
//!
//!            LayOut            Take                 Publish
//!   Unused ─────────► Free ───────────► Private ───────────────► Published
//!     ▲                ▲                 │ │ ▲ ▲                    │
//!     └──── Retire ────│─────────────────┘ │ │ └─────── Claim * ────┘
//!                      └── Release ────────┤ │
//!                      └── Recover * ──────┤ └──────── Accept * ────┐
//!                                          └─ Offer ──────────► Offered ── Recover * ──► Free
//!
//!   Free *: from Private to Private, when its holder gives a block back to its own magazine
//! ```
//!
//! A change with a star ends the life of every [`Handle`](super::Handle) to the block: the generation
//! rises. All zero is unused, so memory that is nothing but zeros holds no block.
//!
//! # Invariants
//!
//! - [`BlockWord::after`] is total, and the generation rises at the changes with a star alone (test
//!   `every_change_of_a_block_is_decided`).
//! - Whoever holds a private block is the only one who writes its word, until they are dead; all other
//!   changes are compare-and-exchange (models `two_allocate`, `a_claim_has_one_winner`).
//!
//! # Why an offer is a state
//!
//! An offered block is still its sender's, and yet another may take it at any instant. With one state
//! for both, each store of a holder would have to be a compare-and-exchange for the case that the
//! block happens to be on offer.

use core::fmt;

use crate::table::SlotIndex;

const GENERATION_BITS: u32 = 20;
const GENERATION: u32 = (1 << GENERATION_BITS) - 1;
const SLOT_SHIFT: u32 = GENERATION_BITS;
const SLOT: u32 = 0x3FF;
const TAG_SHIFT: u32 = 30;

const NOBODY: u32 = 0;
const PRIVATE: u32 = 1;
const OFFERED: u32 = 2;

const UNUSED: u32 = 0;
const FREE: u32 = 1;
const PUBLISHED: u32 = 2;

/// Who has a block.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum State {
    /// There is no block: the page is free, or cut otherwise.
    Unused,
    /// Nobody: it can be allocated.
    Free,
    /// One slot: in use, or in a magazine.
    Private(SlotIndex),
    /// One slot, until another accepts it.
    Offered(SlotIndex),
    /// The zone: whoever knows its handle may read or claim it.
    Published,
}

/// What can happen to a block.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Change {
    /// Its page is cut.
    LayOut,
    /// A slot allocates it.
    Take(SlotIndex),
    /// Its holder gives it back, and keeps it in a magazine.
    Free,
    /// Its holder puts it from the magazine back for everybody.
    Release,
    /// Its holder leaves it to the zone.
    Publish,
    /// A slot takes it from the zone.
    Claim(SlotIndex),
    /// Its holder offers it to another.
    Offer,
    /// A slot takes what was offered: another one, or the holder itself again.
    Accept(SlotIndex),
    /// Its holder is dead.
    Recover,
    /// Its page is given back; the one who does it holds every block of the page.
    Retire,
}

/// The state of a block and its generation, in 32 bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct BlockWord(u32);

impl BlockWord {
    /// How many generations there are; the last is followed by the first.
    pub const GENERATIONS: u32 = GENERATION + 1;

    /// The word that says this. Only the low 20 bits of the generation count.
    #[must_use]
    pub const fn new(state: State, generation: u32) -> Self {
        let (tag, slot) = match state {
            State::Unused => (NOBODY, UNUSED),
            State::Free => (NOBODY, FREE),
            State::Published => (NOBODY, PUBLISHED),
            State::Private(slot) => (PRIVATE, slot.as_usize() as u32),
            State::Offered(slot) => (OFFERED, slot.as_usize() as u32),
        };
        Self(tag << TAG_SHIFT | slot << SLOT_SHIFT | generation & GENERATION)
    }

    /// The word as it lies in memory, whatever it is.
    #[must_use]
    pub const fn from_u32(word: u32) -> Self {
        Self(word)
    }

    /// The word, to be stored.
    #[must_use]
    pub const fn as_u32(self) -> u32 {
        self.0
    }

    /// Who has the block; `None` if nothing of ours was ever written here.
    #[must_use]
    pub const fn state(self) -> Option<State> {
        let slot = self.0 >> SLOT_SHIFT & SLOT;
        match (self.0 >> TAG_SHIFT, SlotIndex::new(slot as usize)) {
            (NOBODY, _) => match slot {
                UNUSED => Some(State::Unused),
                FREE => Some(State::Free),
                PUBLISHED => Some(State::Published),
                _ => None,
            },
            (PRIVATE, Some(slot)) => Some(State::Private(slot)),
            (OFFERED, Some(slot)) => Some(State::Offered(slot)),
            _ => None,
        }
    }

    /// In which life: 0 to 1,048,575.
    #[must_use]
    pub const fn generation(self) -> u32 {
        self.0 & GENERATION
    }

    /// The slot whose death would free the block.
    #[must_use]
    pub const fn holder(self) -> Option<SlotIndex> {
        match self.state() {
            Some(State::Private(slot) | State::Offered(slot)) => Some(slot),
            _ => None,
        }
    }

    /// What the word becomes by this change; `None` where the state does not allow it.
    #[must_use]
    pub const fn after(self, change: Change) -> Option<Self> {
        let Some(state) = self.state() else {
            return None;
        };
        let (next, ends_handles) = match (state, change) {
            (State::Unused, Change::LayOut) => (State::Free, false),
            (State::Free, Change::Take(by)) => (State::Private(by), false),
            (State::Private(holder), Change::Free) => (State::Private(holder), true),
            (State::Private(_), Change::Release) => (State::Free, false),
            (State::Private(_), Change::Publish) => (State::Published, false),
            (State::Published, Change::Claim(by)) => (State::Private(by), true),
            (State::Private(holder), Change::Offer) => (State::Offered(holder), false),
            (State::Offered(_), Change::Accept(by)) => (State::Private(by), true),
            (State::Private(_) | State::Offered(_), Change::Recover) => (State::Free, true),
            (State::Private(_), Change::Retire) => (State::Unused, false),
            _ => return None,
        };
        Some(Self::new(next, self.generation() + ends_handles as u32))
    }
}

impl fmt::Debug for BlockWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.state() {
            Some(state) => write!(f, "{state:?}.{}", self.generation()),
            None => write!(f, "{:#010x}", self.0),
        }
    }
}

static_assertions::const_assert_eq!(SLOT as usize + 1, crate::table::SLOTS);
static_assertions::const_assert_eq!(BlockWord::new(State::Unused, 0).0, 0);
