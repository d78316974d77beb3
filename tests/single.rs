//! A worker without a master: what it hears, whom it can reach, and how it ends.

#[path = "support/foreign.rs"]
mod foreign;
mod support;

use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

use forkmesh::channel::SendFault;
use forkmesh::machine::Life;
use forkmesh::run::{
    Event, Exit, Observed, Observer, Poller, Setup, Single, Sources, What, Worker,
};
use forkmesh::table::SlotId;
use forkmesh::wire::Message;
use rustix::io::Errno;
use rustix::process::{Signal, getpid, kill_process};

use crate::foreign::standard_error;
use crate::support::{Ended, Kept, alone, in_child, in_time, open_in};

/// Counts what it is shown, by kind: ready, failed, events.
#[derive(Debug)]
struct Counts([AtomicU32; 3]);

static COUNTS: Counts = Counts([const { AtomicU32::new(0) }; 3]);

impl Observer for Counts {
    fn observe(&self, what: &Observed<'_>) {
        let kind = match what.what {
            What::Ready => 0,
            What::Failed { .. } => 1,
            _ => 2,
        };
        self.0[kind].fetch_add(1, Relaxed);
    }
}

fn single() -> Single {
    Single::new().observed_by(&COUNTS)
}

/// What a worker is told next, if it is told anything within 50 ms.
fn next(worker: &mut Worker, poller: &mut Poller) -> Option<Event> {
    for _ in 0..2 {
        if let Some(event) = worker.receive() {
            return Some(event);
        }
        poller.wait(worker, Some(50)).expect("epoll");
    }
    worker.receive()
}

fn signals_work_without_a_master() {
    in_child(|| {
        let exit = single().run(&mut |worker: &mut Worker| {
            let mut poller = Poller::new(worker).expect("a poller");
            worker.ready();
            let mut told = |signal| {
                kill_process(getpid(), signal).expect("sent");
                next(worker, &mut poller)
            };
            for nothing in [
                Signal::HUP,
                Signal::USR2,
                Signal::WINCH,
                Signal::TTIN,
                Signal::TTOU,
            ] {
                let said = told(nothing);
                assert!(said.is_none(), "{nothing:?}: {said:?}");
            }
            assert!(matches!(told(Signal::USR1), Some(Event::Reopen)));
            assert!(matches!(told(Signal::QUIT), Some(Event::Quit)));
            assert!(told(Signal::QUIT).is_none(), "it is told once");
            assert!(matches!(told(Signal::INT), Some(Event::Terminate)));
            assert!(told(Signal::TERM).is_none(), "more than that there is not");
            assert_eq!(worker.life(), Life::Ending);
            Exit(5)
        });
        assert_eq!(exit, Ok(Exit(5)));
        let counts = [0, 1, 2].map(|kind: usize| COUNTS.0[kind].load(Relaxed));
        assert_eq!(counts, [1, 0, 3]);
    });
}

fn a_single_worker_is_alone() {
    in_child(|| {
        let before = open_in(std::process::id() as i32);
        let exit = single().run(&mut |worker: &mut Worker| {
            assert!(worker.is_single());
            assert_eq!((worker.number(), worker.epoch()), (0, 0));
            assert_eq!(worker.siblings().count(), 0);
            let message = Message::new(1, [0; 16]);
            let gone = worker.tell_master(message).expect_err("nobody is there");
            assert_eq!((gone.fault, gone.value), (SendFault::Gone, message));
            let gone = worker.tell_master_with(message, standard_error());
            assert_eq!(gone.expect_err("nobody").fault, SendFault::Gone);
            assert!(worker.send(SlotId::MASTER, message).is_err());
            for source in [Sources::MASTER, Sources::CONTROL, Sources::MESH] {
                assert!(worker.source(source).is_none(), "{source:?}");
            }
            assert!(worker.source(Sources::SIGNALS).is_some());
            assert_eq!(worker.failed(3, Errno::NOENT), Err(SendFault::Gone));
            worker.ready();
            assert!(worker.receive().is_none());
            assert_eq!(
                worker.timeout_ms(),
                None,
                "it waits for nothing but signals"
            );
            // One descriptor is all that there is more.
            let open = open_in(std::process::id() as i32);
            let more = open
                .iter()
                .filter(|(number, _)| !before.contains_key(number));
            let more: Vec<_> = more.map(|(_, open)| open.name.as_str()).collect();
            assert_eq!(more, ["anon_inode:[signalfd]"]);
            // It can be set up like any other.
            let mut setup = Setup::begin(worker).keep_identity();
            setup.directory(c"/proc").expect("a directory");
            // Nothing was inherited, and what is open is the program's.
            setup.keep_only(worker, &[]).expect("closes nothing");
            assert_eq!(open_in(std::process::id() as i32), open);
            Exit::SUCCESS
        });
        assert_eq!(exit, Ok(Exit::SUCCESS));
        let children = std::fs::read_to_string("/proc/thread-self/children").expect("/proc");
        assert_eq!(children, "", "nothing was forked");
        let failed = COUNTS.0[1].load(Relaxed);
        assert_eq!(failed, 1);
    });
}

