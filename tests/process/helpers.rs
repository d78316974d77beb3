//! Helpers as real processes: jobs that come round, other programs, and reloads that have to wait.

use core::sync::atomic::{AtomicU32, Ordering};
use std::os::unix::process::CommandExt;
use std::process::Command;

use forkmesh::machine::{Backoff, Config, ExitStatus, ReloadError, Report, Why};
use forkmesh::run::{
    Event, Exit, Job, Master, Next, NotLoaded, STAGE_PROGRAM, Sources, Worker, periodic,
};
use forkmesh::table::{Pid, Policy, Role, SlotId, State};
use forkmesh::wire::Message;
use rustix::fd::AsFd;
use rustix::io::{Errno, FdFlags, fcntl_setfd};
use rustix::process::Signal;

use crate::life::master_to_lose;
use crate::support::{alone, in_child, in_time, open_in, wait_readable};
use crate::world::{REOPENED, World, obedient, say};

/// A job was done.
const RUN: u32 = 100;
/// So many milliseconds that no test lives to see them.
const NEVER_MS: u64 = 3_600_000;

fn config() -> Config {
    let backoff = Backoff::new().eager();
    Config::new().workers(1).backoff(backoff).mesh(false)
}

fn started(config: Config, help: fn(&mut Worker) -> Exit) -> World {
    let master = Box::new(Master::with(config, alone()).expect("a master"));
    let mut world = World::unstarted(master, obedient);
    world.lab.help = help;
    world.master.start(&mut world.lab).expect("started");
    world
}

/// The helper of this number that is ready, in the epoch that serves.
fn helper(world: &World, number: u16) -> Option<(SlotId, Pid)> {
    let (epoch, mut slots) = (epoch(world), world.master.table().occupied());
    slots.find_map(|(id, slot)| match slot.state() {
        State::Live(pid)
            if (slot.role, slot.number, slot.epoch) == (Role::Helper, number, epoch) =>
        {
            Some((id, pid))
        }
        _ => None,
    })
}

fn epoch(world: &World) -> u32 {
    let slots = world.master.table().occupied();
    slots.map(|(_, slot)| slot.epoch).max().unwrap_or(0)
}

fn ready(world: &mut World, number: u16) -> (SlotId, Pid) {
    world.until("the helper is ready", |world| {
        helper(world, number).is_some()
    });
    helper(world, number).expect("it is")
}

fn outcome(world: &mut World) -> Result<u32, (u32, ReloadError)> {
    world.reported("an outcome", |report| match report {
        Report::Reloaded(epoch) => Some(Ok(*epoch)),
        Report::ReloadFailed(epoch, why) => Some(Err((*epoch, *why))),
        _ => None,
    })
}

fn runs(worker: &mut Worker, next: Next) -> Next {
    say(worker, Message::new(RUN, [0; 16]));
    next
}

/// A manager that comes round, one that does not for a long time, and a loader.
fn cache(worker: &mut Worker) -> Exit {
    match worker.number() {
        0 => periodic(worker, 0, &mut |worker: &mut Worker| {
            runs(worker, Next::After(10))
        }),
        1 => periodic(worker, 0, &mut |worker: &mut Worker| {
            runs(worker, Next::After(NEVER_MS))
        }),
        _ => periodic(worker, 5, &mut |worker: &mut Worker| {
            runs(worker, Next::Done)
        }),
    }
}

/// How often a process has gone to sleep of itself.
fn sleeps(pid: Pid) -> u64 {
    status(pid, "voluntary_ctxt_switches")
        .parse()
        .expect("a number")
}

fn status(pid: Pid, what: &str) -> String {
    let status = std::fs::read_to_string(format!("/proc/{}/status", pid.as_i32()));
    let status = status.expect("it lives");
    let mut lines = status.lines();
    let line = lines.find_map(|line| line.strip_prefix(what)?.strip_prefix(':'));
    line.expect("a line").trim().to_owned()
}

