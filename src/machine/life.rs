//! The life of a slot's process, from its fork to what follows from its death.

use crate::machine::governor::{Death, Verdict};
use crate::machine::last::Marks;
use crate::machine::master::Taken;
use crate::machine::report::News;
use crate::machine::{ExitStatus, Master, ReloadError, Why};
use crate::table::{After, Change, Instant, Pid, Policy, Role, Slot, SlotId, SlotIndex, State};

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
        if self.due.unwanted.remove(id.index()) {
            self.retire(now, id);
        }
        Some(())
    }

    /// The other answer.
    pub(super) fn spawn_failed(&mut self, now: Instant, id: SlotId) -> Taken {
        let slot = *self.table.slot(id)?;
        if slot.state() != State::Starting(None) || self.due.spawn.contains(id.index()) {
            return None;
        }
        let unwanted = self.due.unwanted.remove(id.index());
        let reloads = self.reload.starts(slot.epoch);
        let fate = if unwanted || reloads {
            Fate::Vacate
        } else {
            self.judge(now, id, Death::Unmade)
        };
        let place = &mut self.places[id.index().as_usize()];
        place.life = Some(id);
        place.pid = None;
        self.tell(id.index(), News::FAILED);
        self.lose(now, id, Change::SpawnFailed, fate)?;
        self.cooled(now, id.next());
        if reloads && !unwanted {
            self.roll_back(now, ReloadError::SpawnFailed(id));
        }
        Some(())
    }

    pub(super) fn ready(&mut self, now: Instant, id: SlotId) -> Taken {
        self.table.apply(id, Change::Ready).ok()?;
        let place = &mut self.places[id.index().as_usize()];
        place.marks.insert(Marks::IS_READY);
        self.tell(id.index(), News::READY);
        let slot = *self.table.slot(id)?;
        if let (Some(crew), Some(number)) = (self.crew_of(slot.epoch), worker_number(&slot)) {
            crew.ready.insert(number);
        }
        if self.reload.starts(slot.epoch) {
            self.reload_goes_on(now);
        }
        Some(())
    }

    /// A worker says what it failed at; its end follows.
    pub(super) fn failed(&mut self, id: SlotId, stage: u32, errno: i32) -> Taken {
        self.table.slot(id)?.state().pid()?;
        self.places[id.index().as_usize()].fails(stage, errno);
        Some(())
    }

    /// A process is gone. What it owned is taken back before its slot is used again.
    pub(super) fn exited(&mut self, now: Instant, id: SlotId, status: ExitStatus) -> Taken {
        let slot = *self.table.slot(id)?;
        slot.state().pid()?;
        let retiring = matches!(slot.state(), State::Retiring(_));
        let ready = matches!(slot.state(), State::Live(_));
        let lived_ms = now.ms_since(slot.since);
        // A reload whose worker cannot serve is over; that worker is not tried again.
        let reloads = self.reload.starts(slot.epoch) && !retiring;
        let doomed = reloads && (!ready || status == ExitStatus::FATAL);
        let wanted = match status {
            ExitStatus::SUCCESS => Policy::RESTART_ON_SUCCESS,
            _ => Policy::RESTART_ON_FAILURE,
        };
        let fate = if retiring || doomed {
            Fate::Vacate
        } else if status == ExitStatus::FATAL {
            Fate::Park(Why::Fatal)
        } else if !slot.policy.contains(wanted) {
            Fate::Vacate
        } else {
            self.judge(now, id, Death::Ended { ready, lived_ms })
        };
        let place = &mut self.places[id.index().as_usize()];
        place.ended(status, lived_ms);
        self.tell(id.index(), News::EXITED);
        self.due.reclaim.insert(id.index());
        self.lose(now, id, Change::Exited, fate)?;
        if doomed {
            self.roll_back(now, ReloadError::Died(id, status));
        } else if !retiring {
            self.lost(&slot, fate);
        }
        Some(())
    }

    /// A worker of a crew is gone: it is not ready any more, unless it has done what it was for.
    fn lost(&mut self, slot: &Slot, fate: Fate) {
        let ready = matches!(slot.state(), State::Live(_));
        let Some(number) = worker_number(slot) else {
            return; // nobody waits for a helper
        };
        if fate != Fate::Vacate
            && let Some(crew) = self.crew_of(slot.epoch)
        {
            crew.ready.remove(number);
        }
        // A new master whose worker cannot serve does not keep the old one waiting.
        if matches!(fate, Fate::Park(_)) || (fate == Fate::Vacate && !ready) {
            self.start.fail();
        }
    }

    /// The answer to a Reclaim that was polled. The id in it is the dead one's; the slot is known
    /// by the next.
    pub(super) fn reclaimed(&mut self, now: Instant, dead: SlotId) -> Taken {
        if self.due.reclaim.contains(dead.index()) {
            return None;
        }
        self.table.apply(dead.next(), Change::Reclaimed).ok()?;
        self.cooled(now, dead.next());
        if self.table.slot(dead.next())?.state() == State::Vacant {
            self.reload_goes_on(now); // there is room for a step more
        }
        Some(())
    }

    fn judge(&mut self, now: Instant, id: SlotId, death: Death) -> Fate {
        let history = &mut self.places[id.index().as_usize()].history;
        match history.decide(now, death, &self.config.backoff, id.as_u32()) {
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
            self.untell(index, News::DELAYED); // it is not tried again
        }
    }
}

/// Which worker of its crew a slot has; `None` for a helper.
fn worker_number(slot: &Slot) -> Option<SlotIndex> {
    SlotIndex::new(slot.number.into()).filter(|_| slot.role == Role::Worker)
}
