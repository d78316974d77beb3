//! The decisions, without the world: events in, actions out.
//!
//! ```text
//!                  ┌────────────────────────────┐
//!   an Event ─────►│ handle(now, event)         │   the world says what happened
//!                  │                            │
//!   an Action ◄────│ poll(), until it is None   │   the shell performs it, and says what came of it
//!                  │                            │
//!   sleep until ◄──│ deadline()                 │   then: handle(now, Elapsed)
//!                  └────────────────────────────┘
//! ```
//!
//! [`Master`] has no clock, no descriptor and no memory but its own: it can be copied, compared and
//! hashed, so every order of events can be tried. The shell may handle events between two polls; it
//! performs each action that it was given. [`Worker`] is the other side, and works the same way, and so
//! is [`Relay`], what stays behind a master that may not end.
//!
//! # The life of a master
//!
//! ```text
//!   HUP    Reload ─► Load ─► a new crew starts beside the one that serves ─┬─ all ready: it serves, the old one drains
//!                                                                          └─ anything else: the old one serves on
//!   USR2   Upgrade ─► Launch ─► a new master starts beside this one ──┬─ ready, and outlives its probation: this one drains
//!                                                                     └─ anything else: this one serves on
//!   WINCH  Rest: the crew goes, the master stays; HUP brings a new one
//!   TTIN, TTOU   one worker more, one less
//!   QUIT ─► Draining ──TERM──► Stopping ──the last slot is vacant──► Stopped
//! ```
//!
//! | file | its one job |
//! |---|---|
//! | `master` | an event in; what it changes |
//! | `due` | what is to be done, and in which order it comes out |
//! | `crew` | the workers that an epoch wants: how they get slots and are told to go together |
//! | `reload`, `upgrade`, `predecessor` | the two transactions, and an upgrade seen from the other side |
//! | `start` | whoever started this master waits to hear how that goes |
//! | `request` | what an operator asks for while something is under way |
//! | `life`, `governor`, `ending` | one process: made, lost, made again or not; told to go |
//! | `announce`, `roster` | the mesh: who was told what, and what a worker makes of it |
//! | `report`, `last` | what the user is told, and what is kept of the dead |
//!
//! # The life of a slot
//!
//! ```text
//!              1 start                  2 Spawned               3 Ready
//!   Vacant ────────────► Starting(None) ─────────► Starting(pid) ──────► Live
//!     ▲                   ▲   │ 4 SpawnFailed           │                │
//!     │                 7 │   ▼                         │ 8 Quit,        │ 8
//!     │                Cooling or Parked                │   Terminate    │
//!     │                   ▲                             ▼                ▼
//!     │                   │ 6                        Retiring ◄──────────┘
//!     │ 6 Reclaimed       │ Reclaimed                   │
//!     └─────────── Reclaiming ◄── 5 Exited ─────────────┴── (Starting, Live)
//! ```
//!
//! 1. [`Master::start`] claims a slot for each worker; [`Action::Spawn`] follows.
//! 2. The process exists. Whoever is forked holds what the master held then; the others are told.
//! 3. It serves. Only now is it a worker that was ready, for whom death is forgiven.
//! 4. No process: counted as a death before READY.
//! 5. Reaped. The id is over; [`Action::Reclaim`] names it a last time.
//! 6. What it owned is taken back. Not wanted any more: vacant. Exit code 2, or never ready too many
//!    times in a row: parked. Else it cools: for no time at all if the worker was ready and no burst
//!    is on.
//! 7. The delay is over: [`Action::Spawn`].
//! 8. It is told to go, and told more firmly as its time runs out: [`Order::Quit`], then
//!    [`Order::Terminate`] and SIGTERM, then SIGKILL, again and again.
//!
//! # The order of actions
//!
//! | | action | why there |
//! |---|---|---|
//! | 1 | `Reclaim` | others wait for what the dead hold |
//! | 2 | `Signal`: `Terminate`, `Kill` | an end does not wait |
//! | 3 | `Order`: `Terminate`, `Quit`, `Reopen` | nor does this; log files are opened by the master first |
//! | 4 | `Withdraw` | who hears that an upgrade failed finds everything as it was |
//! | 5 | `Report` | before a slot's next life: so a bit for each kind of report is room enough |
//! | 6 | `SignalSuccessor`, `Reopen`, `Load`, `Launch`, `SayReady`, `SayFailed` | what the master itself does; an outcome is reported before the next begins |
//! | 7 | `Spawn` | before announcements: a burst of spawns is announced in batches |
//! | 8 | `ReplaceMesh` | before announcements: so that the new pair is in them |
//! | 9 | `Announce` | once for each recipient that is behind |
//! | 10 | `Exit` | last, once, when no slot is taken and no upgrade is undecided |
//!
//! Within one kind, the lowest slot comes first. What is due is kept in sets of slots, so no queue
//! can grow, and one event leads to at most two actions for each slot, three reports aside (test
//! `exhaustive`), not counting announcements.
//!
//! # Invariants
//!
//! - The table has every process that was not reaped, and no other; no two slots have the same
//!   (test `exhaustive`).
//! - Nobody is signalled, ordered or reclaimed but under its own name, in its own life (test
//!   `exhaustive`).
//! - A running master forgets no worker: each is starting, live, cooling, parked or being reclaimed
//!   (test `exhaustive`).
//! - A master that was told to end always comes to an end, and says `Exit` once, when no child, no
//!   fork and no reclaim is left (test `exhaustive`).
//! - Each thing that happened is reported once (tests `exhaustive` and `every_report_comes_once`).
//! - What does not fit is ignored in one place, and counted (test
//!   `what_does_not_fit_is_ignored_and_counted`).
//! - Nothing that was announced is lost, and nothing is announced for nothing (test
//!   `every_receiver_converges`).
//!
//! That these tests can fail is tested: `.ci/mutants` damages the code in the ways that are kept in
//! `tests/mutants`, and wants each to be noticed.
//!
//! # Why not timers and queues
//!
//! A timer for each slot has to be cancelled wherever the slot changes; here the deadline is a field
//! of the slot, and counts while the slot is in the state that it belongs to. A queue of actions
//! has a length to be chosen, and what is in it can be out of date by the time it is performed; here
//! an action is made when it is polled, from what is so then.
//!
//! # Example
//!
//! ```
//! use forkmesh::machine::{Action, Config, Event, ExitStatus, Master, Order};
//! use forkmesh::table::{Instant, Pid};
//!
//! let mut master = Master::<4>::new(Config::new().mesh(false));
//! master.start();
//! let Some(Action::Spawn(id)) = master.poll() else { panic!() };
//!
//! // The shell forks, and says what came of it.
//! let pid = Pid::new(4711).unwrap();
//! master.handle(Instant::from_ms(0), Event::Spawned(id, pid));
//! master.handle(Instant::from_ms(9), Event::Ready(id));
//! while let Some(Action::Report(report)) = master.poll() {
//!     println!("{report:?}");
//! }
//!
//! master.handle(Instant::from_ms(50), Event::Quit);
//! assert_eq!(master.poll(), Some(Action::Order(id, pid, Order::Quit)));
//! assert_eq!(master.poll(), None);
//! assert_eq!(master.deadline(), Instant::from_ms(30_050));
//!
//! master.handle(Instant::from_ms(60), Event::Exited(id, ExitStatus::SUCCESS));
//! assert_eq!(master.poll(), Some(Action::Reclaim(id)));
//! master.handle(Instant::from_ms(60), Event::Reclaimed(id));
//! assert!(matches!(master.poll(), Some(Action::Report(_))));
//! assert_eq!(master.poll(), Some(Action::Exit));
//! ```
#![forbid(unsafe_code)]

mod action;
mod announce;
mod config;
mod crew;
mod digest;
mod due;
mod ending;
mod event;
mod governor;
mod last;
mod life;
mod master;
mod predecessor;
mod relay;
mod reload;
mod report;
mod request;
mod roster;
mod start;
mod upgrade;
mod worker;

pub use action::{Action, Order, Report, Signal, Why};
pub use announce::{Announcement, AnnouncementKind};
pub use config::{Backoff, Config, Orphans, Upgrades};
pub use event::{Event, ExitStatus};
pub use last::Ending;
pub use master::{Master, Phase};
pub use relay::{Relay, RelayAction, RelayEvent};
pub use reload::ReloadError;
pub use request::Duty;
pub use roster::{Keep, Roster};
pub use upgrade::{Upgrade, UpgradeError};
pub use worker::{Effect, Life, Owing, Worker};
