//! `Master`: the core itself. One event in; what follows from it out, action by action.

use crate::machine::announce::{Announcement, Mesh};
use crate::machine::ending::Stage;
use crate::machine::governor::History;
use crate::machine::report::News;
use crate::machine::{Action, Config, Event, ExitStatus, Order, Signal};
use crate::table::{Change, Claim, Instant, Pid, SLOTS, SlotId, SlotIndex, SlotSet, State, Table};

/// The master's decisions, for `N` slots: 1024 unless a test wants fewer. About 146 KiB of plain
/// data: make it where it is to stay.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Master<const N: usize = SLOTS> {
    pub(super) config: Config,
    pub(super) phase: Phase,
    pub(super) table: Table<N>,
    pub(super) places: [Place; N],
    pub(super) mesh: Mesh<N>,
    pub(super) due: Due,
    pub(super) ignored: u64,
}

/// How far the master has come.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Phase {
    /// Workers are kept running.
    Running,
    /// QUIT: workers finish what they began; none is started.
    Draining,
    /// TERM: workers end now.
    Stopping,
    /// No child is left, and [`Action::Exit`] was said. Whatever happens now is ignored.
    Stopped,
}

/// What is kept for each place, beside its row in the table.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Place {
    pub(super) history: History,
    /// The life that is reported on: the last one with a process, or with a fork that failed.
    pub(super) life: Option<SlotId>,
    pub(super) pid: Option<Pid>,
    pub(super) exit: Option<ExitStatus>,
    pub(super) stage: Stage,
    pub(super) news: News,
}

/// What is to be done, and for whom. Sets, so that nothing can be twice in one or overflow it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Due {
    pub(super) reclaim: SlotSet,
    pub(super) kill: SlotSet,
    pub(super) signal_terminate: SlotSet,
    pub(super) order_terminate: SlotSet,
    pub(super) order_quit: SlotSet,
    pub(super) report: SlotSet,
    pub(super) spawn: SlotSet,
    /// Whose deadline counts.
    pub(super) timed: SlotSet,
}

/// `None`: the event does not fit what is known, and nothing was changed.
pub(super) type Taken = Option<()>;

impl<const N: usize> Master<N> {
    /// A master without workers.
    #[must_use]
    pub const fn new(config: Config) -> Self {
        Self {
            config,
            phase: Phase::Running,
            table: Table::new(),
            places: [Place::NEW; N],
            mesh: Mesh::new(),
            due: Due::NOTHING,
            ignored: 0,
        }
    }

    /// Claims a slot for each worker; their spawns follow from [`Master::poll`]. To be called once.
    /// A master that is told to end before stays empty; a table that is too small is filled.
    pub fn start(&mut self) {
        if self.phase != Phase::Running {
            return;
        }
        for number in 0..self.config.workers {
            let claim = Claim {
                number,
                policy: self.config.policy,
                epoch: 0,
            };
            let Some(id) = self.table.claim(claim) else {
                return;
            };
            self.places[id.index().as_usize()] = Place::NEW;
            self.due.spawn.insert(id.index());
        }
    }

    /// Takes in what happened. [`Master::poll`] says what follows from it. Constant time, but for
    /// `Elapsed`, `Quit` and `Terminate`, which walk the slots, and for a change that puts recipients
    /// behind: each of them once until it is announced to.
    pub fn handle(&mut self, now: Instant, event: Event) {
        if self.take(now, event).is_none() {
            self.ignored += 1;
        }
    }

    /// Every event that is `None` here is ignored, by name: the id is stale, or the state is one
    /// in which it cannot happen.
    fn take(&mut self, now: Instant, event: Event) -> Taken {
        if self.phase == Phase::Stopped {
            return None;
        }
        match event {
            Event::Spawned(id, pid) => self.spawned(now, id, pid),
            Event::SpawnFailed(id) => self.spawn_failed(now, id),
            Event::Ready(id) => self.ready(id),
            Event::Exited(id, status) => self.exited(now, id, status),
            Event::Reclaimed(id) => self.reclaimed(now, id),
            Event::Announced(id, version) => self.mesh.announced(self.recipient(id)?, version),
            Event::Blocked(id) => self.mesh.blocked(self.recipient(id)?),
            Event::Writable(id) => self.mesh.writable(self.recipient(id)?),
            Event::Refused(id) => self.mesh.refused(self.recipient(id)?, now),
            Event::Missed(id, lowest) => self.mesh.missed(self.recipient(id)?, lowest),
            Event::MeshBroken(id) => self.mesh.mesh_broken(self.recipient(id)?),
            Event::MeshReplaced(id) => self.mesh.mesh_replaced(self.recipient(id)?),
            Event::Quit => self.quit(now),
            Event::Terminate => self.terminate(now),
            Event::Elapsed => self.elapsed(now),
        }
    }

