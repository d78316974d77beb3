//! The links of a chain of upgrades, as programs: the relay at its head, and the masters that follow
//! one another. They report by standard input, a socket that all of them inherit.

use core::mem::MaybeUninit;
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixDatagram;
use std::process::Command;

use forkmesh::machine::ExitStatus;
use forkmesh::run::{FromRelay, Heard, Relay, RelayEnd, Said, Successor};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, getpid, pidfd_send_signal, test_kill_process};

use crate::program::{hear, parent, received};
use crate::support::{alone, in_time, open_count, wait_readable};
use crate::world::{Program, slots};

/// How many upgrades are still to come.
pub(crate) const LEFT: &str = "LEFT";
/// What the last link does before it waits for signals.
pub(crate) const FIRST: &str = "FIRST";
/// The exit code of a link that was told to end.
pub(crate) const TERMINATED: i32 = 42;

/// Longer than any test; it ends what a failed test leaves behind.
const LONGEST_LIFE_SECONDS: u32 = 120;

fn report(what: &str) {
    let socket = std::io::stdin().as_fd().try_clone_to_owned();
    let socket = UnixDatagram::from(socket.expect("a descriptor"));
    socket.send(what.as_bytes()).expect("the test listens");
}

fn live_for_a_while() {
    // SAFETY: the call has no requirement.
    unsafe { libc::alarm(LONGEST_LIFE_SECONDS) };
}

fn handed_on(name: &str) -> String {
    std::env::var(name).expect("what the test handed on")
}

/// Launches the first link, and stays behind it.
pub(crate) fn relays() {
    live_for_a_while();
    let first = Program::new("is a link").with(LEFT, &handed_on(LEFT));
    let first = first.with(FIRST, &handed_on(FIRST));
    let launched = first.offered_bare(|offer| Successor::launch(&mut alone(), offer, &slots(), 0));
    let mut successor = launched.expect("a process");
    assert_eq!(said(&mut successor), Said::Ready);
    let relay = Relay::behind(successor, alone()).expect("a relay");
    let code = match relay.run().expect("epoll") {
        ExitStatus::Code(code) => code.into(),
        ExitStatus::Killed { signal, .. } => 128 + i32::from(signal),
    };
    std::process::exit(code);
}

/// Takes over; then hands over to the next link and ends, or is the last and waits for signals.
pub(crate) fn is_a_link() {
    live_for_a_while();
    let signals = block();
    let mut handover = received();
    handover.ready().expect("a predecessor");
    match hear(&mut handover) {
        Heard::Relays => {}
        Heard::Gone => wait_readable(handover.pidfd(), "the end of a predecessor"),
        other => panic!("{other:?}"),
    }
    let mut end = handover.into_relay().expect("there is a relay");
    report(&format!("{} of {}", getpid().as_raw_nonzero(), parent()));
    let left: u32 = handed_on(LEFT).parse().expect("a count");
    if left > 0 {
        let next = Program::new("is a link").with(LEFT, &(left - 1).to_string());
        let next = next.with(FIRST, &handed_on(FIRST));
        let mut successor = launched(&mut end, &next);
        assert_eq!(said(&mut successor), Said::Ready);
        return;
    }
    match handed_on(FIRST).as_str() {
        "" => {}
        "launches" => try_launches(&mut end),
        "orphans" => make_an_orphan(),
        first => panic!("nobody does {first:?}"),
    }
    serve(&signals);
}

/// Ends when it is killed.
pub(crate) fn waits() {
    live_for_a_while();
    received().ready().expect("a predecessor");
    loop {
        std::thread::park();
    }
}

fn said(successor: &mut Successor) -> Said {
    loop {
        if let Some(said) = successor.hear() {
            return said;
        }
        wait_readable(&*successor, "what a successor says");
    }
}

fn heard(end: &mut RelayEnd) -> FromRelay {
    loop {
        if let Some(heard) = end.hear() {
            return heard;
        }
        wait_readable(&*end, "what a relay says");
    }
}

