//! `Master`: the core itself. One event in; what follows from it out, action by action.

use crate::machine::announce::{Announcement, Mesh};
use crate::machine::crew::Crew;
use crate::machine::due::Due;
use crate::machine::ending::Stage;
use crate::machine::governor::History;
use crate::machine::last::Marks;
use crate::machine::predecessor::Predecessor;
use crate::machine::reload::Reload;
use crate::machine::report::{News, Outcomes};
use crate::machine::request::Requests;
use crate::machine::start::Start;
use crate::machine::{Config, Duty, Ending, Event, ExitStatus, Upgrade};
use crate::table::{Change, Instant, Pid, SLOTS, SlotId, SlotIndex, SlotSet, State, Table};

/// The master's decisions, for `N` slots: 1024 unless a test wants fewer. About 155 KiB of plain
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
    /// The workers that serve, and those that are to: see `crew` and `reload`.
    pub(super) serving: Crew,
    pub(super) duty: Duty,
    pub(super) reload: Reload,
    /// The last epoch that was begun.
    pub(super) last_epoch: u32,
    pub(super) upgrade: Upgrade,
    /// When the upgrade goes on by itself.
    pub(super) upgrade_at: Instant,
    pub(super) requests: Requests,
    pub(super) outcomes: Outcomes,
    pub(super) predecessor: Predecessor,
    pub(super) start: Start,
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
    /// No child is left, and [`Action::Exit`](super::Action::Exit) was said. Whatever happens now is ignored.
    Stopped,
}

