//! Lives and deaths: crash loops, panics, signals, schedules, and a master that is gone.

use std::time::Instant;

use forkmesh::channel::{Alone, ForkError, NotAlone, Pair};
use forkmesh::machine::{Backoff, Config, ExitStatus, Phase, Report, Why};
use forkmesh::run::{Event, Exit, Master, Poller, Sources, StartError, Worker};
use forkmesh::table::State;
use rustix::fd::{AsFd, OwnedFd};
use rustix::process::{PidfdFlags, Signal, pidfd_open};

use crate::support::{self, in_child, wait_readable};
use crate::world::{World, obedient, signal};

fn exits(world: &World) -> Vec<ExitStatus> {
    let reports = world.lab.reports.iter();
    reports
        .filter_map(|report| match report {
            Report::Exited(_, _, status) => Some(*status),
            _ => None,
        })
        .collect()
}

fn parked(world: &World) -> Option<Why> {
    world.lab.reports.iter().find_map(|report| match report {
        Report::Parked(_, why) => Some(*why),
        _ => None,
    })
}

/// nginx forks such a worker some 3000 times a second.
pub(crate) fn a_crash_loop_is_slowed_and_parked() {
    in_child(|| {
        let backoff = Backoff::new().delay_ms(2, 16).jitter_percent(0);
        let config = Config::new().workers(1).backoff(backoff);
        let mut world = World::new(config, |_| Exit::FAILURE);
        world.until("it is parked", |world| parked(world).is_some());
        assert_eq!(parked(&world), Some(Why::NeverReady));
        assert_eq!(world.spawned(), 10, "ten deaths in a row");
        let delays: Vec<u64> = world
            .lab
            .reports
            .iter()
            .filter_map(|report| match report {
                Report::Delayed(_, ms) => Some(*ms),
                _ => None,
            })
            .collect();
        assert_eq!(delays, [2, 4, 8, 16, 16, 16, 16, 16, 16]);
        for _ in 0..10 {
            world.turn();
        }
        assert_eq!(world.spawned(), 10, "and that was all");
        world.end();
    });
}

pub(crate) fn a_worker_that_was_ready_is_replaced_at_once() {
    in_child(|| {
        let mut world = World::new(Config::new().workers(2), obedient);
        world.all_live(2);
        for _ in 0..5 {
            let (_, pid) = world.live()[0];
            world.replace(pid);
        }
        let delayed = |world: &World| {
            world
                .lab
                .reports
                .iter()
                .any(|report| matches!(report, Report::Delayed(..)))
        };
        assert!(!delayed(&world), "five deaths in a second are nothing");
        let (_, pid) = world.live()[0];
        world.replace(pid);
        assert!(delayed(&world), "six are a reason to wait");
        world.end();
    });
}

/// A master without workers is told its phase like any other.
pub(crate) fn the_phase_is_told_once() {
    in_child(|| {
        let mut world = World::new(Config::new().workers(1), |_| Exit::FATAL);
        world.until("it is parked", |world| parked(world).is_some());
        world.master.workers().quit();
        world.until("the end", |world| world.master.is_ended());
        assert_eq!(world.lab.phases, [Phase::Draining]);
        let mut world = World::new(Config::new().workers(1), obedient);
        world.all_live(1);
        world.master.workers().quit();
        world.master.workers().terminate();
        world.until("the end", |world| world.master.is_ended());
        assert_eq!(world.lab.phases, [Phase::Stopping]);
    });
}

pub(crate) fn exit_code_2_is_for_ever() {
    in_child(|| {
        let mut world = World::new(Config::new().workers(1), |_| Exit::FATAL);
        world.until("it is parked", |world| parked(world).is_some());
        assert_eq!(parked(&world), Some(Why::Fatal));
        assert_eq!(world.spawned(), 1);
        world.end();
    });
}

