//! The mesh's bookkeeping, against a model of what each worker knows: whatever goes wrong on the way,
//! in the end everybody knows the truth.

use std::collections::BTreeMap;

use forkmesh::machine::{Action, AnnouncementKind, Backoff, Config, Event};
use forkmesh::table::{Instant, Pid, SlotId};
use proptest::prelude::{Just, Strategy, prop_oneof, proptest};

use crate::shell::{CRASH, Shell, pid};

/// What can happen to a mesh, besides what its master does.
#[derive(Clone, Copy, Debug)]
enum Step {
    Dies(usize),
    Readies(usize),
    FailsToSpawn,
    Writable(usize),
    Breaks(usize),
    Passes(u64),
    /// How the next announcements fare, in turn.
    Fares(Fare),
}

#[derive(Clone, Copy, Debug)]
enum Fare {
    Whole,
    /// The first comes through, then the socket is full.
    Cut,
    Blocked,
    Refused,
    /// The worker loses the first (its descriptor did not arrive, say) and asks for it again.
    Loses,
}

/// A worker, as far as it knows its siblings: by index, their name, process and descriptor.
#[derive(Default)]
struct Receiver {
    peers: BTreeMap<usize, (SlotId, Pid, u64)>,
    inherited: BTreeMap<usize, u64>,
}

/// A shell with a model of each worker behind it.
struct World {
    shell: Shell<5>,
    workers: BTreeMap<SlotId, Receiver>,
    /// The master's descriptors, by index; each is a new number.
    descriptors: BTreeMap<usize, u64>,
    made: u64,
    fares: Vec<Fare>,
}

impl World {
    fn new() -> Self {
        let backoff = Backoff::new()
            .jitter_percent(0)
            .park_after(200)
            .delay_ms(5, 5);
        let mut world = Self {
            shell: Shell::new(Config::new().workers(5).backoff(backoff)),
            workers: BTreeMap::new(),
            descriptors: BTreeMap::new(),
            made: 0,
            fares: Vec::new(),
        };
        world.shell.master.start();
        world.drain();
        world
    }

    fn pair(&mut self, id: SlotId) {
        self.made += 1;
        self.descriptors.insert(id.index().as_usize(), self.made);
    }

    fn happens(&mut self, event: Event) {
        self.shell
            .master
            .handle(Instant::from_ms(self.shell.now), event);
    }

    fn drain(&mut self) {
        while let Some(action) = self.shell.master.poll() {
            match action {
                Action::Reclaim(id) => {
                    self.workers.remove(&id);
                    self.descriptors.remove(&id.index().as_usize());
                    self.happens(Event::Reclaimed(id));
                }
                Action::Spawn(id) => self.spawn(id),
                Action::ReplaceMesh(id) => match self.fares.pop().unwrap_or(Fare::Whole) {
                    Fare::Blocked | Fare::Cut => self.happens(Event::Blocked(id)),
                    Fare::Refused => self.happens(Event::Refused(id)),
                    Fare::Whole | Fare::Loses => {
                        self.pair(id);
                        self.happens(Event::MeshReplaced(id));
                    }
                },
                Action::Announce(id) => self.announce(id),
                _ => {}
            }
        }
    }

    fn spawn(&mut self, id: SlotId) {
        // All pairs of a burst are made before its first fork.
        let burst: Vec<_> = core::iter::once(id)
            .chain(self.shell.master.spawning())
            .collect();
        for id in burst {
            if !self.descriptors.contains_key(&id.index().as_usize()) {
                self.pair(id);
                self.shell.master.paired(id);
            }
        }
        if self.shell.failing > 0 {
            self.shell.failing -= 1;
            self.descriptors.remove(&id.index().as_usize());
            return self.happens(Event::SpawnFailed(id));
        }
        let mut child = Receiver {
            peers: self.truth(id),
            inherited: self.descriptors.clone(),
        };
        child.inherited.remove(&id.index().as_usize());
        self.workers.insert(id, child);
        self.shell.next_pid += 1;
        self.happens(Event::Spawned(id, pid(self.shell.next_pid)));
    }