fn launched(end: &mut RelayEnd, program: &Program) -> Successor {
    let asked = program.offered_bare(|offer| end.launch(offer, &slots(), 0));
    asked.expect("a relay");
    match heard(end) {
        FromRelay::Launched(successor) => successor,
        other => panic!("{other:?}"),
    }
}

fn try_launches(end: &mut RelayEnd) {
    let before = open_count();
    // A program that does not exist; and one with more variables than a package has room for.
    let long = "v".repeat(100_000);
    let missing = Program::at("/nowhere");
    let large = Program::new("waits").with("A", &long).with("B", &long);
    for (program, errno) in [(missing, Errno::NOENT), (large, Errno::TOOBIG)] {
        let mut successor = launched(end, &program);
        assert_eq!(said(&mut successor), Said::ExecFailed(errno));
        assert_eq!(said(&mut successor), Said::Gone);
        let told = heard(end);
        assert!(matches!(told, FromRelay::Ended { code: 1, signal: 0 }));
    }
    // One at a time.
    let waits = Program::new("waits");
    let mut successor = launched(end, &waits);
    assert_eq!(said(&mut successor), Said::Ready);
    let asked = waits.offered_bare(|offer| end.launch(offer, &slots(), 0));
    asked.expect("the relay is asked");
    let again = waits.offered_bare(|offer| end.launch(offer, &slots(), 0));
    assert!(again.is_err(), "and not asked twice");
    let told = heard(end);
    assert!(matches!(told, FromRelay::NotLaunched(Errno::BUSY)));
    pidfd_send_signal(successor.pidfd(), Signal::KILL).expect("it lives");
    let told = heard(end);
    assert!(matches!(told, FromRelay::Ended { code: 0, signal: 9 }));
    assert_eq!(said(&mut successor), Said::Gone);
    drop(successor);
    assert_eq!(open_count(), before);
    report("all launches were told of");
}

/// The child of a shell outlives it, and has PID 1 for a parent, which reaps it.
fn make_an_orphan() {
    let shell = Command::new("/bin/sh")
        .args(["-c", "/bin/true & echo $!"])
        .output()
        .expect("a shell");
    let pid = String::from_utf8(shell.stdout).expect("a number");
    let pid: i32 = pid.trim().parse().expect("a pid");
    let pid = Pid::from_raw(pid).expect("a pid");
    in_time("the end of an orphan's zombie", || {
        (test_kill_process(pid) == Err(Errno::SRCH)).then_some(())
    });
    report("an orphan was reaped");
}

/// The signals that a relay passes on, blocked.
fn block() -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: the set is made by the first call.
    unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    for signal in SIGNALS {
        // SAFETY: the set has been made, and the signal is one.
        unsafe { libc::sigaddset(set.as_mut_ptr(), signal) };
    }
    // SAFETY: it was made above.
    let set = unsafe { set.assume_init() };
    // SAFETY: the set has been made; no old one is asked for.
    let done = unsafe { libc::sigprocmask(libc::SIG_BLOCK, &set, core::ptr::null_mut()) };
    assert_eq!(done, 0);
    set
}

/// What a relay passes on; the last ends a link.
pub(crate) const SIGNALS: [i32; 9] = [
    libc::SIGHUP,
    libc::SIGINT,
    libc::SIGQUIT,
    libc::SIGUSR1,
    libc::SIGUSR2,
    libc::SIGWINCH,
    libc::SIGTTIN,
    libc::SIGTTOU,
    libc::SIGTERM,
];

/// Reports every signal, and ends at TERM.
fn serve(signals: &libc::sigset_t) {
    report("waits for signals");
    loop {
        let mut signal = 0;
        // SAFETY: the set has been made, and the signal lives through the call.
        assert_eq!(unsafe { libc::sigwait(signals, &mut signal) }, 0);
        report(&format!("signal {signal}"));
        if signal == libc::SIGTERM {
            std::process::exit(TERMINATED);
        }
    }
}