pub(crate) fn a_panicking_worker_ends_as_a_worker() {
    in_child(|| {
        /// Would end the master's process, if it were dropped in the worker's.
        struct OfTheMaster;
        impl Drop for OfTheMaster {
            fn drop(&mut self) {
                std::process::exit(3);
            }
        }
        let of_the_master = OfTheMaster;
        let config = Config::new()
            .workers(1)
            .backoff(Backoff::new().park_after(2));
        let mut world = World::new(config, |worker| {
            std::panic::set_hook(Box::new(|_| {}));
            worker.ready();
            panic!("as it should");
        });
        world.until("it died", |world| exits(world).len() == 1);
        assert_eq!(exits(&world), [ExitStatus::Code(101)]);
        world.end();
        core::mem::forget(of_the_master);
    });
}

pub(crate) fn a_worker_that_returns_does_not_return_to_the_master() {
    in_child(|| {
        let own = std::process::id();
        let config = Config::new()
            .workers(1)
            .restart(forkmesh::table::Policy::empty());
        let mut world = World::new(config, |_| Exit(7));
        world.until("it is gone", |world| world.master.table().is_empty());
        assert_eq!(own, std::process::id(), "one master");
        assert_eq!(exits(&world), [ExitStatus::Code(7)]);
        world.end();
    });
}

pub(crate) fn a_thread_makes_spawning_fail() {
    in_child(|| {
        let (stay, stop) = std::sync::mpsc::channel::<()>();
        let mut world = World::new(Config::new().workers(1), obedient);
        world.all_live(1);
        let thread = std::thread::spawn(move || stop.recv());
        assert_eq!(Alone::verify().unwrap_err(), NotAlone::Threads(2));
        assert!(matches!(
            Master::new(Config::new()).unwrap_err(),
            StartError::NotAlone(NotAlone::Threads(2))
        ));
        let (_, pid) = world.live()[0];
        world.kill(pid);
        world.until("a fork is refused", |world| {
            let mut reports = world.lab.reports.iter();
            reports.any(|report| matches!(report, Report::SpawnFailed(..)))
        });
        let why = ForkError::NotAlone(NotAlone::Threads(2));
        assert_eq!(world.lab.refused, Some(why), "and it is said why");
        drop(stay);
        let _ = thread.join();
        world.all_live(1);
        world.end();
    });
}

pub(crate) fn started_with_signals_ignored() {
    in_child(|| {
        for number in [libc::SIGCHLD, libc::SIGPIPE] {
            // SAFETY: SIG_IGN is no function.
            unsafe { libc::signal(number, libc::SIG_IGN) };
        }
        let mut world = World::new(Config::new().workers(2), obedient);
        world.all_live(2);
        let (_, pid) = world.live()[0];
        world.replace(pid);
        assert_eq!(
            exits(&world),
            [ExitStatus::Killed {
                signal: 9,
                core: false
            }]
        );
        world.end();
    });
}

pub(crate) fn signals_end_it() {
    for (sent, code) in [(Signal::QUIT, 40), (Signal::TERM, 50), (Signal::INT, 50)] {
        in_child(|| {
            let mut world = World::new(Config::new().workers(2), |worker| {
                let mut poller = Poller::new(worker).expect("a poller");
                worker.ready();
                loop {
                    match worker.receive() {
                        Some(Event::Quit) => return Exit(40),
                        Some(Event::Terminate) => return Exit(50),
                        Some(_) => {}
                        None => drop(poller.wait(worker, None)),
                    }
                }
            });
            world.all_live(2);
            rustix::process::kill_process(rustix::process::getpid(), sent).expect("sent");
            world.until("the end", |world| world.master.is_ended());
            assert_eq!(exits(&world), [ExitStatus::Code(code); 2]);
        });
    }
}

