//! `Worker::exec`: a helper becomes another program, which knows nothing of a master.
//!
//! ```text
//!   READY ──► what was said so far is read ──► 0, 1, 2 alone stay ──► the signals are as they were ──► execve
//!                 └─ told to go: SUCCESS                                       refused: FAILED, FATAL
//! ```
//!
//! Its ends of the channels close with the exec. So the master orders it by signals: QUIT, TERM, and
//! KILL if that does not help. An order that was under way is given again. It is not told of log files:
//! of USR1, a program that does not expect it would die.
//!
//! # Invariants
//!
//! - An order to go that comes amid the exec is not lost (tests `an_order_amid_an_exec_is_given_again` and
//!   `who_is_told_to_go_becomes_no_program`).
//! - The program has the first three descriptors, the signals of whoever started the master, and no
//!   other (test `a_program_inherits_nothing`).
//! - It does not outlive its master (test `a_program_ends_with_its_master`).
//! - Its closed ends cost the master nothing (test `a_program_costs_the_master_nothing`).

use core::ffi::CStr;

use rustix::process::Signal;

use crate::machine::{Life, Orphans};
use crate::run::{Event, Exit, Sources, Worker};
use crate::sys::poll::is_readable;
use crate::sys::{descriptor, exec, process, signal};

/// The stage that a program's exec fails in: "ex".
pub const STAGE_PROGRAM: u32 = 0x6578;

impl Worker {
    /// Says READY and becomes the program at `path`, with these arguments (its path where there are
    /// none; at most 256) and these variables (at most 1024). To be returned:
    ///
    /// ```
    /// # use forkmesh::run::{Exit, Worker};
    /// fn help(worker: &mut Worker) -> Exit {
    ///     worker.exec(c"/usr/sbin/exporter", &[c"exporter", c"-q"], &[c"PATH=/usr/bin:/bin"])
    /// }
    /// ```
    ///
    /// The program has standard input, output and error, no other descriptor, and the mask of blocked
    /// signals that the master was started with. It is ended by QUIT and TERM as signals. If the master dies,
    /// the kernel sends it TERM, unless the configuration says that orphans serve on, or the program
    /// is privileged by its file.
    ///
    /// Returns only if it has not become the program: [`Exit::SUCCESS`] where it was told to go before,
    /// and [`Exit::FATAL`] where the kernel refuses, which is told to the master as a failure of stage
    /// [`STAGE_PROGRAM`].
    pub fn exec(&mut self, path: &CStr, arguments: &[&CStr], environment: &[&CStr]) -> Exit {
        self.ready();
        self.readable(Sources::all()); // whether or not a loop has said so
        while let Some(event) = self.receive() {
            if let Event::Quit | Event::Terminate = event {
                return Exit::SUCCESS;
            }
        }
        if self.life() != Life::Serving || !self.shed() {
            return Exit::SUCCESS;
        }
        let errno = exec::exec(path, arguments, environment, None);
        let _ = self.failed(STAGE_PROGRAM, errno); // who cannot be told sees the exit code
        Exit::FATAL
    }

    /// Gives up what the program is not to have; whether there is still a master to be a helper of.
    fn shed(&self) -> bool {
        if self.parts.orphans == Orphans::Drain {
            process::terminate_with_parent();
            // It may have ended before that was asked for.
            if self.parts.master.as_ref().is_some_and(is_readable) {
                return false;
            }
        }
        descriptor::close_at_exec();
        let _ = signal::set_default(Signal::PIPE); // neither can fail: the numbers are right
        let _ = self.parts.mask.set_mask();
        true
    }
}
