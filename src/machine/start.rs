//! `Start`: whoever started this master waits to hear how that goes.
//!
//! ```text
//!   start ──every worker has a slot──► all ready ──► SayReady       they let go: the old workers, the terminal
//!     └──── no room, or a worker is given up ──────► SayFailed      and a master that nobody would miss ends
//! ```
//!
//! Who waits is the master before this one, in an upgrade, or the process that a daemon came from. The
//! first goes on in this one's place, so this one may stay until it is told to go; the second goes on with
//! nothing, and leaves nothing behind.
//!
//! # Invariants
//!
//! - Ready is said when all are, and once (tests `ready_is_said_once_when_all_are`, `exhaustive`).
//! - A start that fails is said to have failed, once; without a predecessor the master ends (tests
//!   `a_start_that_fails_ends_the_master`, `exhaustive`).
//! - With a predecessor it does not (test `a_master_that_cannot_serve_says_so`).

use crate::machine::{Action, Master, Phase, UpgradeError};
use crate::table::Instant;

/// What whoever waits is to hear.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Start {
    /// Nobody waits, or they have heard.
    Told,
    /// It is not known yet.
    Awaited,
    /// The workers cannot serve.
    Fails(UpgradeError),
}

impl Start {
    /// A worker was given up, or told to go before all were ready.
    pub(super) fn fail(&mut self) {
        if *self == Self::Awaited {
            *self = Self::Fails(UpgradeError::Unready);
        }
    }
}

impl<const N: usize> Master<N> {
    /// Somebody waits to hear that the workers are ready, and would rather have no master than one whose
    /// workers cannot be. To be called before [`Master::start`].
    pub fn report_start(&mut self) {
        self.start = Start::Awaited;
    }

    fn verdict(&self) -> Option<Result<(), UpgradeError>> {
        match self.start {
            Start::Fails(why) => Some(Err(why)),
            Start::Awaited if self.phase != Phase::Running => None,
            Start::Awaited if self.serving.lacks_room() => Some(Err(UpgradeError::NoRoom)),
            Start::Awaited if self.serving.is_complete() => Some(Ok(())),
            Start::Awaited | Start::Told => None,
        }
    }

    /// A master that nobody would miss does not go on without its first workers.
    pub(super) fn end_failed_start(&mut self, now: Instant) {
        if let Some(Err(why)) = self.verdict()
            && !self.predecessor.is_there
        {
            self.start = Start::Fails(why);
            let _ = self.terminate(now); // whatever else is under way
        }
    }

    /// What whoever waits is to hear now.
    pub(super) fn poll_start(&mut self) -> Option<Action> {
        let action = match self.verdict()? {
            Ok(()) => Action::SayReady,
            Err(why) => Action::SayFailed(why),
        };
        self.start = Start::Told;
        Some(action)
    }
}
