//! `Master`: waits, tells the core what happened, and does what the core says.

use core::fmt;

use rustix::event::epoll::EventFlags;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::process::Signal;

use crate::channel::{
    Alone, End0, Faults, FromMaster, Inbox, Mesh, NotAlone, Pair, Parent, ReceiveError,
};
use crate::machine::{self, Action, Config, Event, ExitStatus, Order};
use crate::run::budget::Budget;
use crate::run::ends::Ends;
use crate::run::service::{Asked, Notice, Service, Workers};
use crate::sys::poll::{BATCH, Events, Poll};
use crate::sys::process::Ended;
use crate::sys::signal::SignalSet;
use crate::sys::{clock, descriptor, process, signal};
use crate::table::{Instant, SlotId, Table};
use crate::wire::{Command, Resync};

/// What a master blocks, and reads from a descriptor.
const SIGNALS: SignalSet = SignalSet::of(&[
    Signal::TERM,
    Signal::INT,
    Signal::QUIT,
    Signal::HUP,
    Signal::USR1,
    Signal::USR2,
    Signal::WINCH,
    Signal::CHILD,
]);

/// Descriptors that a master has beside those of its workers, with some to spare.
const OWN_DESCRIPTORS: u64 = 64;
/// Descriptors a worker in the master: control, mesh (both ends until the fork), pidfd.
const DESCRIPTORS_A_WORKER: u64 = 4;

/// A master, with everything that it keeps for 1022 workers: about 170 KiB, and not one allocation.
#[derive(Debug)]
pub struct Master {
    pub(super) core: machine::Master,
    pub(super) alone: Alone,
    /// `None` in a child, which gives up what it has of it.
    pub(super) waiting: Option<Waiting>,
    pub(super) control: Ends<Parent<End0>>,
    pub(super) mesh: Ends<MeshEnd>,
    pub(super) pidfds: Ends<OwnedFd>,
    pub(super) budget: Budget,
    pub(super) mask: SignalSet,
    inbox: Inbox,
    refused: u64,
    asked: Asked,
    ended: bool,
}

/// What a master waits by.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) poll: Poll,
    pub(super) signals: OwnedFd,
    /// The master's own pidfd, for its workers to watch.
    pub(super) own: OwnedFd,
}

/// What a master has of a worker's mesh pair.
#[derive(Debug)]
pub(super) enum MeshEnd {
    /// All of it: the worker is not forked yet.
    Pair(Pair<Mesh>),
    /// Its own end.
    Parent(Parent<End0, Mesh>),
}

impl MeshEnd {
    pub(super) fn end0(&self) -> BorrowedFd<'_> {
        match self {
            Self::Pair(pair) => pair.end0(),
            Self::Parent(end) => end.as_fd(),
        }
    }
}

/// Why there is no master.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum StartError {
    /// Forking would not be safe.
    NotAlone(NotAlone),
    /// The limit on open descriptors is too low for so many workers.
    TooFewDescriptors {
        /// How many are needed.
        needed: u64,
        /// How many there may be, the hard limit.
        limit: u64,
    },
    /// The kernel refused a signalfd, an epoll instance or a pidfd.
    Refused(Errno),
}

/// What an epoll event is about: the kind in the upper half, the slot in the lower.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Token {
    Signals,
    Process(SlotId),
    Control(SlotId),
}

impl Master {
    /// A master that has forked nobody yet. Raises the soft limit on descriptors to the hard one,
    /// sets SIGCHLD to its default and SIGPIPE to be ignored, and blocks the signals that it reads
    /// from now on.
    ///
    /// # Errors
    ///
    /// [`StartError`].
    pub fn new(config: Config) -> Result<Self, StartError> {
        Self::with(config, Alone::verify().map_err(StartError::NotAlone)?)
    }

    /// As [`Master::new`], where there is no /proc to verify by.
    ///
    /// # Errors
    ///
    /// [`StartError`].
    pub fn with(config: Config, alone: Alone) -> Result<Self, StartError> {
        let limit = descriptor::raise_limit();
        let workers = u64::from(config.workers);
        let needed = workers * DESCRIPTORS_A_WORKER + OWN_DESCRIPTORS;
        if limit < needed {
            return Err(StartError::TooFewDescriptors { needed, limit });
        }
        let (mask, waiting) = Waiting::new().map_err(StartError::Refused)?;
        Ok(Self {
            core: machine::Master::new(config),
            alone,
            waiting: Some(waiting),
            control: Ends::new(),
            mesh: Ends::new(),
            pidfds: Ends::new(),
            budget: Budget::new(limit),
            mask,
            inbox: Inbox::new(),
            refused: 0,
            asked: Asked::Nothing,
            ended: false,
        })
    }

