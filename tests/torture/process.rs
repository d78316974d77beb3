//! Processes, as /proc has them: who descends from this test, and what each holds.

use core::fmt;
use core::time::Duration;
use std::collections::BTreeMap;
use std::fs;
use std::time::Instant;

use rustix::process::{Pid, Signal, WaitOptions, kill_process, set_child_subreaper, wait};

use crate::support;

/// How long it is waited for what must happen: so long that only a hang takes it.
const DEADLINE: Duration = Duration::from_secs(60);

/// What a process holds: how many of each kind of descriptor. Two that hold as much are equal.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Holds(BTreeMap<String, usize>);

impl Holds {
    pub(crate) fn of(pid: i32) -> Option<Self> {
        // A process that ends in this moment has none.
        fs::read_dir(format!("/proc/{pid}/fd")).ok()?;
        let mut kinds = BTreeMap::new();
        for descriptor in support::open_in(pid).into_values() {
            // `socket:[4711]` is a socket.
            let kind = descriptor.name.split(":[").next().unwrap_or_default();
            *kinds.entry(kind.to_owned()).or_insert(0) += 1;
        }
        Some(Self(kinds))
    }
}

impl fmt::Display for Holds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total: usize = self.0.values().sum();
        write!(f, "{total} descriptors:")?;
        let mut kinds = self.0.iter();
        kinds.try_for_each(|(kind, count)| write!(f, " {count} {kind}"))
    }
}

/// Whoever loses its parent becomes a child of this process, and can be ended with it.
pub(crate) fn adopt_orphans() {
    set_child_subreaper(Some(raw(std::process::id() as i32)))
        .expect("this is allowed to everybody");
}

/// The children of a process that live.
pub(crate) fn children(pid: i32) -> Vec<i32> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task"));
    let tasks = tasks.into_iter().flatten().filter_map(Result::ok);
    let lists = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    let mut found = Vec::new();
    for list in lists {
        found.extend(
            list.split_whitespace()
                .filter_map(|word| word.parse::<i32>().ok()),
        );
    }
    found.retain(|pid| lives(*pid));
    found.sort_unstable();
    found
}

/// Neither gone nor a zombie.
pub(crate) fn lives(pid: i32) -> bool {
    stat(pid).is_some_and(|(state, _)| !matches!(state, 'Z' | 'X'))
}

pub(crate) fn parent(pid: i32) -> Option<i32> {
    stat(pid).map(|(_, parent)| parent)
}

fn stat(pid: i32) -> Option<(char, i32)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit(')').next()?.split_whitespace();
    let state = fields.next()?.chars().next()?;
    Some((state, fields.next()?.parse().ok()?))
}

/// Sends a signal to one who may be gone.
pub(crate) fn signal(pid: i32, signal: Signal) {
    let _ = kill_process(raw(pid), signal);
}

/// Takes the ends of all that have ended.
pub(crate) fn reap() {
    while let Ok(Some(_)) = wait(WaitOptions::NOHANG) {}
}

/// Kills everything that descends from this process.
pub(crate) fn end_all() {
    let own = std::process::id() as i32;
    until("the end of all processes", || {
        let mut found = children(own);
        let mut next = 0;
        while next < found.len() {
            found.extend(children(found[next]));
            next += 1;
        }
        for pid in &found {
            signal(*pid, Signal::KILL);
        }
        reap();
        found.is_empty().then_some(())
    });
}

/// Asks again, every few milliseconds, until there is an answer.
pub(crate) fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    until_right(|| ask().ok_or(what))
}

/// The same for what says itself what is still wrong.
pub(crate) fn until_right<T, W: fmt::Display>(mut ask: impl FnMut() -> Result<T, W>) -> T {
    let start = Instant::now();
    loop {
        reap();
        match ask() {
            Ok(answer) => return answer,
            Err(what) => assert!(start.elapsed() < DEADLINE, "waited too long for {what}"),
        }
        std::thread::park_timeout(Duration::from_millis(2));
    }
}

fn raw(pid: i32) -> Pid {
    Pid::from_raw(pid).expect("a pid is not 0")
}
