//! `Daemon`: the program goes on without its terminal, and its foreground process leaves when it serves.
//!
//! ```text
//!   foreground ──fork──┬── waits ◄──────READY────────┐ exit 0
//!                      │     ▲  └─ the end of it, a signal, time is up ─► a line, and a code that is not 0
//!                      │     └──────pidfd────────────┤
//!                      └── Daemon::detach returns    │
//!                            setsid · umask · /dev/null on 0 and 1
//!                            listeners · Master::new · pid file · report_to · run ─┬─ the first workers are ready:
//!                                                                                │   /dev/null on 2
//!                                                                                └─ they cannot be: the master ends
//! ```
//!
//! Standard error stays the terminal until the start is known, so that whatever goes wrong is read where
//! the start was asked for. Each worker leaves it when it is ready, the master when all are.
//!
//! # The order
//!
//! First [`Handover::receive`](super::Handover::receive): a program that was launched by the one before it
//! has no terminal and nobody who waits, and is not detached again. Then [`Daemon::detach`], and everything
//! that belongs to the process after it: listeners, the master, the pid file, threads. What is checked
//! before it fails in the foreground.
//!
//! # Invariants
//!
//! - The foreground leaves with 0 when all workers are ready, and not before (test
//!   `the_foreground_leaves_when_the_port_answers`).
//! - A start that fails, in whatever way, is a code that is not 0 and a line on standard error, and
//!   leaves no process and no pid file (tests `a_start_that_fails_says_so`,
//!   `a_killed_daemon_is_noticed`, `a_start_has_a_deadline`, `a_signal_ends_the_start`).
//! - The daemon has a session of its own, and neither it nor a worker holds the terminal (test
//!   `nothing_of_the_terminal_is_left`).
//! - An upgrade of a daemon is one like any other (test `a_daemon_is_upgraded`).
//!
//! # Why not two forks
//!
//! The second keeps a session leader from getting a terminal by opening one. Everything here is opened
//! with O_NOCTTY, which does the same and leaves the daemon a child that can be waited for by pidfd.
//!
//! # Why not systemd's way
//!
//! It wants none of this: run in the foreground there.
//!
//! # Example
//!
//! ```no_run
//! use forkmesh::machine::Config;
//! use forkmesh::run::{Daemon, Exit, Handover, Master, PidFile, Worker};
//!
//! fn work(worker: &mut Worker) -> Exit {
//!     worker.ready();
//!     // …
//!     Exit::SUCCESS
//! }
//!
//! # #[cfg(feature = "std")]
//! fn main() -> Result<(), Box<dyn core::error::Error>> {
//!     let handover = Handover::receive()?;
//!     let detached = match handover {
//!         None => Some(Daemon::new().umask(0o027).detach()?), // only the daemon gets beyond this line
//!         Some(_) => None,
//!     };
//!     let mut master = Master::new(Config::new().workers(4))?;
//!     handover.map(|handover| master.succeed(handover));
//!     detached.map(|detached| master.report_to(detached));
//!     master.keep(PidFile::create("/run/served.pid")?);
//!     Ok(master.run(&mut work)?)
//! }
//! # #[cfg(not(feature = "std"))] fn main() {}
//! ```

use core::fmt;

use rustix::fd::{AsFd, OwnedFd};
use rustix::io::{Errno, read};
use rustix::process::Signal;

use crate::channel::{Alone, ForkError, Process};
use crate::run::master::{Master, RunError, now};
use crate::run::text::Text;
use crate::sys::descriptor::behind_stdio;
use crate::sys::poll::which_are_readable;
use crate::sys::process::{self, Ended, Forked, Leash};
use crate::sys::signal::{self, SignalSet};
use crate::sys::{line, session, socket};
use crate::table::Instant;

/// What ends a start that is under way.
const ENDING: SignalSet = SignalSet::of(&[Signal::INT, Signal::QUIT, Signal::TERM]);

/// What the daemon says.
const READY: u8 = b'R';
const FAILED: u8 = b'F';

/// How long a daemon that was told to end may take: its workers have three seconds, and are killed then,
/// unless the configuration says otherwise.
const END_MS: u64 = 15_000;

/// The longest message, with its end.
const LONGEST: usize = 128;

/// How a program becomes a daemon.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[must_use = "nothing is detached yet"]
pub struct Daemon {
    umask: Option<u32>,
    start_ms: u64,
}

/// A daemon whose foreground process waits to hear how its start goes. To be given to its master
/// ([`Master::report_to`]); who has no master says [`Detached::ready`]. When it is dropped before that, the
/// foreground waits for the end of the process.
#[derive(Debug)]
#[must_use = "the foreground process waits to hear of the start"]
pub struct Detached {
    socket: OwnedFd,
    /// What takes the place of standard error.
    errors: Option<OwnedFd>,
}

