//! The operator of a world: what is asked for, what is under way because of that, and what must be so
//! of it.
//!
//! ```text
//!   Load ──► Loaded | LoadRefused ──► Reloaded | ReloadFailed           each that begins has one outcome
//!     ▲──── LoadDeferred
//!   Launch ──► Launched | LaunchFailed ──► Upgraded | UpgradeFailed, and Withdraw once before that
//! ```

mod crews;

use forkmesh::machine::{Action, Event, ExitStatus, Master, Phase, Report, Signal, UpgradeError};
use forkmesh::table::{Instant, Pid, Role, SlotId, State};

use crate::world::World;

/// The pid of a successor: no worker has it.
const SUCCESSOR: i32 = 7_000;

const KILLED: ExitStatus = ExitStatus::Killed {
    signal: 9,
    core: false,
};

/// What is under way, as it really is.
#[derive(Clone)]
pub(crate) struct Operator {
    /// Loads and launches that were polled, and are not answered.
    loading: bool,
    launching: bool,
    /// When a configuration is to be asked for again that was not there.
    deferred: Option<Instant>,
    /// HUP came since it was asked for last.
    asked: bool,
    /// All was polled before each event.
    pub(crate) drained: bool,
    /// The reload that was polled, and has no outcome.
    reload: Option<u32>,
    /// An upgrade that was polled has no outcome.
    upgrade: bool,
    /// An upgrade was a success, and its successor was not heard of since.
    standing: bool,
    successor: Option<Successor>,
    /// The pid file was taken back, from an upgrade that is not reported yet.
    withdrawn: bool,
    predecessor: bool,
    /// Somebody else waits to hear of the start.
    awaited: bool,
    /// Whoever waits was told how it went.
    said: bool,
    /// That was that it cannot serve.
    failed: bool,
    /// How many slots the predecessor has.
    foreign: usize,
    /// How many old workers were told to go for the reload under way.
    steps: usize,
}

/// The process of a successor.
#[derive(Clone, Copy, Default)]
struct Successor {
    terminated: bool,
    killed: bool,
}

/// What a step may change: who stays of the serving epoch, and how many of the candidate are ready.
pub(crate) struct Told {
    serving: u32,
    candidate: Option<u32>,
    staying: Vec<(SlotId, State)>,
    full: bool,
}

impl Operator {
    pub(crate) fn new(foreign: usize, awaited: bool) -> Self {
        Self {
            loading: false,
            launching: false,
            deferred: None,
            asked: false,
            drained: false,
            reload: None,
            upgrade: false,
            standing: false,
            successor: None,
            withdrawn: false,
            predecessor: foreign > 0,
            awaited,
            said: false,
            failed: false,
            foreign,
            steps: 0,
        }
    }

    pub(crate) fn key(&self, out: &mut Vec<u8>) {
        let successor = self.successor.unwrap_or_default();
        let flags = [
            self.loading,
            self.launching,
            self.reload.is_some(),
            self.upgrade,
            self.standing,
            self.successor.is_some(),
            successor.terminated,
            successor.killed,
        ];
        out.push(
            flags
                .iter()
                .fold(0, |bits, flag| bits << 1 | u8::from(*flag)),
        );
        let deferred = self.deferred.is_some();
        let asked = self.drained && self.asked;
        let flags = [
            self.withdrawn,
            self.predecessor,
            self.awaited,
            self.said,
            self.failed,
            deferred,
            asked,
        ];
        out.push(
            flags
                .iter()
                .fold(0, |bits, flag| bits << 1 | u8::from(*flag)),
        );
        out.push(self.steps as u8);
    }

    /// It really happens.
    pub(crate) fn happens(&mut self, now: Instant, event: Event) {
        match event {
            Event::Reload => self.asked = true,
            Event::LoadDeferred(after_ms) => {
                self.loading = false;
                self.deferred = self.reload.map(|_| now.after_ms(after_ms)); // unless it is over
            }
            Event::Elapsed if self.deferred.is_some_and(|at| at <= now) => self.asked = true,
            Event::Loaded(_) => {
                self.loading = false;
                self.steps = 0;
            }
            Event::LoadRefused => self.loading = false,
            Event::Launched(_) => {
                self.launching = false;
                self.successor = Some(Successor::default());
            }
            Event::LaunchFailed(_) => self.launching = false,
            Event::SuccessorExited(_) => self.successor = None,
            Event::PredecessorGone => {
                self.predecessor = false;
                self.foreign = 0;
            }
            _ => {}
        }
    }

