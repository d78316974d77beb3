//! The shell of the traces: it performs everything at once, and writes down what it was told to do.

use forkmesh::machine::{Action, AnnouncementKind, Backoff, Config, Event, ExitStatus, Master};
use forkmesh::table::{Instant, Pid, SlotId, SlotIndex, State};

pub(crate) const CRASH: ExitStatus = ExitStatus::Code(1);

/// A shell that performs everything at once, and writes down what it was told to do.
pub(crate) struct Shell<const N: usize> {
    pub(crate) master: Box<Master<N>>,
    pub(crate) now: u64,
    pub(crate) next_pid: i32,
    /// How many of the next forks fail.
    pub(crate) failing: u32,
    /// Leave spawns, or announcements, unanswered.
    pub(crate) holds_spawns: bool,
    pub(crate) holds_announcements: bool,
    /// The last epoch whose configuration was asked for.
    pub(crate) epochs: u32,
}

impl<const N: usize> Shell<N> {
    pub(crate) fn new(config: Config) -> Self {
        Self {
            master: Box::new(Master::new(config)),
            now: 0,
            next_pid: 100,
            failing: 0,
            holds_spawns: false,
            holds_announcements: false,
            epochs: 0,
        }
    }

    /// Started, and every worker ready; nothing of that is in a trace.
    pub(crate) fn serving(config: Config) -> Self {
        let mut shell = Self::new(config);
        shell.start();
        for index in 0..N {
            if shell.pid(index).is_some() {
                shell.on(Event::Ready(shell.id(index)));
            }
        }
        shell
    }

    pub(crate) fn start(&mut self) -> Vec<String> {
        self.master.start();
        self.drain()
    }

    pub(crate) fn on(&mut self, event: Event) -> Vec<String> {
        self.master.handle(Instant::from_ms(self.now), event);
        self.drain()
    }

    /// Time passes; what is due is done.
    pub(crate) fn at(&mut self, ms: u64) -> Vec<String> {
        assert!(ms >= self.now, "time does not go back");
        self.now = ms;
        self.on(Event::Elapsed)
    }

    pub(crate) fn drain(&mut self) -> Vec<String> {
        let mut trace = Vec::new();
        let now = Instant::from_ms(self.now);
        while let Some(action) = self.master.poll() {
            trace.push(told(&action));
            match action {
                Action::Reclaim(id) => self.master.handle(now, Event::Reclaimed(id)),
                Action::Load(epoch, _) => self.epochs = epoch,
                Action::Spawn(id) if !self.holds_spawns => {
                    self.master.paired(id);
                    let event = if self.failing > 0 {
                        self.failing -= 1;
                        Event::SpawnFailed(id)
                    } else {
                        self.next_pid += 1;
                        Event::Spawned(id, pid(self.next_pid))
                    };
                    self.master.handle(now, event);
                }
                Action::Announce(id) if !self.holds_announcements => {
                    let version = self
                        .master
                        .announcements(id)
                        .last()
                        .map(|last| last.version);
                    let version = version.expect("asked without need");
                    self.master.handle(now, Event::Announced(id, version));
                }
                Action::ReplaceMesh(id) if !self.holds_announcements => {
                    self.master.handle(now, Event::MeshReplaced(id));
                }
                _ => {}
            }
        }
        assert!(trace.len() <= 8 * N + 8, "a turn is bounded");
        trace
    }

    pub(crate) fn id(&self, index: usize) -> SlotId {
        let index = SlotIndex::new(index).expect("below 1024");
        self.master.table().id_at(index).expect("below N")
    }

    pub(crate) fn state(&self, index: usize) -> State {
        let slot = self.master.table().slot(self.id(index));
        slot.expect("its present life").state()
    }

    pub(crate) fn pid(&self, index: usize) -> Option<Pid> {
        self.state(index).pid()
    }

    pub(crate) fn ready(&mut self, index: usize) {
        self.on(Event::Ready(self.id(index)));
    }

    pub(crate) fn dies(&mut self, index: usize, status: ExitStatus) -> Vec<String> {
        self.on(Event::Exited(self.id(index), status))
    }

    /// Every process that is not, says READY; those that follow from that do not.
    pub(crate) fn all_ready(&mut self) -> Vec<String> {
        self.each(
            |state| matches!(state, State::Starting(Some(_))),
            Event::Ready,
        )
    }

    /// Everybody leaves who was told to.
    pub(crate) fn all_leave(&mut self) -> Vec<String> {
        self.each(
            |state| matches!(state, State::Retiring(_)),
            |id| Event::Exited(id, ExitStatus::SUCCESS),
        )
    }

    fn each(&mut self, meant: fn(State) -> bool, event: fn(SlotId) -> Event) -> Vec<String> {
        let meant: Vec<_> = (0..N).filter(|index| meant(self.state(*index))).collect();
        let mut trace = Vec::new();
        for index in meant {
            trace.extend(self.on(event(self.id(index))));
        }
        trace
    }

    /// How many workers serve.
    pub(crate) fn live(&self) -> usize {
        let slots = self.master.table().occupied();
        slots
            .filter(|(_, slot)| matches!(slot.state(), State::Live(_)))
            .count()
    }

    /// The numbers of those who stay.
    pub(crate) fn numbers(&self) -> Vec<u16> {
        let slots = self.master.table().occupied();
        let staying = slots.filter(|(_, slot)| slot.state().stays());
        staying.map(|(_, slot)| slot.number).collect()
    }

    /// Which epoch the next reload begins.
    pub(crate) fn next_epoch(&self) -> u32 {
        self.epochs + 1
    }

    pub(crate) fn deadline(&self) -> Option<u64> {
        let deadline = self.master.deadline();
        (deadline != Instant::NEVER).then_some(deadline.as_ms())
    }

    pub(crate) fn pending(&self, recipient: usize) -> Vec<(u64, AnnouncementKind)> {
        let pending = self.master.announcements(self.id(recipient));
        pending.map(|entry| (entry.version, entry.kind)).collect()
    }
}

pub(crate) fn pid(number: i32) -> Pid {
    Pid::new(number).expect("positive")
}

/// Short enough to read: `Report(Spawned(0.1, Pid(101)))` is `Spawned(0.1, 101)`.
pub(crate) fn told(action: &Action) -> String {
    let text = match action {
        Action::Report(report) => format!("{report:?}"),
        other => format!("{other:?}"),
    };
    let mut short = String::new();
    let mut rest = text.as_str();
    while let Some(at) = rest.find("Pid(") {
        short.push_str(&rest[..at]);
        rest = &rest[at + 4..];
        let end = rest.find(')').expect("a tuple ends");
        short.push_str(&rest[..end]);
        rest = &rest[end + 1..];
    }
    short + rest
}

pub(crate) fn one() -> Config {
    Config::new()
        .mesh(false)
        .backoff(Backoff::new().jitter_percent(0))
}

pub(crate) fn two() -> Config {
    one().workers(2)
}

pub(crate) fn meshed(workers: usize) -> Config {
    Config::new()
        .workers(workers)
        .backoff(Backoff::new().jitter_percent(0).eager())
}
