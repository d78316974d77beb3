//! Upgrades: a program takes over, or does not; and what an old master is like after one that failed.

use forkmesh::channel::Pair;
use forkmesh::machine::{Config, ExitStatus, Phase, Report, UpgradeError};
use forkmesh::run::PidFile;
use rustix::fd::OwnedFd;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::Signal;

use crate::heir::{
    EAGER, FAILED, Folder, Heir, LINGERING, LINGERS, NEXT, PID_FILE, PROBATION, Program, READY,
    UPGRADED, news, tell,
};
use crate::mesh::settles;
use crate::support::{self, Ended, in_child, in_time, open_count, open_in};
use crate::world::{World, obedient};

/// The outcome of an upgrade.
pub(crate) fn outcome(world: &mut World) -> Result<i32, UpgradeError> {
    world.reported("an outcome", |report| match report {
        Report::Upgraded(pid) => Some(Ok(pid.as_i32())),
        Report::UpgradeFailed(why) => Some(Err(*why)),
        _ => None,
    })
}

pub(crate) fn upgrade(world: &mut World, program: Program) -> Result<i32, UpgradeError> {
    world.lab.program = Some(program);
    world.master.workers().upgrade();
    outcome(world)
}

fn own_pid() -> i32 {
    std::process::id() as i32
}

/// A line of a process's status that is a mask of signals.
pub(crate) fn mask(pid: i32, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("a process");
    let mut lines = status.lines();
    let line = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    u64::from_str_radix(line.expect("a mask").trim(), 16).expect("a mask")
}

pub(crate) fn children(pid: i32) -> Vec<i32> {
    let list = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    let list = list.expect("a process");
    let each = list.split_whitespace();
    each.map(|child| child.parse().expect("a pid")).collect()
}

/// A world with two workers and a pid file.
fn world(folder: &Folder, config: Config) -> World {
    let mut world = World::new(config.workers(2), obedient);
    let path = folder.path();
    world
        .master
        .keep(PidFile::create(path.as_c_str()).expect("nobody's"));
    world.all_live(2);
    world
}

fn serves(folder: &Folder) -> Program {
    Program::new("serves").with(PID_FILE, folder.path().to_str().expect("of letters"))
}

pub(crate) fn an_upgrade_takes_over() {
    in_child(|| {
        let folder = Folder::new();
        let (line, theirs) = pipe_with(PipeFlags::CLOEXEC).expect("a pipe");
        // Something that the user has blocked is blocked in every worker, and nothing else of ours.
        let blocked = 1 << (libc::SIGPWR - 1);
        // SAFETY: the set is eight bytes, and lives through the call.
        let done = unsafe {
            let set: u64 = blocked;
            libc::syscall(
                libc::SYS_rt_sigprocmask,
                libc::SIG_BLOCK,
                &raw const set,
                0,
                8,
            )
        };
        assert_eq!(done, 0);
        let standing = open_in(own_pid());
        let standing = standing.values().filter(|open| !open.close_on_exec).count();
        let mut world = world(&folder, Config::new().probation_ms(50));
        let old = mask(world.live()[0].1.as_i32(), "SigBlk");
        assert_eq!(old & blocked, blocked);
        let heir = upgrade(&mut world, serves(&folder).reporting(theirs)).expect("it takes over");
        let heir = Heir::new(heir);
        assert_eq!(news(&line), Some((READY, heir.pid, true)));
        world.lab.program = None;
        world.until("the end", |world| world.master.is_ended());
        assert_eq!(world.lab.phases, [Phase::Draining]);
        assert_eq!(world.exits(), [ExitStatus::Code(0); 2]);
        assert_eq!(folder.names(), ["pid", "pid.oldbin"]);
        drop(world);
        assert_eq!(folder.names(), ["pid"]);
        assert_eq!(folder.pid(), heir.pid);

        let workers = children(heir.pid);
        assert_eq!(workers.len(), 2);
        for worker in &workers {
            assert_eq!(
                mask(*worker, "SigBlk"),
                old,
                "what was blocked before, and ours"
            );
        }
        // Beside what it was started with and the line of this test: two workers with three each, its
        // epoll, signalfd, pidfd and board, and its pid file; and of its predecessor what is closed soon.
        in_time("the descriptors of a master", || {
            let open = open_in(heir.pid).len() - standing;
            (open == 1 + 2 * 3 + 4 + 1).then_some(())
        });
        for worker in workers {
            in_time("the descriptors of a worker", || {
                let open = open_in(worker).len() - standing;
                (open == 1 + 1 + 2 + 3).then_some(())
            });
        }
        heir.signal(Signal::TERM);
        assert_eq!(heir.end(), Some(0));
        assert_eq!(folder.names(), [""; 0]);
    });
}