    /// Starts the workers, keeps them running, and returns when the last one is gone.
    ///
    /// # Errors
    ///
    /// Where epoll fails, which it has no reason to.
    pub fn run(&mut self, service: &mut impl Service) -> Result<(), Errno> {
        self.start(service);
        while !self.ended {
            self.turn(service, None)?;
        }
        Ok(())
    }

    /// Starts the workers. For a loop of one's own, go on with [`Master::turn`] whenever the master
    /// (it is [`AsFd`]) is readable or [`Master::timeout_ms`] has passed, until
    /// [`Master::is_ended`].
    pub fn start(&mut self, service: &mut impl Service) {
        self.core.start();
        self.perform(service);
    }

    /// Waits once, `most_ms` at the longest, and does what is to be done.
    ///
    /// # Errors
    ///
    /// Where epoll fails, which it has no reason to.
    pub fn turn(&mut self, service: &mut impl Service, most_ms: Option<u64>) -> Result<(), Errno> {
        self.heed();
        self.perform(service);
        if self.ended {
            return Ok(());
        }
        let timeout = match (self.timeout_ms(), most_ms) {
            (Some(due), Some(most)) => Some(due.min(most)),
            (due, most) => due.or(most),
        };
        let mut events = Events::new();
        let mut ready = heapless::Vec::<_, BATCH>::new();
        for event in self.waiting().poll.wait(&mut events, timeout)? {
            // One wait brings no more than the batch has room for.
            let _ = ready.push((event.data.u64(), event.flags));
        }
        for (token, flags) in ready {
            self.dispatch(service, token, flags);
        }
        if self.core.deadline() <= now() {
            self.happened(service, Event::Elapsed);
        }
        Ok(())
    }

    /// How long the master can be left alone; `None` until something happens.
    #[must_use]
    pub fn timeout_ms(&self) -> Option<u64> {
        match self.core.deadline() {
            Instant::NEVER => None,
            // A millisecond is not over before the next one began.
            due => Some(due.ms_since(now())),
        }
    }

    /// Whether every worker is gone, and none will come.
    #[must_use]
    pub const fn is_ended(&self) -> bool {
        self.ended
    }

    /// Who is there.
    #[must_use]
    pub const fn table(&self) -> &Table {
        self.core.table()
    }