/// What is kept for each place, beside its row in the table.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Place {
    pub(super) history: History,
    /// The life that is reported on: the last one with a process, or with a fork that failed.
    pub(super) life: Option<SlotId>,
    pub(super) pid: Option<Pid>,
    /// How the last process ended: see `last`.
    pub(super) lived_ms: u32,
    pub(super) failed_stage: u32,
    pub(super) failed_errno: u16,
    pub(super) exit: Option<ExitStatus>,
    pub(super) marks: Marks,
    pub(super) stage: Stage,
    pub(super) news: News,
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
            serving: Crew::new(0, 0),
            duty: Duty::Serving,
            reload: Reload::Idle,
            last_epoch: 0,
            upgrade: Upgrade::None,
            upgrade_at: Instant::NEVER,
            requests: Requests::NONE,
            outcomes: Outcomes::NONE,
            predecessor: Predecessor::NONE,
            start: Start::Told,
        }
    }

    /// Claims a slot for each worker, and for each helper if there is one left; their spawns follow
    /// from [`Master::poll`]. To be called once. A master that is told to end before stays empty; a
    /// table that is too small is filled.
    pub fn start(&mut self) {
        if self.phase != Phase::Running {
            return;
        }
        self.serving = Crew::new(0, self.config.workers);
        self.call_helpers();
        self.place();
        self.end_failed_start(Instant::ORIGIN); // nobody runs yet, whom it could be late for
    }

    /// Takes in what happened. [`Master::poll`] says what follows from it. Constant time, but for
    /// `Elapsed`, `Quit` and `Terminate`, which walk the slots, and for a change that puts recipients
    /// behind: each of them once until it is announced to.
    pub fn handle(&mut self, now: Instant, event: Event) {
        match self.take(now, event) {
            None => self.ignored += 1,
            Some(()) if event.is_of_the_mesh() => {}
            Some(()) => self.follow(now),
        }
    }

    /// What follows from any change: workers get slots, a reload goes on, requests are served.
    fn follow(&mut self, now: Instant) {
        if self.phase == Phase::Running {
            self.place();
            self.go_on_with_reload(now);
        }
        self.serve_requests(now);
        if self.phase == Phase::Running {
            self.place(); // whom a request wants
            self.end_failed_start(now);
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
            Event::Ready(id) => self.ready(now, id),
            Event::Failed(id, stage, errno) => self.failed(id, stage, errno),
            Event::Unheard(id) => self.unheard(id),
            Event::Exited(id, status) => self.exited(now, id, status),
            Event::Reclaimed(id) => self.reclaimed(now, id),
            Event::Announced(id, version) => self.mesh.announced(self.recipient(id)?, version),
            Event::Blocked(id) => self.mesh.blocked(self.recipient(id)?),
            Event::Writable(id) => self.mesh.writable(self.recipient(id)?),
            Event::Refused(id) => self.mesh.refused(self.recipient(id)?, now),
            Event::Missed(id, lowest) => self.mesh.missed(self.recipient(id)?, lowest),
            Event::MeshBroken(id) => self.mesh.mesh_broken(self.recipient(id)?),
            Event::MeshReplaced(id) => self.mesh.mesh_replaced(self.recipient(id)?),
            Event::Reload | Event::Rest | Event::More | Event::Fewer | Event::Upgrade => {
                self.asked(event)
            }
            Event::Reopen => self.reopen(),
            Event::Loaded(workers) => self.loaded(now, workers),
            Event::LoadRefused => self.load_refused(),
            Event::LoadDeferred(after_ms) => self.load_deferred(now, after_ms),
            Event::Launched(pid) => self.launched(now, pid),
            Event::LaunchFailed(why) => self.launch_failed(why),
            Event::SuccessorReady => self.successor_ready(now),
            Event::SuccessorFailed(why) => self.successor_failed(now, why),
            Event::SuccessorExited(status) => self.successor_exited(status),
            Event::PredecessorGone => self.predecessor_gone(),
            Event::Quit => self.quit(now),
            Event::Terminate => self.terminate(now),
            Event::Elapsed => self.elapsed(now),
        }
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
        let slots = slots
            .chain(self.reload.deadline())
            .min()
            .unwrap_or(Instant::NEVER);
        let slots = slots.min(self.upgrade_at);
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

    /// Which slots have changed since this was asked last.
    pub fn take_changed(&mut self) -> SlotSet {
        self.table.take_changed()
    }

    /// What a slot has to wait from the death of its last process to the next; 0 where it does not.
    #[must_use]
    pub fn delay_ms(&self, index: SlotIndex) -> u64 {
        let place = self.places.get(index.as_usize());
        let delay = place.and_then(|place| Some((place, place.life?)));
        delay.map_or(0, |(place, life)| {
            place.history.delay_ms(&self.config.backoff, life.as_u32())
        })
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
    pub fn last_exit(&self, index: SlotIndex) -> Option<Ending> {
        self.places.get(index.as_usize())?.last()
    }

    /// The epoch that serves, and how many workers it wants.
    #[must_use]
    pub const fn serving(&self) -> (u32, u16) {
        (self.serving.epoch, self.serving.workers)
    }

    /// The epoch that is to serve, while a reload starts it.
    #[must_use]
    pub fn starting(&self) -> Option<u32> {
        self.reload.candidate().map(|next| next.crew.epoch)
    }

    /// Whether the workers are to serve.
    #[must_use]
    pub const fn duty(&self) -> Duty {
        self.duty
    }

    /// How far an upgrade has come.
    #[must_use]
    pub const fn upgrade(&self) -> Upgrade {
        self.upgrade
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
        self.upgrade_elapsed(now);
        self.reload_elapsed(now);
        Some(())
    }

    /// The master's own files first, then everybody's.
    fn reopen(&mut self) -> Taken {
        self.due.reopen = true;
        for (id, slot) in self.table.occupied() {
            if slot.state().pid().is_some() {
                self.due.order_reopen.insert(id.index());
            }
        }
        Some(())
    }

    /// Workers that end now are told nothing more.
    pub(super) fn announces(&self) -> bool {
        self.config.mesh && matches!(self.phase, Phase::Running | Phase::Draining)
    }

    /// The process in a place, by its present name.
    pub(super) fn process(&self, index: SlotIndex) -> Option<(SlotId, Pid)> {
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
        lived_ms: 0,
        failed_stage: 0,
        failed_errno: 0,
        exit: None,
        marks: Marks::empty(),
        stage: Stage::Asked,
        news: News::empty(),
    };
}

static_assertions::const_assert!(size_of::<Place>() <= 64);
static_assertions::const_assert!(size_of::<Master>() <= 160 * 1024);
