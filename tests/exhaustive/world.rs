//! A world: the core, and what is really there; what can happen in it, and what must always be so.

use forkmesh::machine::{Action, Config, Event, ExitStatus, Master, Order, Phase, Signal};
use forkmesh::table::{Instant, Pid, Policy, Role, SlotId, SlotIndex, SlotSet, State};

use crate::operator::Operator;

pub(crate) const STATUSES: [ExitStatus; 4] = [
    ExitStatus::SUCCESS,
    ExitStatus::Code(1),
    ExitStatus::FATAL,
    ExitStatus::Killed {
        signal: 9,
        core: false,
    },
];

/// What is really there, for one slot.
#[derive(Clone, Copy, Default)]
pub(crate) struct Reality {
    pub(crate) forking: Option<SlotId>,
    pub(crate) process: Option<(SlotId, Pid)>,
    pub(crate) reclaiming: Option<SlotId>,
    /// The process was signalled.
    pub(crate) terminated: bool,
    pub(crate) killed: bool,
    /// Its control channel.
    pub(crate) channel: Channel,
}

/// What goes on in the channel to a process.
#[derive(Clone, Copy, Default, PartialEq)]
pub(crate) enum Channel {
    #[default]
    Idle,
    Announcing,
    Replacing,
    Full,
}

/// How far time jumps.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Clock {
    /// By this many milliseconds, whether something is due or not.
    Tick(u64),
    /// To the deadline.
    Deadline,
}

/// When actions are taken out.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Polling {
    /// All, after each event.
    Drained,
    /// One at a time, with any event in between.
    Stepwise,
}

#[derive(Clone)]
pub(crate) struct World<const N: usize> {
    pub(crate) master: Master<N>,
    pub(crate) real: [Reality; N],
    pub(crate) now: Instant,
    pub(crate) exited: bool,
    pub(crate) meshed: bool,
    pub(crate) menu: Menu,
    /// What an operator asks for, and what comes of it.
    pub(crate) operator: Operator,
}

/// What can happen in a world, besides the lives of its workers.
#[derive(Clone, Copy)]
pub(crate) struct Menu {
    /// How workers end.
    pub(crate) statuses: &'static [ExitStatus],
    /// QUIT and TERM.
    pub(crate) ends: bool,
    /// HUP; each time one of these many workers are wanted, if the configuration is not refused.
    pub(crate) reloads: &'static [u16],
    /// The configuration may not be there yet.
    pub(crate) defers: bool,
    /// Which deaths of each helper are followed by a restart.
    pub(crate) helpers: &'static [Policy],
    /// WINCH.
    pub(crate) rest: bool,
    /// TTIN and TTOU.
    pub(crate) count: bool,
    /// USR2.
    pub(crate) upgrades: bool,
    /// Whoever ends is started again, unless it is given up.
    pub(crate) restarts: bool,
    /// Somebody who is no master waits to hear of the start.
    pub(crate) awaited: bool,
}

impl Menu {
    /// The lives of workers, and the ends of the master.
    pub(crate) const LIVES: Self = Self {
        statuses: &STATUSES,
        ends: true,
        reloads: &[],
        defers: false,
        helpers: &[],
        rest: false,
        count: false,
        upgrades: false,
        restarts: true,
        awaited: false,
    };
}

/// What can happen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Step {
    Event(Event),
    Time(Instant),
    Poll,
}

pub(crate) fn index(place: usize) -> SlotIndex {
    SlotIndex::new(place).expect("below 1024")
}

impl<const N: usize> World<N> {
    pub(crate) fn new(config: Config, meshed: bool) -> Self {
        Self::with(config.workers(N).mesh(meshed), meshed, Menu::LIVES, 0)
    }

    /// With an operator; and with a predecessor, if it has slots: that many, the lowest.
    pub(crate) fn with(config: Config, meshed: bool, menu: Menu, foreign: usize) -> Self {
        let helpers = menu.helpers.iter();
        let config = helpers.fold(config, |config, policy| config.helper(*policy));
        let mut world = Self {
            master: Master::new(config),
            meshed,
            real: [Reality::default(); N],
            // Long after the origin: nothing here is older than that.
            now: Instant::from_ms(1 << 40),
            exited: false,
            menu,
            operator: Operator::new(foreign, menu.awaited),
        };
        if foreign > 0 {
            world.master.succeed(&SlotSet::first_of(foreign));
        }
        if menu.awaited {
            world.master.report_start();
        }
        world.master.start();
        world
    }

