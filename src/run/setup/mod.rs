//! Setting up a worker: what needs privileges, then the drop, then what does not.
//!
//! ```text
//!   Setup::begin ──► Setup<Privileged> ──drop_to(identity)──► Setup<Dropped>
//!                      environment          groups              processors, own_processor
//!                      priority             gid                 dumpable
//!                      descriptors          uid                 directory
//!                      core_bytes           capabilities        keep_only
//!                         │                 (verified)          no_new_privileges
//!                         │                                     then: a filter, a sandbox, …
//!                         └──keep_identity───────────────────────►┘
//! ```
//!
//! It is nginx's order, and the compiler's: a step of the left column is no method of the right one,
//! and the other way round. Every step says whether it succeeded; what nginx would log and forget is
//! the caller's to forget: `let _ = setup.priority(-5);`.
//!
//! Two of nginx's steps are none here. Signals are blocked before [`Service::work`](super::Service::work)
//! begins, and stay so: they are read from a descriptor. And a generator of random numbers is the
//! service's, which seeds it in the worker, by [`Worker::seed`]. What is no step at all stays as it was in
//! the master: its control group, its namespaces, its scheduling class.
//!
//! # Invariants
//!
//! - A privileged step after the drop does not compile (test
//!   `what_the_types_forbid_does_not_compile`).
//! - A process that has dropped is what it was to be, by all that /proc says of it, and cannot go
//!   back (tests `a_drop_is_whole`, `a_drop_cannot_be_undone`).
//! - A step that fails names itself and the error (test `every_step_names_its_failure`); a worker that
//!   ends for it is not started again until a reload (test `a_failed_setup_parks_until_a_reload`).
//! - A worker's environment is what was asked for, by /proc, by `getenv`, and to what it executes (tests
//!   `an_environment_is_what_was_asked`, `an_environment_without_room_is_an_error`).
//! - Of what the master had open, a worker that keeps only some has these and its own (test
//!   `what_is_not_kept_is_closed`).
//! - A worker that was to die with its master still is (test `a_drop_keeps_the_tie_to_the_master`).
//! - A worker's successor runs where it ran (test `a_number_keeps_its_processor`).
//!
//! # Why not one structure with everything in it
//!
//! Where a step of one's own belongs, between two of these, only the service knows.
//!
//! # Example
//!
//! ```no_run
//! use forkmesh::run::{Exit, Identity, Setup, SetupError, Worker};
//!
//! fn set_up(worker: &Worker, identity: &Identity) -> Result<(), SetupError> {
//!     let mut setup = Setup::begin(worker);
//!     setup.environment(&[c"PATH=/usr/bin:/bin", c"LANG=C.UTF-8"])?;
//!     let _ = setup.priority(-5);
//!     setup.descriptors(65_536)?.core_bytes(0)?;
//!     let mut setup = setup.drop_to(identity)?;
//!     setup.own_processor()?.directory(c"/srv")?;
//!     setup.keep_only(worker, &[])?.no_new_privileges()?;
//!     Ok(())
//! }
//!
//! fn work(worker: &mut Worker, identity: &Identity) -> Exit {
//!     if let Err(error) = set_up(worker, identity) {
//!         return worker.fails(error);
//!     }
//!     worker.ready();
//!     // …
//!     Exit::SUCCESS
//! }
//! ```

mod accounts;
mod error;
mod identity;
mod steps;

use core::marker::PhantomData;

pub use accounts::{AccountError, Accounts};
pub use error::{SetupError, SetupStep};
pub use identity::{Capabilities, Identity, TooManyGroups};

use crate::run::Worker;
use crate::run::service::Exit;
use crate::sys::random;

use rustix::io::Errno;

/// What a master gave its worker is all there: the steps that need it come now.
#[derive(Debug)]
pub enum Privileged {}

/// The identity is the one that the worker serves with.
#[derive(Debug)]
pub enum Dropped {}

/// A worker that is being set up. Nothing happens when it is dropped: what was set stays.
#[derive(Debug)]
#[must_use = "without `drop_to` or `keep_identity`, the worker goes on with its master's privileges"]
pub struct Setup<S = Privileged> {
    /// Which worker it is, for its processor.
    number: u16,
    state: PhantomData<S>,
}

impl Worker {
    /// Tells the master which step failed, and why; return what this returns. It is [`Exit::FATAL`]:
    /// the slot is parked, its status shows the step ([`SetupStep::of_stage`]) and the error, and a
    /// reload tries again.
    #[must_use = "a worker that goes on has not failed"]
    pub fn fails(&self, error: SetupError) -> Exit {
        let _ = self.failed(error.step.stage(), error.errno); // who cannot be told sees the exit code
        Exit::FATAL
    }

    /// 32 bytes from the kernel, to seed a generator of the worker's own. A generator that was seeded in the
    /// master is one state in as many copies as there are workers, and each of them draws what its siblings
    /// draw. nginx seeds with the pid and the time, which can be guessed. Cost: one system call.
    ///
    /// # Errors
    ///
    /// ENOSYS or EPERM where a filter refuses it.
    pub fn seed(&self) -> Result<[u8; 32], Errno> {
        random::seed()
    }
}
