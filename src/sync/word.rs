//! The word of a mutex: who owns it, and what the next owner must know. Pure functions on a value.
//!
//! ```text
//!    31      30     29    28                        10 9                 0
//!  ┌───────┬──────┬──────┬────────────────────────────┬───────────────────┐
//!  │WAITERS│POISON│ DIED │ generation, folded to 19 b │ slot index        │
//!  └───────┴──────┴──────┴────────────────────────────┴───────────────────┘
//!                         └──── Owner; 0: nobody, as no generation is 0 ──┘
//!
//!   free ──taken_by──► owned ──unlock──► free | POISON
//!    ▲                   └──vacated────► free, DIED ──taken_by──► owned, DIED ──unlock──► ...
//!    └── a free word keeps DIED until an owner has said that the data is consistent ──┘
//! ```
//!
//! # Why not the slot index alone
//!
//! A locker that has found the owner dead may be stopped before it acts on it. In the meantime the
//! slot can be recovered and used again, and its new process can own the mutex: the same index. With
//! the generation the word differs, so that what a locker knows of the dead is never held against
//! the living (model `a_slot_is_used_again`). Folding 22 bits to 19 makes that sure for 524,287
//! lives of one slot between two instructions of the locker.

use core::fmt;

use crate::table::{SlotId, SlotIndex};

const WAITERS: u32 = 1 << 31;
const POISON: u32 = 1 << 30;
const DIED: u32 = 1 << 29;
const OWNER: u32 = DIED - 1;

const INDEX_BITS: u32 = 10;
const INDEX: u32 = (1 << INDEX_BITS) - 1;
const GENERATIONS: u32 = OWNER >> INDEX_BITS;

/// Who owns a mutex: one life of one slot, as far as 29 bits can tell.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Owner(u32);

impl Owner {
    /// What a mutex says of this life of a slot.
    #[must_use]
    pub const fn of(id: SlotId) -> Self {
        let generation = (id.generation().as_u32() - 1) % GENERATIONS + 1;
        Self(generation << INDEX_BITS | id.index().as_usize() as u32)
    }

    pub(super) const fn as_u32(self) -> u32 {
        self.0
    }

    /// Who is named in the lowest 29 bits of a word.
    pub(super) const fn from_bits(word: u32) -> Option<Self> {
        match word & OWNER {
            0 => None,
            owner => Some(Self(owner)),
        }
    }

    /// Which slot.
    #[must_use]
    pub const fn index(self) -> SlotIndex {
        match SlotIndex::new((self.0 & INDEX) as usize) {
            Some(index) => index,
            None => unreachable!(), // ten bits, and as many slots
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Word(pub(super) u32);

impl Word {
    /// Nobody owns it, and the data is as it should be.
    pub(super) const FREE: Self = Self(0);
    /// Nobody may own it: the data was left broken.
    pub(super) const POISONED: Self = Self(POISON);
    /// Nobody owns it, and the last owner did not come to its end.
    pub(super) const LEFT: Self = Self(DIED);

    pub(super) const fn is_poisoned(self) -> bool {
        self.0 & POISON != 0
    }

    pub(super) const fn has_died(self) -> bool {
        self.0 & DIED != 0
    }

    pub(super) const fn has_waiters(self) -> bool {
        self.0 & WAITERS != 0
    }

    pub(super) const fn owner(self) -> Option<Owner> {
        Owner::from_bits(self.0)
    }

    pub(super) const fn with_waiters(self) -> Self {
        Self(self.0 | WAITERS)
    }

    /// The owner is dead. Sleepers stay known: nobody else will wake them if no master recovers.
    pub(super) const fn vacated(self) -> Self {
        Self((self.0 & (WAITERS | POISON)) | DIED)
    }

    /// From free to owned. Unlocking forgets that there are sleepers and wakes one; so who has slept
    /// says that there may be more.
    pub(super) const fn taken_by(self, owner: Owner, has_slept: bool) -> Self {
        let slept = if has_slept { WAITERS } else { 0 };
        Self((self.0 & (WAITERS | DIED)) | owner.0 | slept)
    }
}

impl fmt::Debug for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Word")
            .field("owner", &self.owner())
            .field("waiters", &self.has_waiters())
            .field("poisoned", &self.is_poisoned())
            .field("died", &self.has_died())
            .finish()
    }
}

static_assertions::const_assert_eq!(WAITERS | POISON | DIED | OWNER, u32::MAX);
