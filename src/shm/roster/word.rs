//! The word of a row: who has a slot, in which life, and how far the end of that life has come. Pure
//! functions on a value.
//!
//! ```text
//!   63    46 45                    24 23                     2 1      0
//!  ┌────────┬────────────────────────┬────────────────────────┬────────┐
//!  │ unused │ pid, or who reclaims   │ generation, 0 means 1  │ state  │
//!  └────────┴────────────────────────┴────────────────────────┴────────┘
//!
//!            Claim              Start(pid)
//!   Free(g) ───────► Live(g) ─────────────► Live(g, pid)
//!      ▲               │ Die                  │ Die
//!      │ Finish        ▼                      ▼
//!      └───────────── Reclaiming(g, by) ◄─── Dead(g)           Free is of generation g + 1 then
//!                        └── GiveUp ──────────▲    Reclaim(by)
//! ```
//!
//! The process is in the same word as the life, so that nobody finds the one of an old life beside a
//! new one. Linux has no pid of more than 22 bits (`PID_MAX_LIMIT`).
//!
//! # Invariants
//!
//! - Every change of every word is decided, and the generation rises at the end of a life alone (test
//!   `every_change_of_a_row_is_decided`).
//! - Any 64 bits stand for something, and nothing panics (test `any_bits_are_a_row`).

use crate::table::{Generation, Pid, SlotIndex};

const STATE: u64 = 3;
const GENERATION_SHIFT: u32 = 2;
const GENERATION: u64 = (1 << 22) - 1;
const WHO_SHIFT: u32 = 24;
const WHO: u64 = (1 << 22) - 1;

/// What is with a slot.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Standing {
    /// Nobody has it; this is the life that is next.
    Free(Generation),
    /// A process has it, or is about to be made for it: then its pid is not known yet.
    Live(Generation, Option<Pid>),
    /// Its process is gone, and what it held is not taken back yet.
    Dead(Generation),
    /// This slot takes back what it held.
    Reclaiming(Generation, SlotIndex),
}

/// What can happen to a slot.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Turn {
    /// A master takes it.
    Claim,
    /// The process is there.
    Start(Pid),
    /// The process is gone, or was never made.
    Die,
    /// A master begins to take back what it held.
    Reclaim(SlotIndex),
    /// That master is gone itself.
    GiveUp,
    /// All is taken back.
    Finish,
}

/// What is with a slot, in 64 bits; all zero is a slot that nobody has had.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[repr(transparent)]
pub struct RosterWord(u64);

impl RosterWord {
    /// The word that says this. A pid of more than 22 bits is not known.
    #[must_use]
    pub const fn new(standing: Standing) -> Self {
        let (state, generation, who) = match standing {
            Standing::Free(generation) => (0, generation, 0),
            Standing::Live(generation, None) => (1, generation, 0),
            Standing::Live(generation, Some(pid)) => match pid.as_i32() as u64 {
                pid if pid <= WHO => (1, generation, pid),
                _ => (1, generation, 0),
            },
            Standing::Dead(generation) => (2, generation, 0),
            Standing::Reclaiming(generation, by) => (3, generation, by.as_usize() as u64),
        };
        Self(state | (generation.as_u32() as u64) << GENERATION_SHIFT | who << WHO_SHIFT)
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

    /// What it says. Bits that nobody has put there stand for something, too.
    #[must_use]
    pub const fn standing(self) -> Standing {
        let generation = match Generation::new((self.0 >> GENERATION_SHIFT & GENERATION) as u32) {
            Some(generation) => generation,
            None => Generation::FIRST,
        };
        let who = self.0 >> WHO_SHIFT & WHO;
        match (self.0 & STATE, SlotIndex::new(who as usize)) {
            (0, _) => Standing::Free(generation),
            (1, _) => Standing::Live(generation, Pid::new(who as i32)),
            (3, Some(by)) => Standing::Reclaiming(generation, by),
            _ => Standing::Dead(generation),
        }
    }

    /// What it becomes by this turn; `None` where the standing does not allow it.
    #[must_use]
    pub const fn after(self, turn: Turn) -> Option<Self> {
        let standing = match (self.standing(), turn) {
            (Standing::Free(life), Turn::Claim) => Standing::Live(life, None),
            (Standing::Live(life, None), Turn::Start(pid)) => Standing::Live(life, Some(pid)),
            (Standing::Live(life, _), Turn::Die) => Standing::Dead(life),
            (Standing::Dead(life), Turn::Reclaim(by)) => Standing::Reclaiming(life, by),
            (Standing::Reclaiming(life, _), Turn::GiveUp) => Standing::Dead(life),
            (Standing::Reclaiming(life, _), Turn::Finish) => Standing::Free(life.next()),
            _ => return None,
        };
        Some(Self::new(standing))
    }
}

impl Standing {
    /// Which life: the one that is, that is over, or, of a free slot, that is next.
    #[must_use]
    pub const fn generation(self) -> Generation {
        match self {
            Self::Free(life)
            | Self::Live(life, _)
            | Self::Dead(life)
            | Self::Reclaiming(life, _) => life,
        }
    }
}

static_assertions::const_assert!(crate::table::SLOTS as u64 <= WHO);
