//! What must always be so in a world, of its slots and processes.

use std::collections::HashSet;

use forkmesh::machine::{Event, ExitStatus, Phase, Upgrade};
use forkmesh::table::{After, Generation, Instant, Pid, SlotId, State};

use crate::world::{Channel, Polling, Reality, STATUSES, Step, World};

impl<const N: usize> World<N> {
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
            self.check_crews();
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
            let busy = self.busy() || self.operator.keeps_the_master();
            assert!(self.exited || busy, "nothing is left, and no exit");
        }
        let deadline = self.master.deadline();
        self.operator
            .check_drained(self.master.phase(), self.now, deadline);
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
        for _ in 0..8 * N + 8 {
            if world.exited {
                return;
            }
            let answer = world.operator.answer();
            let answer = answer.or_else(|| {
                world.real.iter().find_map(|real| match real {
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
                })
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

    /// A successor that was given up, and does not go, is killed.
    pub(crate) fn check_given_up(&self) {
        if !matches!(self.master.upgrade(), Upgrade::Failing(..)) {
            return;
        }
        let mut world = self.clone();
        for _ in 0..8 * N + 8 {
            if !matches!(world.master.upgrade(), Upgrade::Failing(..)) {
                return;
            }
            let step = match world.operator.answer() {
                Some(event) => Step::Event(event),
                None => Step::Time(world.master.deadline()),
            };
            world.take(step, Polling::Stepwise);
            while let Some(action) = world.master.poll() {
                world.perform(action);
            }
        }
        panic!("a successor that was given up lives for ever");
    }
}
