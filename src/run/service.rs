//! What a user brings: what a worker does, and what a master wants to hear of.

use core::fmt;

use rustix::fd::{AsFd, OwnedFd};

use crate::channel::{End0, ForkError, FromMaster, Parent, SendError, SendFault};
use crate::machine::{Event, Phase, Report};
use crate::run::Worker;
use crate::run::ends::Ends;
use crate::run::offer::{Offer, Refused};
use crate::run::pid_file::PidFileError;
use crate::table::{Pid, Slot, SlotId, Table};
use crate::wire::Message;

/// How a worker's process ends.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Exit(pub u8);

impl Exit {
    /// All is well.
    pub const SUCCESS: Self = Self(0);
    /// It failed; another try may do better.
    pub const FAILURE: Self = Self(1);
    /// It can never succeed: do not start it again.
    pub const FATAL: Self = Self(2);
}

/// A service: a function for the workers, and another for the master.
///
/// Every `FnMut(&mut Worker) -> Exit` is a service whose master hears nothing, and whose reloads start
/// the same workers anew.
pub trait Service {
    /// The life of one worker, in its own process. Its result is the exit code; a panic ends it
    /// with 101. It runs with a copy of the master's memory and may do with it what it likes. No
    /// destructor of the master's, no atexit handler and no flush of stdio runs at its end: flush what
    /// was printed.
    fn work(&mut self, worker: &mut Worker) -> Exit;

    /// The life of one helper, in its own process: [`Worker::number`] says which. All that
    /// [`Service::work`] says holds here, too. What it is for, [`periodic`](super::periodic) and
    /// [`Worker::exec`] do; without this function a helper ends at once.
    fn help(&mut self, worker: &mut Worker) -> Exit {
        let _ = worker;
        Exit::SUCCESS
    }

    /// A worker of this number is about to be forked: what it is to inherit is made now. Called in the
    /// master, again for each life of a worker, and for no helper. The fork follows in any case, or fails.
    fn before_fork(&mut self, number: u16) {
        let _ = number;
    }

    /// Something happened that the master may want to know. Called in the master, between two
    /// waits: whatever takes long here delays reaping and respawning.
    fn notice(&mut self, workers: &mut Workers<'_>, notice: Notice) {
        let _ = (workers, notice);
    }

    /// A reload begins: make the configuration of the next epoch, beside the one that is in force, and
    /// say how many workers it wants. Workers know by [`Worker::epoch`] which one is theirs. When the
    /// outcome is reported, drop the other: [`Report::Reloaded`], [`Report::ReloadFailed`].
    ///
    /// Called in the master, between two waits: whatever takes long here delays reaping.
    ///
    /// # Errors
    ///
    /// [`NotLoaded`], and everything stays as it is.
    fn reload(&mut self, next: Reload) -> Result<usize, NotLoaded> {
        Ok(next.workers)
    }

    /// An upgrade begins: name the program that takes over, and the descriptors that it gets, the
    /// listeners above all. The program finds them by [`Handover`](super::Handover). What comes of it is reported:
    /// [`Report::Upgraded`], [`Report::UpgradeFailed`]. Keep the listeners open until the master drains
    /// ([`Notice::Phase`]): if the new program fails in its probation, the workers of this one come back.
    ///
    /// # Errors
    ///
    /// [`Refused`], and everything stays as it is.
    fn upgrade<'s>(&'s self, offer: &mut Offer<'s>) -> Result<(), Refused> {
        let _ = offer;
        Err(Refused)
    }
}

/// What a reload is to make.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Reload {
    /// The epoch that is to come.
    pub epoch: u32,
    /// How many workers are wanted now.
    pub workers: usize,
}

/// Why there is no configuration of the next epoch.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum NotLoaded {
    /// There will be none: the reload fails.
    Refused,
    /// Not yet, as where an address is still in use: the reload waits, and asks again. Nothing else is
    /// held up but what an operator asks for, which is kept; another HUP has it ask at once, QUIT and
    /// TERM give it up. How often it is asked is for the service to bound.
    Again {
        /// After how many milliseconds; at least 1.
        after_ms: u64,
    },
}

impl From<Refused> for NotLoaded {
    fn from(_: Refused) -> Self {
        Self::Refused
    }
}

impl fmt::Display for NotLoaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused => Refused.fmt(f),
            Self::Again { after_ms } => write!(f, "not yet: ask again after {after_ms} ms"),
        }
    }
}

impl core::error::Error for NotLoaded {}

impl<F: FnMut(&mut Worker) -> Exit> Service for F {
    fn work(&mut self, worker: &mut Worker) -> Exit {
        self(worker)
    }
}