pub(crate) fn a_failed_upgrade_changes_nothing() {
    in_child(|| {
        let folder = Folder::new();
        let before = open_in(own_pid());
        let config = Config::new().upgrade_ms(5_000).probation_ms(20_000);
        let mut world = world(&folder, config.terminate_ms(50));
        let first = world.live();
        let path = folder.path();
        let with =
            |role: &str| Program::new(role).with(PID_FILE, path.to_str().expect("of letters"));
        let failures = [
            (Program::at(c"/nowhere"), UpgradeError::NotExecuted(2)),
            (with("dies"), UpgradeError::Died(ExitStatus::Code(3))),
            (with("cannot serve"), UpgradeError::Unready),
            (
                with("cannot watch"),
                UpgradeError::Died(ExitStatus::Code(7)),
            ),
        ];
        let open = open_count();
        for (program, why) in failures {
            assert_eq!(upgrade(&mut world, program), Err(why));
            assert_eq!(world.live(), first, "nobody went");
            assert_eq!(
                (folder.names(), folder.pid()),
                (vec!["pid".to_owned()], own_pid())
            );
            assert_eq!((open_count(), children(own_pid()).len()), (open, 2));
        }
        let why = UpgradeError::DiedReady(ExitStatus::Code(4));
        assert_eq!(upgrade(&mut world, with("serves briefly")), Err(why));
        world.all_live(2);
        world.until("the old ones are gone", |world| {
            world.master.table().occupied().count() == 2
        });
        assert_eq!(
            (folder.names(), folder.pid()),
            (vec!["pid".to_owned()], own_pid())
        );
        // One more is open: the pid file.
        let file: Vec<_> = open_in(own_pid()).into_iter().collect();
        let file = file
            .into_iter()
            .filter(|(_, open)| open.name.ends_with("/pid"));
        let mut before = before;
        before.extend(file);
        settles(&mut world, &before);
        assert!(world.lab.pid_file.is_empty());
        world.end();
        assert_eq!(folder.names(), [""; 0]);
    });
}

/// Neither one that says nothing nor one that never stops talking holds up the master.
pub(crate) fn a_successor_that_hangs_is_killed() {
    in_child(|| {
        let folder = Folder::new();
        let config = Config::new().upgrade_ms(100).terminate_ms(20);
        let mut world = world(&folder, config);
        let (worker, _) = world.live()[0];
        let open = open_count();
        for role in ["hangs", "never stops talking"] {
            world.lab.program = Some(Program::new(role));
            world.master.workers().upgrade();
            world.until("it was launched", |_| children(own_pid()).len() == 3);
            world.until("it knows all", |world| world.knows_all(worker));
            assert_eq!(outcome(&mut world), Err(UpgradeError::Deadline));
            assert_eq!((open_count(), children(own_pid()).len()), (open, 2));
            assert_eq!(
                (folder.names(), folder.pid()),
                (vec!["pid".to_owned()], own_pid())
            );
        }
        world.end();
    });
}

