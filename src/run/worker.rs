//! `Worker`: a worker's side of the channels, in its own process.

use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use rustix::io::Errno;
use rustix::process::Signal;

use crate::channel::{
    Child, End0, End1, Faults, FromWorker, Inbox, Mesh, Peer, SendError, SendFault,
};
use crate::machine::{self, Life, Orphans};
use crate::run::ends::Ends;
use crate::run::master::now;
use crate::run::observe::{Observer, What};
use crate::sys::signal::SignalSet;
use crate::sys::{process, session};
use crate::table::{Instant, Pid, Role, SlotId, SlotIndex};
use crate::wire::Message;

/// What a worker blocks, and reads from a descriptor; a master too. Of these, HUP, INT, USR2, WINCH,
/// TTIN and TTOU have no meaning for a worker: a terminal sends them to the whole group, and the
/// master acts on them.
pub(super) const SIGNALS: SignalSet = SignalSet::of(&[
    Signal::TERM,
    Signal::INT,
    Signal::QUIT,
    Signal::HUP,
    Signal::USR1,
    Signal::USR2,
    Signal::WINCH,
    Signal::TTIN,
    Signal::TTOU,
]);

/// How long after a refused read it is tried again.
const REFUSED_RETRY_MS: u64 = 10;

bitflags::bitflags! {
    /// The descriptors that a worker waits for.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
    pub struct Sources: u8 {
        /// The master's pidfd: readable when the master is dead.
        const MASTER = 1 << 0;
        /// Signals.
        const SIGNALS = 1 << 1;
        /// What the master says.
        const CONTROL = 1 << 2;
        /// What the siblings say. It is replaced when a sibling has broken it.
        const MESH = 1 << 3;
    }
}

/// A worker, as it sees itself: about 30 KiB, and not one allocation.
///
/// Every source is a descriptor ([`Worker::source`]) that any loop can watch, level- or
/// edge-triggered. When one is readable: [`Worker::readable`], then [`Worker::receive`] until it
/// says `None`. [`Poller`](super::Poller) is such a loop.
#[derive(Debug)]
pub struct Worker {
    pub(super) parts: Parts,
    pub(super) signals: OwnedFd,
    pub(super) heard: Inbox,
    pub(super) mail: Inbox,
    pub(super) readable: Sources,
    /// How often the mesh pair was replaced, and how often the user was told of it.
    pub(super) moves: u32,
    pub(super) moves_told: u32,
    pub(super) orphan: bool,
    /// Where the kernel refused a read that it may grant later.
    pub(super) refused_reads: Sources,
    pub(super) mesh_reads: u8,
    pub(super) refused: u64,
}

/// What a worker has from its fork; the rest it makes for itself.
#[derive(Debug)]
pub(super) struct Parts {
    /// Whether the kernel names the senders of mail.
    pub(super) credentials: bool,
    pub(super) core: machine::Worker,
    /// What was blocked before there was a master.
    pub(super) mask: SignalSet,
    pub(super) role: Role,
    pub(super) number: u16,
    pub(super) epoch: u32,
    pub(super) orphans: Orphans,
    pub(super) pid: i32,
    /// `None` where there is no master.
    pub(super) control: Option<Child<End1>>,
    pub(super) mesh: Option<Child<End1, Mesh>>,
    pub(super) peers: Ends<Peer<End0>>,
    pub(super) master: Option<OwnedFd>,
    /// What takes the place of standard error when it is ready.
    pub(super) errors: Option<OwnedFd>,
    pub(super) observer: &'static dyn Observer,
}

/// Something that a worker is told.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// Finish what was begun, then return: the master said so, or is dead.
    Quit,
    /// Return now.
    Terminate,
    /// The master is dead, and the configuration says to serve on: nobody replaces who ends now, and
    /// only a signal says to go.
    Orphaned,
    /// Open the log files again.
    Reopen,
    /// Somebody sent a message.
    Message {
        /// Who.
        from: Sender,
        /// What.
        message: Message,
        /// The descriptor that came with it.
        descriptor: Option<OwnedFd>,
    },
    /// [`Sources::MESH`] is another descriptor now: a loop of one's own must watch the new one. The
    /// old one is closed.
    Moved,
}

