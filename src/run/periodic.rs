//! `periodic`: a helper's life that is one job, done again and again; nginx's cache manager and loader.
//!
//! ```text
//!   READY ──first_ms──► run ──After(ms)──► wait ──► run ──► …
//!                        └──Done──► SUCCESS      QUIT, TERM, the master's death: SUCCESS, at once
//! ```
//!
//! # Invariants
//!
//! - Between two runs nothing wakes it but what it is sent (test `a_manager_runs_at_its_interval`).
//! - It leaves without waiting for its next run (test `helpers_are_told_to_go`).

use crate::machine::Life;
use crate::run::master::now;
use crate::run::{Event, Exit, Poller, Worker};

/// The longest interval: an hour, as in nginx.
const LONGEST_MS: u64 = 3_600_000;

/// When a job is to be done again.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Next {
    /// After so many milliseconds from the end of this run: at least 1, at most an hour.
    After(u64),
    /// Never: the helper ends with success.
    Done,
}

/// What a helper does from time to time.
///
/// Every `FnMut(&mut Worker) -> Next` is a job that wants to hear nothing.
pub trait Job {
    /// Does it once. Nothing is heard meanwhile: a job that takes long asks [`Worker::receive`] itself
    /// now and then, and returns when [`Worker::life`] is not to serve any more.
    fn run(&mut self, worker: &mut Worker) -> Next;

    /// Something came that is not an order to go: [`Event::Reopen`], a message.
    fn hear(&mut self, worker: &mut Worker, event: Event) {
        let _ = (worker, event);
    }
}

impl<F: FnMut(&mut Worker) -> Next> Job for F {
    fn run(&mut self, worker: &mut Worker) -> Next {
        self(worker)
    }
}

/// Says READY, does the job after `first_ms` (nginx's manager: 0, its loader: 60 000), and again
/// whenever it wants. Returns when it is done, or when the helper is told to go.
///
/// Cost: one `epoll_wait` a run. [`Exit::FAILURE`] where the kernel refuses an epoll instance.
///
/// # Example
///
/// ```
/// use forkmesh::machine::Config;
/// use forkmesh::run::{Exit, Job, Next, Poller, Service, Worker, periodic};
/// use forkmesh::table::Policy;
///
/// struct Cache;
///
/// impl Service for Cache {
///     fn work(&mut self, worker: &mut Worker) -> Exit {
///         worker.ready();
///         Exit::SUCCESS // and serves
///     }
///
///     fn help(&mut self, worker: &mut Worker) -> Exit {
///         match worker.number() {
///             0 => periodic(worker, 0, &mut |_: &mut Worker| Next::After(10_000)), // removes what is old
///             _ => periodic(worker, 60_000, &mut |_: &mut Worker| Next::Done),     // reads what is there
///         }
///     }
/// }
///
/// let config = Config::new().helper(Policy::RESTART).helper(Policy::empty());
/// ```
pub fn periodic(worker: &mut Worker, first_ms: u64, job: &mut impl Job) -> Exit {
    let Ok(mut poller) = Poller::new(worker) else {
        return Exit::FAILURE;
    };
    worker.ready();
    let mut due = now().after_ms(first_ms.min(LONGEST_MS));
    loop {
        while let Some(event) = worker.receive() {
            match event {
                Event::Quit | Event::Terminate => return Exit::SUCCESS,
                Event::Moved => {} // the poller's business
                event => job.hear(worker, event),
            }
        }
        if worker.life() != Life::Serving {
            return Exit::SUCCESS; // the job was told
        }
        let now = now();
        if due > now {
            if poller.wait(worker, Some(due.ms_since(now))).is_err() {
                return Exit::FAILURE;
            }
            continue;
        }
        match job.run(worker) {
            Next::After(ms) => due = self::now().after_ms(ms.clamp(1, LONGEST_MS)),
            Next::Done => return Exit::SUCCESS,
        }
    }
}