    /// The master wants something done.
    pub(crate) fn perform<const N: usize>(&mut self, action: Action, master: &Master<N>) {
        match action {
            Action::Load(epoch, workers) => {
                let again = self.deferred.take().map(|_| epoch);
                assert_eq!(self.reload.replace(epoch), again, "two reloads at a time");
                assert!(again.is_none() || self.asked || !self.drained, "too early");
                self.asked = false;
                assert!(
                    !self.loading && !self.upgrade,
                    "{action:?} beside something else"
                );
                assert_eq!(workers, master.serving().1);
                assert_ne!(epoch, master.serving().0);
                self.loading = true;
            }
            Action::Launch => {
                assert!(!self.upgrade && !self.standing, "two upgrades at a time");
                assert!(self.successor.is_none() && self.reload.is_none());
                assert!(!self.predecessor, "three masters");
                self.launching = true;
                self.upgrade = true;
            }
            Action::SignalSuccessor(signal) => {
                let successor = self.successor.as_mut().expect("it was reaped");
                assert!(self.upgrade, "{action:?} although it serves");
                successor.terminated |= signal == Signal::Terminate;
                if signal == Signal::Kill {
                    assert!(successor.terminated, "killed without a warning");
                    successor.killed = true;
                }
            }
            Action::Withdraw => {
                assert!(self.upgrade || self.standing, "withdrawn for nothing");
                assert!(self.successor.is_none() && !self.launching, "too early");
                assert!(!core::mem::replace(&mut self.withdrawn, true), "twice");
            }
            Action::SayReady | Action::SayFailed(_) => {
                let waits = self.predecessor || self.awaited;
                assert!(waits && !self.said, "{action:?} to nobody");
                self.said = true;
                self.failed = action != Action::SayReady;
                if action == Action::SayReady {
                    let epoch = master.serving().0;
                    let slots = master.table().occupied();
                    let live = slots
                        .filter(|(_, slot)| slot.epoch == epoch && slot.role == Role::Worker)
                        .filter(|(_, slot)| matches!(slot.state(), State::Live(_)));
                    assert_eq!(live.count(), usize::from(master.serving().1));
                }
            }
            Action::Report(report) => self.reported(report, master),
            _ => {}
        }
    }

    fn reported<const N: usize>(&mut self, report: Report, master: &Master<N>) {
        match report {
            Report::Reloaded(epoch) => {
                assert_eq!(self.reload.take(), Some(epoch), "{report:?}");
                self.steps = 0;
            }
            Report::ReloadFailed(epoch, _) => {
                assert_eq!(self.reload.take(), Some(epoch), "{report:?}");
                assert_ne!(master.serving().0, epoch, "{report:?}");
                self.steps = 0;
                self.deferred = None;
            }
            Report::Upgraded(_) => {
                assert!(core::mem::take(&mut self.upgrade), "{report:?}");
                self.standing = true;
            }
            Report::UpgradeFailed(UpgradeError::Standing) => {
                assert!(self.standing, "{report:?}");
            }
            Report::UpgradeFailed(_) => {
                assert!(self.successor.is_none(), "{report:?} before it is gone");
                let open = core::mem::take(&mut self.upgrade);
                let stood = core::mem::take(&mut self.standing);
                assert!(open || stood, "{report:?}");
                let withdrawn = core::mem::take(&mut self.withdrawn);
                assert!(
                    withdrawn || master.phase() != Phase::Running, // it stood, and nobody goes back
                    "the pid file stays set aside"
                );
            }
            _ => {}
        }
    }

    /// When all was polled.
    pub(crate) fn check_drained(&self, phase: Phase, now: Instant, deadline: Instant) {
        assert!(!self.withdrawn, "and nobody is told");
        let due = self.deferred.unwrap_or(Instant::NEVER);
        assert!(due > now, "it is not asked for again");
        assert!(due >= deadline, "and will not be");
        let stands = self.standing || self.upgrade;
        assert!(
            self.successor.is_none() || stands,
            "a successor that nobody knows"
        );
        let ended = phase != Phase::Running;
        assert!(
            !self.awaited || !self.failed || ended,
            "it goes on though its start has failed"
        );
        assert!(
            !ended || self.reload.is_none(),
            "a reload without an outcome"
        );
    }

    pub(crate) fn check_exit(&self) {
        assert!(!self.launching, "there may be a successor");
        assert!(!self.upgrade, "an upgrade without an outcome");
        assert!(
            self.successor.is_none() || self.standing,
            "a successor is left"
        );
        assert_eq!(self.reload, None, "a reload without an outcome");
    }

    /// Whether a reload is under way.
    pub(crate) fn reloads(&self) -> bool {
        self.reload.is_some()
    }

