//! The shell: it waits, forks, sends and reaps, and decides nothing.
//!
//! ```text
//!        epoll ── signalfd · pidfds · control ends · the two neighbours' sockets
//!          │
//!          ▼  dispatch            happened                         act
//!   Master::turn ──────► Event ────────────► machine::Master ────────────► Action
//!          ▲                                                                 │
//!          └────────────── what came of it, as an Event again ◄──────────────┤
//!                                                                            │ spawn
//!   Worker::receive ◄── signals · control · the master's pidfd · mesh ◄── Service::work
//! ```
//!
//! A [`Master`] is given a [`Service`] and runs until it is told to end and its last worker is gone. It calls
//! [`Service::work`] in each worker's process and [`Service::help`] in each helper's, with a [`Worker`], and [`Service::notice`] in its own
//! with what happened. A worker waits in a [`Poller`], or in any loop of the user's that can watch
//! four descriptors.
//!
//! | file | its one job |
//! |---|---|
//! | `master` | the loop: wait, hand over, do what follows |
//! | `dispatch` | what a wait brought, as events |
//! | `act` | what the core says, as system calls |
//! | `spawn` | a slot becomes a process |
//! | `mesh`, `budget` | who has to be told of whom, and how many descriptors may be on their way |
//! | `worker`, `receive` | a worker's side: what it can say, what it hears |
//! | `periodic`, `exec` | a helper that does a job from time to time; one that becomes another program |
//! | `listen` | the sockets that clients come to, over reloads and upgrades; one a worker, if asked for |
//! | `turns` | a loop for a worker that has none: timers, posted events, draining |
//! | `accept` | a worker's listeners: strategies, pauses, who waits at the end |
//! | `poller` | what a loop waits in |
//! | `setup` | of a worker: what needs privileges, the drop, what does not |
//! | `title` | what `ps` shows |
//! | `daemon` | away from the terminal, and who waits for READY |
//! | `single` | the same work without a master |
//! | `observe`, `words`, `text` | who is shown what happens, and how it reads |
//! | `upgrade` | the master's neighbours: the one that it launches, the one that launched it |
//! | `offer`, `successor` | the program that takes over, as its predecessor sees it |
//! | `handover` | what a program gets from its predecessor |
//! | `relay`, `relay_end` | who stays behind as PID 1, and how it is asked for the next launch |
//! | `pid_file` | whose a service is, by a file that is locked |
//! | `board`, `record` | what a master writes down of itself |
//! | `reason` | why a reload or an upgrade failed: its number on the board, and its words |
//! | `instance`, `status` | another process's view: asks a master, reads its board |
//!
//! # Signals
//!
//! | signal | to the master | to a worker |
//! |---|---|---|
//! | TERM, INT | end at once; TERM, then SIGKILL | TERM: end at once |
//! | QUIT | end gracefully, by a deadline | the same, and be replaced |
//! | HUP | reload | |
//! | USR1 | open log files again, then tell the workers | open log files again |
//! | USR2 | upgrade | |
//! | WINCH, TTIN, TTOU, if a process sent it | workers go; one more; one less | |
//!
//! Signals that come together are all served, WINCH first; what cannot be done now is done when what is
//! under way has an outcome. (The kernel drops TTIN and TTOU that were sent to a process that is
//! stopped, when it goes on.)
//!
//! # Invariants
//!
//! - Each process holds the descriptors that the design gives it, and no other (test
//!   `every_process_holds_what_the_design_allows`).
//! - Whatever a worker missed, it knows in the end who lives (tests `a_stopped_worker_catches_up`,
//!   `a_worker_without_room_asks_again_and_converges`).
//! - An order to go that comes amid an exec is not lost (test `an_order_amid_an_exec_is_given_again`).
//! - A worker never returns into the master's code (tests `a_panicking_worker_ends_as_a_worker`,
//!   `a_worker_that_returns_does_not_return_to_the_master`).
//! - Nothing is allocated, in a master or in a worker (test `nothing_is_allocated`).
//! - No code runs in a signal handler: signals are blocked, and read from a descriptor.
//!
//! # Why not threads, or an async runtime
//!
//! A thread that corrupts memory takes all of them along; a worker that does is replaced within
//! milliseconds. And forking is only safe where there is one thread, which [`Master::new`] checks.
//!
//! # Cost
//!
//! A turn: one `epoll_wait`, then one system call a signal, a message or a batch of them; nine a
//! death. A spawn: eleven with a mesh, two more in a burst of them; seven without. An announcement:
//! one a batch, two where descriptors travel with it. The board: one call for each slot that changed and
//! one for the master, once a turn. An idle master and an idle worker make none.
#![forbid(unsafe_code)]

mod accept;
mod act;
mod board;
mod budget;
mod daemon;
mod dispatch;
mod ends;
mod exec;
mod handover;
mod instance;
mod listen;
mod master;
mod mesh;
mod observe;
mod offer;
mod periodic;
mod pid_file;
mod poller;
mod reason;
mod receive;
mod record;
mod relay;
mod relay_end;
mod service;
mod setup;
mod single;
mod spawn;
mod status;
mod successor;
mod text;
mod title;
mod token;
mod turns;
mod upgrade;
mod words;
mod worker;

pub use accept::{
    Acceptor, AddError, AddFault, Arrival, Connection, ConnectionPlace, Door, Exclusive, Load,
    Mutexed, NoRoom, Own, Strategy, Work,
};
#[doc(hidden)]
pub use board::Board;
pub use daemon::{Daemon, DetachError, Detached};
pub use exec::STAGE_PROGRAM;
pub use handover::{Handover, HandoverError, Heard};
pub use instance::{Answer, Asked, FindError, Instance, Request, WaitError};
pub use listen::{
    Address, AddressError, Fixed, Invalid, Listen, ListenError, ListenFault, ListenStep, Listeners,
    Listening, NotAdopted, Sharing, Tries, UnixName, WhyNot,
};
pub use master::{Master, RunError, StartError};
#[cfg(feature = "log")]
pub use observe::Logged;
pub use observe::{By, Lines, Observed, Observer, Silent, What};
pub use offer::{Offer, OfferError, Refused};
pub use periodic::{Job, Next, periodic};
pub use pid_file::{PidFile, PidFileError, Step};
pub use poller::{Batch, Interest, Poller, Ready};
pub use reason::Reason;
pub use relay::Relay;
pub use relay_end::{FromRelay, RelayEnd};
pub use service::{Exit, NotLoaded, Notice, Reload, Service, Workers};
pub use setup::{
    AccountError, Accounts, Capabilities, Dropped, Identity, Privileged, Setup, SetupError,
    SetupStep, TooManyGroups,
};
pub use single::Single;
pub use status::{Rows, Status, StatusError};
pub use successor::{LaunchError, Said, Successor};
pub use title::{Title, TitleError};
pub use turns::{Happened, Loop, NoTimer, NotPosted, Over, Posted, Stale, TimerId, Timers};
pub use worker::{Event, Sender, Sources, Worker};
