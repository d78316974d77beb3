//! nginx's process model as a library: a master forks workers into a fixed table, gives each its
//! channels, passes descriptors until every worker can talk to every other, reaps and respawns.
//! `no_std`, no allocation, Linux.
//!
//! # The rooms
//!
//! Each room imports only those below it that its front page names, and only through that page.
//! Pure rooms cannot touch the system: they import nothing that can.
//!
//! ```text
//!           decisions (pure)          descriptors              memory
//!
//!   L4  ┌────────────────────────────── run ──────────────────────────────┐   waits, performs, decides nothing
//!   L3  │                                                    shm          │   mappings, zones, typed objects
//!   L2  │  machine                  channel                  slab         │   events → actions · typed ends · indices
//!   L1  │  wire                                              sync         │   bytes ↔ commands · atomics, robust locks
//!   L0  │  table                    sys                                   │   ids and states · every system call
//!       └─────────────────────────────────────────────────────────────────┘
//! ```
//!
//! | room | may import | unsafe | held to account by |
//! |---|---|---|---|
//! | [`table`] | nothing | forbidden | `tests/table.rs`, `tests/exhaustive.rs` |
//! | `sys` | nothing | allowed | `tests/channel.rs`, `tests/process` |
//! | [`sync`] | `sys::futex` (not under loom), `table` | forbidden | `tests/loom.rs`, `tests/mutex.rs`, `tests/rwlock.rs`, `tests/counters.rs` |
//! | [`wire`] | `table` | forbidden | golden bytes, `tests/board.rs`, fuzz targets `channel_decode` and `handover` |
//! | [`machine`] | `table`, `wire` | forbidden | every order of events, mutants, fuzz target `master` |
//! | [`channel`] | `sys`, `table`, `wire` | forbidden | compile-fail tests, `tests/channel.rs` |
//! | [`slab`] | `sync`, `table` | forbidden | `tests/loom.rs`, `tests/slab.rs` |
//! | [`shm`] | `sys`, `sync`, `slab`, `table` | allowed | `tests/shm.rs` |
//! | [`run`] | all of them | forbidden | `tests/process`, `tests/handover.rs`, `tests/instance.rs`, `tests/setup.rs`, `tests/listen.rs`, `tests/accept.rs`, `tests/turns.rs`, `tests/daemon.rs`, `tests/single.rs`, `tests/observe.rs`, `tests/footprint.rs`, `tests/torture.rs` |
//!
//! `tests/house.rs` reads the source and holds this table.
//!
//! # Five flows
//!
//! ```text
//!   a worker is born    machine: Vacant → Starting, Action::Spawn ─► run::spawn: Pair ─► fork ─┬► Parent<End0>, Event::Spawned
//!                                                                                          └► Child<End1> ─► Service::work
//!   a frame arrives     recvmsg ─► Inbox ─► Frame (shape) ─► Command (meaning) ─► machine::Worker ─► Peer<End0>, or the user
//!   a worker dies       pidfd readable ─► waitid ─► Event::Exited ─► Action::Reclaim ─► Cooling ─► Action::Spawn
//!                                                            └─► CLOSE and OPEN to every sibling, when its socket has room
//!   HUP                 Event::Reload ─► Action::Load ─► Service::reload ─► a new epoch is spawned; when all of it is READY,
//!                                                            the old one is told to quit; else the new one is, and the old serves on
//!   USR2                Event::Upgrade ─► Action::Launch ─► Service::upgrade ─► fork, exec ─► Handover::receive ─► READY by the socket
//!                                                            └─► the old workers go; if the new master dies in its probation, they come back
//! ```
//!
//! # Features
//!
//! `std` (default): fork is libc's own, so that its handlers run and what it caches of the process
//! is right in the child; the descriptor types in public signatures are std's. Without it there is
//! no libc at all: fork is `clone3`, and the descriptor types are rustix's, re-exported as [`fd`].
//! A panic while a mutex is held is told to its next owner; without `std` nobody can know of it.
//! Nothing else differs.
//!
//! `log`: an observer, `run::Logged`, that hands each line to the crate `log`.
//!
//! # Where to begin
//!
//! [`run::Master`] and [`run::Service`]; who knows nginx's source finds every piece of it in
//! [`coming_from_nginx`].
#![no_std]
#![deny(unsafe_code)] // `sys` and `shm` allow it, for themselves

#[cfg(any(test, loom, feature = "std"))]
extern crate std;

#[cfg(not(target_os = "linux"))]
compile_error!("forkmesh is made of Linux: pidfd, signalfd, epoll, close_range");

#[cfg(all(target_os = "linux", not(loom)))]
pub mod channel;
#[cfg(all(target_os = "linux", not(loom)))]
pub mod coming_from_nginx;
pub mod machine;
#[cfg(all(target_os = "linux", not(loom)))]
pub mod run;
#[cfg(all(target_os = "linux", not(loom)))]
pub mod shm;
#[cfg(target_os = "linux")]
pub mod slab;
#[cfg(target_os = "linux")]
pub mod sync;
#[cfg(all(target_os = "linux", not(loom)))]
mod sys;
pub mod table;
pub mod wire;

/// The descriptor types of public signatures: std's own with the feature `std`, rustix's without.
pub use rustix::fd;
/// The error of a system call.
pub use rustix::io::Errno;

/// The README's example, compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