    /// The workers, to send them something.
    pub fn workers(&mut self) -> Workers<'_> {
        Workers {
            table: self.core.table(),
            control: &self.control,
            asked: &mut self.asked,
        }
    }

    /// What was wrong with what workers sent, so far.
    #[must_use]
    pub const fn faults(&self) -> Faults {
        self.inbox.faults()
    }

    /// How many frames were understood and refused: orders from a worker, another's name.
    #[must_use]
    pub const fn refused(&self) -> u64 {
        self.refused
    }

    pub(super) fn waiting(&self) -> &Waiting {
        self.waiting
            .as_ref()
            .expect("only a child gives up what it waits by, and never waits by it")
    }

    /// Says to the core what happened, and does what follows.
    fn happened(&mut self, service: &mut impl Service, event: Event) {
        self.core.handle(now(), event);
        self.perform(service);
    }

    fn perform(&mut self, service: &mut impl Service) {
        while let Some(action) = self.core.poll() {
            if let Some(event) = self.act(service, action) {
                self.core.handle(now(), event);
            }
            self.heed();
        }
    }

    /// What was asked for from inside of a notice.
    fn heed(&mut self) {
        match core::mem::replace(&mut self.asked, Asked::Nothing) {
            Asked::Nothing => {}
            Asked::Quit => self.core.handle(now(), Event::Quit),
            Asked::Terminate => self.core.handle(now(), Event::Terminate),
        }
    }

    fn act(&mut self, service: &mut impl Service, action: Action) -> Option<Event> {
        match action {
            Action::Reclaim(dead) => Some(self.reclaim(dead)),
            Action::Signal(worker, _, machine::Signal::Terminate) => {
                self.signal(worker, Signal::TERM)
            }
            Action::Signal(worker, _, machine::Signal::Kill) => self.signal(worker, Signal::KILL),
            Action::Order(worker, _, order) => self.order(worker, order),
            Action::Spawn(slot) => Some(self.spawn(service, slot)),
            Action::ReplaceMesh(worker) => Some(self.replace_mesh(worker)),
            Action::Announce(worker) => Some(self.announce(worker)),
            Action::Report(report) => {
                self.notify(service, Notice::Report(report));
                None
            }
            Action::Exit => {
                self.ended = true;
                None
            }
        }
    }

    fn notify(&mut self, service: &mut impl Service, notice: Notice) {
        service.notice(&mut self.workers(), notice);
    }

    /// Takes back what a dead worker had.
    fn reclaim(&mut self, dead: SlotId) -> Event {
        let index = dead.index();
        let poll = &self.waiting().poll;
        // A child that was forked a moment ago may still hold copies of both: closing ours alone
        // would leave them in the epoll set.
        if let Some(end) = self.control.at(index) {
            let _ = poll.remove(end);
        }
        if let Some(pidfd) = self.pidfds.at(index) {
            let _ = poll.remove(pidfd);
        }
        self.control.take(index);
        self.mesh.take(index);
        self.pidfds.take(index);
        self.budget.arrived(index);
        Event::Reclaimed(dead)
    }

    /// A process that is gone already is reaped soon; there is nothing else to do about it.
    fn signal(&self, worker: SlotId, signal: Signal) -> Option<Event> {
        let _ = process::signal(self.pidfds.at(worker.index())?.as_fd(), signal);
        None
    }

    fn order(&self, worker: SlotId, order: Order) -> Option<Event> {
        let (said, signal) = match order {
            Order::Quit => (FromMaster::Quit, Signal::QUIT),
            Order::Terminate => (FromMaster::Terminate, Signal::TERM),
        };
        match self.control.at(worker.index())?.send(said) {
            Ok(()) => None,
            Err(_) => self.signal(worker, signal),
        }
    }

    fn dispatch(&mut self, service: &mut impl Service, token: u64, flags: EventFlags) {
        match Token::from_u64(token) {
            Some(Token::Signals) => self.signals(service),
            Some(Token::Process(slot)) => self.reap(service, slot),
            Some(Token::Control(slot)) => {
                if flags.contains(EventFlags::OUT) && self.is_there(slot) {
                    self.watch_control(slot, EventFlags::IN);
                    self.happened(service, Event::Writable(slot));
                }
                if flags.contains(EventFlags::IN) {
                    self.listen(service, slot);
                }
                // A worker that closed its end is not worth a turn each time round.
                if flags.contains(EventFlags::HUP)
                    && self.is_there(slot)
                    && let Some(end) = self.control.at(slot.index())
                {
                    let _ = self.waiting().poll.remove(end);
                }
            }
            None => {}
        }
    }

    fn signals(&mut self, service: &mut impl Service) {
        while let Some(caught) = signal::next(&self.waiting().signals) {
            match Signal::from_named_raw(caught.signal) {
                Some(Signal::TERM | Signal::INT) => self.happened(service, Event::Terminate),
                Some(Signal::QUIT) => self.happened(service, Event::Quit),
                Some(Signal::CHILD) => {} // its pidfd says which one
                _ => {
                    self.notify(
                        service,
                        Notice::Ignored {
                            signal: caught.signal,
                        },
                    );
                    self.heed();
                    self.perform(service);
                }
            }
        }
    }

    /// Whether this life of the slot has a process.
    fn is_there(&self, slot: SlotId) -> bool {
        self.table()
            .slot(slot)
            .is_some_and(|slot| slot.state().pid().is_some())
    }

    fn reap(&mut self, service: &mut impl Service, slot: SlotId) {
        if !self.is_there(slot) {
            return;
        }
        let Some(pidfd) = self.pidfds.at(slot.index()) else {
            return;
        };
        let status = match process::reap(pidfd.as_fd()) {
            Ok(None) => return,
            Ok(Some(Ended::Code(code))) => ExitStatus::Code(code),
            Ok(Some(Ended::Killed { signal, core })) => ExitStatus::Killed { signal, core },
            // Somebody else reaped it: that it is gone is all that can be known.
            Err(_) => ExitStatus::Code(u8::MAX),
        };
        self.listen(service, slot); // what it said before it died
        self.happened(service, Event::Exited(slot, status));
    }

    /// Reads all that a worker has said.
    fn listen(&mut self, service: &mut impl Service, slot: SlotId) {
        while self.is_there(slot) {
            let Some(end) = self.control.at(slot.index()) else {
                return;
            };
            let filled = match end.receive(&mut self.inbox) {
                Ok(filled) => filled,
                Err(ReceiveError::Empty | ReceiveError::Gone | ReceiveError::Refused(_)) => return,
            };
            while let Some(parcel) = self.inbox.take() {
                let Ok(parcel) = parcel else {
                    continue; // the inbox counts it
                };
                if parcel.claimed.is_some_and(|claimed| claimed != slot) {
                    self.refused += 1;
                    continue;
                }
                self.heard(service, slot, parcel.command);
            }
            if !filled.more {
                return;
            }
        }
    }

    fn heard(&mut self, service: &mut impl Service, slot: SlotId, command: Command) {
        match command {
            Command::Ready => self.happened(service, Event::Ready(slot)),
            Command::Resync(Resync::Table(low)) => {
                let version = self.core.version_from_low(low);
                self.happened(service, Event::Missed(slot, version));
            }
            Command::Resync(Resync::Mesh) => self.happened(service, Event::MeshBroken(slot)),
            Command::Failed { stage, errno } => {
                self.notify(
                    service,
                    Notice::Failed {
                        worker: slot,
                        stage,
                        errno,
                    },
                );
            }
            Command::User(message) => {
                let descriptor = self.inbox.descriptor();
                self.notify(
                    service,
                    Notice::Message {
                        from: slot,
                        message,
                        descriptor,
                    },
                );
            }
            _ => self.refused += 1,
        }
        self.heed();
        self.perform(service);
    }

    pub(super) fn watch_control(&self, slot: SlotId, flags: EventFlags) {
        if let Some(end) = self.control.at(slot.index()) {
            let token = Token::Control(slot).to_u64();
            let _ = self.waiting().poll.modify(end, token, flags);
        }
    }
}