/// A master in a process of its own that is upgraded to a program, and stays behind it as a relay or not.
fn old_master(line: OwnedFd, program: Program, relays: bool) -> support::Kept {
    let program = program.reporting(&line);
    let pair = Pair::new().expect("a pair");
    let forked = pair.fork(&mut support::alone(), |_| {
        let mut world = World::new(Config::new().workers(1).probation_ms(100), obedient);
        world.all_live(1);
        upgrade(&mut world, program).expect("it takes over");
        world.until("the end", |world| world.master.is_ended());
        tell(&line, LINGERING, false);
        if relays {
            let relay = world.master.relay().expect("a signalfd");
            drop(world);
            relay.expect("there is a successor").run().expect("epoll");
        }
        0
    });
    support::Kept::new(forked.expect("a child").1)
}

/// A successor's upgrade is asked for while the predecessor is there, and begins after that.
pub(crate) fn an_upgrade_waits_for_the_predecessors_end() {
    in_child(|| {
        let (line, theirs) = pipe_with(PipeFlags::CLOEXEC).expect("a pipe");
        let program = Program::new("serves")
            .with(EAGER, "1")
            .with(NEXT, "nowhere");
        let mut old = old_master(theirs, program, false);
        let (what, heir, with_parent) = news(&line).expect("it lives");
        assert_eq!((what, with_parent), (READY, true));
        assert_eq!(news(&line), Some((LINGERING, old.pid(), false)));
        let (what, who, _) = news(&line).expect("an outcome");
        assert_eq!((what, who), (FAILED, heir));
        old.ends_well();
        assert_eq!(news(&line), None, "all of them are gone");
    });
}

/// A relay, and the two masters behind it that are there at the end of the second's upgrade.
fn relay_with_two(program: Program) -> (support::Kept, [Heir; 2], OwnedFd) {
    let (line, theirs) = pipe_with(PipeFlags::CLOEXEC).expect("a pipe");
    let relay = old_master(theirs, program, true);
    let (what, middle, _) = news(&line).expect("it serves");
    assert_eq!(what, READY);
    assert_eq!(news(&line), Some((LINGERING, relay.pid(), false)));
    let middle = Heir::new(middle);
    middle.signal(Signal::USR2);
    let (what, last, _) = news(&line).expect("its successor serves");
    assert_eq!(what, READY);
    let last = Heir::new(last);
    assert!(children(relay.pid()).contains(&last.pid), "a relay's child");
    (relay, [middle, last], line)
}

/// Its successor is not its child, and goes on without the relay.
pub(crate) fn a_relays_death_is_not_its_childs() {
    in_child(|| {
        let program = Program::new("serves").with(PROBATION, "300");
        let (mut relay, [middle, last], line) = relay_with_two(program.with(NEXT, "serves"));
        relay.signal(Signal::KILL);
        assert_eq!(relay.end(), Ended::Signal(9));
        let (what, who, _) = news(&line).expect("an outcome");
        assert_eq!((what, who), (UPGRADED, middle.pid));
        middle.wait();
        last.signal(Signal::TERM);
        last.wait();
        assert_eq!(news(&line), None, "all of them are gone");
    });
}

/// A relay launches nobody as long as there are two masters: that one of them has closed its socket is
/// not its end.
pub(crate) fn a_relayed_upgrade_waits_for_the_predecessors_process() {
    in_child(|| {
        let program = Program::new("serves").with(NEXT, "is eager");
        let (mut relay, [middle, last], line) = relay_with_two(program.with(LINGERS, "1"));
        assert_eq!(news(&line), Some((UPGRADED, middle.pid, true)));
        assert_eq!(news(&line), Some((LINGERING, middle.pid, true)));
        // Its successor was asked for an upgrade, and has nothing to say of it now.
        middle.signal(Signal::USR1);
        middle.wait();
        let (what, third, _) = news(&line).expect("the third serves");
        assert_eq!(what, READY);
        assert_eq!(news(&line), Some((UPGRADED, last.pid, false)));
        last.wait();
        Heir::new(third).signal(Signal::TERM);
        assert_eq!(news(&line), None, "all of them are gone");
        relay.ends_well();
    });
}