pub(crate) fn a_manager_runs_at_its_interval() {
    in_child(|| {
        let config = config().helper(Policy::RESTART).helper(Policy::RESTART);
        let mut world = started(config, cache);
        let (manager, _) = ready(&mut world, 0);
        let (idle, pid) = ready(&mut world, 1);
        world.hear(idle, RUN);
        in_time("it waits", || {
            status(pid, "State").starts_with('S').then_some(())
        });
        let before = sleeps(pid);
        for _ in 0..10 {
            world.hear(manager, RUN);
        }
        assert_eq!(sleeps(pid), before, "nothing wakes who waits");
        world.end();
    });
}

pub(crate) fn helpers_are_restarted_as_their_policies_say() {
    in_child(|| {
        let config = config()
            .helper(Policy::RESTART)
            .helper(Policy::empty())
            .helper(Policy::RESTART_ON_FAILURE);
        let mut world = started(config, cache);
        let (manager, pid) = ready(&mut world, 0);
        world.hear(manager, RUN);
        world.kill(pid);
        world.until("another manager", |world| {
            helper(world, 0).is_some_and(|(id, _)| id != manager)
        });
        let (manager, _) = ready(&mut world, 0);
        world.hear(manager, RUN);

        let (idle, pid) = ready(&mut world, 1);
        world.hear(idle, RUN);
        world.kill(pid);
        world.until("both have ended", |world| {
            world.master.table().occupied().count() == 2
        });
        let said = world.lab.said.iter();
        let others =
            said.filter(|said| said.message.tag == RUN && said.from.index() != manager.index());
        assert_eq!(others.count(), 1, "the loader's, once");
        world.lab.said.clear();
        for _ in 0..5 {
            world.hear(manager, RUN);
        }
        assert_eq!(
            world.spawned(),
            5,
            "a worker, three helpers, and the manager again"
        );
        world.end();
    });
}

/// Goes with 40, and with 50: what it was told.
struct Polite;

impl Job for Polite {
    fn run(&mut self, _: &mut Worker) -> Next {
        Next::After(NEVER_MS)
    }

    fn hear(&mut self, worker: &mut Worker, event: Event) {
        match event {
            Event::Reopen => say(worker, Message::new(REOPENED, [0; 16])),
            Event::Message { message, .. } => say(worker, message),
            _ => {}
        }
    }
}

pub(crate) fn helpers_are_told_to_go() {
    let help = |worker: &mut Worker| periodic(worker, 0, &mut Polite);
    for ask in [Signal::QUIT, Signal::TERM] {
        in_child(|| {
            let mut world = started(config().helper(Policy::RESTART), help);
            let (old, _) = ready(&mut world, 0);
            world.master.workers().reopen();
            world.hear(old, REOPENED);
            world.tell(old, RUN, [7; 16]);
            assert_eq!(world.hear(old, RUN).message.payload, [7; 16]);

            world.master.workers().reload();
            assert_eq!(outcome(&mut world), Ok(1));
            world.until("the old ones go", |world| {
                world.live().len() == 2 && world.master.table().occupied().count() == 2
            });
            assert_eq!(world.exits(), [ExitStatus::SUCCESS; 2]);
            assert_ne!(ready(&mut world, 0).0, old);
            match ask {
                Signal::QUIT => world.master.workers().quit(),
                _ => world.master.workers().terminate(),
            }
            world.until("the end", |world| world.master.is_ended());
            assert_eq!(world.exits(), [ExitStatus::SUCCESS; 2]);
        });
    }
}

fn sleep(worker: &mut Worker) -> Exit {
    worker.exec(c"/bin/sleep", &[c"sleep", c"1000"], &[c"A=b"])
}

/// The helper, once it is the program.
fn asleep(world: &mut World) -> (SlotId, Pid) {
    let (id, pid) = ready(world, 0);
    in_time("it becomes the program", || {
        (status(pid, "Name") == "sleep").then_some(())
    });
    (id, pid)
}

fn killed_by(exits: &[ExitStatus], wanted: Signal) -> bool {
    exits.iter().any(|status| match status {
        ExitStatus::Killed { signal, .. } => i32::from(*signal) == wanted.as_raw(),
        ExitStatus::Code(_) => false,
    })
}

