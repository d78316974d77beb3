//! A world: the core, and what is really there; what can happen in it, and what must always be so.

use std::collections::HashSet;

use forkmesh::machine::{Action, Config, Event, ExitStatus, Master, Order, Phase, Signal};
use forkmesh::table::{After, Generation, Instant, Pid, SlotId, SlotIndex, State};

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
    forking: Option<SlotId>,
    process: Option<(SlotId, Pid)>,
    reclaiming: Option<SlotId>,
    /// The process was signalled.
    terminated: bool,
    killed: bool,
    /// Its control channel.
    channel: Channel,
}

/// What goes on in the channel to a process.
#[derive(Clone, Copy, Default, PartialEq)]
enum Channel {
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
    meshed: bool,
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
        let mut world = Self {
            master: Master::new(config.workers(N).mesh(meshed)),
            meshed,
            real: [Reality::default(); N],
            // Long after the origin: nothing here is older than that.
            now: Instant::from_ms(1 << 40),
            exited: false,
        };
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

    /// Everything that could happen next.
    pub(crate) fn steps(&self, clock: Clock, polling: Polling) -> Vec<Step> {
        let mut events = vec![Event::Quit, Event::Terminate];
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
                    &STATUSES[..]
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
        self.master.handle(self.now, event);
        let mut actions = Vec::new();
        if polling == Polling::Drained {
            while let Some(action) = self.master.poll() {
                self.perform(action);
                actions.push(action);
                // Of one event: at most two things for each slot, and three reports; a mesh adds one.
                assert!(actions.len() <= 3 * N + 4, "a turn is bounded: {actions:?}");
            }
        }
        actions
    }

    pub(crate) fn perform(&mut self, action: Action) {
        assert!(!self.exited, "{action:?} after Exit");
        match action {
            Action::Spawn(id) => {
                assert_eq!(self.master.phase(), Phase::Running, "{action:?}");
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
            Action::Exit => self.exited = true,
            _ => {}
        }
    }

    pub(crate) fn busy(&self) -> bool {
        let mut real = self.real.iter();
        real.any(|real| {
            real.forking.is_some() || real.process.is_some() || real.reclaiming.is_some()
        })
    }

    /// What must be so at every moment.
    pub(crate) fn check(&self) {
        let mut pids = HashSet::new();
        for (place, real) in self.real.iter().enumerate() {
            let id = self.id(place);
            let (state, process) = (self.state(place), real.process);
            assert_eq!(
                state.pid(),
                process.map(|(_, pid)| pid),
                "table and kernel differ"
            );
            if let Some((own, pid)) = process {
                assert_eq!(own, id, "a process has its slot's present name");
                assert!(pids.insert(pid), "two slots with one pid");
                assert_eq!(self.master.table().by_pid(pid), Some(id));
            }
            if let Some(dead) = real.reclaiming {
                assert_eq!(dead.next(), id);
                assert!(
                    matches!(state, State::Reclaiming(_)),
                    "{state:?} is being reclaimed"
                );
            }
        }
        let ending = self.master.phase() != Phase::Running;
        assert_eq!(self.exited, self.master.phase() == Phase::Stopped);
        assert!(!self.exited || !self.busy(), "exit with a child left");
        if ending && !self.exited {
            for place in 0..N {
                let state = self.state(place);
                let process = matches!(state, State::Retiring(_));
                let answer = matches!(
                    state,
                    State::Starting(None) | State::Reclaiming(After::Vacate)
                );
                assert!(
                    process || answer || state == State::Vacant,
                    "{state:?} in the end"
                );
                let wakes = self.master.deadline() != Instant::NEVER;
                assert!(!process || wakes, "nobody would hurry it");
            }
        }
    }

    /// What must be so besides when every action was taken.
    pub(crate) fn check_drained(&self) {
        for real in &self.real {
            let Some((id, _)) = real.process else {
                continue;
            };
            let telling = self.master.phase() != Phase::Stopping;
            let behind = self.master.announcements(id).next().is_some();
            let asked = real.channel != Channel::Idle;
            assert!(!telling || !behind || asked, "nobody tells {id}");
        }
        if self.master.phase() == Phase::Running {
            let slots = self.master.table().occupied();
            let mut numbers: Vec<_> = slots.map(|(_, slot)| slot.number).collect();
            numbers.sort_unstable();
            let all: Vec<_> = (0..N as u16).collect();
            assert_eq!(numbers, all, "a worker is forgotten");
            for place in 0..N {
                let wakes = self.master.deadline() != Instant::NEVER;
                let state = self.state(place);
                assert!(state != State::Cooling || wakes, "it would cool for ever");
                let under_way = self.real[place].forking == Some(self.id(place));
                assert!(
                    state != State::Starting(None) || under_way,
                    "nobody forks it"
                );
                let reclaimed = self.real[place].reclaiming.is_some();
                assert!(!matches!(state, State::Reclaiming(_)) || reclaimed);
            }
        } else {
            assert!(self.exited || self.busy(), "nothing is left, and no exit");
        }
    }

    /// Names of lives that are over or have not begun reach nothing.
    pub(crate) fn check_strangers(&self) {
        let mut master = self.master.clone();
        let mut strange = 0;
        for place in 0..N {
            let id = self.id(place);
            let earlier = id.generation().as_u32().checked_sub(1);
            let earlier = earlier
                .and_then(Generation::new)
                .map(|generation| SlotId::new(id.index(), generation));
            for id in earlier.into_iter().chain([id.next(), SlotId::MASTER]) {
                for event in [
                    Event::Spawned(id, Pid::new(999).expect("positive")),
                    Event::SpawnFailed(id),
                    Event::Ready(id),
                    Event::Exited(id, ExitStatus::FATAL),
                    Event::Missed(id, 0),
                ] {
                    master.handle(self.now, event);
                    strange += 1;
                }
                if self.real[place].reclaiming != Some(id) {
                    master.handle(self.now, Event::Reclaimed(id));
                    strange += 1;
                }
            }
        }
        assert_eq!(master.ignored() - self.master.ignored(), strange);
        assert_eq!(master.table(), self.master.table());
        let after = Self {
            master,
            ..self.clone()
        };
        assert_eq!(after.key(Polling::Stepwise), self.key(Polling::Stepwise));
    }

    /// With a kernel that answers and kills, an ending master comes to its end.
    pub(crate) fn check_end(&self) {
        let mut world = self.clone();
        for _ in 0..8 * N {
            if world.exited {
                return;
            }
            let answer = world.real.iter().find_map(|real| match real {
                Reality {
                    forking: Some(id), ..
                } => Some(Event::SpawnFailed(*id)),
                Reality {
                    reclaiming: Some(id),
                    ..
                } => Some(Event::Reclaimed(*id)),
                Reality {
                    killed: true,
                    process: Some((id, _)),
                    ..
                } => Some(Event::Exited(*id, STATUSES[3])),
                _ => None,
            });
            let step = match answer {
                Some(event) => Step::Event(event),
                None => Step::Time(world.master.deadline()),
            };
            world.take(step, Polling::Stepwise);
            while let Some(action) = world.master.poll() {
                world.perform(action);
            }
        }
        assert!(world.exited, "it never ends");
    }
}
