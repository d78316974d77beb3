//! Starts that fail: a code, a line, and nothing left.

use std::net::TcpListener;

use rustix::process::{Pid, Signal, kill_process};

use crate::program::{OWN_CODE, code_of};
use crate::support::in_time;
use crate::world::{Start, children_of, reap};

/// The start fails with this code, says this, and leaves nothing at all.
fn fails(mut start: Start, code: i32, says: &[&str]) {
    assert_eq!(start.code(), Some(code));
    assert!(
        reap(),
        "{:?} are left",
        children_of(std::process::id() as i32)
    );
    let errors = start.errors();
    for said in says {
        assert!(errors.contains(said), "{said:?}: {errors}");
    }
    assert!(!start.has_pid_file());
}

pub(crate) fn a_start_that_fails_says_so() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("bound").port();
    fails(
        Start::at("serves", port),
        1,
        &["Error: Address", "not started: process "],
    );
    fails(
        Start::of("cannot serve"),
        1,
        &[
            "cannot serve: directory, ",
            "parked, it can never succeed",
            "Error: the first workers could not serve",
            "not started: process ",
        ],
    );
}

pub(crate) fn a_code_is_passed_on() {
    let said = format!("ended with code {OWN_CODE}");
    fails(Start::of("ends by itself"), OWN_CODE.into(), &[&said]);
    fails(Start::of("ends well"), 1, &["ended with code 0"]);
}

pub(crate) fn a_killed_daemon_is_noticed() {
    let mut start = Start::of("hangs for long");
    let daemon = start.daemon();
    in_time("two workers", || {
        (children_of(daemon).len() == 2).then_some(())
    });
    kill_process(Pid::from_raw(daemon).expect("a pid"), Signal::KILL).expect("it is there");
    assert_eq!(start.code(), Some(code_of(Signal::KILL)));
    in_time("the end of its workers", || reap().then_some(()));
    let errors = start.errors();
    let said = format!("not started: process {daemon} was killed by signal 9\n");
    assert!(errors.ends_with(&said), "{errors}");
}

pub(crate) fn a_start_has_a_deadline() {
    fails(Start::of("hangs"), 1, &["was not ready in time"]);
}

pub(crate) fn a_signal_ends_the_start() {
    for signal in [Signal::TERM, Signal::INT, Signal::QUIT] {
        let start = Start::of("hangs for long");
        let daemon = start.daemon();
        in_time("two workers", || {
            (children_of(daemon).len() == 2).then_some(())
        });
        start.signal(signal);
        let said = format!("not started: ended by signal {}", signal.as_raw());
        fails(start, code_of(signal), &[&said]);
    }
}

pub(crate) fn what_fails_before_stays_in_the_foreground() {
    let mut start = Start::of("has a thread");
    assert_eq!(start.code(), Some(1));
    assert_eq!(
        start.errors(),
        "Error: fork is not safe: the process has 2 threads\n"
    );
    assert!(reap());
}