pub(crate) fn a_stuck_worker_is_killed_on_schedule() {
    in_child(|| {
        let config = Config::new().workers(2).quit_ms(60).terminate_ms(40);
        let mut world = World::new(config, obedient);
        world.all_live(2);
        let (_, stuck) = world.live()[1];
        signal(stuck, Signal::STOP);
        let start = Instant::now();
        world.master.workers().quit();
        world.until("the end", |world| world.master.is_ended());
        // A deadline is a whole number of milliseconds: each may come up to one early.
        assert!(
            start.elapsed().as_millis() >= 98,
            "it had its time to quit, and to terminate"
        );
        let killed = ExitStatus::Killed {
            signal: 9,
            core: false,
        };
        assert_eq!(exits(&world), [ExitStatus::Code(0), killed]);
    });
}

pub(crate) fn no_workers_and_terminate() {
    in_child(|| {
        let mut world = World::new(Config::new().workers(0), obedient);
        assert!(!world.master.is_ended());
        world.master.workers().terminate();
        world.until("the end", |world| world.master.is_ended());
    });
}

/// A master in a process of its own, with three workers; their pidfds.
pub(crate) fn master_to_lose(work: fn(&mut Worker) -> Exit) -> (support::Kept, Vec<OwnedFd>) {
    let (ours, theirs) = rustix::pipe::pipe().expect("a pipe");
    let pair = Pair::new().expect("a pair");
    let master = pair.fork(&mut support::alone(), move |_| {
        let mut world = World::new(Config::new().workers(3), work);
        world.all_live(3);
        for (_, pid) in world.live() {
            rustix::io::write(&theirs, &pid.as_i32().to_ne_bytes()).expect("said");
        }
        loop {
            world.turn();
        }
    });
    let (_, process) = master.expect("forked");
    let master = support::Kept::new(process);
    let mut workers: Vec<OwnedFd> = Vec::new();
    while workers.len() < 3 {
        let mut pid = [0; 4];
        wait_readable(&ours, "a worker's pid");
        assert_eq!(rustix::io::read(&ours, &mut pid), Ok(4));
        let pid = rustix::process::Pid::from_raw(i32::from_ne_bytes(pid)).expect("a pid");
        workers.push(pidfd_open(pid, PidfdFlags::empty()).expect("a pidfd"));
    }
    (master, workers)
}

pub(crate) fn workers_notice_the_masters_death() {
    let (master, workers) = master_to_lose(obedient);
    // The first is stopped, and so holds what it holds: that must not hide the death from others.
    rustix::process::pidfd_send_signal(&workers[0], Signal::STOP).expect("stopped");
    master.signal(Signal::KILL);
    wait_readable(workers[1].as_fd(), "a worker drains and goes");
    wait_readable(workers[2].as_fd(), "and another");
    rustix::process::pidfd_send_signal(&workers[0], Signal::CONT).expect("continued");
    wait_readable(workers[0].as_fd(), "and the first, once it can");
}

/// Drains for a while, and is killed by an assertion if it does not sleep meanwhile.
fn drains_slowly(worker: &mut Worker) -> Exit {
    let mut poller = Poller::new(worker).expect("a poller");
    worker.ready();
    while !matches!(worker.receive(), Some(Event::Quit)) {
        poller.wait(worker, None).expect("epoll");
    }
    let start = Instant::now();
    let mut waits = 0;
    while start.elapsed().as_millis() < 200 {
        while worker.receive().is_some() {}
        poller.wait(worker, Some(20)).expect("epoll");
        waits += 1;
    }
    if waits > 50 {
        // The descriptor that says it to the test: it never closes.
        loop {
            std::thread::park();
        }
    }
    Exit::SUCCESS
}

pub(crate) fn an_orphan_that_drains_sleeps() {
    let (master, workers) = master_to_lose(drains_slowly);
    master.signal(Signal::KILL);
    let ended = workers.iter().map(|worker| {
        let mut waiting = [rustix::event::PollFd::new(
            worker,
            rustix::event::PollFlags::IN,
        )];
        let most = rustix::event::Timespec {
            tv_sec: 20,
            tv_nsec: 0,
        };
        let slept = rustix::event::poll(&mut waiting, Some(&most)) == Ok(1);
        let _ = rustix::process::pidfd_send_signal(worker, Signal::KILL);
        slept
    });
    assert_eq!(ended.collect::<Vec<_>>(), [true; 3], "each drained asleep");
}

