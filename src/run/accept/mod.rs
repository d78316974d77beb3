//! Accepting: a worker's listeners, in turn with its siblings', without spinning and without losing
//! who waits.
//!
//! ```text
//!            prepare            wait            accept            next, next, …
//!   ┌─► watch what may be ─► epoll ─ hears ─► accept4 … ─────► Connection ─► the service
//!   │   take the mutex                        free the mutex   Datagrams
//!   │                                         end of the line  Refused, Emptied
//!   └───────────────────────────────────────────────────────────────┘
//!
//!   a listener   watched ──no room · refused · left to siblings──► not watched ──► watched
//!                   └── drain ──► not watched ──nobody waits──► closed
//! ```
//!
//! What a socket's [`Sharing`](crate::run::Sharing) says decides how it is accepted from; for the shared
//! ones, the [`Strategy`] does. [`Load`] counts what was accepted and lives.
//!
//! # Invariants
//!
//! - A listener that cannot be accepted from is not watched: no want of descriptors, of memory or of
//!   room makes a worker spin (test `no_descriptors_no_spinning`).
//! - Service resumes when a connection ends, and by itself after half a second (test
//!   `no_descriptors_no_spinning`).
//! - There are never more connections than the load allows (test `a_full_worker_leaves_the_rest`).
//! - One worker has the accept mutex, and a killed one does not keep it (tests
//!   `one_worker_has_the_mutex`, `a_killed_holder_keeps_nothing`).
//! - Who waits when the worker is told to go is served (test `who_waits_at_the_end_is_served`), in
//!   adopted listeners too, which are closed when they were empty for a second (test
//!   `an_adopted_listener_is_emptied`).
//! - Taking turns, and with sockets of their own, all workers get some of what comes (test
//!   `the_spread`, which prints who gets how much). The accept mutex promises nothing of the kind: of
//!   400 clients that came one by one to four workers, 314 came to the same.
//!
//! # Why connections come out in a batch
//!
//! Accepting one, serving it and accepting the next would hold the accept mutex while the service is
//! at work. nginx puts reading off for the same reason. Accepted at once, the mutex is held for as
//! long as it takes the kernel.
//!
//! # Example
//!
//! Without [`Loop`](crate::run::Loop), in a loop of one's own:
//!
//! ```no_run
//! use forkmesh::run::{Acceptor, Arrival, Event, Exclusive, Exit, Listening, Load, Poller, Worker};
//!
//! fn work(worker: &mut Worker, listening: Listening) -> Exit {
//!     let load = Load::new(512);
//!     let mut acceptor = Acceptor::new(&load, Exclusive::new());
//!     let (Ok(mut poller), Ok(_)) = (Poller::new(worker), acceptor.add(listening)) else {
//!         return Exit::FAILURE;
//!     };
//!     worker.ready();
//!     while !(acceptor.is_closed() && load.is_idle()) {
//!         let most_ms = acceptor.prepare(&poller);
//!         let Ok(batch) = poller.wait(worker, most_ms) else {
//!             return Exit::FAILURE;
//!         };
//!         for ready in batch {
//!             if !acceptor.hears(ready) {
//!                 // A connection of ours.
//!             }
//!         }
//!         acceptor.accept(&poller);
//!         while let Some(arrival) = acceptor.next() {
//!             if let Arrival::Connection { connection, .. } = arrival {
//!                 let _ = rustix::io::write(&connection, b"hello\n"); // and good-bye: it is dropped
//!             }
//!         }
//!         while let Some(event) = worker.receive() {
//!             match event {
//!                 Event::Quit => acceptor.drain(&poller),
//!                 Event::Terminate => return Exit::SUCCESS,
//!                 _ => {}
//!             }
//!         }
//!     }
//!     Exit::SUCCESS
//! }
//! ```

mod acceptor;
mod arrival;
mod doors;
mod load;
mod strategy;

pub use acceptor::Acceptor;
pub use arrival::{AddError, AddFault, Arrival, Door};
pub use load::{Connection, ConnectionPlace, Load, NoRoom, Work};
pub use strategy::{Exclusive, Mutexed, Own, Strategy};
