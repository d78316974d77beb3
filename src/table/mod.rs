//! The process table: who has which slot, in which life and state. Plain data.
//!
//! ```text
//!   index     0        1        2               1021    1022      1023
//!          ┌────────┬────────┬────────┬─ ─ ─ ─┬───────┬─────────┬─────────┐
//!          │ 0.1    │ 1.4    │ 2.1    │       │       │ kept for│ masters │
//!          │ Live   │ Cooling│ Live   │       │ Vacant│         │         │
//!          └────────┴────────┴────────┴─ ─ ─ ─┴───────┴─────────┴─────────┘
//!            ▲ SlotId = index.generation; role and number, epoch and policy beside it
//! ```
//!
//! A table can be copied, compared and hashed, which is what lets every order of events be tried;
//! so no descriptor is in it. Those lie beside it, in arrays with the same index.
//!
//! # Invariants
//!
//! - A [`SlotId`] reaches its slot only in its own life: every way to lose a process raises the
//!   generation (test `an_old_id_never_reaches_the_slot`).
//! - Two slots never name the same pid, if the kernel's word is taken for which process was spawned
//!   (test `exhaustive`).
//! - At most [`CHILDREN`] slots are ever claimed (test `the_masters_rows_are_never_claimed`).
//!
//! # Example
//!
//! ```
//! use forkmesh::table::{Change, Claim, Pid, State, Table};
//!
//! let mut table = Table::<1024>::new();
//! let id = table.claim(Claim::default()).unwrap();
//! let pid = Pid::new(4711).unwrap();
//! table.apply(id, Change::Spawned(pid)).unwrap();
//! assert_eq!(table.slot(id).unwrap().state(), State::Starting(Some(pid)));
//! assert_eq!(table.by_pid(pid), Some(id));
//! ```
#![forbid(unsafe_code)]

mod id;
mod policy;
mod set;
mod slot;
mod state;
mod units;

pub use id::{CHILDREN, Generation, SLOTS, SlotId, SlotIndex};
pub use policy::{Policy, SpawnMode};
pub use set::SlotSet;
pub use slot::{Claim, Role, Slot};
pub use state::{After, Change, State};
pub use units::{Instant, Pid};

use core::fmt;

/// The fixed table of `N` slots, 1024 unless a test wants fewer.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Table<const N: usize = SLOTS> {
    slots: [Slot; N],
    occupied: SlotSet,
    /// Which slots changed since somebody asked.
    changed: SlotSet,
}

/// Why a change was refused; nothing was changed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Refused {
    /// The id names a life that is over or has not begun, or a row that this table does not have.
    Stale,
    /// The state that the slot is in does not allow the change.
    State(State),
}

impl<const N: usize> Table<N> {
    const CHILDREN: usize = if N < CHILDREN { N } else { CHILDREN };

    /// A table of vacant slots.
    #[must_use]
    pub const fn new() -> Self {
        const { assert!(N >= 1 && N <= SLOTS, "a table has 1 to 1024 slots") };
        Self {
            slots: [Slot::VACANT; N],
            occupied: SlotSet::EMPTY,
            changed: SlotSet::EMPTY,
        }
    }

    /// Gives the lowest vacant slot to a worker or helper that is to be; `None` if all are taken.
    pub fn claim(&mut self, claim: Claim) -> Option<SlotId> {
        self.claim_outside(claim, &SlotSet::EMPTY)
    }

    /// As [`Table::claim`], but none of these: somebody else uses them.
    pub fn claim_outside(&mut self, claim: Claim, foreign: &SlotSet) -> Option<SlotId> {
        let index = (0..Self::CHILDREN)
            .filter_map(SlotIndex::new)
            .find(|index| !self.occupied.contains(*index) && !foreign.contains(*index))?;
        let slot = &mut self.slots[index.as_usize()];
        slot.claim(claim);
        self.occupied.insert(index);
        self.changed.insert(index);
        Some(SlotId::new(index, slot.generation()))
    }

    /// Changes the state of a slot, and says what it is now.
    ///
    /// # Errors
    ///
    /// [`Refused`], and nothing is changed, where the id is stale or the state does not allow it.
    pub fn apply(&mut self, id: SlotId, change: Change) -> Result<State, Refused> {
        let slot = self.slot_mut(id).ok_or(Refused::Stale)?;
        let state = slot.apply(change).ok_or(Refused::State(slot.state()))?;
        self.changed.insert(id.index());
        if state == State::Vacant {
            self.occupied.remove(id.index());
        }
        Ok(state)
    }

    /// The slot, if the id names its present life.
    #[must_use]
    pub fn slot(&self, id: SlotId) -> Option<&Slot> {
        self.slots
            .get(id.index().as_usize())
            .filter(|slot| slot.generation() == id.generation())
    }

    /// The slot, to change what is said of it; its state is changed by [`Table::apply`] alone.
    pub(crate) fn slot_mut(&mut self, id: SlotId) -> Option<&mut Slot> {
        self.slots
            .get_mut(id.index().as_usize())
            .filter(|slot| slot.generation() == id.generation())
    }

    /// The present life of a place; `None` for a place that this table does not have.
    #[must_use]
    pub fn id_at(&self, index: SlotIndex) -> Option<SlotId> {
        self.slots
            .get(index.as_usize())
            .map(|slot| SlotId::new(index, slot.generation()))
    }

    /// The slot that a process has. Walks the occupied slots; processes are otherwise known by id.
    #[must_use]
    pub fn by_pid(&self, pid: Pid) -> Option<SlotId> {
        self.occupied()
            .find(|(_, slot)| slot.state().pid() == Some(pid))
            .map(|(id, _)| id)
    }

    /// Every slot that is not vacant, lowest first.
    pub fn occupied(&self) -> impl Iterator<Item = (SlotId, &Slot)> {
        self.occupied.iter().map(|index| {
            let slot = &self.slots[index.as_usize()];
            (SlotId::new(index, slot.generation()), slot)
        })
    }

    /// Which slots have another state, or another owner, than when this was asked last.
    pub fn take_changed(&mut self) -> SlotSet {
        core::mem::take(&mut self.changed)
    }

    /// Whether every slot is vacant.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.occupied.is_empty()
    }
}

impl<const N: usize> Default for Table<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stale => f.write_str("this life of the slot is over"),
            Self::State(state) => write!(f, "the slot is {state:?}"),
        }
    }
}

impl core::error::Error for Refused {}

static_assertions::const_assert!(size_of::<Slot>() <= 64);
static_assertions::const_assert!(size_of::<Table>() <= 66 * 1024);
