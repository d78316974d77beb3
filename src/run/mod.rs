//! The shell: it waits, forks, sends and reaps, and decides nothing.
#![forbid(unsafe_code)]

mod act;
mod budget;
mod dispatch;
mod ends;
mod listen;
mod master;
mod mesh;
mod poller;
mod service;
mod spawn;
mod token;
mod worker;

pub use master::{Master, StartError};
pub use poller::{Interest, Poller, Ready};
pub use service::{Exit, Notice, Service, Workers};
pub use worker::{Event, From, Sources, Worker};