/// Why there is no daemon.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum DetachError {
    /// /dev/null cannot be opened, or not be put in the terminal's place.
    Null(Errno),
    /// The kernel refused what the foreground waits by.
    Wait(Errno),
    /// There is no second process.
    Fork(ForkError),
    /// In the daemon: it got no session of its own.
    Session(Errno),
}

impl Daemon {
    /// With the mask of modes that it has, and a minute for the start.
    pub const fn new() -> Self {
        Self {
            umask: None,
            start_ms: 60_000,
        }
    }

    /// What is taken from the modes of files that the daemon makes; nginx has 0.
    pub const fn umask(mut self, mask: u32) -> Self {
        self.umask = Some(mask);
        self
    }

    /// How long the start may take until the foreground gives it up: the daemon is terminated then, and
    /// killed if it has not ended 15 seconds later.
    pub const fn start_ms(mut self, ms: u64) -> Self {
        self.start_ms = ms;
        self
    }

    /// Makes the daemon, and returns there alone. The foreground process stays in here until it knows how
    /// the start went, and exits: with 0 when the first workers are ready; else with the daemon's own code,
    /// 128 and the number of the signal that killed it or that the foreground got (INT, QUIT, TERM: the daemon
    /// is terminated), or 1. It runs no destructor and flushes no buffer: both are the daemon's now, so
    /// flush what was printed before.
    ///
    /// Without `std` the fork is the kernel's alone: a libc that the program has nevertheless goes on with the
    /// thread id of the foreground.
    ///
    /// Cost: about fifteen system calls, one of them a fork.
    ///
    /// # Errors
    ///
    /// [`DetachError`]: in the foreground, and nothing has changed; [`DetachError::Session`] in the daemon.
    pub fn detach(self) -> Result<Detached, DetachError> {
        let not_alone = |why| DetachError::Fork(ForkError::NotAlone(why));
        self.detach_with(&mut Alone::verify().map_err(not_alone)?)
    }

    /// As [`Daemon::detach`], where there is no /proc to verify by.
    ///
    /// # Errors
    ///
    /// [`DetachError`].
    pub fn detach_with(self, alone: &mut Alone) -> Result<Detached, DetachError> {
        let null = session::nothing().map_err(DetachError::Null)?;
        let (here, there) = socket::pair().map_err(DetachError::Wait)?;
        let there = behind_stdio(there).map_err(DetachError::Wait)?;
        // An inherited "ignore" would leave no status to exit by.
        signal::set_default(Signal::CHILD).map_err(DetachError::Wait)?;
        let signals = ENDING.descriptor().map_err(DetachError::Wait)?;
        let mask = ENDING.block().map_err(DetachError::Wait)?;
        match process::fork(alone) {
            Err(why) => {
                mask.set_mask().map_err(DetachError::Wait)?;
                Err(DetachError::Fork(why))
            }
            Ok(Forked::Parent(process)) => {
                drop((there, null));
                let foreground = Foreground {
                    said: Some(here),
                    process,
                    signals,
                };
                Leash::of_parent().run(|| foreground.wait(self.start_ms))
            }
            Ok(Forked::Child(leash)) => {
                leash.let_go();
                mask.set_mask().map_err(DetachError::Session)?;
                session::begin().map_err(DetachError::Session)?;
                if let Some(mask) = self.umask {
                    session::mask_modes(mask);
                }
                session::replace_input_and_output(&null).map_err(DetachError::Null)?;
                let (socket, errors) = (there, Some(null));
                Ok(Detached { socket, errors })
            }
        }
    }
}

impl Default for Daemon {
    fn default() -> Self {
        Self::new()
    }
}

impl Detached {
    /// This file takes the place of standard error when the start is known, and not /dev/null.
    ///
    /// # Errors
    ///
    /// EMFILE for a descriptor whose number is that of standard input, output or error, and no other is free.
    pub fn errors_to(mut self, file: OwnedFd) -> Result<Self, Errno> {
        self.errors = Some(behind_stdio(file)?);
        Ok(self)
    }

    /// Standard error stays what it is.
    pub fn keep_errors(mut self) -> Self {
        self.errors = None;
        self
    }

    /// The start is a success: the foreground leaves. For who has no master to say so.
    ///
    /// # Errors
    ///
    /// EPIPE where the foreground has gone.
    pub fn ready(self) -> Result<(), Errno> {
        if let Some(errors) = &self.errors {
            let _ = session::replace_errors(errors); // of two open descriptors: it has no reason to fail
        }
        socket::send(&self.socket, &[READY]).map(drop)
    }

    /// What takes the place of a worker's standard error when it is ready; the rest is closed.
    pub(super) fn into_errors(self) -> Option<OwnedFd> {
        self.errors
    }
}