/// Who sent a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sender {
    /// The process, by the kernel's word (a process with CAP_SYS_ADMIN may name another); `None`
    /// where credentials are turned off, where the process cannot be seen from here, and for the
    /// master.
    pub pid: Option<Pid>,
    /// Whom it claims to be.
    pub claimed: Option<SlotId>,
    /// Whether it is: the master, or a sibling of this name and process that lives. A sibling that
    /// has just come, or just gone, may not be known. With credentials turned off, only that a
    /// sibling of this name lives.
    pub known: bool,
}

impl Worker {
    pub(super) fn new(parts: Parts) -> Result<Self, Errno> {
        let signals = SIGNALS.descriptor()?;
        parts.mask.with(SIGNALS).set_mask()?;
        Ok(Self {
            parts,
            signals,
            heard: Inbox::new(),
            mail: Inbox::new(),
            readable: Sources::all(),
            moves: 0,
            moves_told: 0,
            orphan: false,
            refused_reads: Sources::empty(),
            mesh_reads: 0,
            refused: 0,
        })
    }

    /// Which slot it has.
    #[must_use]
    pub const fn id(&self) -> SlotId {
        self.parts.core.id()
    }

    /// What it is for: a helper is made by [`Config::helper`](crate::machine::Config::helper), and has
    /// [`Service::help`](super::Service::help) for its life.
    #[must_use]
    pub const fn role(&self) -> Role {
        self.parts.role
    }

    /// Which worker, or helper, it is, from 0: the successor of a dead one has its number.
    #[must_use]
    pub const fn number(&self) -> u16 {
        self.parts.number
    }

    /// Which epoch it belongs to: 0, and one more with each reload.
    #[must_use]
    pub const fn epoch(&self) -> u32 {
        self.parts.epoch
    }

    /// What it is to do: serve, drain, or end.
    #[must_use]
    pub const fn life(&self) -> Life {
        self.parts.core.life()
    }

    /// Whether its master is dead.
    #[must_use]
    pub const fn is_orphan(&self) -> bool {
        self.orphan
    }

    /// Tells the master that this worker serves. Until then it counts as one that could not start, and
    /// dies with its master. In a daemon whose start is under way, it leaves the terminal: standard error
    /// is from now on what it is to be (see [`Detached`](super::Detached)).
    pub fn ready(&mut self) {
        process::outlive_parent();
        self.observe(What::Ready);
        if let Some(errors) = self.parts.errors.take() {
            let _ = session::replace_errors(errors); // of two open descriptors: it has no reason to fail
        }
        if self.is_single() {
            return;
        }
        self.parts.core.ready(now());
        self.report();
    }

    /// Tells the master that this worker cannot serve; return [`Exit`](super::Exit) after it.
    ///
    /// # Errors
    ///
    /// [`SendFault`].
    pub fn failed(&self, stage: u32, errno: Errno) -> Result<(), SendFault> {
        self.observe(What::Failed { stage, errno });
        let said = FromWorker::Failed(stage, errno.raw_os_error());
        let control = self.parts.control.as_ref().ok_or(SendFault::Gone)?;
        control.send(said).map_err(|error| error.fault)
    }

    /// Whether it runs without a master: see [`Single`](super::Single).
    #[must_use]
    pub const fn is_single(&self) -> bool {
        self.parts.control.is_none()
    }

    /// The numbers of every descriptor that is the worker's own.
    pub(super) fn descriptors(&self) -> impl Iterator<Item = RawFd> + Clone {
        let sources = [
            Sources::MASTER,
            Sources::SIGNALS,
            Sources::CONTROL,
            Sources::MESH,
        ];
        let sources = sources.into_iter().filter_map(|source| self.held(source));
        let peers = self.parts.peers.iter().map(AsFd::as_fd);
        let errors = self.parts.errors.iter().map(AsFd::as_fd);
        let own = sources.chain(peers).chain(errors);
        own.map(|descriptor| descriptor.as_raw_fd())
    }