impl Waiting {
    fn new() -> Result<(SignalSet, Self), Errno> {
        signal::set_default(Signal::CHILD)?;
        signal::ignore(Signal::PIPE)?;
        let mask = SIGNALS.block()?;
        let signals = SIGNALS.descriptor()?;
        let poll = Poll::new()?;
        poll.add(&signals, Token::Signals.to_u64(), EventFlags::IN)?;
        Ok((
            mask,
            Self {
                poll,
                signals,
                own: process::own_pidfd()?,
            },
        ))
    }
}

pub(super) fn now() -> Instant {
    Instant::from_ms(clock::now_ms())
}

impl Token {
    const SIGNALS: u64 = 0;
    const PROCESS: u64 = 1;
    const CONTROL: u64 = 2;

    pub(super) fn to_u64(self) -> u64 {
        match self {
            Self::Signals => Self::SIGNALS << 32,
            Self::Process(slot) => Self::PROCESS << 32 | u64::from(slot.as_u32()),
            Self::Control(slot) => Self::CONTROL << 32 | u64::from(slot.as_u32()),
        }
    }

    fn from_u64(token: u64) -> Option<Self> {
        match token >> 32 {
            Self::SIGNALS => Some(Self::Signals),
            Self::PROCESS => SlotId::from_u32(token as u32).map(Self::Process),
            Self::CONTROL => SlotId::from_u32(token as u32).map(Self::Control),
            _ => None,
        }
    }
}

impl AsFd for Master {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.waiting().poll.as_fd()
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAlone(why) => write!(f, "cannot fork: {why}"),
            Self::TooFewDescriptors { needed, limit } => {
                write!(
                    f,
                    "{needed} descriptors are needed, and the limit is {limit}"
                )
            }
            Self::Refused(errno) => write!(f, "cannot wait: {errno}"),
        }
    }
}

impl core::error::Error for StartError {}
