//! `Single`: a service's work in this process, without a master: for a debugger, a profiler, a look at what
//! a worker does.
//!
//! ```text
//!   TERM, INT ──► Event::Terminate        USR1 ──► Event::Reopen
//!   QUIT      ──► Event::Quit             HUP, USR2, WINCH, TTIN, TTOU: nothing
//! ```
//!
//! The service is the one that a master would run: [`Service::work`] gets a [`Worker`] whose number and
//! epoch are 0. It has no siblings, and no master: [`Worker::is_single`]. Who sends it something is told
//! that nobody is there ([`SendFault::Gone`](crate::channel::SendFault::Gone)); ready and failed are
//! observed, and nothing else; there is no notice.
//!
//! A terminal's INT and QUIT count, which a worker leaves to its master. There is nothing to load again and
//! nobody to launch a successor, so HUP and USR2 do nothing; but a HUP that the kernel sends, because the
//! terminal is gone, is a TERM.
//!
//! # Invariants
//!
//! - Signals mean what they mean to a worker (test `signals_work_without_a_master`).
//! - Nothing is forked, and nobody is there to send to (test `a_single_worker_is_alone`).
//! - A panic is the caller's, as it is of any function (test `a_panic_comes_through`).
//!
//! # Why not a configuration of the master
//!
//! A master of one process would have two lives in one loop. What is to be debugged is the work.
//!
//! # Example
//!
//! ```
//! use forkmesh::run::{Exit, Single, Worker};
//!
//! fn work(worker: &mut Worker) -> Exit {
//!     assert!(worker.is_single() && worker.siblings().next().is_none());
//!     worker.ready();
//!     // … here a debugger sees the service, and not a child of what it started
//!     Exit::SUCCESS
//! }
//!
//! # fn main() -> Result<(), forkmesh::Errno> {
//! let exit = Single::new().run(&mut work)?;
//! assert_eq!(exit, Exit::SUCCESS);
//! # Ok(())
//! # }
//! ```

use rustix::io::Errno;
use rustix::process::Signal;

use crate::machine::{self, Orphans};
use crate::run::ends::Ends;
use crate::run::observe::{Lines, Observer};
use crate::run::service::{Exit, Service};
use crate::run::worker::{Parts, SIGNALS, Worker};
use crate::sys::{process, signal};
use crate::table::{Claim, Policy, Role, Table};

/// How a service's work is done without a master.
#[derive(Clone, Copy, Debug)]
#[must_use = "nothing runs yet"]
pub struct Single {
    observer: &'static dyn Observer,
}

impl Single {
    /// With an observer that writes lines to standard error.
    pub const fn new() -> Self {
        Self { observer: &Lines }
    }

    /// Shows what happens to this observer.
    pub const fn observed_by(mut self, observer: &'static dyn Observer) -> Self {
        self.observer = observer;
        self
    }

    /// Does the work, and says how it ended. As with a master, SIGPIPE is ignored from now on, and the
    /// signals that a worker reads stay blocked.
    ///
    /// # Errors
    ///
    /// EMFILE, ENFILE or ENOMEM for the descriptor by which signals are read.
    pub fn run(self, service: &mut impl Service) -> Result<Exit, Errno> {
        signal::set_default(Signal::CHILD)?;
        signal::ignore(Signal::PIPE)?;
        let mask = SIGNALS.block()?;
        let mut table = Table::new();
        let claim = Claim {
            number: 0,
            role: Role::Worker,
            policy: Policy::empty(),
            epoch: 0,
        };
        let id = table.claim(claim).ok_or(Errno::NOSPC)?; // an empty table has room
        let parts = Parts {
            credentials: false,
            mask,
            role: Role::Worker,
            core: machine::Worker::new(id, &table),
            number: 0,
            epoch: 0,
            pid: process::own_pid(),
            orphans: Orphans::Serve,
            control: None,
            mesh: None,
            peers: Ends::new(),
            master: None,
            errors: None,
            observer: self.observer,
        };
        let mut worker = Worker::new(parts)?;
        Ok(service.work(&mut worker))
    }
}

impl Default for Single {
    fn default() -> Self {
        Self::new()
    }
}
