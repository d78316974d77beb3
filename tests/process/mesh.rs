//! The mesh: who holds which descriptor, who knows whom, and what a worker that was away finds.

use std::collections::BTreeMap;
use std::fs;

use forkmesh::machine::{Backoff, Config};
use forkmesh::table::{Pid, SlotId};
use forkmesh::wire::Message;
use rustix::fd::AsFd;
use rustix::process::Signal;

use crate::support::{self, Descriptor, in_child, inode, open_in};
use crate::world::{ECHO, END, LIMIT, World, obedient, signal};

fn eager(workers: usize) -> Config {
    Config::new()
        .workers(workers)
        .backoff(Backoff::new().eager())
}

/// A process's descriptors, without those that it was started with.
pub(crate) type Open = BTreeMap<i32, Descriptor>;

fn open(pid: i32, before: &Open) -> Open {
    let mut open = open_in(pid);
    open.retain(|number, descriptor| {
        before
            .get(number)
            .is_none_or(|old| old.name != descriptor.name)
    });
    open
}

fn count(open: &Open, name: &str) -> usize {
    open.values()
        .filter(|descriptor| descriptor.name == name)
        .count()
}

fn sockets(open: &Open) -> Vec<u64> {
    let mut sockets: Vec<_> = open
        .values()
        .filter_map(|descriptor| descriptor.socket)
        .collect();
    sockets.sort_unstable();
    sockets
}

/// Which processes the pidfds among these descriptors are of.
fn pidfds(pid: i32, open: &Open) -> Vec<i32> {
    let pidfds = open
        .iter()
        .filter(|(_, descriptor)| descriptor.name == "anon_inode:[pidfd]");
    let of = pidfds.map(|(number, _)| {
        let info = fs::read_to_string(format!("/proc/{pid}/fdinfo/{number}")).unwrap_or_default();
        let pid = info.lines().find_map(|line| line.strip_prefix("Pid:"));
        pid.and_then(|pid| pid.trim().parse().ok()).unwrap_or(0)
    });
    let mut of: Vec<_> = of.collect();
    of.sort_unstable();
    of
}

/// What is wrong with the descriptors of a master and its workers, if anything.
fn wrong(world: &World, before: &Open) -> Result<(), String> {
    let own = std::process::id() as i32;
    let live = world.live();
    let master = open(own, before);
    let workers: Vec<Open> = live
        .iter()
        .map(|(_, pid)| open(pid.as_i32(), before))
        .collect();
    let held_by = |socket: u64| {
        workers
            .iter()
            .filter(|open| sockets(open).contains(&socket))
            .count()
    };
    let check = |right: bool, what: &str| if right { Ok(()) } else { Err(what.to_owned()) };

    let n = live.len();
    let ours = sockets(&master);
    let (alone, shared): (Vec<u64>, Vec<u64>) = ours.iter().partition(|end| held_by(**end) == 0);
    check(
        alone.len() == n,
        "the master has one control End0 a worker, held by nobody else",
    )?;
    check(shared.len() == n, "and one mesh End0 a worker")?;
    check(
        shared.iter().all(|end| held_by(*end) == n - 1),
        "which every sibling of it holds",
    )?;
    check(
        count(&master, "anon_inode:[eventpoll]") == 1,
        "the master has one epoll",
    )?;
    check(
        count(&master, "anon_inode:[signalfd]") == 1,
        "and one signalfd",
    )?;
    let mut watched: Vec<i32> = live.iter().map(|(_, pid)| pid.as_i32()).collect();
    watched.push(own);
    watched.sort_unstable();
    check(
        pidfds(own, &master) == watched,
        "and a pidfd of each worker and of itself",
    )?;
    check(
        count(&master, "/memfd:forkmesh-status (deleted)") == 1,
        "and one board",
    )?;
    check(master.len() == 3 * n + 4, "and nothing else")?;

    for ((_, pid), open) in live.iter().zip(&workers) {
        let theirs = sockets(open);
        let (peers, ends): (Vec<u64>, Vec<u64>) =
            theirs.iter().partition(|end| shared.contains(end));
        check(peers.len() == n - 1, "a worker has one peer a sibling")?;
        check(ends.len() == 2, "and its own two End1")?;
        check(
            ends.iter().all(|end| held_by(*end) == 1),
            "held by nobody else",
        )?;
        check(
            pidfds(pid.as_i32(), open) == [own],
            "and a pidfd of the master",
        )?;
        check(
            count(open, "anon_inode:[eventpoll]") == 1,
            "one epoll: its own",
        )?;
        check(
            count(open, "anon_inode:[signalfd]") == 1,
            "one signalfd: its own",
        )?;
        check(open.len() == n - 1 + 2 + 1 + 2, "and nothing else")?;
        check(
            open.values().all(|d| d.close_on_exec),
            "all of it close-on-exec",
        )?;
        let watches = open
            .iter()
            .find(|(_, d)| d.name == "anon_inode:[eventpoll]");
        let info = watches.map(|(number, _)| format!("/proc/{}/fdinfo/{number}", pid.as_i32()));
        let info = info
            .and_then(|path| fs::read_to_string(path).ok())
            .unwrap_or_default();
        check(
            info.matches("tfd:").count() == 4,
            "the epoll watches four sources: not the master's",
        )?;
    }
    Ok(())
}

pub(crate) fn settles(world: &mut World, before: &Open) {
    world.until("the descriptors are right", |world| {
        let wrong = wrong(world, before);
        world.note = wrong.clone().err().unwrap_or_default();
        wrong.is_ok()
    });
}

