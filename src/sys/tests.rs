//! What no other room shows yet of the system's own: orphans, and a handler that runs.

use rustix::fd::AsFd;
use rustix::process::{Signal, WaitId, WaitIdOptions, getpid, kill_process, waitid};

use super::orphans::{Dead, next_dead, set_subreaper};
use super::process::{Alone, Ended, Forked, Process, fork, reap};
use super::signal::{SignalSet, install_handler};

/// A child, whose code is 0 where all that it looks at is right.
fn in_child(body: impl FnOnce() -> bool) -> Process {
    // SAFETY: the child runs alone, and this thread waits for it; what it does needs no lock that
    // another test may hold but the allocator's, which libc's fork takes care of.
    let mut alone = unsafe { Alone::assume() };
    match fork(&mut alone).expect("a child") {
        Forked::Child(leash) => leash.run(|| u8::from(!body())),
        Forked::Parent(process) => process,
    }
}

fn ended(process: &Process) {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    let _ = waitid(WaitId::PidFd(process.as_fd()), options).expect("a child");
}

fn ends_well(process: &Process) {
    ended(process);
    let end = reap(process.as_fd()).expect("it is ours to reap");
    assert_eq!(end, Some(Ended::Code(0)));
}

#[test]
fn an_orphan_behind_a_known_child_is_found() {
    ends_well(&in_child(|| {
        let _ = set_subreaper();
        let known = in_child(|| true);
        ended(&known);
        // Its child becomes this process's, which has not made it.
        let parent = in_child(|| {
            drop(in_child(|| true));
            true
        });
        ended(&parent);
        let is_known = |pid| pid == known.pid() || pid == parent.pid();
        let first = next_dead(is_known) == Some(Dead::Known(known.pid()));
        let again = next_dead(is_known) == Some(Dead::Known(known.pid()));
        let reaped = reap(known.as_fd()).is_ok_and(|end| end.is_some());
        let second = next_dead(is_known) == Some(Dead::Known(parent.pid()));
        let reaped = reaped && reap(parent.as_fd()).is_ok_and(|end| end.is_some());
        let orphan = loop {
            match next_dead(is_known) {
                None => core::hint::spin_loop(), // it may run for a moment longer
                Some(dead) => break dead,
            }
        };
        let last = matches!(orphan, Dead::Orphan(pid) if !is_known(pid));
        first && again && second && reaped && last && next_dead(is_known).is_none()
    }));
}

#[test]
fn a_handler_shows_and_does_no_harm() {
    ends_well(&in_child(|| {
        let Ok(()) = install_handler(Signal::HUP) else {
            return false;
        };
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let mut lines = status.lines();
        let caught = lines.find_map(|line| line.strip_prefix("SigCgt:"));
        let caught = caught.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
        let shown = caught.is_some_and(|mask| mask & SignalSet::of(&[Signal::HUP]).bits() != 0);
        // Run, for once: a way back that is wrong ends the process.
        let unblocked = SignalSet::from_bits(0).set_mask().is_ok();
        let sent = (0..1000).all(|_| kill_process(getpid(), Signal::HUP).is_ok());
        shown && unblocked && sent
    }));
}
