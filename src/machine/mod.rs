//! The decisions, without the world: events in, actions out.
#![forbid(unsafe_code)]

mod action;
mod config;
mod event;

pub use action::{Action, Order, Report, Signal, Why};
pub use config::{Backoff, Config};
pub use event::{Event, ExitStatus};