pub(crate) fn too_few_descriptors_are_an_error() {
    in_child(|| {
        use rustix::process::{Resource, Rlimit, setrlimit};
        let low = Rlimit {
            current: Some(100),
            maximum: Some(100),
        };
        setrlimit(Resource::Nofile, low).expect("lowered");
        let refused = Master::with(Config::new().workers(10), support::alone()).unwrap_err();
        assert_eq!(
            refused,
            StartError::TooFewDescriptors {
                needed: 104,
                limit: 100
            }
        );
        let mut world = World::new(Config::new().workers(9), obedient);
        world.all_live(9);
        assert!(
            world
                .master
                .table()
                .occupied()
                .all(|(_, slot)| matches!(slot.state(), State::Live(_)))
        );
        world.end();
    });
}

/// The four sources in a `poll` of the worker's own, without a `Poller`.
fn on_poll(worker: &mut Worker) -> Exit {
    use rustix::event::{PollFd, PollFlags, poll};
    worker.ready();
    loop {
        while let Some(event) = worker.receive() {
            match event {
                Event::Quit | Event::Terminate => return Exit::SUCCESS,
                Event::Message {
                    message, from: me, ..
                } => {
                    assert!(me.known);
                    crate::world::say(worker, message);
                }
                _ => {}
            }
        }
        let sources = Sources::all().iter();
        let sources: Vec<Sources> = sources
            .filter(|source| worker.source(*source).is_some())
            .collect();
        let mut waiting: Vec<PollFd<'_>> = sources
            .iter()
            .map(|source| worker.source(*source).expect("a source"))
            .map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN))
            .collect();
        let timeout = worker.timeout_ms().map(|ms| rustix::event::Timespec {
            tv_sec: 0,
            tv_nsec: (ms.min(999) * 1_000_000) as _,
        });
        poll(&mut waiting, timeout.as_ref()).expect("poll");
        let ready = waiting.iter().zip(&sources);
        let ready = ready.filter(|(fd, _)| !fd.revents().is_empty());
        let ready = ready.fold(Sources::empty(), |all, (_, source)| all | *source);
        worker.readable(ready);
    }
}

pub(crate) fn a_worker_can_have_a_loop_of_its_own() {
    in_child(|| {
        let mut world = World::new(Config::new().workers(2), on_poll);
        world.all_live(2);
        for (worker, _) in world.live() {
            world.tell(worker, 77, [1; 16]);
            assert_eq!(world.hear(worker, 77).message.payload, [1; 16]);
        }
        world.end();
    });
}

/// As a daemon does, whose first half makes everything and leaves.
pub(crate) fn another_process_can_run_the_master() {
    in_child(|| {
        let alone = support::alone();
        let master = Box::new(Master::with(Config::new().workers(2), alone).expect("a master"));
        let pair = Pair::new().expect("a pair");
        let second = pair.fork(&mut support::alone(), |_| {
            let mut world = World::of(master, obedient);
            world.all_live(2);
            for (worker, _) in world.live() {
                world.until("it knows all", |world| world.knows_all(worker));
            }
            assert_eq!(world.spawned(), 2, "nobody took it for dead");
            world.end();
            0
        });
        let (_, process) = second.expect("forked");
        support::Kept::new(process).ends_well();
    });
}

pub(crate) fn a_second_start_does_nothing() {
    in_child(|| {
        let mut world = World::new(Config::new().workers(2), obedient);
        world.master.start(&mut world.lab).expect("started");
        world.all_live(2);
        assert_eq!(world.spawned(), 2);
        world.end();
    });
}