    fn announce(&mut self, id: SlotId) {
        let fare = self.fares.pop().unwrap_or(Fare::Whole);
        let pending: Vec<_> = self.shell.master.announcements(id).collect();
        let worker = self.workers.get_mut(&id).expect("it runs");
        let delivered = match fare {
            Fare::Blocked => return self.happens(Event::Blocked(id)),
            Fare::Refused => return self.happens(Event::Refused(id)),
            Fare::Cut => &pending[..1],
            Fare::Whole | Fare::Loses => &pending[..],
        };
        let lost = usize::from(matches!(fare, Fare::Loses));
        for entry in &delivered[lost..] {
            worker.hears(entry.kind, &self.descriptors);
        }
        let last = delivered.last().expect("asked without need").version;
        self.happens(Event::Announced(id, last));
        match fare {
            Fare::Cut => self.happens(Event::Blocked(id)),
            Fare::Loses => self.happens(Event::Missed(id, pending[0].version)),
            _ => {}
        }
    }

    /// Everybody else who has a process.
    fn truth(&self, own: SlotId) -> BTreeMap<usize, (SlotId, Pid, u64)> {
        let others = self.shell.master.table().occupied();
        others
            .filter(|(id, _)| id.index() != own.index())
            .filter_map(|(id, slot)| {
                let index = id.index().as_usize();
                let pid = slot.state().pid()?;
                Some((index, (id, pid, self.descriptors[&index])))
            })
            .collect()
    }

    fn does(&mut self, step: Step) {
        match step {
            Step::Dies(index) => self.happens(Event::Exited(self.shell.id(index), CRASH)),
            Step::Readies(index) => self.happens(Event::Ready(self.shell.id(index))),
            Step::FailsToSpawn => self.shell.failing += 1,
            Step::Writable(index) => self.happens(Event::Writable(self.shell.id(index))),
            Step::Breaks(index) => self.happens(Event::MeshBroken(self.shell.id(index))),
            Step::Passes(ms) => {
                self.shell.now += ms;
                self.happens(Event::Elapsed);
            }
            Step::Fares(fare) => self.fares.insert(0, fare),
        }
    }

    /// The troubles end: everything is writable, and time passes.
    fn calms(&mut self) {
        self.fares.clear();
        self.shell.failing = 0;
        for _ in 0..3 {
            for index in 0..5 {
                self.happens(Event::Writable(self.shell.id(index)));
            }
            self.does(Step::Passes(2_000));
            self.drain();
        }
        assert_eq!(self.shell.deadline(), None, "nothing is left to do");
    }
}

impl Receiver {
    fn hears(&mut self, kind: AnnouncementKind, travelling: &BTreeMap<usize, u64>) {
        match kind {
            AnnouncementKind::Open { slot, pid, held } => {
                let index = slot.index().as_usize();
                let descriptor = if held {
                    self.inherited[&index]
                } else {
                    self.inherited.remove(&index);
                    travelling[&index]
                };
                self.peers.insert(index, (slot, pid, descriptor));
            }
            AnnouncementKind::Close { slot } => {
                self.inherited.remove(&slot.index().as_usize());
                self.peers.remove(&slot.index().as_usize());
            }
        }
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let fare = prop_oneof![
        Just(Fare::Whole),
        Just(Fare::Cut),
        Just(Fare::Blocked),
        Just(Fare::Refused),
        Just(Fare::Loses),
    ];
    let step = prop_oneof![
        3 => (0..5usize).prop_map(Step::Dies),
        2 => (0..5usize).prop_map(Step::Readies),
        1 => Just(Step::FailsToSpawn),
        2 => (0..5usize).prop_map(Step::Writable),
        1 => (0..5usize).prop_map(Step::Breaks),
        2 => (1..20u64).prop_map(Step::Passes),
        4 => fare.prop_map(Step::Fares),
    ];
    proptest::collection::vec((step, proptest::bool::ANY), 1..80).prop_map(|steps| {
        let mut all = Vec::new();
        for (step, passes) in steps {
            all.push(step);
            if passes {
                all.push(Step::Passes(3));
            }
        }
        all
    })
}

proptest! {
    #[test]
    fn every_receiver_converges(steps in steps()) {
        let mut world = World::new();
        for step in steps {
            world.does(step);
            world.drain();
        }
        world.calms();
        assert_eq!(world.workers.len(), 5);
        for (id, worker) in &world.workers {
            assert_eq!(worker.peers, world.truth(*id), "{id}");
            for (index, descriptor) in &worker.inherited {
                let current = world.descriptors.get(index);
                assert_eq!(current, Some(descriptor), "{id} holds a descriptor of nobody: {index}");
            }
            assert_eq!(world.shell.master.announcements(*id).count(), 0);
        }
    }
}
