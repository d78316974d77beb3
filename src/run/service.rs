//! What a user brings: what a worker does, and what a master wants to hear of.

use rustix::fd::{AsFd, OwnedFd};

use crate::channel::{End0, ForkError, FromMaster, Parent, SendError, SendFault};
use crate::machine::{Phase, Report};
use crate::run::Worker;
use crate::run::ends::Ends;
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
/// Every `FnMut(&mut Worker) -> Exit` is a service whose master hears nothing.
pub trait Service {
    /// The life of one worker, in its own process. Its result is the exit code; a panic ends it
    /// with 101. It runs with a copy of the master's memory and may do with it what it likes. No
    /// destructor of the master's, no atexit handler and no flush of stdio runs at its end: flush what
    /// was printed.
    fn work(&mut self, worker: &mut Worker) -> Exit;

    /// Something happened that the master may want to know. Called in the master, between two
    /// waits: whatever takes long here delays reaping and respawning.
    fn notice(&mut self, workers: &mut Workers<'_>, notice: Notice) {
        let _ = (workers, notice);
    }
}

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
    /// A signal came that has no meaning yet.
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

/// What was asked of a master from inside.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Asked {
    Nothing,
    Quit,
    Terminate,
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
        *self.asked = Asked::Quit.max(*self.asked);
    }

    /// Has the master end fast, as TERM does.
    pub fn terminate(&mut self) {
        *self.asked = Asked::Terminate;
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
