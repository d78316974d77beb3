//! A relay and the masters behind it, as real processes; and as PID 1 of a pid namespace.

use core::time::Duration;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::links::{FIRST, LEFT, SIGNALS, TERMINATED};
use crate::support::in_time;
use crate::world::{ROLE, STANDING};

/// A relay that is started by the test, and killed with it.
struct Started {
    process: Child,
    reports: UnixDatagram,
}

impl Started {
    fn new(mut command: Command, left: u32, first: &str) -> Self {
        let (reports, theirs) = UnixDatagram::pair().expect("a pair");
        let deadline = Some(Duration::from_secs(30));
        reports.set_read_timeout(deadline).expect("a deadline");
        let command = command.env(ROLE, "relays").env(STANDING, "0");
        let command = command.env(LEFT, left.to_string()).env(FIRST, first);
        let process = command.stdin(Stdio::from(OwnedFd::from(theirs))).spawn();
        let process = process.expect("a program");
        Self { process, reports }
    }

    fn here(left: u32, first: &str) -> Self {
        Self::new(Command::new(own_path()), left, first)
    }

    fn report(&self) -> String {
        let mut report = [0; 128];
        let length = self.reports.recv(&mut report).expect("a report in time");
        String::from_utf8_lossy(&report[..length]).into_owned()
    }

    /// The report of a link: who it is, and whose child.
    fn link(&self) -> (i32, i32) {
        let report = self.report();
        let (pid, parent) = report.split_once(" of ").expect("a link");
        let number = |text: &str| text.parse().expect("a pid");
        (number(pid), number(parent))
    }

    fn pid(&self) -> i32 {
        self.process.id() as i32
    }

    fn end(mut self) -> Option<i32> {
        self.process.wait().expect("it is ours").code()
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn own_path() -> std::path::PathBuf {
    std::env::current_exe().expect("/proc")
}

fn children(pid: i32) -> Vec<i32> {
    let list = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    let list = list.expect("a process");
    let each = list.split_whitespace();
    each.map(|child| child.parse().expect("a pid")).collect()
}

fn send(pid: i32, signal: i32) {
    let pid = Pid::from_raw(pid).expect("a pid");
    let signal = Signal::from_named_raw(signal).expect("a signal");
    kill_process(pid, signal).expect("it lives");
}

pub(crate) fn a_chain_of_upgrades_does_not_grow() {
    let relay = Started::here(3, "");
    let links: Vec<(i32, i32)> = (0..4).map(|_| relay.link()).collect();
    assert!(links.iter().all(|(_, parent)| *parent == relay.pid()));
    assert_eq!(relay.report(), "waits for signals");
    let last = links[3].0;
    in_time("the former links' end", || {
        (children(relay.pid()) == [last]).then_some(())
    });
    send(relay.pid(), libc::SIGTERM);
    assert_eq!(relay.report(), "signal 15");
    assert_eq!(relay.end(), Some(TERMINATED));
}

pub(crate) fn a_relay_passes_signals_on() {
    let relay = Started::here(1, "");
    let links = [relay.link(), relay.link()];
    assert_ne!(links[0], links[1]);
    assert_eq!(relay.report(), "waits for signals");
    for signal in SIGNALS {
        send(relay.pid(), signal);
        assert_eq!(relay.report(), format!("signal {signal}"));
    }
    assert_eq!(relay.end(), Some(TERMINATED));
}

pub(crate) fn a_relay_ends_as_its_master_does() {
    let relay = Started::here(0, "");
    let (link, _) = relay.link();
    assert_eq!(relay.report(), "waits for signals");
    send(link, libc::SIGKILL);
    assert_eq!(relay.end(), Some(128 + libc::SIGKILL));
}

pub(crate) fn a_relay_tells_what_came_of_a_launch() {
    let relay = Started::here(1, "launches");
    let links = [relay.link(), relay.link()];
    assert_ne!(links[0], links[1]);
    assert_eq!(relay.report(), "all launches were told of");
    assert_eq!(relay.report(), "waits for signals");
    assert_eq!(children(relay.pid()), [links[1].0]);
    send(relay.pid(), libc::SIGTERM);
    assert_eq!(relay.report(), "signal 15");
    assert_eq!(relay.end(), Some(TERMINATED));
}

pub(crate) fn pid_1_relays_and_reaps() {
    let unshare = || {
        let mut unshare = Command::new("unshare");
        unshare.args(["--pid", "--fork", "--kill-child"]);
        unshare
    };
    let allowed = unshare().arg("/bin/true").status();
    assert!(
        allowed.as_ref().is_ok_and(|status| status.success()),
        "unshare --pid --fork is refused here, so nothing is known of PID 1: {allowed:?}"
    );
    let mut command = unshare();
    command.arg(own_path());
    let outside = Started::new(command, 2, "orphans");
    let links: Vec<(i32, i32)> = (0..3).map(|_| outside.link()).collect();
    assert!(links.iter().all(|(pid, parent)| *pid > 1 && *parent == 1));
    assert_eq!(outside.report(), "an orphan was reaped");
    assert_eq!(outside.report(), "waits for signals");
    let [relay] = children(outside.pid())[..] else {
        panic!("unshare has one child")
    };
    assert_eq!(children(relay).len(), 1, "and that, its master");
    for signal in [libc::SIGHUP, libc::SIGTERM] {
        send(relay, signal);
        assert_eq!(outside.report(), format!("signal {signal}"));
    }
    assert_eq!(outside.end(), Some(TERMINATED));
}
