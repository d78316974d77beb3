//! Listeners: sockets that clients come to, from a list to the worker that accepts.
//!
//! ```text
//!   Listen, Listen, …       what is asked for
//!     │ open                taken from a predecessor, or bound
//!     ▼
//!   Listeners  ───────────────────────── prepare ──► the new list beside the old ─┬─ commit
//!     │  the master's         a reload                                            └─ roll_back
//!     │
//!     │  offer              to a successor
//!     │  provide            before a fork: what a worker of this number is to have
//!     │  settle             with each notice: steers clients, gives sockets away
//!     ▼
//!   take ──► Listening      in the worker: its own; all others are closed
//! ```
//!
//! # A socket for each worker
//!
//! ```text
//!     group     0      1      2      3        the master keeps them all, in this order
//!     workers   0      1                      two are left of four
//!               ▲──────▲                      a program shares new clients out among the first two
//!               └──────┼──────┘      │        whoever waits at the others is accepted by these:
//!                      └─────────────┘        each drains what it was sent
//! ```
//!
//! nginx closes the sockets of workers that it has no more, and the kernel resets whoever waits there.
//! Here, a group's sockets are closed with the group and not before: the order in which the kernel
//! numbers them is that in which they began to listen, as long as none of them is closed. A worker
//! that is killed leaves its socket to its successor; one that cools off has it drained meanwhile.
//! Where the kernel takes no program, whoever adopts a socket keeps it.
//!
//! # What cannot be changed while it is open
//!
//! Whether each worker has a socket, and whether IPv6 is alone: a reload that asks for it is refused
//! ([`Fixed`]). Whether an address is reused matters when it is bound, and not later. A buffer that
//! was set cannot be the kernel's own again. Everything else is set at commit.
//!
//! # Invariants
//!
//! - Every option is what was asked for, by the kernel's word (test `every_option_is_the_kernels`),
//!   and after a reload, too (test `a_reload_changes_options_in_place`).
//! - A list that cannot be had changes nothing: descriptors, files, what listens (tests
//!   `a_failed_preparation_changes_nothing`, `rolling_back_leaves_what_was`).
//! - A listener that is kept is the same socket, and what a reload drops is open until it is committed
//!   (test `a_reload_keeps_adds_and_drops`).
//! - A file at a unix socket's path is replaced if nobody has its socket open, and else left alone; it
//!   is removed by whoever is last (tests `a_stale_file_is_replaced`, `a_live_socket_is_in_use`,
//!   `a_file_that_is_no_socket_is_left_alone`, `whoever_is_last_removes_the_file`).
//! - What is handed over is taken if it is what it is said to be (test
//!   `odd_descriptors_are_refused`).
//! - No client is lost or reset while workers come and go (test `no_connection_is_lost`); closing a
//!   socket at once would do that (test `closing_at_once_resets`).
//! - A flow of datagrams stays with its worker while their number does (test
//!   `a_flow_stays_with_its_worker`).
//! - A worker has its own sockets and no other (test `a_worker_holds_its_own`).
//!
//! # Why not let each worker bind its own socket
//!
//! It would need the privilege to, after it has dropped it; and what waits at a worker that dies would
//! be reset.
//!
//! # Example
//!
//! ```
//! use forkmesh::run::{Listen, Listeners, Sharing};
//!
//! # fn main() -> Result<(), Box<dyn core::error::Error>> {
//! let mut listeners: Listeners = Listeners::new();
//! let any = Listen::new("127.0.0.1:0".parse()?);
//! listeners.open(&[any.per_worker(true)], 2, None)?;
//! let first = listeners.address(0).expect("it is open");
//!
//! // A reload adds one, and succeeds.
//! listeners.prepare(1, &[any.per_worker(true), any], 2)?;
//! listeners.commit()?;
//! assert_eq!((listeners.count(), listeners.address(0)), (2, Some(first)));
//!
//! // In a worker, after the fork:
//! let own = listeners.take(1, 1);
//! let sharing: Vec<Sharing> = own.iter().map(|listening| listening.sharing).collect();
//! assert_eq!(sharing, [Sharing::Own, Sharing::Shared]);
//! # Ok(())
//! # }
//! ```

mod address;
mod asked;
mod bind;
mod change;
mod error;
mod inherit;
mod program;
mod set;
mod settle;
mod taken;

pub use address::{Address, AddressError, UnixName};
pub use asked::{Invalid, Listen};
pub use error::{Fixed, ListenError, ListenFault, ListenStep, Tries};
pub use set::Listeners;
pub use taken::{Listening, NotAdopted, Sharing, WhyNot};
