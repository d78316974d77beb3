//! `Master`: waits, tells the core what happened, and does what the core says.

use core::fmt;

use rustix::event::epoll::EventFlags;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::process::Signal;

use crate::channel::{Alone, End0, Faults, Inbox, Mesh, NotAlone, Pair, Parent};
use crate::machine::{self, Action, Config, Event, ExitStatus, Phase};
use crate::run::board::Board;
use crate::run::budget::Budget;
use crate::run::daemon::Detached;
use crate::run::ends::Ends;
use crate::run::handover::Handover;
use crate::run::observe::{Lines, Observer};
use crate::run::pid_file::PidFile;
use crate::run::record::Tallies;
use crate::run::relay_end::RelayEnd;
use crate::run::service::{Asked, Notice, Service, Workers};
use crate::run::successor::Successor;
use crate::run::token::Token;
use crate::run::worker::SIGNALS;
use crate::sys::poll::{BATCH, Events, Poll};
use crate::sys::process::Ended;
use crate::sys::signal::SignalSet;
use crate::sys::{clock, descriptor, orphans, process, signal};
use crate::table::{Instant, SlotSet, Table};

/// What tells of orphans.
const CHILD: SignalSet = SignalSet::of(&[Signal::CHILD]);

/// How many workers are told of the others between two waits: deaths, signals and READYs are not to
/// wait until a thousand have been told.
const ANNOUNCEMENTS_A_TURN: u32 = 8;

/// Descriptors that a master has beside those of its workers, with some to spare.
const OWN_DESCRIPTORS: u64 = 64;
/// Descriptors a worker or helper in the master: control and pidfd; and mesh, both ends until the fork.
const DESCRIPTORS_A_WORKER: u64 = 2;
const DESCRIPTORS_A_MESHED_WORKER: u64 = 4;

/// A master, with everything that it keeps for 1022 workers: about 206 KiB (214 without `std`), and not
/// one allocation.
///
/// When it is dropped, its signals stay blocked, SIGPIPE ignored and the limit on descriptors raised.
/// Workers that are left find their control end closed, and drain; nobody reaps them.
#[derive(Debug)]
pub struct Master {
    pub(super) core: machine::Master,
    pub(super) alone: Alone,
    /// `None` in a child, which gives up what it has of it.
    pub(super) waiting: Option<Waiting>,
    pub(super) control: Ends<Parent<End0>>,
    pub(super) mesh: Ends<MeshEnd>,
    /// Whose mesh pair is made, and whose process is not.
    pub(super) unforked: SlotSet,
    pub(super) pidfds: Ends<OwnedFd>,
    pub(super) budget: Budget,
    pub(super) mask: SignalSet,
    pub(super) inbox: Inbox,
    pub(super) refused: u64,
    pub(super) asked: Asked,
    pub(super) pid_file: Option<PidFile>,
    /// When taking it back is tried again.
    pub(super) take_back_at: Instant,
    pub(super) successor: Option<Successor>,
    pub(super) predecessor: Option<Handover>,
    /// What launches successors, where a relay stays.
    pub(super) relay: Option<RelayEnd>,
    /// Where a process in the foreground waits to hear of the start.
    pub(super) detached: Option<Detached>,
    pub(super) observer: &'static dyn Observer,
    /// The workers could not serve, and nobody would miss this master.
    pub(super) unready: bool,
    /// `None` in a child, and where the kernel has no memory for one.
    pub(super) board: Option<Board>,
    pub(super) tallies: Tallies,
    /// Whether orphans are left to this process.
    adopts: bool,
    /// The process that made what it waits by.
    pub(super) made_in: i32,
    started: bool,
    phase_told: Phase,
    pub(super) ended: bool,
    /// How many announcements may still be made in this turn.
    announcements_left: u32,
    /// How many mesh pairs may still be replaced in this turn.
    pub(super) replacements_left: u32,
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
    /// The limit on open descriptors is too low for so many workers and helpers.
    TooFewDescriptors {
        /// How many are needed, at the most.
        needed: u64,
        /// How many there may be, the hard limit.
        limit: u64,
    },
    /// The kernel refused a signalfd, an epoll instance or a pidfd.
    Refused(Errno),
}