    /// The next thing to do; `None` once there is nothing to do until the next event. In this
    /// order: reclaim, signals, orders, reports, spawns, mesh pairs, announcements, exit.
    pub fn poll(&mut self) -> Option<Action> {
        self.poll_urgent()
            .or_else(|| self.poll_mesh())
            .or_else(|| self.poll_exit())
    }

    /// As [`Master::poll`], but leaves mesh pairs, announcements and the exit for later: for a shell
    /// that has a thousand workers to tell of each other, and wants to hear of deaths meanwhile.
    pub fn poll_urgent(&mut self) -> Option<Action> {
        self.poll_reclaim()
            .or_else(|| self.poll_signal())
            .or_else(|| self.poll_order())
            .or_else(|| self.poll_report().map(Action::Report))
            .or_else(|| self.poll_spawn())
    }

    /// When the next [`Event::Elapsed`] is due; [`Instant::NEVER`] if nothing waits. Walks the
    /// slots that wait for something: none in a master whose workers all run, at most all of them
    /// (40 KiB) while they are told to end.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        let slots = self.due.timed.iter().filter_map(|index| {
            let id = self.table.id_at(index)?;
            self.table.slot(id).map(|slot| slot.deadline)
        });
        let slots = slots.min().unwrap_or(Instant::NEVER);
        if self.announces() {
            slots.min(self.mesh.deadline())
        } else {
            slots
        }
    }

    /// Says that the mesh pair of a slot that is to be spawned was made. To be called before the
    /// fork: every process that is forked from now on inherits that pair. No pair may be made
    /// between a fork and its `Spawned`. Nothing without a mesh; a slot that is not to be spawned
    /// is ignored, and counted.
    pub fn paired(&mut self, slot: SlotId) {
        let state = self.table.slot(slot).map(|slot| slot.state());
        if !self.config.mesh {
            return;
        }
        if state == Some(State::Starting(None)) {
            self.mesh.paired(slot.index());
        } else {
            self.ignored += 1;
        }
    }

    /// What a worker has to be told, oldest change first: one entry a slot, however often it
    /// changed. Nothing for a stale id, or without a mesh.
    pub fn announcements(&self, recipient: SlotId) -> impl Iterator<Item = Announcement> {
        self.recipient(recipient)
            .into_iter()
            .flat_map(|index| self.mesh.pending(&self.table, index))
    }

    /// The version of the table: it rises with every change, and with every mesh pair.
    #[must_use]
    pub const fn version(&self) -> u64 {
        self.mesh.version()
    }

    /// The version that was sent as its low 32 bits: the nearest that is not above the present
    /// one; 0 where there is none.
    #[must_use]
    pub const fn version_from_low(&self, low: u32) -> u64 {
        let version = self.mesh.version();
        let behind = (version as u32).wrapping_sub(low);
        version.saturating_sub(behind as u64)
    }

    /// The slots that are to be spawned and were not polled yet, lowest first. When the first of a
    /// burst is polled, all their mesh pairs can be made before it is forked; then all of them
    /// inherit all pairs, and no descriptor need travel.
    pub fn spawning(&self) -> impl Iterator<Item = SlotId> {
        let spawn = self.due.spawn.iter();
        spawn.filter_map(|index| self.table.id_at(index))
    }

    /// Who has which slot.
    #[must_use]
    pub const fn table(&self) -> &Table<N> {
        &self.table
    }

    /// How far the master has come.
    #[must_use]
    pub const fn phase(&self) -> Phase {
        self.phase
    }

    /// What it was told beforehand.
    #[must_use]
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// How the last process that ended in this place ended.
    #[must_use]
    pub fn last_exit(&self, index: SlotIndex) -> Option<ExitStatus> {
        self.places.get(index.as_usize())?.exit
    }

    /// How many events did not fit what is known: answers for lives that are over, and answers
    /// that nobody asked for. Some are ordinary: a worker can say READY while it is told to quit.
    #[must_use]
    pub const fn ignored(&self) -> u64 {
        self.ignored
    }

    /// Time has come to whoever waits for it.
    fn elapsed(&mut self, now: Instant) -> Taken {
        for index in self.due.timed.clone().iter() {
            let id = self.table.id_at(index)?;
            let slot = self.table.slot(id)?;
            if slot.deadline > now {
                continue;
            }
            match slot.state() {
                State::Cooling => self.fill_again(id),
                State::Retiring(_) => self.escalate(now, id),
                _ => self.due.timed.remove(index),
            };
        }
        self.mesh.elapsed(now);
        Some(())
    }

    fn poll_reclaim(&mut self) -> Option<Action> {
        let index = self.due.reclaim.pop_first()?;
        self.places[index.as_usize()].life.map(Action::Reclaim)
    }

    fn poll_signal(&mut self) -> Option<Action> {
        let (index, signal) = match self.due.signal_terminate.pop_first() {
            Some(index) => (index, Signal::Terminate),
            None => (self.due.kill.pop_first()?, Signal::Kill),
        };
        let (id, pid) = self.process(index)?;
        Some(Action::Signal(id, pid, signal))
    }

    fn poll_order(&mut self) -> Option<Action> {
        let (index, order) = match self.due.order_terminate.pop_first() {
            Some(index) => (index, Order::Terminate),
            None => (self.due.order_quit.pop_first()?, Order::Quit),
        };
        let (id, pid) = self.process(index)?;
        Some(Action::Order(id, pid, order))
    }

    fn poll_spawn(&mut self) -> Option<Action> {
        let index = self.due.spawn.pop_first()?;
        if self.config.mesh {
            self.mesh.forking(index);
        }
        self.table.id_at(index).map(Action::Spawn)
    }

    fn poll_mesh(&mut self) -> Option<Action> {
        if !self.announces() {
            return None;
        }
        if let Some(index) = self.mesh.replace() {
            return self.table.id_at(index).map(Action::ReplaceMesh);
        }
        let index = self.mesh.ask()?;
        self.table.id_at(index).map(Action::Announce)
    }

    fn poll_exit(&mut self) -> Option<Action> {
        let ending = matches!(self.phase, Phase::Draining | Phase::Stopping);
        if !ending || !self.table.is_empty() {
            return None;
        }
        self.phase = Phase::Stopped;
        Some(Action::Exit)
    }

    /// Workers that end now are told nothing more.
    fn announces(&self) -> bool {
        self.config.mesh && matches!(self.phase, Phase::Running | Phase::Draining)
    }

    /// The process in a place, by its present name.
    fn process(&self, index: SlotIndex) -> Option<(SlotId, Pid)> {
        let id = self.table.id_at(index)?;
        Some((id, self.table.slot(id)?.state().pid()?))
    }

    fn recipient(&self, id: SlotId) -> Option<SlotIndex> {
        let pid = self.table.slot(id)?.state().pid();
        pid.filter(|_| self.config.mesh).map(|_| id.index())
    }

    /// Gives a cooled slot its next process.
    pub(super) fn fill_again(&mut self, id: SlotId) -> bool {
        self.due.timed.remove(id.index());
        self.table.apply(id, Change::Elapsed).is_ok() && self.due.spawn.insert(id.index())
    }
}

impl Place {
    pub(super) const NEW: Self = Self {
        history: History::NEW,
        life: None,
        pid: None,
        exit: None,
        stage: Stage::Asked,
        news: News::empty(),
    };
}

impl Due {
    const NOTHING: Self = Self {
        reclaim: SlotSet::EMPTY,
        kill: SlotSet::EMPTY,
        signal_terminate: SlotSet::EMPTY,
        order_terminate: SlotSet::EMPTY,
        order_quit: SlotSet::EMPTY,
        report: SlotSet::EMPTY,
        spawn: SlotSet::EMPTY,
        timed: SlotSet::EMPTY,
    };

    /// A slot has no process any more: nothing is to be said to it, or waited for.
    pub(super) fn forget(&mut self, index: SlotIndex) {
        for set in [
            &mut self.kill,
            &mut self.signal_terminate,
            &mut self.order_terminate,
            &mut self.order_quit,
            &mut self.timed,
        ] {
            set.remove(index);
        }
    }
}

static_assertions::const_assert!(size_of::<Place>() <= 56);
static_assertions::const_assert!(size_of::<Master>() <= 150 * 1024);
