//! Reloads, and what else an operator asks for: by signals, from code, and seen from outside.

use forkmesh::channel::Pair;
use forkmesh::machine::{Backoff, Config, ExitStatus, ReloadError, Report};
use forkmesh::run::{Answer, Event, Exit, Instance, NotLoaded, PidFile, Poller, Request, Worker};
use forkmesh::table::State;
use forkmesh::wire::board::{Ended, Failure, Reached, Row};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::process::{Signal, getpid, kill_process};

use crate::heir::Folder;
use crate::mesh::settles;
use crate::support::{self, in_child, in_time, open_count, open_in};
use crate::upgrade::mask;
use crate::world::{REOPENED, World, obedient};

fn config(workers: usize) -> Config {
    Config::new()
        .workers(workers)
        .backoff(Backoff::new().eager())
}

/// Ends with 40 where it is asked to, with 50 where it is told to.
fn polite(worker: &mut Worker) -> Exit {
    worker.ready();
    until_told(worker, false)
}

fn until_told(worker: &mut Worker, stays: bool) -> Exit {
    let mut poller = Poller::new(worker).expect("a poller");
    loop {
        match worker.receive() {
            Some(Event::Quit) if !stays => return Exit(40),
            Some(Event::Terminate) => return Exit(50),
            Some(_) => {}
            None => drop(poller.wait(worker, None)),
        }
    }
}

fn outcome(world: &mut World) -> Result<u32, (u32, ReloadError)> {
    world.reported("an outcome", |report| match report {
        Report::Reloaded(epoch) => Some(Ok(*epoch)),
        Report::ReloadFailed(epoch, why) => Some(Err((*epoch, *why))),
        _ => None,
    })
}

fn reload(world: &mut World) -> Result<u32, (u32, ReloadError)> {
    world.master.workers().reload();
    outcome(world)
}

fn only(world: &mut World, workers: usize) {
    world.until("nobody else is left", |world| {
        world.live().len() == workers && world.master.table().occupied().count() == workers
    });
}

pub(crate) fn a_reload_replaces_everybody() {
    in_child(|| {
        let before = open_in(std::process::id() as i32);
        let mut world = World::new(config(3), polite);
        world.all_live(3);
        for epoch in 1..=5 {
            assert_eq!(reload(&mut world), Ok(epoch));
            only(&mut world, 3);
            assert_eq!(world.exits(), [ExitStatus::Code(40); 3], "asked, not told");
            let mut table = world.master.table().occupied();
            assert!(table.all(|(_, slot)| slot.epoch == epoch));
        }
        world.end();

        let mut world = World::new(config(3), obedient);
        world.all_live(3);
        settles(&mut world, &before);
        for epoch in 1..=50 {
            assert_eq!(reload(&mut world), Ok(epoch));
            only(&mut world, 3);
        }
        settles(&mut world, &before);
        for (worker, _) in world.live() {
            world.until("it knows all", |world| world.knows_all(worker));
        }
        for from in world.live() {
            for (to, _) in world.live() {
                if from.0 != to {
                    world.greet(from, to);
                }
            }
        }
        world.end();
    });
}

/// The second of each epoch is another failure; that of the fifth is none.
fn fails(worker: &mut Worker) -> Exit {
    if worker.number() == 1 {
        match worker.epoch() {
            2 => return Exit::FAILURE,
            3 => return Exit::FATAL,
            4 => return until_told(worker, false), // never ready
            _ => {}
        }
    }
    polite(worker)
}

pub(crate) fn a_reload_that_fails_changes_nothing() {
    in_child(|| {
        let mut world = World::new(config(3).reload_ms(200), fails);
        world.all_live(3);
        let (first, open) = (world.live(), open_count());
        let as_before = |world: &mut World| {
            only(world, 3);
            assert_eq!((world.live(), open_count()), (first.clone(), open));
        };
        world.lab.reload = |_| Err(NotLoaded::Refused);
        assert_eq!(reload(&mut world), Err((1, ReloadError::Refused)));
        as_before(&mut world);
        world.lab.reload = |next| Ok(next.workers);
        for (epoch, code) in [(2, 1), (3, 2)] {
            let Err((failed, ReloadError::Died(_, status))) = reload(&mut world) else {
                panic!("it dies")
            };
            assert_eq!((failed, status), (epoch, ExitStatus::Code(code)));
            as_before(&mut world);
        }
        assert_eq!(reload(&mut world), Err((4, ReloadError::Deadline)));
        as_before(&mut world);
        world.lab.reload = |_| Ok(2);
        assert_eq!(reload(&mut world), Ok(5));
        only(&mut world, 2);
        world.end();
    });
}