/// Why a master cannot go on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum RunError {
    /// The kernel refused a descriptor to wait by, or to wait.
    Refused(Errno),
    /// The first workers could not serve, and whoever started the master would rather have none then:
    /// see [`Master::report_to`]. It has ended.
    Unready,
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
        let children = u64::from(config.workers) + u64::from(config.helpers);
        let each = if config.mesh {
            DESCRIPTORS_A_MESHED_WORKER
        } else {
            DESCRIPTORS_A_WORKER
        };
        let needed = children * each + OWN_DESCRIPTORS;
        if limit < needed {
            return Err(StartError::TooFewDescriptors { needed, limit });
        }
        let adopts = process::own_pid() == 1;
        let (mask, waiting) = Waiting::new(adopts).map_err(StartError::Refused)?;
        Ok(Self {
            core: machine::Master::new(config),
            alone,
            waiting: Some(waiting),
            control: Ends::new(),
            mesh: Ends::new(),
            unforked: SlotSet::EMPTY,
            pidfds: Ends::new(),
            budget: Budget::new(limit),
            mask,
            inbox: Inbox::new(),
            refused: 0,
            asked: Asked::empty(),
            pid_file: None,
            take_back_at: Instant::NEVER,
            successor: None,
            predecessor: None,
            relay: None,
            adopts,
            detached: None,
            observer: &Lines,
            unready: false,
            board: None,
            tallies: Tallies::default(),
            made_in: process::own_pid(),
            started: false,
            phase_told: Phase::Running,
            ended: false,
            announcements_left: 0,
            replacements_left: 0,
        })
    }

    /// Starts the workers, keeps them running, and returns when it was told to end and the last one is
    /// gone. A master whose workers are all parked, or not to be restarted, goes on with none: see
    /// [`Workers::terminate`].
    ///
    /// # Errors
    ///
    /// Where epoll fails, which it has no reason to; [`RunError::Unready`].
    pub fn run(&mut self, service: &mut impl Service) -> Result<(), RunError> {
        self.start(service)?;
        while !self.ended {
            self.turn(service, None)?;
        }
        self.outcome()
    }

    /// Starts the workers. For a loop of one's own, go on with [`Master::turn`] whenever the master
    /// (it is [`AsFd`]) is readable or [`Master::timeout_ms`] has passed, until
    /// [`Master::is_ended`]. Once: a second call does nothing.
    ///
    /// The process may be another than the one that made the master, such as a daemon's second half:
    /// it then gets descriptors of its own to wait by. (Ask for [`AsFd`] after this.)
    ///
    /// # Errors
    ///
    /// Where the kernel refuses these.
    pub fn start(&mut self, service: &mut impl Service) -> Result<(), RunError> {
        if self.started {
            return Ok(());
        }
        if self.made_in != process::own_pid() {
            let (_, waiting) = Waiting::new(self.adopts).map_err(RunError::Refused)?;
            self.waiting = Some(waiting);
            self.made_in = process::own_pid();
        }
        self.watch_predecessor().map_err(RunError::Refused)?;
        self.started = true;
        self.board = Board::new(&self.header()).ok();
        if self.adopts {
            self.reap_orphans(service); // who ended before there was a signal to hear of it by
        }
        self.core.start();
        self.perform(service);
        self.write_board();
        Ok(())
    }

    /// Takes in the orphans of its workers and of their children, and reaps them, as PID 1 does anyway.
    /// Before [`Master::start`].
    ///
    /// # Errors
    ///
    /// Where the kernel refuses it, or a descriptor to hear of them by.
    pub fn adopt_orphans(&mut self) -> Result<(), RunError> {
        let (_, waiting) = Waiting::new(true).map_err(RunError::Refused)?;
        orphans::set_subreaper().map_err(RunError::Refused)?;
        self.adopts = true;
        self.waiting = Some(waiting);
        Ok(())
    }

    /// Waits once, `most_ms` at the longest, and does what is to be done; before [`Master::start`] there
    /// is nobody to wait for.
    ///
    /// # Errors
    ///
    /// Where epoll fails, which it has no reason to.
    pub fn turn(
        &mut self,
        service: &mut impl Service,
        most_ms: Option<u64>,
    ) -> Result<(), RunError> {
        self.announcements_left = ANNOUNCEMENTS_A_TURN;
        self.replacements_left = ANNOUNCEMENTS_A_TURN / 2;
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
        let woken = self.waiting().poll.wait(&mut events, timeout);
        for event in woken.map_err(RunError::Refused)? {
            // One wait brings no more than the batch has room for.
            let _ = ready.push((event.data.u64(), event.flags));
        }
        for (token, flags) in ready {
            self.dispatch(service, token, flags);
        }
        if self.core.deadline() <= now() {
            self.happened(service, Event::Elapsed);
        }
        self.take_back_again();
        self.write_board();
        Ok(())
    }

    /// How long the master can be left alone; `None` until something happens.
    #[must_use]
    pub fn timeout_ms(&self) -> Option<u64> {
        if self.announcements_left == 0 || !self.asked.is_empty() {
            return Some(0); // there may be more to announce, or something was asked for
        }
        match self.core.deadline().min(self.take_back_at) {
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
    pub(super) fn happened(&mut self, service: &mut impl Service, event: Event) {
        self.core.handle(now(), event);
        self.perform(service);
    }

    pub(super) fn perform(&mut self, service: &mut impl Service) {
        self.tell_phase(service);
        while let Some(action) = self.next_action() {
            if let Some(event) = self.act(service, action) {
                self.core.handle(now(), event);
            }
            self.heed();
            self.tell_phase(service);
        }
        // Who was to be forked and is no longer wanted: the place's next life has a pair of its own.
        while let Some(index) = self.unforked.pop_first() {
            self.mesh.take(index);
        }
    }

    /// That the master goes on to another phase is said once.
    fn tell_phase(&mut self, service: &mut impl Service) {
        let phase = self.core.phase();
        if core::mem::replace(&mut self.phase_told, phase) != phase && phase != Phase::Stopped {
            self.notify(service, Notice::Phase(phase));
        }
    }

    /// The next action; announcements only up to the turn's share of them.
    fn next_action(&mut self) -> Option<Action> {
        if self.announcements_left == 0 {
            return self.core.poll_urgent();
        }
        let action = self.core.poll();
        if let Some(Action::Announce(_) | Action::ReplaceMesh(_)) = action {
            self.announcements_left -= 1;
        }
        action
    }

    /// What was asked for from inside of a notice.
    pub(super) fn heed(&mut self) {
        while let Some(event) = self.asked.pop() {
            self.core.handle(now(), event);
        }
    }
}

impl Waiting {
    fn new(adopts: bool) -> Result<(SignalSet, Self), Errno> {
        let heard = if adopts { SIGNALS.with(CHILD) } else { SIGNALS };
        let signals = heard.descriptor()?;
        let poll = Poll::new()?;
        poll.add(&signals, Token::Signals.to_u64(), EventFlags::IN)?;
        let own = process::own_pidfd()?;
        // Last, so that whoever gets no master can still be told to end.
        signal::set_default(Signal::CHILD)?;
        signal::ignore(Signal::PIPE)?;
        signal::install_handler(Signal::HUP)?; // systemd looks whether there is one
        let mask = heard.block()?;
        Ok((mask, Self { poll, signals, own }))
    }
}

/// How a process ended; `None` where somebody else reaped it: that it is gone is all that can be known.
pub(super) fn status_of(ended: Option<Ended>) -> ExitStatus {
    match ended {
        Some(Ended::Code(code)) => ExitStatus::Code(code),
        Some(Ended::Killed { signal, core }) => ExitStatus::Killed { signal, core },
        None => ExitStatus::Code(u8::MAX),
    }
}

pub(super) fn now() -> Instant {
    Instant::from_ms(clock::now_ms())
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

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(errno) => write!(f, "cannot wait: {errno}"),
            Self::Unready => f.write_str("the first workers could not serve"),
        }
    }
}

impl core::error::Error for StartError {}
impl core::error::Error for RunError {}
