//! A reload, as a transaction: a new epoch is started beside the one that serves, and takes its place
//! when all of it is ready. Whatever goes wrong before, the old one goes on.
//!
//! ```text
//!   Idle ──HUP──► Loading ──Loaded──► Starting ──all ready──► Idle    the new epoch serves, the old one drains
//!    ▲             │ ▲ │                 │
//!    │ LoadRefused │ │ │ LoadDeferred    │ one dies before it is ready, or with exit code 2; cannot be
//!    ├─────────────┘ │ ▼                 │ forked; the deadline: the new epoch goes, the old one stays
//!    │             Waiting               │
//!    └───────────────────────────────────┘
//! ```
//!
//! What cannot be loaded yet, for an address that is still in use, is loaded again after the time that
//! the answer asks for, or at the next HUP; meanwhile nothing stands still but what an operator asks for
//! besides, and that is kept. How often it is tried is the business of who answers.
//!
//! Where both do not fit in the table it goes in steps: the old helpers make room; then, for each new
//! worker that is ready, an old one is told to go. If not even one fits, one old worker goes first. A
//! reload that fails half way starts again whoever went.
//!
//! # Invariants
//!
//! - An old worker goes only if a new one is ready in its place, or if no slot is free, or about to be
//!   (tests `exhaustive` and `a_reload_that_does_not_fit_goes_in_steps`).
//! - Each reload that begins has one outcome, and it is reported (tests `exhaustive` and
//!   `a_reload_has_one_outcome`).
//! - A reload waits for no helper, and fails for none (tests `exhaustive` and
//!   `a_helper_never_fails_a_reload`).
//! - What was deferred is loaded again when it is time, and not before (tests `exhaustive` and
//!   `what_is_deferred_is_loaded_again`).
//! - Epochs that drain are bounded in number: those that lie further back are terminated (test
//!   `old_epochs_are_terminated`).
//!
//! # Why not tell the old ones at once
//!
//! nginx waits a tenth of a second and hopes. Workers that fail to start leave it without any.

use crate::machine::crew::Crew;
use crate::machine::master::Taken;
use crate::machine::{Duty, ExitStatus, Master};
use crate::table::{Instant, SlotId, State};

/// How far a reload has come.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "there is one a master, and no allocator to put it elsewhere"
)]
pub(super) enum Reload {
    /// There is none.
    Idle,
    /// The user makes the configuration of this epoch.
    Loading(u32),
    /// The user wants to be asked for it again, then.
    Waiting(u32, Instant),
    /// Its workers start.
    Starting(Candidate),
}

/// The epoch that is to serve.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Candidate {
    pub(super) crew: Crew,
    /// When it is given up, unless something comes along.
    pub(super) deadline: Instant,
    /// How many old workers went for it so far.
    pub(super) steps: u16,
}

/// Why a reload came to nothing. The workers that served before serve on.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum ReloadError {
    /// The user's configuration was refused.
    Refused,
    /// A process could not be made for this slot.
    SpawnFailed(SlotId),
    /// A new worker ended before all were ready: before it was so itself, or with exit code 2.
    Died(SlotId, ExitStatus),
    /// The new workers were not ready in time.
    Deadline,
    /// The master was told to end.
    Ended,
}

impl Reload {
    pub(super) fn candidate(&self) -> Option<&Candidate> {
        match self {
            Self::Starting(candidate) => Some(candidate),
            Self::Idle | Self::Loading(_) | Self::Waiting(..) => None,
        }
    }

    pub(super) fn candidate_mut(&mut self) -> Option<&mut Candidate> {
        match self {
            Self::Starting(candidate) => Some(candidate),
            Self::Idle | Self::Loading(_) | Self::Waiting(..) => None,
        }
    }

    /// Whether it is to be loaded again, some time.
    pub(super) const fn waits(&self) -> bool {
        matches!(self, Self::Waiting(..))
    }

    /// When it goes on, or is given up, by itself.
    pub(super) const fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Idle | Self::Loading(_) => None,
            Self::Waiting(_, at) => Some(*at),
            Self::Starting(candidate) => Some(candidate.deadline),
        }
    }

    /// Whether a slot belongs to the epoch that is being started.
    pub(super) fn starts(&self, epoch: u32) -> bool {
        self.candidate()
            .is_some_and(|next| next.crew.epoch == epoch)
    }
}

impl<const N: usize> Master<N> {
    pub(super) fn begin_reload(&mut self) {
        self.last_epoch = self.last_epoch.wrapping_add(1);
        self.reload = Reload::Loading(self.last_epoch);
        self.due.load = true;
    }

    /// The configuration is there, and wants so many workers.
    pub(super) fn loaded(&mut self, now: Instant, workers: u16) -> Taken {
        let Reload::Loading(epoch) = self.reload else {
            return None;
        };
        if self.due.load {
            return None;
        }
        let most = self.config.most_workers(N);
        // Who found no slot so far does not compete with the new workers for one.
        self.serving.yield_slots();
        self.reload = Reload::Starting(Candidate {
            crew: Crew::new(epoch, workers.min(most)),
            deadline: now.after_ms(self.config.reload_ms),
            steps: 0,
        });
        Some(())
    }

    pub(super) fn load_refused(&mut self) -> Taken {
        let Reload::Loading(epoch) = self.reload else {
            return None;
        };
        if self.due.load {
            return None;
        }
        self.reload = Reload::Idle;
        self.outcomes.reload = Some((epoch, Err(ReloadError::Refused)));
        Some(())
    }