    pub(crate) fn id(&self, place: usize) -> SlotId {
        self.master.table().id_at(index(place)).expect("a row")
    }

    pub(crate) fn state(&self, place: usize) -> State {
        let slot = self.master.table().slot(self.id(place));
        slot.expect("its present life").state()
    }

    /// What decides how this world goes on. After a drained turn it does not matter which slot is
    /// which: then worlds that differ only in that are one.
    pub(crate) fn key(&self, polling: Polling) -> Vec<u8> {
        let mut parts = vec![Vec::new()];
        self.master.digest(self.now, &mut |number| match number {
            u64::MAX => parts.push(Vec::new()),
            small => {
                let small = u8::try_from(small).expect("small numbers only");
                parts.last_mut().expect("never empty").push(small);
            }
        });
        self.operator.key(&mut parts[0]);
        for (place, part) in parts[1..=N].iter_mut().enumerate() {
            part.push(u8::from(self.menu.count && self.is_last(place)));
        }
        for (real, part) in self.real.iter().zip(&mut parts[1..]) {
            part.push(
                u8::from(real.forking.is_some())
                    | u8::from(real.process.is_some()) << 1
                    | u8::from(real.reclaiming.is_some()) << 2
                    | u8::from(real.terminated) << 3
                    | u8::from(real.killed) << 4
                    | (real.channel as u8) << 5,
            );
        }
        if polling == Polling::Drained && !self.meshed {
            parts[1..=N].sort_unstable();
        }
        parts.join(&u8::MAX)
    }

    /// Whether the slot's worker is the one that TTOU is about.
    fn is_last(&self, place: usize) -> bool {
        let slot = self.master.table().slot(self.id(place));
        let (epoch, workers) = self.master.serving();
        slot.is_some_and(|slot| {
            slot.role == Role::Worker && (slot.epoch, slot.number + 1) == (epoch, workers)
        })
    }

    /// Whether a slot is a helper's.
    pub(crate) fn is_helper(&self, place: usize) -> bool {
        let slot = self.master.table().slot(self.id(place));
        slot.is_some_and(|slot| slot.state() != State::Vacant && slot.role == Role::Helper)
    }

    /// Everything that could happen next.
    pub(crate) fn steps(&self, clock: Clock, polling: Polling) -> Vec<Step> {
        let mut events = self.operator_events();
        for (place, real) in self.real.iter().enumerate() {
            if let Some(id) = real.forking {
                // No living process has it, nor the one that last had this slot.
                let number = 1 + place as i32 + N as i32 * (id.generation().as_u32() % 3) as i32;
                let pid = Pid::new(number).expect("positive");
                events.extend([Event::Spawned(id, pid), Event::SpawnFailed(id)]);
            }
            if let Some((id, _)) = real.process {
                events.push(Event::Ready(id));
                // A mesh is told that it died, not of what.
                let statuses = if self.meshed {
                    &STATUSES[1..3]
                } else {
                    self.menu.statuses
                };
                events.extend(statuses.iter().map(|status| Event::Exited(id, *status)));
                self.mesh_events(id, real.channel, &mut events);
            }
            if let Some(id) = real.reclaiming {
                events.push(Event::Reclaimed(id));
            }
        }
        let mut steps: Vec<_> = events.into_iter().map(Step::Event).collect();
        match clock {
            Clock::Tick(ms) => steps.push(Step::Time(self.now.after_ms(ms))),
            Clock::Deadline if self.master.deadline() != Instant::NEVER => {
                steps.push(Step::Time(self.master.deadline().max(self.now)));
            }
            Clock::Deadline => {}
        }
        if polling == Polling::Stepwise {
            steps.push(Step::Poll);
        }
        steps
    }

    /// What can come from the mesh. Refusals are left out: they last long, and are traced elsewhere.
    fn mesh_events(&self, id: SlotId, channel: Channel, events: &mut Vec<Event>) {
        if !self.meshed {
            return;
        }
        events.extend([Event::MeshBroken(id), Event::Missed(id, 0)]);
        match channel {
            Channel::Idle => {}
            Channel::Announcing => {
                let versions = self.master.announcements(id).map(|entry| entry.version);
                events.extend(versions.map(|version| Event::Announced(id, version)));
                events.push(Event::Blocked(id));
            }
            Channel::Replacing => events.extend([Event::MeshReplaced(id), Event::Blocked(id)]),
            Channel::Full => events.push(Event::Writable(id)),
        }
    }