pub(crate) fn a_program_is_ended_and_started_again() {
    for ask in [Signal::QUIT, Signal::TERM] {
        in_child(|| {
            let mut world = started(config().helper(Policy::RESTART), sleep);
            let (first, pid) = asleep(&mut world);
            world.kill(pid);
            world.until("it is started again", |world| {
                helper(world, 0).is_some_and(|(id, _)| id != first)
            });
            asleep(&mut world);
            world.exits();
            match ask {
                Signal::QUIT => world.master.workers().quit(),
                _ => world.master.workers().terminate(),
            }
            world.until("the end", |world| world.master.is_ended());
            assert!(killed_by(&world.exits(), ask), "{ask:?}");
        });
    }
}

pub(crate) fn a_program_inherits_nothing() {
    in_child(|| {
        let own = Pid::new(std::process::id() as i32).expect("a pid");
        let blocked = status(own, "SigBlk");
        let litter = rustix::pipe::pipe().expect("a pipe");
        fcntl_setfd(&litter.0, FdFlags::empty()).expect("set");
        let mut world = started(config().mesh(true).helper(Policy::RESTART), sleep);
        let (_, pid) = asleep(&mut world);
        // It opens its libraries, and closes them; what it had inherited would stay.
        in_time("it has nothing else", || {
            let open = open_in(pid.as_i32());
            open.keys().all(|number| *number < 3).then_some(())
        });
        assert_eq!(status(pid, "SigBlk"), blocked);
        let ignored = u64::from_str_radix(&status(pid, "SigIgn"), 16).expect("a set");
        assert_eq!(ignored & 1 << (Signal::PIPE.as_raw() - 1), 0);
        in_time("it has its variables", || {
            let environment = std::fs::read(format!("/proc/{}/environ", pid.as_i32()));
            (environment.expect("it lives") == b"A=b\0").then_some(())
        });
        world.end();
    });
}

pub(crate) fn a_program_costs_the_master_nothing() {
    in_child(|| {
        let mut world = started(config().mesh(true).helper(Policy::RESTART), sleep);
        let (id, pid) = asleep(&mut world);
        world.until("the worker is ready", |world| world.live().len() == 2);
        let worker = world.live().into_iter().find(|(own, _)| *own != id);
        let (_, victim) = worker.expect("it is");
        world.replace(victim); // which the program is not told
        world.master.workers().reopen();
        let worker = world.live().into_iter().find(|(own, _)| *own != id);
        world.hear(worker.expect("it is").0, REOPENED);
        world.until("the master has nothing to do", |world| {
            world.master.timeout_ms().is_none()
        });
        for _ in 0..20 {
            let mut waiting = [rustix::event::PollFd::new(
                &world.master,
                rustix::event::PollFlags::IN,
            )];
            let most = rustix::event::Timespec {
                tv_sec: 0,
                tv_nsec: 2_000_000,
            };
            let woken = rustix::event::poll(&mut waiting, Some(&most)).expect("poll");
            assert_eq!((woken, world.master.timeout_ms()), (0, None));
        }
        assert_eq!(helper(&world, 0), Some((id, pid)), "and lives");
        world.end();
    });
}

/// Becomes a program when it could read an order, and does not.
fn deaf(worker: &mut Worker) -> Exit {
    worker.ready();
    let control = worker.source(Sources::CONTROL).expect("a control end");
    wait_readable(control, "an order");
    let none = 0_u64;
    let (call, how) = (libc::SYS_rt_sigprocmask, libc::SIG_SETMASK);
    // SAFETY: the set is eight bytes, and lives through the call.
    let done = unsafe { libc::syscall(call, how, &raw const none, 0, 8) };
    assert_eq!(done, 0);
    let error = Command::new("/bin/sleep").arg("1000").exec();
    panic!("{error}");
}

/// Has an order that it has not read, and its loop has not said so.
fn late(worker: &mut Worker) -> Exit {
    while worker.receive().is_some() {} // nothing is said before it is ready
    worker.ready();
    let control = worker.source(Sources::CONTROL).expect("a control end");
    wait_readable(control, "an order");
    sleep(worker)
}

