//! The worker core: what a worker makes of what its master says, without a descriptor or a clock.
//!
//! ```text
//!   Serving ──QUIT, or the master died──► Draining ──TERMINATE──► Ending
//!      └─────────────TERMINATE───────────────────────────────────────▲
//! ```

use crate::machine::roster::{Keep, Roster};
use crate::table::{Instant, SLOTS, SlotId, Table};
use crate::wire::{Command, Message, Resync};

/// What a worker is to do next.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Life {
    /// Serve.
    Serving,
    /// Finish what was begun.
    Draining,
    /// Leave now.
    Ending,
}

/// The worker core, with a table of `N` slots.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Worker<const N: usize = SLOTS> {
    id: SlotId,
    life: Life,
    roster: Roster<N>,
    ready: Owed,
    mesh: Owed,
}

/// A report that the master has to get, however full the channel is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Owed {
    Nothing,
    Since(Instant),
}

/// What comes of a command.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[must_use = "a descriptor that came is closed unless it is kept"]
pub enum Effect {
    /// Something about descriptors, perhaps nothing.
    Keep(Keep),
    /// Descriptors that came belong to those whom [`Roster::next_waiting`] names.
    Assign,
    /// The worker's life changed.
    Turned(Life),
    /// The log files are to be opened again.
    Reopen,
    /// The user is to be told.
    Message(Message),
    /// A master does not say this.
    Refused,
}

/// How long a report waits before it is tried again, where the channel was full.
const RETRY_MS: u64 = 10;

impl<const N: usize> Worker<N> {
    /// A worker that has just been forked, with the master's table as it was then.
    #[must_use]
    pub fn new(id: SlotId, table: &Table<N>) -> Self {
        let roster = Roster::inherit(id, table);
        Self {
            id,
            life: Life::Serving,
            roster,
            ready: Owed::Nothing,
            mesh: Owed::Nothing,
        }
    }

    /// The master said something, and so many descriptors came with it.
    pub fn heard(&mut self, command: Command, came: usize) -> Effect {
        match command {
            Command::Open {
                subject,
                version,
                attached,
            } => {
                let keep = self.roster.open(subject, version, attached, came > 0);
                if keep == Keep::OwnMesh {
                    self.mesh = Owed::Nothing;
                }
                Effect::Keep(keep)
            }
            Command::Close { subject, .. } => Effect::Keep(self.roster.close(subject.index)),
            Command::Descriptors { count } => {
                self.roster.descriptors(count.into(), came);
                Effect::Assign
            }
            Command::Quit => self.turn(Life::Draining),
            Command::Terminate => self.turn(Life::Ending),
            Command::Reopen => Effect::Reopen,
            Command::User(message) => Effect::Message(message),
            _ => Effect::Refused,
        }
    }

    /// The worker is told, by whatever way, to go on to this life. It never goes back.
    pub fn turn(&mut self, life: Life) -> Effect {
        if life <= self.life {
            return Effect::Keep(Keep::Nothing);
        }
        self.life = life;
        Effect::Turned(life)
    }

    /// The worker serves: its master is to be told.
    pub fn ready(&mut self, now: Instant) {
        self.ready = Owed::Since(now);
    }

    /// The mesh pair is unusable: the master is to make another.
    pub fn mesh_broke(&mut self, now: Instant) {
        if self.mesh == Owed::Nothing {
            self.mesh = Owed::Since(now);
        }
    }

    /// What the master has to be told now, if anything.
    #[must_use]
    pub fn owed(&self, now: Instant) -> Option<Owing> {
        if self.ready.due(now) {
            return Some(Owing::Ready);
        }
        if self.mesh.due(now) {
            return Some(Owing::Resync(Resync::Mesh));
        }
        self.roster
            .resync(now)
            .map(|version| Owing::Resync(Resync::Table(version)))
    }

    /// A report was sent, or could not be sent and is to be tried again later.
    pub fn told(&mut self, report: Owing, sent: bool, now: Instant) {
        let later = Owed::Since(now.after_ms(RETRY_MS));
        match report {
            Owing::Ready if sent => self.ready = Owed::Nothing,
            Owing::Ready => self.ready = later,
            // Asked again after a while, until the new end is there.
            Owing::Resync(Resync::Mesh) => {
                self.mesh = Owed::Since(now.after_ms(if sent { MESH_RETRY_MS } else { RETRY_MS }));
            }
            Owing::Resync(Resync::Table(version)) => {
                self.roster.asked(now);
                if !sent {
                    self.roster.missed_still(version);
                }
            }
        }
    }

    /// When something is owed next.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        self.ready
            .at()
            .min(self.mesh.at())
            .min(self.roster.deadline())
    }

    /// What it is to do.
    #[must_use]
    pub const fn life(&self) -> Life {
        self.life
    }

    /// Which slot it has.
    #[must_use]
    pub const fn id(&self) -> SlotId {
        self.id
    }

    /// What it knows of its siblings.
    #[must_use]
    pub const fn roster(&self) -> &Roster<N> {
        &self.roster
    }

    /// What it knows of its siblings, to say what came of descriptors.
    pub const fn roster_mut(&mut self) -> &mut Roster<N> {
        &mut self.roster
    }
}

/// What a worker owes its master.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Owing {
    /// That it serves.
    Ready,
    /// That it missed something.
    Resync(Resync),
}

impl Owed {
    fn due(self, now: Instant) -> bool {
        self.at() <= now
    }

    const fn at(self) -> Instant {
        match self {
            Self::Nothing => Instant::NEVER,
            Self::Since(at) => at,
        }
    }
}

const MESH_RETRY_MS: u64 = 1_000;
