//! `Slot`: one row of the table.

use crate::table::{Change, Generation, Instant, Policy, State};

/// One row: its life, its state, and whose it is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Slot {
    generation: Generation,
    state: State,
    /// What its process does.
    pub role: Role,
    /// Which of its role in its epoch this is, from 0. The successor has the same number; messages
    /// and ownership follow the id.
    pub number: u16,
    /// What is to happen when the process ends.
    pub policy: Policy,
    /// The reload that the slot belongs to.
    pub epoch: u32,
    /// When the process was spawned.
    pub since: Instant,
    /// When something is due here: a back-off is over, a retiring process is told more firmly.
    pub deadline: Instant,
}

/// What the process of a slot does.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Role {
    /// It serves. How many there are can change, and a reload is done when they are ready.
    #[default]
    Worker,
    /// It has a function of its own, beside the workers, and nobody waits for it: nginx's cache
    /// manager and cache loader.
    Helper,
}

/// Whose a slot will be.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Claim {
    /// What its process will do.
    pub role: Role,
    /// Which of its role in its epoch, from 0.
    pub number: u16,
    /// What is to happen when the process ends.
    pub policy: Policy,
    /// The reload that the slot belongs to.
    pub epoch: u32,
}

impl Slot {
    pub(super) const VACANT: Self = Self {
        generation: Generation::FIRST,
        state: State::Vacant,
        role: Role::Worker,
        number: 0,
        policy: Policy::empty(),
        epoch: 0,
        since: Instant::ORIGIN,
        deadline: Instant::NEVER,
    };

    /// Which life this is.
    #[must_use]
    pub const fn generation(&self) -> Generation {
        self.generation
    }

    /// What the slot is doing.
    #[must_use]
    pub const fn state(&self) -> State {
        self.state
    }

    pub(super) fn claim(&mut self, claim: Claim) {
        let Claim {
            role,
            number,
            policy,
            epoch,
        } = claim;
        let state = State::Starting(None);
        *self = Self {
            generation: self.generation,
            state,
            role,
            number,
            policy,
            epoch,
            ..Self::VACANT
        };
    }

    /// Every way to lose a process, or the hope of one, ends the life of the id.
    pub(super) fn apply(&mut self, change: Change) -> Option<State> {
        let next = self.state.after(change)?;
        let starting = matches!(self.state, State::Starting(_));
        let lost = matches!(change, Change::Exited(_) | Change::SpawnFailed(_));
        if lost || (starting && change == Change::Release) {
            self.generation = self.generation.next();
        }
        self.state = next;
        Some(next)
    }
}
