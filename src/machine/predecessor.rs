//! The master before this one, seen from a new binary: which slots it uses.
//!
//! Its slots are nobody's here until it is gone: the words in shared memory that name a slot are its own
//! until then. An upgrade that is asked for meanwhile waits, too. What it waits to hear is in `start`.

use crate::machine::Master;
use crate::machine::master::Taken;
use crate::machine::start::Start;
use crate::table::SlotSet;

/// What is known of the master before this one.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Predecessor {
    pub(super) is_there: bool,
    pub(super) slots: SlotSet,
}

impl Predecessor {
    pub(super) const NONE: Self = Self {
        is_there: false,
        slots: SlotSet::EMPTY,
    };
}

impl<const N: usize> Master<N> {
    /// Another master is there, uses these slots, and waits to hear that the workers are ready. To be
    /// called before [`Master::start`].
    pub fn succeed(&mut self, foreign: &SlotSet) {
        self.predecessor = Predecessor {
            is_there: true,
            slots: foreign.clone(),
        };
        self.start = Start::Awaited;
    }

    /// There is nobody left who waits.
    pub(super) fn predecessor_gone(&mut self) -> Taken {
        if !self.predecessor.is_there {
            return None;
        }
        self.predecessor = Predecessor::NONE;
        self.start = Start::Told;
        Some(())
    }
}
