//! How the master ends: who is asked to go, and how it is told more firmly.
//!
//! ```text
//!   QUIT ──► ask ──quit_ms──► terminate ──terminate_ms──► kill ──terminate_ms──► kill ─ ─
//!                                 ▲
//!   TERM ─────────────────────────┘ at once, also where QUIT was asked before
//! ```
//!
//! # Invariants
//!
//! - Whoever is retired is told more and more firmly until it is gone (tests
//!   `quit_asks_then_terminates_then_kills` and `exhaustive`).
//! - A process whose fork was under way when the master was told to end is retired as soon as it is
//!   known (tests `quit_while_a_spawn_is_under_way` and `exhaustive`).

use crate::machine::master::Taken;
use crate::machine::{Master, Phase};
use crate::table::{Change, Instant, SlotId, SlotIndex, State};

/// What a retiring process was told last.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) enum Stage {
    /// To finish and go.
    Asked,
    /// To go.
    Terminated,
    /// Nothing: it is killed.
    Killed,
}

impl<const N: usize> Master<N> {
    pub(super) fn quit(&mut self, now: Instant) -> Taken {
        if self.phase == Phase::Running {
            self.phase = Phase::Draining;
            self.retire_all(now);
        }
        Some(())
    }

    /// Those who were terminated before keep their schedule.
    pub(super) fn terminate(&mut self, now: Instant) -> Taken {
        if self.phase != Phase::Stopping {
            self.phase = Phase::Stopping;
            self.retire_all(now);
        }
        Some(())
    }

    fn retire_all(&mut self, now: Instant) {
        for index in (0..N).filter_map(SlotIndex::new) {
            let Some(id) = self.table.id_at(index) else {
                continue;
            };
            let Some(slot) = self.table.slot(id) else {
                continue;
            };
            match slot.state() {
                State::Starting(Some(_)) | State::Live(_) | State::Retiring(_) => {
                    self.retire(now, id);
                }
                // Polled already: its answer comes, and is dealt with then.
                State::Starting(None) if !self.due.spawn.contains(index) => {}
                State::Starting(None) | State::Reclaiming(_) | State::Cooling | State::Parked => {
                    self.release(id);
                }
                State::Vacant => {}
            }
        }
    }

    /// Tells a process to go, as firmly as the phase wants it.
    pub(super) fn retire(&mut self, now: Instant, id: SlotId) {
        let newly = self.table.apply(id, Change::Retire).is_ok();
        if self.phase == Phase::Stopping {
            if newly || self.places[id.index().as_usize()].stage == Stage::Asked {
                self.due.order_quit.remove(id.index());
                self.due.signal_terminate.insert(id.index());
                self.enter(
                    id,
                    Stage::Terminated,
                    now.after_ms(self.config.terminate_ms),
                );
            }
        } else if newly {
            self.due.order_quit.insert(id.index());
            self.enter(id, Stage::Asked, now.after_ms(self.config.quit_ms));
        }
    }

    /// Time is up for a retiring process: the next stage.
    pub(super) fn escalate(&mut self, now: Instant, id: SlotId) -> bool {
        let index = id.index();
        let stage = match self.places[index.as_usize()].stage {
            Stage::Asked => {
                self.due.order_quit.remove(index);
                self.due.order_terminate.insert(index);
                self.due.signal_terminate.insert(index);
                Stage::Terminated
            }
            Stage::Terminated | Stage::Killed => {
                self.due.kill.insert(index);
                Stage::Killed
            }
        };
        self.enter(id, stage, now.after_ms(self.config.terminate_ms))
    }

    fn enter(&mut self, id: SlotId, stage: Stage, deadline: Instant) -> bool {
        self.places[id.index().as_usize()].stage = stage;
        if let Some(slot) = self.table.slot_mut(id) {
            slot.deadline = deadline;
        }
        self.due.timed.insert(id.index())
    }
}