    /// Whether something is under way that the master waits for even in the end.
    pub(crate) fn keeps_the_master(&self) -> bool {
        self.launching || self.upgrade
    }

    /// What a kernel that answers and kills says next.
    pub(crate) fn answer(&self) -> Option<Event> {
        if self.launching {
            let pid = Pid::new(SUCCESSOR).expect("positive");
            return Some(Event::Launched(pid));
        }
        let killed = self.successor.is_some_and(|successor| successor.killed);
        killed.then_some(Event::SuccessorExited(KILLED))
    }
}

impl<const N: usize> World<N> {
    /// What the operator, the loader and the other masters can do next.
    pub(crate) fn operator_events(&self) -> Vec<Event> {
        let (menu, operator) = (&self.menu, &self.operator);
        let mut events = Vec::new();
        if menu.ends {
            events.extend([Event::Quit, Event::Terminate]);
        }
        let running = self.master.phase() == Phase::Running;
        if running && !menu.reloads.is_empty() {
            events.push(Event::Reload);
        }
        if operator.loading {
            events.extend(menu.reloads.iter().map(|workers| Event::Loaded(*workers)));
            events.push(Event::LoadRefused);
            events.extend(menu.defers.then_some(Event::LoadDeferred(10)));
        }
        if running && menu.rest {
            events.push(Event::Rest);
        }
        // Those that are kept are counted: without a bound there is no end to them.
        let busy = operator.reload.is_some() || operator.upgrade;
        if running && menu.count && !busy {
            events.extend([Event::More, Event::Fewer]);
        }
        if running && menu.upgrades {
            events.push(Event::Upgrade);
        }
        if operator.launching {
            let pid = Pid::new(SUCCESSOR).expect("positive");
            let failed = UpgradeError::NotExecuted(2);
            events.extend([Event::Launched(pid), Event::LaunchFailed(failed)]);
        }
        if operator.successor.is_some() {
            events.extend([
                Event::SuccessorReady,
                Event::SuccessorFailed(UpgradeError::Unready),
                Event::SuccessorExited(ExitStatus::Code(1)),
            ]);
        }
        if operator.predecessor {
            events.push(Event::PredecessorGone);
        }
        events
    }

    /// Which workers of the serving epoch stay, before an event.
    pub(crate) fn told(&self) -> Told {
        let table = self.master.table();
        let (serving, _) = self.master.serving();
        let candidate = self.master.starting();
        let staying = table.occupied().filter(|(id, slot)| {
            let own = slot.epoch == serving && slot.role == Role::Worker;
            own && slot.state().stays() && !self.master.is_unwanted(id.index())
        });
        Told {
            serving,
            candidate,
            staying: staying.map(|(id, slot)| (id, slot.state())).collect(),
            full: table.occupied().count() + self.operator.foreign >= N,
        }
    }

    /// While a reload is not done, an old worker goes only if a new one is ready in its place, or if no
    /// slot is free, or about to be.
    pub(crate) fn check_steps(&mut self, before: &Told, event: Event) {
        let after = self.told();
        if after.serving != before.serving || after.candidate.is_none() {
            return;
        }
        let ended = match event {
            Event::Exited(id, _) | Event::SpawnFailed(id) => Some(id.index()),
            _ => None,
        };
        let gone = before.staying.iter().filter(|(id, _)| {
            let stays = after
                .staying
                .iter()
                .any(|(own, _)| own.index() == id.index());
            !stays && Some(id.index()) != ended
        });
        let gone: Vec<_> = gone.collect();
        if gone.is_empty() {
            return;
        }
        let slots = self.master.table().occupied();
        let ready = slots
            .filter(|(_, slot)| Some(slot.epoch) == after.candidate)
            .filter(|(_, slot)| matches!(slot.state(), State::Live(_)))
            .count();
        self.operator.steps += gone.len();
        let live = gone
            .iter()
            .any(|(_, state)| matches!(state, State::Live(_)));
        let full = before.full || after.full;
        let waits = gone.iter().map(|(id, _)| id.index());
        let waits: Vec<_> = waits.collect();
        let moves = self.master.table().occupied().any(|(id, slot)| {
            let fresh = Some(slot.epoch) == after.candidate
                && matches!(slot.state(), State::Starting(_) | State::Cooling);
            let leaves = !slot.state().stays() || self.master.is_unwanted(id.index());
            !waits.contains(&id.index()) && (fresh || leaves)
        });
        let one_more = self.operator.steps == ready + 1 && full && !moves;
        assert!(
            !live || self.operator.steps <= ready || one_more,
            "{event:?} sends an old worker away: {} went, {ready} are ready",
            self.operator.steps
        );
    }
}