fn a_panic_comes_through() {
    let pair = forkmesh::channel::Pair::new().expect("a pair");
    let forked = pair.fork(&mut alone(), |_| {
        std::panic::set_hook(Box::new(|_| {}));
        let caught = std::panic::catch_unwind(|| {
            single().run(&mut |_: &mut Worker| -> Exit { panic!("of the service's") })
        });
        u8::from(caught.is_err()) * 9
    });
    let (_end, process) = forked.expect("a child");
    assert_eq!(Kept::new(process).end(), Ended::Code(9));
}

/// A terminal sends INT to the whole group, and HUP when it goes: a worker leaves the first to its master.
fn a_terminal_is_heard() {
    use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};

    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC);
    let terminal = terminal.expect("a terminal");
    grantpt(&terminal).expect("ours");
    unlockpt(&terminal).expect("ours");
    let mut terminal = Some(terminal);
    let pair = forkmesh::channel::Pair::new().expect("a pair");
    let forked = pair.fork(&mut alone(), |_| {
        rustix::process::setsid().expect("no leader");
        let terminal = terminal.take().expect("a copy"); // and closed below: that end is the test's alone
        // The first that a session opens becomes its own.
        let own = ioctl_tiocgptpeer(&terminal, OpenptFlags::RDWR).expect("its other end");
        drop(terminal);
        let exit = single().run(&mut |worker: &mut Worker| {
            let mut poller = Poller::new(worker).expect("a poller");
            rustix::io::write(&own, b"?").expect("the test reads it");
            let mut told = Vec::new();
            while worker.life() != Life::Ending {
                if let Some(event) = worker.receive() {
                    told.push(format!("{event:?}"));
                    let _ = rustix::io::write(&own, b"!"); // while there is a terminal
                    continue;
                }
                poller.wait(worker, None).expect("epoll");
            }
            Exit(u8::from(told == ["Quit", "Terminate"]))
        });
        exit.map_or(0, |exit| exit.0)
    });
    let (_end, process) = forked.expect("a child");
    let mut child = Kept::new(process);
    let terminal = terminal.expect("the child took it in a copy");
    let mut byte = [0; 16];
    let hears = |what: &[u8], byte: &mut [u8; 16]| {
        in_time("a sign of the child's", || {
            support::wait_readable(&terminal, "a sign");
            let length = rustix::io::read(&terminal, &mut byte[..]).expect("a terminal");
            byte[..length].ends_with(what).then_some(())
        });
    };
    hears(b"?", &mut byte);
    const CONTROL_BACKSLASH: &[u8] = b"\x1c";
    rustix::io::write(&terminal, CONTROL_BACKSLASH).expect("typed");
    hears(b"!", &mut byte);
    drop(terminal); // the kernel says HUP
    assert_eq!(child.end(), Ended::Code(1));
}

fn main() {
    support::run(support::tests![
        signals_work_without_a_master,
        a_single_worker_is_alone,
        a_panic_comes_through,
        a_terminal_is_heard,
    ]);
}
