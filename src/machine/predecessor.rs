//! The master before this one, seen from a new binary: which slots it uses, and what it waits to hear.
//!
//! ```text
//!   start ──every worker has a slot──► all ready ──► SayReady       the old master lets its workers go
//!     └──── no room, or a worker is given up ──────► SayFailed      it is better off without this one
//! ```
//!
//! The predecessor's slots are nobody's here until it is gone: the words in shared memory that name a
//! slot are its own until then. An upgrade that is asked for meanwhile waits, too.

use crate::machine::master::Taken;
use crate::machine::{Action, Master, Phase, UpgradeError};
use crate::table::SlotSet;

/// What is known of the master before this one.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Predecessor {
    pub(super) is_there: bool,
    /// It waits to hear whether the workers are ready.
    pub(super) waits: bool,
    /// They will not be.
    pub(super) fails: bool,
    pub(super) slots: SlotSet,
}

impl Predecessor {
    pub(super) const NONE: Self = Self {
        is_there: false,
        waits: false,
        fails: false,
        slots: SlotSet::EMPTY,
    };
}

impl<const N: usize> Master<N> {
    /// Another master is there, uses these slots, and waits to hear that the workers are ready. To be
    /// called before [`Master::start`].
    pub fn succeed(&mut self, foreign: &SlotSet) {
        self.predecessor = Predecessor {
            is_there: true,
            waits: true,
            fails: false,
            slots: foreign.clone(),
        };
    }

    pub(super) fn predecessor_gone(&mut self) -> Taken {
        if !self.predecessor.is_there {
            return None;
        }
        self.predecessor = Predecessor::NONE;
        Some(())
    }

    /// What the predecessor is to hear now.
    pub(super) fn poll_predecessor(&mut self) -> Option<Action> {
        if !self.predecessor.waits || self.phase != Phase::Running {
            return None;
        }
        let action = if self.serving.lacks_room() {
            Action::SayFailed(UpgradeError::NoRoom)
        } else if self.predecessor.fails {
            Action::SayFailed(UpgradeError::Unready)
        } else if self.serving.is_complete() {
            Action::SayReady
        } else {
            return None;
        };
        self.predecessor.waits = false;
        Some(action)
    }
}
