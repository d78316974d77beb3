//! `Observer`: who is shown everything that happens in a master and in its workers.
//!
//! ```text
//!   master   a Notice ──► observer ──► Service::notice
//!     │ fork: the observer is copied
//!   worker   an Event ──► observer ──► who called Worker::receive
//!            ready, failed ──► observer, and the master
//! ```
//!
//! An [`Observed`] has everything in it, and says it in one line. What is done with it is the observer's:
//! [`Lines`] writes the line to standard error and is there unless another is named
//! ([`Master::observed_by`](super::Master::observed_by)), [`Silent`] does nothing, and `Logged`, behind
//! the feature `log`, hands it to that crate's logger.
//!
//! # Invariants
//!
//! - What a service hears in its master, and a worker by `receive`, its observer has seen before (test
//!   `everything_is_observed`).
//! - A line is one line, whatever a message says (test `a_line_is_one_line`).
//! - Nobody waits for whoever reads the lines (test `a_full_pipe_stops_nobody`), and nothing is allocated
//!   for them (test `nothing_is_allocated`).
//!
//! # Why not a closure, or an observer of the service's type
//!
//! It is called in the middle of the master's turns, and in workers whose service has other things in its
//! hands: it gets a shared reference and keeps what it counts in atomics. One type for all masters keeps
//! it out of every signature.
//!
//! # Example
//!
//! ```
//! use core::sync::atomic::{AtomicU32, Ordering};
//! use forkmesh::machine::Report;
//! use forkmesh::run::{Notice, Observed, Observer, What};
//!
//! /// Counts deaths, in the master alone: a worker counts in a copy.
//! #[derive(Debug)]
//! struct Deaths(AtomicU32);
//!
//! impl Observer for Deaths {
//!     fn observe(&self, what: &Observed<'_>) {
//!         if let What::Notice(Notice::Report(Report::Exited(..))) = what.what {
//!             self.0.fetch_add(1, Ordering::Relaxed);
//!             eprintln!("{what}"); // master (pid 4711): worker 0.1 exited, pid 4712, with code 1
//!         }
//!     }
//! }
//!
//! static DEATHS: Deaths = Deaths(AtomicU32::new(0));
//! # fn main() -> Result<(), forkmesh::run::StartError> {
//! # use forkmesh::{machine::Config, run::Master};
//! let mut master = Master::new(Config::new())?;
//! master.observed_by(&DEATHS);
//! # Ok(())
//! # }
//! ```

use core::fmt;

use rustix::io::Errno;

use crate::run::master::Master;
use crate::run::service::Notice;
use crate::run::text::Text;
use crate::run::worker::{Event, Worker};
use crate::sys::line;
use crate::table::{Role, SlotId};

/// The longest line, with its end.
const LONGEST: usize = 512;

/// Who is shown what happens. It is called where it happens, between two waits: whatever takes long here
/// delays the master, or the worker.
pub trait Observer: fmt::Debug + Sync {
    /// This happened, here.
    fn observe(&self, what: &Observed<'_>);
}

/// Something that happened, and where. Its `Display` is one line without its end.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Observed<'o> {
    /// In which process.
    pub by: By,
    /// What.
    pub what: What<'o>,
}

/// The process in which something happened.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum By {
    /// The master.
    Master {
        /// Its process.
        pid: i32,
    },
    /// A worker, or a helper.
    Worker {
        /// Which of the two.
        role: Role,
        /// Which of its kind, from 0.
        number: u16,
        /// Which slot it has.
        id: SlotId,
        /// Its process.
        pid: i32,
    },
}

/// What happened.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum What<'o> {
    /// What the master's service hears next.
    Notice(&'o Notice),
    /// What a worker is told next.
    Event(&'o Event),
    /// A worker says that it serves.
    Ready,
    /// A worker says that it cannot serve.
    Failed {
        /// Which step failed.
        stage: u32,
        /// Why.
        errno: Errno,
    },
}

impl Master {
    /// Shows everything that happens, here and in the workers that are forked from now on, to this observer.
    /// Without one it is [`Lines`].
    pub fn observed_by(&mut self, observer: &'static dyn Observer) {
        self.observer = observer;
    }

    pub(super) fn observe(&self, notice: &Notice) {
        let by = By::Master { pid: self.made_in };
        let what = What::Notice(notice);
        self.observer.observe(&Observed { by, what });
    }
}

impl Worker {
    pub(super) fn observe(&self, what: What<'_>) {
        let by = By::Worker {
            role: self.role(),
            number: self.number(),
            id: self.id(),
            pid: self.parts.pid,
        };
        self.parts.observer.observe(&Observed { by, what });
    }
}

/// Writes one line to standard error, cut to 511 bytes, by one system call. It never waits: where a pipe
/// or a terminal has no room, because nobody reads there, the line is lost. Whatever is written to a pipe
/// by several processes comes out line by line. The default.
///
/// A line for every message between workers is too much where these are many: see [`Silent`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Lines;

impl Observer for Lines {
    fn observe(&self, what: &Observed<'_>) {
        let line = Text::<LONGEST>::of(what).ended_by(LONGEST - 1, b'\n');
        let _ = line::to_stderr(line.as_bytes());
    }
}

/// Sees nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Silent;

impl Observer for Silent {
    fn observe(&self, _: &Observed<'_>) {}
}

/// Hands each line to the crate `log`, with the target `forkmesh`: as an error what an operator has to see
/// to (a slot that is parked, a worker that cannot serve, a reload or an upgrade that failed); as a
/// warning what mends itself (a death that nobody asked for, a fork that failed); as information the
/// lives of workers and masters; for debugging what each worker is told; as a trace messages.
///
/// The logger runs in the master and, copied, in every worker: what it locks, or has a thread for, is its
/// own to see to.
#[cfg(feature = "log")]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Logged;

#[cfg(feature = "log")]
impl Observer for Logged {
    fn observe(&self, what: &Observed<'_>) {
        log::log!(target: "forkmesh", level(&what.what), "{what}");
    }
}

#[cfg(feature = "log")]
fn level(what: &What<'_>) -> log::Level {
    use crate::machine::{ExitStatus, Report};
    use log::Level::{Debug, Error, Info, Trace, Warn};

    match what {
        What::Notice(Notice::Message { .. }) | What::Event(Event::Message { .. }) => Trace,
        What::Failed { .. } | What::Notice(Notice::Failed { .. }) => Error,
        What::Notice(Notice::Report(report)) => match report {
            Report::Parked(..) | Report::ReloadFailed(..) | Report::UpgradeFailed(_) => Error,
            Report::Exited(_, _, ExitStatus::SUCCESS) => Info,
            Report::Exited(..) | Report::SpawnFailed(_) | Report::Delayed(..) => Warn,
            _ => Info,
        },
        What::Notice(Notice::SpawnRefused { .. } | Notice::PidFile(_)) => Warn,
        What::Event(Event::Orphaned) => Warn,
        What::Notice(_) => Info,
        What::Event(_) | What::Ready => Debug,
    }
}