    /// There is none yet.
    pub(super) fn load_deferred(&mut self, now: Instant, after_ms: u64) -> Taken {
        let Reload::Loading(epoch) = self.reload else {
            return None;
        };
        if self.due.load {
            return None;
        }
        self.reload = Reload::Waiting(epoch, now.after_ms(after_ms.max(1)));
        Some(())
    }

    /// The epoch that is to be loaded now, or once more.
    pub(super) fn load(&mut self) -> Option<u32> {
        let (Reload::Loading(epoch) | Reload::Waiting(epoch, _)) = self.reload else {
            return None;
        };
        self.reload = Reload::Loading(epoch);
        Some(epoch)
    }

    /// Time is up for what the reload waits for.
    pub(super) fn reload_elapsed(&mut self, now: Instant) {
        if self.reload.deadline().is_none_or(|at| at > now) {
            return;
        }
        if self.reload.waits() {
            self.due.load = true;
        } else {
            self.roll_back(now, ReloadError::Deadline);
        }
    }

    /// What there is to be done for a reload now: the next step, or the last.
    pub(super) fn go_on_with_reload(&mut self, now: Instant) {
        let Some(next) = self.reload.candidate() else {
            return;
        };
        if next.crew.is_complete() {
            return self.commit(now);
        }
        if next.crew.lacks_room() {
            self.dismiss_helpers(now);
            self.place(); // into the room of one that had no process
        }
        while self.may_step() && self.dismiss_one(now) {
            if let Some(next) = self.reload.candidate_mut() {
                next.steps += 1;
            }
            self.place(); // into the room of one that had no process
        }
    }

    /// Whether an old worker has to make room.
    fn may_step(&self) -> bool {
        let Some(next) = self.reload.candidate() else {
            return false;
        };
        if next.crew.unplaced.is_empty() {
            return false;
        }
        let ready = next.crew.ready.len();
        let steps = usize::from(next.steps);
        steps < ready || (steps == ready && !self.something_moves(next.crew.epoch))
    }

    /// Whether a slot is about to be free, or a new worker about to be ready.
    fn something_moves(&self, candidate: u32) -> bool {
        self.table.occupied().any(|(id, slot)| match slot.state() {
            State::Live(_) => false,
            State::Starting(_) | State::Cooling if slot.epoch == candidate => true,
            State::Starting(None) => self.due.unwanted.contains(id.index()),
            state => !state.stays(),
        })
    }

    /// Something came along: there is time again.
    pub(super) fn reload_goes_on(&mut self, now: Instant) {
        let deadline = now.after_ms(self.config.reload_ms);
        if let Some(next) = self.reload.candidate_mut() {
            next.deadline = deadline;
        }
    }

    /// The new epoch serves.
    fn commit(&mut self, now: Instant) {
        let Reload::Starting(next) = core::mem::replace(&mut self.reload, Reload::Idle) else {
            return;
        };
        let old = core::mem::replace(&mut self.serving, next.crew);
        self.duty = Duty::Serving;
        self.call_helpers();
        self.dismiss_epoch(now, old.epoch);
        self.outcomes.reload = Some((self.serving.epoch, Ok(())));
        self.hurry_old_epochs(now);
    }

    /// The new epoch goes; the old one is what it was. A reload that nobody was told of never began.
    pub(super) fn roll_back(&mut self, now: Instant, why: ReloadError) {
        if core::mem::take(&mut self.due.load) && !self.reload.waits() {
            self.reload = Reload::Idle;
            return;
        }
        let epoch = match core::mem::replace(&mut self.reload, Reload::Idle) {
            Reload::Idle => return,
            Reload::Loading(epoch) | Reload::Waiting(epoch, _) => epoch,
            Reload::Starting(next) => {
                self.dismiss_epoch(now, next.crew.epoch);
                next.crew.epoch
            }
        };
        self.outcomes.reload = Some((epoch, Err(why)));
        if self.duty == Duty::Serving && why != ReloadError::Ended {
            self.serving.resume();
        }
    }

    /// Those that drain since too many epochs have no time left. Epochs are counted that do drain: a
    /// reload that came to nothing has a number, too.
    fn hurry_old_epochs(&mut self, now: Instant) {
        let mut oldest = 0;
        for _ in 0..self.config.most_draining {
            let ages = self.table.occupied();
            let ages = ages.filter_map(|(id, _)| self.epochs_since(id));
            let Some(next) = ages.filter(|age| *age > oldest).min() else {
                return;
            };
            oldest = next;
        }
        for index in self.due.timed.clone().iter() {
            if let Some(id) = self.table.id_at(index)
                && self.epochs_since(id).is_some_and(|age| age > oldest)
            {
                self.hurry(now, id);
            }
        }
    }

    /// How many epochs began since that of a worker who drains.
    fn epochs_since(&self, id: SlotId) -> Option<u32> {
        let slot = self.table.slot(id)?;
        let drains = matches!(slot.state(), State::Retiring(_));
        drains.then(|| self.serving.epoch.wrapping_sub(slot.epoch))
    }
}

impl core::fmt::Display for ReloadError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Refused => f.write_str("the configuration was refused"),
            Self::SpawnFailed(id) => write!(f, "no process could be made for worker {id}"),
            Self::Died(id, status) => write!(f, "worker {id} {status} before all were ready"),
            Self::Deadline => f.write_str("the new workers were not ready in time"),
            Self::Ended => f.write_str("the master was told to end"),
        }
    }
}

impl core::error::Error for ReloadError {}