pub(crate) fn who_is_told_to_go_becomes_no_program() {
    in_child(|| {
        let mut world = started(config().helper(Policy::RESTART), late);
        ready(&mut world, 0);
        world.master.workers().quit();
        world.until("the end", |world| world.master.is_ended());
        assert_eq!(world.exits(), [ExitStatus::SUCCESS; 2]);
    });
}

pub(crate) fn an_order_amid_an_exec_is_given_again() {
    in_child(|| {
        // If it were not, TERM would end it after this time, and that is another signal.
        let config = config().quit_ms(20_000).helper(Policy::RESTART);
        let mut world = started(config, deaf);
        ready(&mut world, 0);
        world.master.workers().quit();
        world.until("the end", |world| world.master.is_ended());
        assert!(killed_by(&world.exits(), Signal::QUIT));
    });
}

pub(crate) fn a_program_that_cannot_be_executed_is_given_up() {
    in_child(|| {
        let help = |worker: &mut Worker| worker.exec(c"/nowhere", &[], &[]);
        let mut world = started(config().helper(Policy::RESTART), help);
        let (slot, why) = world.reported("it is given up", |report| match report {
            Report::Parked(slot, why) => Some((*slot, *why)),
            _ => None,
        });
        assert_eq!(why, Why::Fatal);
        let noent = Errno::NOENT.raw_os_error();
        assert_eq!(world.lab.failed, [(STAGE_PROGRAM, noent)]);
        assert_ne!(Some(slot), world.live().first().map(|(id, _)| *id));
        world.all_live(1);
        world.end();
    });
}

pub(crate) fn a_helper_that_fails_never_fails_a_reload() {
    in_child(|| {
        let help = |worker: &mut Worker| match (worker.number(), worker.epoch()) {
            (_, 0) => obedient(worker),
            (0, _) => Exit::FATAL,
            (1, _) => Exit::FAILURE,
            _ => obedient(worker),
        };
        let config = config().helper(Policy::RESTART).helper(Policy::empty());
        let mut world = started(config.helper(Policy::RESTART), help);
        world.all_live(4);
        for epoch in 1..=3 {
            world.master.workers().reload();
            assert_eq!(outcome(&mut world), Ok(epoch));
            world.until("one helper and a worker serve, one is parked", |world| {
                let slots = world.master.table().occupied();
                let own = slots.filter(|(_, slot)| slot.epoch == epoch).count();
                let all = world.master.table().occupied().count();
                (world.live().len(), own, all) == (2, 3, 3)
            });
        }
        world.end();
    });
}

static ASKED: AtomicU32 = AtomicU32::new(0);

pub(crate) fn a_reload_that_is_deferred_is_asked_again() {
    in_child(|| {
        let mut world = started(config(), obedient);
        world.all_live(1);
        let first = world.live();
        world.lab.reload = |next| match ASKED.fetch_add(1, Ordering::Relaxed) {
            0..3 => Err(NotLoaded::Again { after_ms: 5 }),
            3 => Err(NotLoaded::Again { after_ms: NEVER_MS }),
            _ => Ok(next.workers),
        };
        world.master.workers().reload();
        world.until("it was asked often", |_| ASKED.load(Ordering::Relaxed) == 4);
        assert_eq!(world.live(), first, "who serves, serves");
        let due = world.master.timeout_ms().expect("it waits");
        assert!((NEVER_MS - 60_000..=NEVER_MS).contains(&due), "{due}");
        world.master.workers().reload();
        assert_eq!(outcome(&mut world), Ok(1), "hurried");
        assert_eq!(ASKED.load(Ordering::Relaxed), 5);

        world.lab.reload = |_| Err(NotLoaded::Again { after_ms: NEVER_MS });
        world.master.workers().reload();
        world.turn();
        world.master.workers().quit();
        assert_eq!(outcome(&mut world), Err((2, ReloadError::Ended)));
        world.until("the end", |world| world.master.is_ended());
    });
}

pub(crate) fn a_program_ends_with_its_master() {
    let (master, programs) = master_to_lose(sleep);
    master.signal(Signal::KILL);
    for program in &programs {
        wait_readable(program.as_fd(), "the program ends");
    }
}
