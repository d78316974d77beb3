//! Somebody waits to hear of the start: a daemon's parent, who would rather have no master than one that
//! cannot serve.

use forkmesh::machine::{Config, Event, ExitStatus, Phase};
use forkmesh::table::Policy;

use crate::shell::{CRASH, Shell, one, two};

const NOTHING: [&str; 0] = [];

fn awaited<const N: usize>(config: Config) -> Shell<N> {
    let mut shell = Shell::<N>::new(config);
    shell.master.report_start();
    shell
}

#[test]
fn a_start_that_works_is_told_once() {
    let mut shell = awaited::<2>(two());
    shell.start();
    assert_eq!(shell.on(Event::Ready(shell.id(1))), ["Ready(1.1, 102)"]);
    let last = shell.on(Event::Ready(shell.id(0)));
    assert_eq!(last, ["Ready(0.1, 101)", "SayReady"]);
    // It is a master like any other now.
    let trace = shell.dies(0, ExitStatus::FATAL);
    assert_eq!(trace.last().map(String::as_str), Some("Parked(0.1, Fatal)"));
    assert_eq!(shell.master.phase(), Phase::Running);
    let mut shell = awaited::<2>(one().workers(0));
    assert_eq!(shell.start(), ["SayReady"]);
}

#[test]
fn a_start_that_fails_ends_the_master() {
    let mut shell = awaited::<2>(two());
    shell.start();
    shell.on(Event::Ready(shell.id(0)));
    let trace = shell.dies(1, ExitStatus::FATAL);
    assert_eq!(
        trace,
        [
            "Reclaim(1.1)",
            "Signal(0.1, 101, Terminate)",
            "Exited(1.1, 102, Code(2))",
            "Parked(1.1, Fatal)",
            "SayFailed(Unready)"
        ]
    );
    assert_eq!(shell.master.phase(), Phase::Stopping);
    let last = shell.dies(0, ExitStatus::SUCCESS);
    assert_eq!(last.last().map(String::as_str), Some("Exit"));

    // One that is not started again, and never was ready, is as bad; so is one that dies too often.
    let policy = Policy::RESTART_ON_FAILURE;
    let mut shell = awaited::<2>(one().restart(policy));
    shell.start();
    let trace = shell.dies(0, ExitStatus::SUCCESS);
    assert_eq!(trace[2..], ["SayFailed(Unready)", "Exit"]);
    let mut shell = awaited::<2>(one());
    shell.start();
    for death in 1..=10 {
        assert_eq!(shell.master.phase(), Phase::Running, "death {death}");
        shell.dies(0, CRASH);
        shell.at(shell.deadline().unwrap_or(shell.now));
    }
    assert_eq!(shell.master.phase(), Phase::Stopped);
}

#[test]
fn a_start_without_room_never_begins() {
    let mut shell = awaited::<2>(one().workers(3));
    assert_eq!(shell.start(), ["SayFailed(NoRoom)", "Exit"]);
}

#[test]
fn an_end_that_was_asked_for_is_no_failed_start() {
    let mut shell = awaited::<2>(one());
    shell.start();
    assert_eq!(shell.on(Event::Terminate), ["Signal(0.1, 101, Terminate)"]);
    let trace = shell.dies(0, ExitStatus::FATAL);
    assert_eq!(trace.last().map(String::as_str), Some("Exit"));
    assert!(!trace.contains(&"SayReady".to_owned()), "{trace:?}");
    assert_eq!(shell.drain(), NOTHING);
}