impl Master {
    /// Tells the foreground process of a daemon when all workers are ready. If they cannot be, the master
    /// ends instead, and [`Master::run`] says [`RunError::Unready`]. Before
    /// [`Master::start`]; not for a master that succeeds another.
    pub fn report_to(&mut self, detached: Detached) {
        self.core.report_start();
        self.detached = Some(detached);
    }

    /// What [`Master::run`] says in the end, for a loop of one's own.
    ///
    /// # Errors
    ///
    /// [`RunError::Unready`].
    pub const fn outcome(&self) -> Result<(), RunError> {
        if self.unready {
            return Err(RunError::Unready);
        }
        Ok(())
    }

    pub(super) fn tell_foreground(&mut self, ready: bool) {
        let Some(detached) = self.detached.take() else {
            return;
        };
        let _ = if ready {
            detached.ready()
        } else {
            socket::send(&detached.socket, &[FAILED]).map(drop)
        }; // a foreground that has gone waits for nothing
    }
}

/// The process that the start was asked of.
struct Foreground {
    /// What the daemon says; `None` once it has said it, or never will.
    said: Option<OwnedFd>,
    process: Process,
    signals: OwnedFd,
}

/// Why a start failed, before its process has ended.
enum Given {
    /// It said so.
    Failed,
    /// It was told to end, because of this signal.
    Signal(i32),
    /// It was told to end, because it took too long.
    Late,
}

impl Foreground {
    fn wait(mut self, start_ms: u64) -> u8 {
        let mut until = now().after_ms(start_ms);
        let mut given = None;
        loop {
            let said = self.said.as_ref().unwrap_or(&self.signals).as_fd();
            let fds = [said, self.signals.as_fd(), self.process.as_fd()];
            let [said, signalled, ended] = which_are_readable(fds, until.ms_since(now()));
            if said && let Some(word) = self.hear() {
                if word == READY && given.is_none() {
                    return 0; // what is told to end is no success, however far it has come
                }
                given.get_or_insert(Given::Failed);
                until = now().after_ms(END_MS);
            }
            if ended && let Ok(Some(ended)) = process::reap(self.process.as_fd()) {
                return self.explain(given.as_ref(), Some(ended));
            }
            if signalled && let Some(caught) = signal::next(&self.signals) {
                given = Some(Given::Signal(caught.signal));
                until = self.end();
            }
            if until <= now() {
                if given.is_some() {
                    process::end(self.process.as_fd());
                    return self.explain(given.as_ref(), None);
                }
                given = Some(Given::Late);
                until = self.end();
            }
        }
    }

    /// What the daemon says. Its end is known by its pidfd, not by that of the socket.
    fn hear(&mut self) -> Option<u8> {
        let mut word = [0];
        match read(self.said.as_ref()?, &mut word) {
            Ok(1) if word[0] == READY => Some(READY),
            Err(Errno::AGAIN | Errno::INTR) => None,
            heard => {
                self.said = None;
                heard.is_ok_and(|length| length == 1).then_some(word[0])
            }
        }
    }

    /// Tells the daemon to end; until when it may take.
    fn end(&self) -> Instant {
        let _ = process::signal(self.process.as_fd(), Signal::TERM); // or it has ended already
        now().after_ms(END_MS)
    }

    /// A line for whoever waits at the terminal, and the code to leave with.
    fn explain(&self, given: Option<&Given>, ended: Option<Ended>) -> u8 {
        let pid = self.process.pid();
        match (given, ended) {
            (Some(Given::Signal(signal)), _) => {
                say(format_args!("not started: ended by signal {signal}"));
                128_u8.saturating_add(*signal as u8)
            }
            (Some(Given::Late), _) => {
                say(format_args!(
                    "not started: process {pid} was not ready in time"
                ));
                FAILURE
            }
            (_, Some(Ended::Code(code))) => {
                say(format_args!(
                    "not started: process {pid} ended with code {code}"
                ));
                if code == 0 { FAILURE } else { code }
            }
            (_, Some(Ended::Killed { signal, .. })) => {
                say(format_args!(
                    "not started: process {pid} was killed by signal {signal}"
                ));
                128_u8.saturating_add(signal)
            }
            (_, None) => {
                say(format_args!(
                    "not started: process {pid} failed, and did not end"
                ));
                FAILURE
            }
        }
    }
}

const FAILURE: u8 = 1;

fn say(what: fmt::Arguments<'_>) {
    let text = Text::<LONGEST>::of(what).ended_by(LONGEST - 1, b'\n');
    let _ = line::to_stderr(text.as_bytes());
}

impl fmt::Display for DetachError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null(errno) => write!(f, "/dev/null: {errno}"),
            Self::Wait(errno) => write!(f, "cannot wait for a daemon: {errno}"),
            Self::Fork(why) => why.fmt(f),
            Self::Session(errno) => write!(f, "no session for a daemon: {errno}"),
        }
    }
}

impl core::error::Error for DetachError {}
