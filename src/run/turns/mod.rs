//! Turns: a small loop for a worker that has none: what it is told, who comes, what is ready, what is
//! due, what was put off, and when it is done.
//!
//! ```text
//!   ┌─► wait ─► accept ─┬─► Told ─► Arrived ─► Ready ─► Due ─► Posted ─┐      one turn; each with a bound
//!   │                   └──────────── handed out one by one, by next ──┤
//!   └──────────────────────────────────────────────────────────────────┘
//!
//!   serving ──Quit──► Drain, once ──► draining ──no connection, no work, no listener──► Over(Drained)
//!      │                                 └──────────the deadline──► Over(Deadline)
//!      └──────────Terminate, at any time──────────────────────────► Over(Terminated)
//! ```
//!
//! # Invariants
//!
//! - In a turn the master comes first, then who was accepted, then what is ready, then what is due,
//!   then what was posted (test `a_turn_has_an_order`).
//! - Whoever writes without end, arms again at once or posts to itself has its share of each turn and
//!   no more (test `nobody_starves_the_rest`).
//! - Connections and works decide when a worker is done, and not timers (test
//!   `connections_decide_and_not_timers`); a deadline ends it earlier, if there is one (test
//!   `a_deadline_ends_a_drain`).
//! - A worker with nothing to do does not wake, and neither does its master (test
//!   `idle_processes_sleep`). Nothing is allocated (test `a_loop_allocates_nothing`).
//!
//! # Why it calls nobody back
//!
//! Callbacks need the loop, the worker and the service's state at once, and so cells or indices for
//! all three. [`Loop::next`] borrows the loop and the worker for as long as it runs, and a `match` is
//! all that there is.
//!
//! # Cost
//!
//! A turn is one `epoll_wait`, and what there is to accept: see [`Acceptor::accept`](crate::run::Acceptor::accept).
//! Timers and posted events cost no system call. The clock is read about four times, 20 ns each.
//!
//! # Example
//!
//! ```no_run
//! use forkmesh::run::{
//!     Acceptor, Arrival, Exclusive, Exit, Happened, Listening, Load, Loop, Worker,
//! };
//! use rustix::io::Errno;
//!
//! const TICK: u32 = 1;
//!
//! fn serve(worker: &mut Worker, listening: Listening) -> Result<Exit, Errno> {
//!     let load = Load::new(512);
//!     let mut acceptor = Acceptor::new(&load, Exclusive::new());
//!     if acceptor.add(listening).is_err() {
//!         return Ok(Exit::FATAL);
//!     }
//!     let mut turns = Loop::<_, 16, 16>::new(worker, acceptor)?.shutdown_ms(10_000);
//!     let _ = turns.after(1_000, TICK);
//!     worker.ready();
//!     loop {
//!         match turns.next(worker)? {
//!             Happened::Arrived(Arrival::Connection { connection, .. }) => {
//!                 let _ = rustix::io::write(&connection, b"hello\n"); // and good-bye: it is dropped
//!             }
//!             Happened::Due(TICK) => println!("a second has passed"),
//!             Happened::Over(_) => return Ok(Exit::SUCCESS),
//!             _ => {}
//!         }
//!     }
//! }
//! ```

mod posted;
mod timers;
mod turn;

pub use posted::{NotPosted, Posted};
pub use timers::{NoTimer, Stale, TimerId, Timers};
pub use turn::{Happened, Loop, Over};
