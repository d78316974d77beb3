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
//! - An order that was sent and never read is given again (test `an_order_that_was_not_read_is_given_again`).
//! - A process whose fork was under way when the master was told to end is retired as soon as it is
//!   known (tests `quit_while_a_spawn_is_under_way` and `exhaustive`).

use crate::machine::master::Taken;
use crate::machine::{Master, Phase, ReloadError};
use crate::table::{Change, Instant, SlotId, State};

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
            self.end(now, Phase::Draining);
        }
        Some(())
    }

    /// Those who were terminated before keep their schedule.
    pub(super) fn terminate(&mut self, now: Instant) -> Taken {
        if self.phase != Phase::Stopping {
            self.end(now, Phase::Stopping);
        }
        Some(())
    }

    /// Whatever is under way comes to nothing, and everybody goes.
    fn end(&mut self, now: Instant, phase: Phase) {
        self.phase = phase;
        self.roll_back(now, ReloadError::Ended);
        self.end_amid_upgrade(now);
        self.serving.dismiss_all();
        self.dismiss_where(now, |_| true);
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

    /// Who was asked to go, and did not read it, is asked again. (Whoever was told more firmly was
    /// told by a signal, too.)
    pub(super) fn unheard(&mut self, id: SlotId) -> Taken {
        let state = self.table.slot(id)?.state();
        state.pid()?;
        let asked = self.places[id.index().as_usize()].stage == Stage::Asked;
        if matches!(state, State::Retiring(_)) && asked {
            self.due.order_quit.insert(id.index());
        }
        Some(())
    }

    /// Who was asked to go has no time left.
    pub(super) fn hurry(&mut self, now: Instant, id: SlotId) {
        if self.places[id.index().as_usize()].stage == Stage::Asked {
            self.escalate(now, id);
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
