//! The life of a slot's process, from its fork to what follows from its death.

use crate::machine::governor::{Death, Verdict};
use crate::machine::master::Taken;
use crate::machine::report::News;
use crate::machine::{ExitStatus, Master, Phase, Why};
use crate::table::{After, Change, Instant, Pid, Policy, SlotId, State};

/// What becomes of a slot that lost its process.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Fate {
    /// It is filled again after this many milliseconds.
    Again(u64),
    /// It is given up.
    Park(Why),
    /// It is free.
    Vacate,
}

impl<const N: usize> Master<N> {
    /// The answer to a Spawn that was polled. It can come after a QUIT: then the process is told
    /// to go before anything else, since nobody else will.
    pub(super) fn spawned(&mut self, now: Instant, id: SlotId, pid: Pid) -> Taken {
        if self.due.spawn.contains(id.index()) {
            return None;
        }
        self.table.apply(id, Change::Spawned(pid)).ok()?;
        self.table.slot_mut(id)?.since = now;
        let place = &mut self.places[id.index().as_usize()];
        place.life = Some(id);
        place.pid = Some(pid);
        self.tell(id.index(), News::SPAWNED);
        if self.config.mesh {
            self.mesh.spawned(id.index());
        }
        if self.phase != Phase::Running {
            self.retire(now, id);
        }
        Some(())
    }

    /// The other answer.
    pub(super) fn spawn_failed(&mut self, now: Instant, id: SlotId) -> Taken {
        let starting = self.table.slot(id)?.state() == State::Starting(None);
        if !starting || self.due.spawn.contains(id.index()) {
            return None;
        }
        let fate = match self.phase {
            Phase::Running => self.judge(now, id, Death::Unmade),
            _ => Fate::Vacate,
        };
        let place = &mut self.places[id.index().as_usize()];
        place.life = Some(id);
        place.pid = None;
        self.tell(id.index(), News::FAILED);
        self.lose(now, id, Change::SpawnFailed, fate)?;
        self.cooled(now, id.next());
        Some(())
    }

    pub(super) fn ready(&mut self, id: SlotId) -> Taken {
        self.table.apply(id, Change::Ready).ok()?;
        self.tell(id.index(), News::READY);
        Some(())
    }

    /// A process is gone. What it owned is taken back before its slot is used again.
    pub(super) fn exited(&mut self, now: Instant, id: SlotId, status: ExitStatus) -> Taken {
        let slot = self.table.slot(id)?;
        slot.state().pid()?;
        let retiring = matches!(slot.state(), State::Retiring(_));
        let death = Death::Ended {
            ready: matches!(slot.state(), State::Live(_)),
            lived_ms: now.ms_since(slot.since),
        };
        let wanted = match status {
            ExitStatus::SUCCESS => Policy::RESTART_ON_SUCCESS,
            _ => Policy::RESTART_ON_FAILURE,
        };
        let fate = if retiring {
            Fate::Vacate
        } else if status == ExitStatus::FATAL {
            Fate::Park(Why::Fatal)
        } else if !slot.policy.contains(wanted) {
            Fate::Vacate
        } else {
            self.judge(now, id, death)
        };
        self.places[id.index().as_usize()].exit = Some(status);
        self.tell(id.index(), News::EXITED);
        self.due.reclaim.insert(id.index());
        self.lose(now, id, Change::Exited, fate)
    }

    /// The answer to a Reclaim that was polled. The id in it is the dead one's; the slot is known
    /// by the next.
    pub(super) fn reclaimed(&mut self, now: Instant, dead: SlotId) -> Taken {
        if self.due.reclaim.contains(dead.index()) {
            return None;
        }
        self.table.apply(dead.next(), Change::Reclaimed).ok()?;
        self.cooled(now, dead.next());
        Some(())
    }

    fn judge(&mut self, now: Instant, id: SlotId, death: Death) -> Fate {
        let history = &mut self.places[id.index().as_usize()].history;
        match history.decide(now, death, &self.config.backoff) {
            Verdict::Again(delay_ms) => Fate::Again(delay_ms),
            Verdict::Park => Fate::Park(Why::NeverReady),
        }
    }

    /// Ends this life of the slot; its deadline is when the next may begin.
    fn lose(&mut self, now: Instant, id: SlotId, change: fn(After) -> Change, fate: Fate) -> Taken {
        let (after, news) = match fate {
            Fate::Again(0) => (After::Cool, News::empty()),
            Fate::Again(_) => (After::Cool, News::DELAYED),
            Fate::Park(Why::Fatal) => (After::Park, News::FATAL),
            Fate::Park(Why::NeverReady) => (After::Park, News::NEVER_READY),
            Fate::Vacate => (After::Vacate, News::empty()),
        };
        self.table.apply(id, change(after)).ok()?;
        self.table.slot_mut(id.next())?.deadline = match fate {
            Fate::Again(delay_ms) => now.after_ms(delay_ms),
            Fate::Park(_) | Fate::Vacate => Instant::NEVER,
        };
        self.due.forget(id.index());
        self.tell(id.index(), news);
        if self.config.mesh {
            self.mesh.gone(id.index());
        }
        Some(())
    }

    /// A slot that has to cool does so, or has already done so.
    fn cooled(&mut self, now: Instant, id: SlotId) {
        let Some(slot) = self.table.slot(id) else {
            return;
        };
        if slot.state() != State::Cooling {
            return;
        }
        if slot.deadline <= now {
            self.fill_again(id);
        } else {
            self.due.timed.insert(id.index());
        }
    }

    /// Nobody wants the slot any more, and no process runs in it.
    pub(super) fn release(&mut self, id: SlotId) {
        let index = id.index();
        if self.table.apply(id, Change::Release).is_ok() {
            self.due.timed.remove(index);
            self.due.spawn.remove(index);
        }
    }
}