    /// It happens; returns what the core wants done.
    pub(crate) fn take(&mut self, step: Step, polling: Polling) -> Vec<Action> {
        let event = match step {
            Step::Event(event) => event,
            Step::Time(now) => {
                self.now = now;
                Event::Elapsed
            }
            Step::Poll => {
                let action = self.master.poll();
                action.iter().for_each(|action| self.perform(*action));
                return action.into_iter().collect();
            }
        };
        match event {
            Event::Spawned(id, pid) => {
                self.master.paired(id);
                let real = &mut self.real[id.index().as_usize()];
                real.forking = None;
                real.process = Some((id, pid));
            }
            Event::SpawnFailed(id) => self.real[id.index().as_usize()].forking = None,
            Event::Exited(id, _) => {
                self.real[id.index().as_usize()] = Reality::default();
            }
            Event::Reclaimed(id) => self.real[id.index().as_usize()].reclaiming = None,
            Event::Announced(id, _) | Event::MeshReplaced(id) | Event::Writable(id) => {
                self.real[id.index().as_usize()].channel = Channel::Idle;
            }
            Event::Blocked(id) => self.real[id.index().as_usize()].channel = Channel::Full,
            _ => {}
        }
        let reloads = self.operator.reloads();
        let before = reloads.then(|| self.told());
        self.operator.drained = polling == Polling::Drained;
        self.operator.happens(self.now, event);
        self.master.handle(self.now, event);
        if let Some(before) = before {
            self.check_steps(&before, event);
        }
        let mut actions = Vec::new();
        if polling == Polling::Drained {
            while let Some(action) = self.master.poll() {
                self.perform(action);
                actions.push(action);
                // Of one event: at most two things for each slot, three reports, and what the master
                // itself is to do; a mesh adds one.
                assert!(actions.len() <= 3 * N + 8, "a turn is bounded: {actions:?}");
            }
        }
        actions
    }

    pub(crate) fn perform(&mut self, action: Action) {
        assert!(!self.exited, "{action:?} after Exit");
        match action {
            Action::Spawn(id) => {
                assert_eq!(self.master.phase(), Phase::Running, "{action:?}");
                self.check_spawn(id);
                let real = &mut self.real[id.index().as_usize()];
                assert!(
                    real.forking.is_none() && real.process.is_none() && real.reclaiming.is_none(),
                    "{action:?} into a slot that is in use"
                );
                real.forking = Some(id);
            }
            Action::Reclaim(id) => {
                let real = &mut self.real[id.index().as_usize()];
                assert!(real.process.is_none(), "{action:?} of the living");
                assert_eq!(real.reclaiming.replace(id), None, "{action:?} twice");
            }
            Action::Signal(id, pid, signal) => {
                let real = &mut self.real[id.index().as_usize()];
                assert_eq!(real.process, Some((id, pid)), "{action:?} of the dead");
                real.terminated |= signal == Signal::Terminate;
                if signal == Signal::Kill {
                    assert!(real.terminated, "killed without a warning");
                    real.killed = true;
                }
            }
            Action::Order(id, pid, order) => {
                let real = &self.real[id.index().as_usize()];
                assert_eq!(real.process, Some((id, pid)), "{action:?} of the dead");
                assert!(
                    order == Order::Terminate || !real.terminated,
                    "{action:?}, late"
                );
            }
            Action::Announce(id) | Action::ReplaceMesh(id) => {
                let real = &mut self.real[id.index().as_usize()];
                assert_eq!(
                    real.process.map(|(own, _)| own),
                    Some(id),
                    "{action:?} of the dead"
                );
                assert!(real.channel != Channel::Full, "{action:?} in vain");
                real.channel = match action {
                    Action::Announce(_) => Channel::Announcing,
                    _ => Channel::Replacing,
                };
            }
            Action::Exit => {
                self.operator.check_exit();
                self.exited = true;
            }
            other => self.operator.perform(other, &self.master),
        }
    }

    pub(crate) fn busy(&self) -> bool {
        let mut real = self.real.iter();
        real.any(|real| {
            real.forking.is_some() || real.process.is_some() || real.reclaiming.is_some()
        })
    }
}
