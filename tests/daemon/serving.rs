//! Starts that work.

use std::fs;

use rustix::process::{Pid, Signal, kill_process};

use crate::program::UMASK;
use crate::support::{Descriptor, in_time, open_in};
use crate::world::{Start, children_of, reap};

pub(crate) fn the_foreground_leaves_when_the_port_answers() {
    let mut start = Start::of("waits");
    let daemon = start.daemon();
    in_time("two workers", || {
        (children_of(daemon).len() == 2).then_some(())
    });
    assert!(!start.has_left(), "nobody is ready");
    start.go();
    assert_eq!(start.code(), Some(0));
    assert_eq!(start.answer(), "here");
    assert_eq!(start.daemon(), daemon);
    assert_eq!(parent_of(daemon), std::process::id().to_string());
    start.end();
}

/// A field of /proc/PID/stat, by the number that proc_pid_stat(5) has for it.
fn stat(pid: i32, field: usize) -> String {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
    let (_, after) = stat.rsplit_once(") ").expect("a name");
    after.split(' ').nth(field - 3).expect("a field").to_owned()
}

/// A field of /proc/PID/status.
fn status(pid: i32, name: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let mut lines = status.lines();
    let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    value.expect("a field").trim().to_owned()
}

fn parent_of(pid: i32) -> String {
    stat(pid, 4)
}

pub(crate) fn nothing_of_the_terminal_is_left() {
    let mut start = Start::of("serves");
    assert_eq!(start.code(), Some(0));
    // Whoever reads them is not kept waiting by a daemon: nobody holds the other end.
    let errors = start.errors();
    assert_eq!(start.output(), "");
    assert!(
        errors.contains(" ready, pid "),
        "the start is seen: {errors}"
    );
    let daemon = start.daemon();
    let workers = children_of(daemon);
    assert_eq!(workers.len(), 2);
    for process in workers.into_iter().chain([daemon]) {
        let open = open_in(process);
        for number in 0..=2 {
            assert_eq!(open[&number].name, "/dev/null", "{number} of {process}");
        }
        let own = daemon.to_string();
        assert_eq!(stat(process, 6), own, "its session");
        assert_eq!(stat(process, 5), own, "its group");
        assert_eq!(stat(process, 7), "0", "its terminal");
        let umask = status(process, "Umask");
        assert_eq!(u32::from_str_radix(&umask, 8), Ok(UMASK));
        // What it was inherited for is done.
        let kept = |open: &&Descriptor| open.name == "/dev/null" && open.close_on_exec;
        assert_eq!(open.values().filter(kept).count(), 0, "{open:?}");
        // The listener, and of a worker its control, its mesh and a sibling's end; of the master two of each.
        let sockets = open
            .values()
            .filter(|open| open.name.starts_with("socket:"));
        let expected = if process == daemon { 5 } else { 4 };
        assert_eq!(sockets.count(), expected, "{open:?}");
    }
    start.end();
}

pub(crate) fn errors_go_where_they_are_to() {
    let mut start = Start::of("logs");
    assert_eq!(start.code(), Some(0));
    let errors = start.errors();
    assert!(errors.contains("spawned, pid "), "{errors}");
    let (folder, daemon) = (start.folder.clone(), start.daemon());
    let log = || fs::read_to_string(folder.join("log")).expect("a log");
    kill_process(Pid::from_raw(daemon).expect("a pid"), Signal::USR1).expect("sent");
    in_time("lines of all three", || {
        let log = log();
        let lines = log
            .lines()
            .filter(|line| line.ends_with("log files are opened again"));
        (lines.count() == 3).then_some(())
    });
    start.end();
}

pub(crate) fn a_daemon_is_upgraded() {
    let mut start = Start::of("serves");
    assert_eq!(start.code(), Some(0));
    let first = start.daemon();
    kill_process(Pid::from_raw(first).expect("a pid"), Signal::USR2).expect("sent");
    in_time("the end of the first", || {
        reap();
        (!fs::exists(format!("/proc/{first}")).expect("/proc")).then_some(())
    });
    let second = start.daemon();
    assert_ne!(second, first);
    assert_eq!(start.answer(), "here");
    assert_eq!(stat(second, 6), first.to_string(), "the session is kept");
    assert_eq!(open_in(second)[&2].name, "/dev/null");
    start.end();
}

pub(crate) fn who_has_no_master_says_so_itself() {
    let mut start = Start::of("has no master");
    assert_eq!(start.code(), Some(0));
    assert_eq!(start.errors(), "");
    let (own, daemon) = (std::process::id() as i32, start.daemon());
    assert_eq!(children_of(own), [daemon]);
    // What the foreground blocked to wait by, the daemon has not.
    assert_eq!(status(daemon, "SigBlk"), status(own, "SigBlk"));
    start.go();
    in_time("its end", || reap().then_some(()));
}
