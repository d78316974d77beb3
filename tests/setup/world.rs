//! A master in this process, whose workers set themselves up as a test says.

use core::time::Duration;
use std::collections::BTreeMap;
use std::fs;
use std::time::Instant;

use forkmesh::machine::{Config, Report};
use forkmesh::run::{
    Event, Exit, Identity, Master, Notice, Poller, Service, Silent, Worker, Workers,
};
use forkmesh::table::{Pid, SlotId, State};
use forkmesh::wire::board::{Last, Row, row_offset};
use rustix::process::{Signal, geteuid, kill_process};

use crate::support::{alone, open_in};

const PATIENCE: Duration = Duration::from_secs(25);

/// Nobody, with two groups.
pub(crate) fn nobody() -> Identity {
    Identity::new(65_534, 65_533)
        .with_groups(&[7, 65_533])
        .expect("two")
}

/// Whether this is root, as a drop needs; what is left out is said.
pub(crate) fn is_root(test: &str) -> bool {
    let root = geteuid().is_root();
    if !root {
        println!("{test}: not as root, so not at all");
    }
    root
}

/// A service whose workers do this before they are ready.
pub(crate) struct Lab<F> {
    set_up: F,
    pub(crate) reports: Vec<Report>,
    /// What workers said of their failure.
    pub(crate) failures: Vec<(u32, i32)>,
}

impl<F: FnMut(&mut Worker) -> Result<(), Exit>> Service for Lab<F> {
    fn work(&mut self, worker: &mut Worker) -> Exit {
        match (self.set_up)(worker) {
            Ok(()) => serve(worker),
            Err(exit) => exit,
        }
    }

    fn notice(&mut self, _: &mut Workers<'_>, notice: Notice) {
        match notice {
            Notice::Report(report) => self.reports.push(report),
            Notice::Failed { stage, errno, .. } => self.failures.push((stage, errno)),
            _ => {}
        }
    }
}

/// Ready, until it is told to go.
fn serve(worker: &mut Worker) -> Exit {
    let mut poller = Poller::new(worker).expect("a poller");
    worker.ready();
    loop {
        while let Some(event) = worker.receive() {
            if let Event::Quit | Event::Terminate = event {
                return Exit::SUCCESS;
            }
        }
        poller.wait(worker, None).expect("epoll");
    }
}

pub(crate) struct World<F> {
    pub(crate) master: Box<Master>,
    pub(crate) lab: Lab<F>,
}

impl<F: FnMut(&mut Worker) -> Result<(), Exit>> World<F> {
    pub(crate) fn new(workers: usize, set_up: F) -> Self {
        Self::with(Config::new().workers(workers).mesh(false), set_up)
    }

    pub(crate) fn meshed(workers: usize, set_up: F) -> Self {
        Self::with(Config::new().workers(workers), set_up)
    }

    fn with(config: Config, set_up: F) -> Self {
        let mut world = Self {
            master: Box::new(Master::with(config, alone()).expect("a master")),
            lab: Lab {
                set_up,
                reports: Vec::new(),
                failures: Vec::new(),
            },
        };
        world.master.observed_by(&Silent);
        world.master.start(&mut world.lab).expect("started");
        world
    }

    pub(crate) fn until(&mut self, what: &str, mut so: impl FnMut(&Self) -> bool) {
        let start = Instant::now();
        while !so(self) {
            let last = self.lab.reports.last();
            assert!(start.elapsed() < PATIENCE, "in vain: {what}; {last:?}");
            self.master.turn(&mut self.lab, Some(5)).expect("epoll");
        }
    }

    /// Waits until so many are ready, and names their processes by their numbers.
    pub(crate) fn live(&mut self, workers: usize) -> BTreeMap<u16, i32> {
        self.until("all are ready", |world| world.ready().len() == workers);
        self.ready()
    }

    fn ready(&self) -> BTreeMap<u16, i32> {
        let occupied = self.master.table().occupied();
        let ready = occupied.filter_map(|(_, slot)| match slot.state() {
            State::Live(pid) => Some((slot.number, pid.as_i32())),
            _ => None,
        });
        ready.collect()
    }

    pub(crate) fn kill(&self, pid: i32) {
        let pid = rustix::process::Pid::from_raw(pid).expect("a pid");
        kill_process(pid, Signal::KILL).expect("it runs");
    }

    pub(crate) fn reload(&mut self) {
        self.master.workers().reload();
    }

    pub(crate) fn has_reported(&self, so: impl Fn(&Report) -> bool) -> bool {
        self.lab.reports.iter().any(so)
    }

    /// How the last life of a slot ended, by the board that status tools read.
    pub(crate) fn last(&self, slot: SlotId) -> Last {
        let own = open_in(std::process::id() as i32);
        let mut boards = own.iter().filter(|(_, descriptor)| {
            let name = &descriptor.name;
            name.contains("forkmesh-status")
        });
        let (number, _) = boards.next().expect("a master has a board");
        let bytes = fs::read(format!("/proc/self/fd/{number}")).expect("a board");
        let row = &bytes[row_offset(slot.index())..][..64];
        let row = Row::decode(row.try_into().expect("64 bytes"));
        row.expect("whole").expect("written").last.expect("a life")
    }

    pub(crate) fn end(mut self) {
        self.master.workers().terminate();
        self.until("the end", |world| world.master.is_ended());
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

/// One line of /proc/PID/status, its words joined by single spaces.
pub(crate) fn status(pid: i32, name: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let mut lines = status.lines();
    let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let words = value.expect("a field").split_whitespace();
    words.collect::<Vec<_>>().join(" ")
}