pub(crate) fn a_reload_revives_the_parked() {
    in_child(|| {
        let mut world = World::new(config(2), |worker| match worker.epoch() {
            0 if worker.number() == 0 => Exit::FATAL,
            _ => polite(worker),
        });
        world.until("one is parked", |world| {
            let mut table = world.master.table().occupied();
            world.live().len() == 1 && table.any(|(_, slot)| slot.state() == State::Parked)
        });
        assert_eq!(reload(&mut world), Ok(1));
        only(&mut world, 2);
        world.end();
    });
}

pub(crate) fn epochs_that_drain_are_bounded() {
    in_child(|| {
        let mut world = World::new(config(1).most_draining(2), |worker| {
            worker.ready();
            until_told(worker, true) // drains for ever
        });
        world.all_live(1);
        for epoch in 1..=5 {
            assert_eq!(reload(&mut world), Ok(epoch));
        }
        world.until("two epochs drain", |world| {
            world.master.table().occupied().count() == 3
        });
        assert_eq!(world.exits(), [ExitStatus::Code(50); 3]);
        let table = world.master.table().occupied();
        let epochs: Vec<u32> = table.map(|(_, slot)| slot.epoch).collect();
        assert!(epochs.iter().all(|epoch| *epoch >= 3));
        world.end();
    });
}

/// By a signal, or from code.
fn ask(world: &mut World, signal: Signal, by_signal: bool) {
    if by_signal {
        return kill_process(getpid(), signal).expect("sent");
    }
    let mut workers = world.master.workers();
    match signal {
        Signal::HUP => workers.reload(),
        Signal::USR1 => workers.reopen(),
        Signal::WINCH => workers.rest(),
        Signal::TTIN => workers.more(),
        _ => workers.fewer(),
    }
}

pub(crate) fn what_is_asked_for_is_done() {
    for by_signal in [true, false] {
        in_child(|| {
            let mut world = World::new(config(2), obedient);
            world.all_live(2);
            assert_ne!(mask(std::process::id() as i32, "SigCgt") & 1, 0, "HUP");
            ask(&mut world, Signal::TTIN, by_signal);
            only(&mut world, 3);
            ask(&mut world, Signal::TTOU, by_signal);
            only(&mut world, 2);
            ask(&mut world, Signal::USR1, by_signal);
            for (worker, _) in world.live() {
                world.hear(worker, REOPENED);
            }
            assert_eq!(world.lab.reopened, 1);
            ask(&mut world, Signal::WINCH, by_signal);
            only(&mut world, 0);
            assert!(!world.master.is_ended());
            ask(&mut world, Signal::HUP, by_signal);
            assert_eq!(outcome(&mut world), Ok(1));
            only(&mut world, 2);
            world.end();
        });
    }
}

pub(crate) fn what_is_asked_for_together_is_all_done() {
    in_child(|| {
        let mut world = World::new(config(2), obedient);
        world.all_live(2);
        let first = world.live();
        for signal in [Signal::HUP, Signal::USR1, Signal::TTIN] {
            ask(&mut world, signal, true);
        }
        assert_eq!(outcome(&mut world), Ok(1));
        only(&mut world, 3);
        assert_eq!(world.lab.reopened, 1);
        for (worker, _) in first {
            world.hear(worker, REOPENED);
        }
        world.end();
    });
}

/// A master in a process of its own, found by its pid file. It ends when it is told to.
fn master(folder: &Folder, work: fn(&mut Worker) -> Exit) -> (support::Kept, Instance) {
    let pair = Pair::new().expect("a pair");
    let path = folder.path();
    let forked = pair.fork(&mut support::alone(), |_| {
        let mut world = World::new(config(2), work);
        let file = PidFile::create(path.as_c_str()).expect("nobody's");
        world.master.keep(file);
        while !world.master.is_ended() {
            world.turn();
        }
        assert_eq!(world.lab.reopened, 1);
        0
    });
    let master = support::Kept::new(forked.expect("a child").1);
    let instance = in_time("its pid file", || Instance::find(path.as_c_str()).ok());
    in_time("its workers", || (live(&instance, 0) == 2).then_some(()));
    (master, instance)
}

fn rows(instance: &Instance) -> Vec<Row> {
    let rows = instance.status().expect("a board").rows();
    rows.map(|row| row.expect("it can be read")).collect()
}

fn live(instance: &Instance, epoch: u32) -> usize {
    let rows = rows(instance).into_iter();
    rows.filter(|row| row.epoch == epoch && matches!(row.state, State::Live(_)))
        .count()
}

/// Whether the process is stopped.
pub(crate) fn is_stopped(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')')
        .next()
        .is_some_and(|rest| rest.trim().starts_with('T'))
}

/// Says why it cannot serve, in the second epoch.
fn confesses(worker: &mut Worker) -> Exit {
    if worker.epoch() == 2 {
        worker.failed(7, Errno::NOENT).expect("a master");
        return Exit::FAILURE;
    }
    obedient(worker)
}

