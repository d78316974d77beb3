//! The decisions, without the world: events in, actions out.
#![forbid(unsafe_code)]

mod action;
mod announce;
mod config;
mod digest;
mod ending;
mod event;
mod governor;
mod life;
mod master;
mod report;
mod roster;
mod worker;

pub use action::{Action, Order, Report, Signal, Why};
pub use announce::{Announcement, AnnouncementKind};
pub use config::{Backoff, Config};
pub use event::{Event, ExitStatus};
pub use master::{Master, Phase};
pub use roster::{Keep, Roster};
pub use worker::{Effect, Life, Owing, Worker};