    /// The siblings that live, lowest slot first.
    pub fn siblings(&self) -> impl Iterator<Item = (SlotId, Pid)> + '_ {
        self.parts.core.roster().siblings()
    }

    /// The life that has a place of the table, if a process does.
    #[must_use]
    pub fn sibling_at(&self, index: SlotIndex) -> Option<SlotId> {
        let (id, pid, _) = self.parts.core.roster().sibling(index)?;
        pid.map(|_| id)
    }

    /// The end by which a sibling is reached.
    #[must_use]
    pub fn peer(&self, sibling: SlotId) -> Option<&Peer<End0>> {
        let (id, _, held) = self.parts.core.roster().sibling(sibling.index())?;
        if id == sibling && held {
            self.parts.peers.at(sibling.index())
        } else {
            None
        }
    }

    /// Sends a sibling a message. Cost: one system call.
    ///
    /// # Errors
    ///
    /// [`SendError`], with the message; `Gone` where no sibling has this name.
    pub fn send(&self, to: SlotId, message: Message) -> Result<(), SendError<Message>> {
        let gone = SendError {
            value: message,
            fault: SendFault::Gone,
        };
        self.peer(to).ok_or(gone)?.send(message, Some(self.id()))
    }

    /// Sends a sibling a message with a descriptor. Cost: one system call.
    ///
    /// # Errors
    ///
    /// As [`Worker::send`].
    pub fn send_with(
        &self,
        to: SlotId,
        message: Message,
        descriptor: impl AsFd,
    ) -> Result<(), SendError<Message>> {
        let gone = SendError {
            value: message,
            fault: SendFault::Gone,
        };
        self.peer(to)
            .ok_or(gone)?
            .send_with(message, descriptor, Some(self.id()))
    }

    /// Sends the master a message. Cost: one system call.
    ///
    /// # Errors
    ///
    /// [`SendError`], with the message.
    pub fn tell_master(&self, message: Message) -> Result<(), SendError<Message>> {
        let gone = SendError {
            value: message,
            fault: SendFault::Gone,
        };
        let control = self.parts.control.as_ref().ok_or(gone)?;
        let sent = control.send(FromWorker::User(message));
        sent.map_err(|SendError { fault, .. }| SendError {
            value: message,
            fault,
        })
    }

    /// Sends the master a message with a descriptor. Cost: one system call.
    ///
    /// # Errors
    ///
    /// [`SendError`], with the message.
    pub fn tell_master_with(
        &self,
        message: Message,
        descriptor: impl AsFd,
    ) -> Result<(), SendError<Message>> {
        let gone = SendError {
            value: message,
            fault: SendFault::Gone,
        };
        let control = self.parts.control.as_ref().ok_or(gone)?;
        control.send_with(message, descriptor)
    }

    /// The descriptor of one source; `None` for one that this worker has not, and for several. An
    /// orphan has neither a master nor a control end to wait for: both would be readable for ever.
    #[must_use]
    pub fn source(&self, source: Sources) -> Option<BorrowedFd<'_>> {
        match source {
            Sources::MASTER | Sources::CONTROL if self.orphan => None,
            _ => self.held(source),
        }
    }

    fn held(&self, source: Sources) -> Option<BorrowedFd<'_>> {
        match source {
            Sources::MASTER => self.parts.master.as_ref().map(AsFd::as_fd),
            Sources::SIGNALS => Some(self.signals.as_fd()),
            Sources::CONTROL => self.parts.control.as_ref().map(AsFd::as_fd),
            Sources::MESH => self.parts.mesh.as_ref().map(AsFd::as_fd),
            _ => None,
        }
    }

    /// These sources are readable, or may be.
    pub fn readable(&mut self, sources: Sources) {
        self.readable |= sources;
    }

    /// Whether something that was readable has not been read: [`Worker::receive`] was not called
    /// until it said `None`.
    fn has_more(&self) -> bool {
        !self.readable.is_empty() || self.heard.has_more() || self.mail.has_more()
    }

    /// What was wrong with what came from the master, and from the siblings.
    #[must_use]
    pub const fn faults(&self) -> (Faults, Faults) {
        (self.heard.faults(), self.mail.faults())
    }

    /// How many frames were understood and refused, such as an order that came over the mesh.
    #[must_use]
    pub const fn refused(&self) -> u64 {
        self.refused
    }

    /// When [`Worker::receive`] is to be called even though nothing was readable: in so many
    /// milliseconds; `None` for never.
    #[must_use]
    pub fn timeout_ms(&self) -> Option<u64> {
        if self.has_more() {
            return Some(0);
        }
        if !self.refused_reads.is_empty() {
            return Some(REFUSED_RETRY_MS);
        }
        match self.parts.core.deadline() {
            Instant::NEVER => None,
            _ if self.orphan => None,
            due => Some(due.ms_since(now())),
        }
    }
}