pub(crate) fn a_stopped_master_is_seen_and_hears_all_of_it_later() {
    in_child(|| {
        let folder = Folder::new();
        let (mut process, instance) = master(&folder, confesses);
        assert_eq!(instance.pid().as_i32(), process.pid());
        process.signal(Signal::STOP);
        in_time("the master is stopped", || {
            is_stopped(process.pid()).then_some(())
        });
        let asked = instance.request(Request::Reload).expect("it is there");
        instance.request(Request::Reopen).expect("it is there");
        let status = instance.status().expect("a board");
        assert_eq!((status.header().serving, status.header().workers), (0, 2));
        assert_eq!(live(&instance, 0), 2);
        process.signal(Signal::CONT);
        assert_eq!(instance.wait(asked, 20_000), Ok(Answer::Done));
        // Not before: with a CONT the kernel drops every TTIN and TTOU that nobody has read yet.
        instance.request(Request::More).expect("it is there");
        in_time("one worker more", || {
            (live(&instance, 1) == 3).then_some(())
        });

        let victim = rows(&instance)
            .into_iter()
            .find(|row| matches!(row.state, State::Live(_)));
        let victim = victim.expect("one lives");
        crate::world::signal(victim.state.pid().expect("a process"), Signal::KILL);
        in_time("how it ended", || {
            let mut rows = rows(&instance).into_iter();
            let last = rows.find_map(|row| {
                row.last
                    .filter(|last| matches!(last.ended, Ended::Killed { .. }))
            })?;
            let killed = Ended::Killed {
                signal: 9,
                core: false,
            };
            assert_eq!(
                (last.ended, last.reached, last.failure),
                (killed, Reached::Ready, None)
            );
            Some(())
        });
        let asked = instance.request(Request::Reload).expect("it is there");
        let failed = Answer::Failed { why: 3, detail: 1 };
        assert_eq!(instance.wait(asked, 20_000), Ok(failed));
        in_time("why it ended", || {
            let mut rows = rows(&instance).into_iter();
            let last = rows.find_map(|row| row.last.filter(|last| last.failure.is_some()))?;
            assert_eq!(last.failure, Some(Failure { stage: 7, errno: 2 }));
            assert_eq!(
                (last.ended, last.reached),
                (Ended::Code(1), Reached::Starting)
            );
            Some(())
        });
        let asked = instance.request(Request::Quit).expect("it is there");
        assert_eq!(instance.wait(asked, 20_000), Ok(Answer::Ended));
        process.ends_well();
    });
}

/// A terminal of this process's own, which is the leader of its session.
fn terminal() -> (OwnedFd, OwnedFd) {
    use rustix::fd::FromRawFd;
    let (mut ours, mut theirs) = (-1, -1);
    let none = core::ptr::null_mut();
    // SAFETY: both numbers live through the call; no name and no settings are asked for or given.
    let made = unsafe {
        libc::openpty(
            &raw mut ours,
            &raw mut theirs,
            none,
            none.cast(),
            none.cast(),
        )
    };
    assert_eq!(made, 0);
    // SAFETY: the call made this descriptor for us.
    let ours = unsafe { OwnedFd::from_raw_fd(ours) };
    // SAFETY: and this one.
    let theirs = unsafe { OwnedFd::from_raw_fd(theirs) };
    (ours, theirs)
}

/// A window that changes its size is no operator.
pub(crate) fn a_terminal_asks_for_nothing() {
    in_child(|| {
        use rustix::fd::AsRawFd;
        rustix::process::setsid().expect("no leader yet");
        let (ours, theirs) = terminal();
        // SAFETY: the call reads no memory.
        let done = unsafe { libc::ioctl(theirs.as_raw_fd(), libc::TIOCSCTTY, 0) };
        assert_eq!(done, 0);
        let mut world = World::new(config(2), obedient);
        world.all_live(2);
        let before = world.live();
        for rows in 1..=3 {
            let size = libc::winsize {
                ws_row: rows,
                ws_col: 80,
                ws_xpixel: 0,
                ws_ypixel: 0,
            };
            // SAFETY: the size lives through the call.
            let set = unsafe { libc::ioctl(ours.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) };
            assert_eq!(set, 0);
            world.until("it is said", |world| {
                world.lab.ignored == vec![libc::SIGWINCH; rows.into()]
            });
        }
        assert_eq!(world.live(), before);
        // A ^C goes to the whole group: the workers leave it to the master.
        rustix::io::write(&ours, b"\x03").expect("a terminal");
        world.until("the end", |world| world.master.is_ended());
        assert_eq!(world.exits(), [ExitStatus::Code(0); 2]);
    });
}
