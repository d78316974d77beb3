//! A master in this process, whose workers run a loop as a test says, and tell it numbers.

use core::time::Duration;
use std::time::Instant;

use forkmesh::machine::{Config, Report};
use forkmesh::run::{Exit, Master, Notice, Service, Worker, Workers};
use forkmesh::table::{Pid, SlotId, State};
use forkmesh::wire::Message;
use rustix::process::{Signal, kill_process};

use crate::support::alone;

const PATIENCE: Duration = Duration::from_secs(40);

pub(crate) struct Lab<F> {
    work: F,
    pub(crate) reports: Vec<Report>,
    /// What workers told: who, which number, and its value.
    pub(crate) told: Vec<(SlotId, u32, u64)>,
    pub(crate) failures: Vec<(u32, i32)>,
}

impl<F: FnMut(&mut Worker) -> Exit> Service for Lab<F> {
    fn work(&mut self, worker: &mut Worker) -> Exit {
        (self.work)(worker)
    }

    fn notice(&mut self, _: &mut Workers<'_>, notice: Notice) {
        match notice {
            Notice::Report(report) => self.reports.push(report),
            Notice::Failed { stage, errno, .. } => self.failures.push((stage, errno)),
            Notice::Message { from, message, .. } => {
                let value = message.payload[..8].try_into().expect("eight bytes");
                self.told
                    .push((from, message.tag, u64::from_ne_bytes(value)));
            }
            _ => {}
        }
    }
}

/// From a worker to the test.
pub(crate) fn tell(worker: &Worker, tag: u32, value: u64) {
    let mut payload = [0; 16];
    payload[..8].copy_from_slice(&value.to_ne_bytes());
    worker
        .tell_master(Message::new(tag, payload))
        .expect("told");
}

pub(crate) struct World<F> {
    pub(crate) master: Box<Master>,
    pub(crate) lab: Lab<F>,
}

impl<F: FnMut(&mut Worker) -> Exit> World<F> {
    pub(crate) fn new(workers: usize, mesh: bool, work: F) -> Self {
        let config = Config::new().workers(workers).mesh(mesh);
        Self::with(config, work)
    }

    pub(crate) fn with(config: Config, work: F) -> Self {
        let mut world = Self {
            master: Box::new(Master::with(config, alone()).expect("a master")),
            lab: Lab {
                work,
                reports: Vec::new(),
                told: Vec::new(),
                failures: Vec::new(),
            },
        };
        world.master.start(&mut world.lab).expect("started");
        world
    }

    pub(crate) fn turn(&mut self, most_ms: u64) {
        self.master
            .turn(&mut self.lab, Some(most_ms))
            .expect("epoll");
    }

    pub(crate) fn until(&mut self, what: &str, mut so: impl FnMut(&Self) -> bool) {
        let start = Instant::now();
        while !so(self) {
            let Lab { reports, told, .. } = &self.lab;
            let last = (reports.last(), told.last());
            assert!(start.elapsed() < PATIENCE, "in vain: {what}; {last:?}");
            self.turn(5);
        }
    }

    /// Waits until so many are ready; their slots and processes, by number.
    pub(crate) fn live(&mut self, workers: usize) -> Vec<(SlotId, i32)> {
        self.until("all are ready", |world| world.ready().len() == workers);
        self.ready()
    }

    pub(crate) fn ready(&self) -> Vec<(SlotId, i32)> {
        let occupied = self.master.table().occupied();
        let ready = occupied.filter_map(|(id, slot)| match slot.state() {
            State::Live(pid) => Some((slot.number, id, pid.as_i32())),
            _ => None,
        });
        let mut ready: Vec<_> = ready.collect();
        ready.sort_unstable();
        ready.into_iter().map(|(_, id, pid)| (id, pid)).collect()
    }

    /// What was told by this number.
    pub(crate) fn values(&self, tag: u32) -> Vec<u64> {
        let told = self.lab.told.iter();
        told.filter(|told| told.1 == tag)
            .map(|told| told.2)
            .collect()
    }

    pub(crate) fn signal(&self, pid: i32, signal: Signal) {
        let pid = rustix::process::Pid::from_raw(pid).expect("a pid");
        kill_process(pid, signal).expect("it runs");
    }

    pub(crate) fn quit(&mut self) {
        self.master.workers().quit();
    }

    pub(crate) fn until_ended(&mut self) {
        self.until("the end", |world| world.master.is_ended());
        let exits = self.lab.reports.iter().filter_map(|report| match report {
            Report::Exited(_, _, status) => Some(*status),
            _ => None,
        });
        let exits: Vec<_> = exits.collect();
        let well = exits
            .iter()
            .filter(|exit| **exit == forkmesh::machine::ExitStatus::SUCCESS);
        assert_eq!(well.count(), exits.len(), "{exits:?}");
    }
}

/// A test that fails ends its workers, too.
impl<F> Drop for World<F> {
    fn drop(&mut self) {
        for (_, slot) in self.master.table().occupied() {
            let pid = slot.state().pid().map(Pid::as_i32);
            let pid = pid.and_then(rustix::process::Pid::from_raw);
            pid.map(|pid| kill_process(pid, Signal::KILL));
        }
    }
}

/// Descriptors that are readable: pairs of connected sockets.
pub(crate) fn pair() -> (rustix::fd::OwnedFd, rustix::fd::OwnedFd) {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None).expect("a pair")
}