/// Something that happened in the master.
#[derive(Debug)]
#[non_exhaustive]
pub enum Notice {
    /// Something about a slot.
    Report(Report),
    /// A process could not be made; the report of it follows.
    SpawnRefused {
        /// For which slot.
        slot: SlotId,
        /// Why: another thread runs, or the kernel refuses.
        why: ForkError,
    },
    /// The master itself goes on to this phase: it drains, or stops. Whoever shares a listener with
    /// its workers closes it now.
    Phase(Phase),
    /// The master's own log files are to be opened again; each worker is told, too.
    Reopen,
    /// A worker sent its master a message.
    Message {
        /// Which worker.
        from: SlotId,
        /// What it says.
        message: Message,
        /// The descriptor that came with it. It can be anything: closing a socket that lingers, or
        /// reading from what never ends, takes the master's time.
        descriptor: Option<OwnedFd>,
    },
    /// A worker says that it cannot serve; it will end.
    Failed {
        /// Which worker.
        worker: SlotId,
        /// Which step failed.
        stage: u32,
        /// The error.
        errno: i32,
    },
    /// The pid file could not be set aside for an upgrade, or not be taken back after one that came to
    /// nothing: that is tried again every second.
    PidFile(PidFileError),
    /// A signal came that has no meaning where it came from, such as a terminal's WINCH.
    Ignored {
        /// Its number.
        signal: i32,
    },
}

/// The workers, as their master can reach them.
#[derive(Debug)]
pub struct Workers<'m> {
    pub(super) table: &'m Table,
    pub(super) control: &'m Ends<Parent<End0>>,
    pub(super) asked: &'m mut Asked,
}

bitflags::bitflags! {
    /// What was asked of a master from inside.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub(super) struct Asked: u8 {
        const TERMINATE = 1 << 0;
        const QUIT = 1 << 1;
        const RELOAD = 1 << 2;
        const REOPEN = 1 << 3;
        const UPGRADE = 1 << 4;
        const REST = 1 << 5;
        const MORE = 1 << 6;
        const FEWER = 1 << 7;
    }
}

impl Asked {
    /// The next thing that was asked for, the most urgent first.
    pub(super) fn pop(&mut self) -> Option<Event> {
        let first = self.iter().next()?;
        self.remove(first);
        Some(match first {
            Self::TERMINATE => Event::Terminate,
            Self::QUIT => Event::Quit,
            Self::RELOAD => Event::Reload,
            Self::REOPEN => Event::Reopen,
            Self::UPGRADE => Event::Upgrade,
            Self::REST => Event::Rest,
            Self::MORE => Event::More,
            _ => Event::Fewer,
        })
    }
}

impl Workers<'_> {
    /// Every slot that is in use, lowest first.
    pub fn iter(&self) -> impl Iterator<Item = (SlotId, &Slot)> {
        self.table.occupied()
    }

    /// The process of a worker.
    #[must_use]
    pub fn pid(&self, worker: SlotId) -> Option<Pid> {
        self.table.slot(worker)?.state().pid()
    }

    /// Sends a worker a message. Cost: one system call.
    ///
    /// # Errors
    ///
    /// [`SendError`], with the message; `Gone` for a life that is over.
    pub fn send(&self, to: SlotId, message: Message) -> Result<(), SendError<Message>> {
        let sent = self.end(to, message)?.send(FromMaster::User(message));
        sent.map_err(|SendError { fault, .. }| SendError {
            value: message,
            fault,
        })
    }

    /// Sends a worker a message with a descriptor. Cost: one system call.
    ///
    /// # Errors
    ///
    /// As [`Workers::send`].
    pub fn send_with(
        &self,
        to: SlotId,
        message: Message,
        descriptor: impl AsFd,
    ) -> Result<(), SendError<Message>> {
        self.end(to, message)?.send_with(message, descriptor)
    }

    /// Has the master end gracefully, as QUIT does.
    pub fn quit(&mut self) {
        self.asked.insert(Asked::QUIT);
    }

    /// Has the master end fast, as TERM does.
    pub fn terminate(&mut self) {
        self.asked.insert(Asked::TERMINATE);
    }

    /// Has the master begin a new epoch, as HUP does. What comes of it is reported.
    pub fn reload(&mut self) {
        self.asked.insert(Asked::RELOAD);
    }

    /// Has everybody open their log files again, as USR1 does.
    pub fn reopen(&mut self) {
        self.asked.insert(Asked::REOPEN);
    }

    /// Has the master start its successor, as USR2 does. What comes of it is reported.
    pub fn upgrade(&mut self) {
        self.asked.insert(Asked::UPGRADE);
    }

    /// Has the workers go and the master stay, as WINCH does; a reload brings them back.
    pub fn rest(&mut self) {
        self.asked.insert(Asked::REST);
    }

    /// Has the master keep one worker more, as TTIN does; once, however often it is called in a turn.
    pub fn more(&mut self) {
        self.asked.insert(Asked::MORE);
    }

    /// Has the master keep one worker less, though never none, as TTOU does; once, however often it is
    /// called in a turn.
    pub fn fewer(&mut self) {
        self.asked.insert(Asked::FEWER);
    }

    fn end(&self, to: SlotId, message: Message) -> Result<&Parent<End0>, SendError<Message>> {
        let gone = SendError {
            value: message,
            fault: SendFault::Gone,
        };
        self.pid(to)
            .and_then(|_| self.control.at(to.index()))
            .ok_or(gone)
    }
}