pub(crate) fn every_process_holds_what_the_design_allows() {
    in_child(|| {
        let before = open_in(std::process::id() as i32);
        let mut world = World::new(eager(4), obedient);
        world.all_live(4);
        settles(&mut world, &before);
        let mut dice: u32 = 0x2545_F491;
        for _ in 0..200 {
            dice = dice.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let live = world.live();
            let (_, victim) = live[(dice >> 16) as usize % live.len()];
            world.replace(victim);
        }
        settles(&mut world, &before);
        for (worker, _) in world.live() {
            world.until("it knows all", |world| world.knows_all(worker));
        }
        world.end();
        let after = open(std::process::id() as i32, &before);
        assert!(
            sockets(&after).is_empty(),
            "the master's descriptors are gone with it: {after:?}"
        );
    });
}

pub(crate) fn everybody_reaches_everybody() {
    in_child(|| {
        let mut world = World::new(eager(4), obedient);
        world.all_live(4);
        for round in 0..3 {
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
            let (_, victim) = world.live()[round];
            world.replace(victim);
        }
        // A descriptor goes to a worker and comes back.
        let marks = support::Marks::new(1);
        let (to, _) = world.live()[0];
        let sent = &marks.fds()[0];
        let message = Message::new(ECHO, [9; 16]);
        world
            .master
            .workers()
            .send_with(to, message, sent.as_fd())
            .expect("sent");
        let echo = world.hear(to, ECHO);
        assert_eq!(
            inode(echo.descriptor.expect("it came back")),
            marks.inodes()[0]
        );
        world.end();
    });
}

/// nginx loses every frame past the 278th that a stopped worker does not read.
pub(crate) fn a_stopped_worker_catches_up() {
    in_child(|| {
        let before = open_in(std::process::id() as i32);
        let mut world = World::new(eager(3), obedient);
        world.all_live(3);
        let (stopped, pid) = world.live()[0];
        signal(pid, Signal::STOP);
        for _ in 0..400 {
            let (_, victim) = world.live()[1];
            world.replace(victim);
        }
        signal(pid, Signal::CONT);
        world.until("it knows all", |world| world.knows_all(stopped));
        settles(&mut world, &before);
        for (to, _) in world.live().split_off(1) {
            world.greet((stopped, pid), to);
        }
        world.end();
    });
}

/// What is on its way to one that does not read must not keep the others from hearing.
pub(crate) fn a_stopped_worker_does_not_starve_the_others() {
    in_child(|| {
        use rustix::process::{Resource, Rlimit, setrlimit};
        let few = Rlimit {
            current: Some(100),
            maximum: Some(100),
        };
        setrlimit(Resource::Nofile, few).expect("lowered");
        let mut world = World::new(eager(4), obedient);
        world.all_live(4);
        let (_, stopped) = world.live()[0];
        signal(stopped, Signal::STOP);
        for _ in 0..60 {
            let (_, victim) = world.live()[1];
            world.replace(victim);
        }
        for (worker, _) in world.live().split_off(1) {
            world.until("it knows all", |world| world.knows_all(worker));
        }
        signal(stopped, Signal::CONT);
        let (worker, _) = world.live()[0];
        world.until("so does the stopped one, now", |world| {
            world.knows_all(worker)
        });
        world.end();
    });
}

pub(crate) fn a_worker_without_room_asks_again_and_converges() {
    in_child(|| {
        let before = open_in(std::process::id() as i32);
        let mut world = World::new(eager(3), obedient);
        world.all_live(3);
        let (poor, pid) = world.live()[0];
        settles(&mut world, &before);
        let mut payload = [0; 16];
        payload[0] = 3;
        world.tell(poor, LIMIT, payload);
        world.hear(poor, END);
        let (_, victim) = world.live()[1];
        world.replace(victim);
        // It keeps its channel, and asks more than once.
        world.until("it misses the newcomer again and again", |world| {
            world.faults_of(poor)[0] >= 3
        });
        assert!(
            wrong(&world, &before).is_err(),
            "it has not got the newcomer's descriptor"
        );
        world.tell(poor, LIMIT, [0; 16]);
        world.hear(poor, END);
        settles(&mut world, &before);
        let (newcomer, _) = world.live()[1];
        world.greet((poor, pid), newcomer);
        world.end();
    });
}

/// What it misses anew, while what it asked for is on its way, is not forgotten over it.
pub(crate) fn a_worker_without_room_misses_many_and_converges() {
    in_child(|| {
        let before = open_in(std::process::id() as i32);
        let mut world = World::new(eager(5), obedient);
        world.all_live(5);
        let (poor, _) = world.live()[0];
        for _ in 0..5 {
            let mut payload = [0; 16];
            payload[0] = 3;
            world.tell(poor, LIMIT, payload);
            world.hear(poor, END);
            let missing = world.faults_of(poor)[0];
            for (_, victim) in world.live().split_off(1) {
                world.kill(victim);
            }
            world.until("it misses them", |world| {
                world.live().len() == 5 && world.faults_of(poor)[0] >= missing + 12
            });
            world.tell(poor, LIMIT, [0; 16]);
            world.hear(poor, END);
            settles(&mut world, &before);
            world.until("it reaches all", |world| world.knows_all(poor));
        }
        world.end();
    });
}

pub(crate) fn without_a_mesh_there_is_one_pair_a_worker() {
    in_child(|| {
        let before = open_in(std::process::id() as i32);
        let mut world = World::new(eager(3).mesh(false), obedient);
        world.all_live(3);
        let (_, victim) = world.live()[1];
        world.replace(victim);
        let live: Vec<(SlotId, Pid)> = world.live();
        world.until("one socket each", |_| {
            let own = std::process::id() as i32;
            sockets(&open(own, &before)).len() == 3
                && live
                    .iter()
                    .all(|(_, pid)| sockets(&open(pid.as_i32(), &before)).len() == 1)
        });
        world.end();
    });
}
