//! What the kernel refuses: it is said, or tried again; who serves serves on, and nothing is left.

use std::ffi::CString;

use forkmesh::channel::ForkError;
use forkmesh::machine::{Backoff, Config, ReloadError, Report, UpgradeError};
use forkmesh::run::{Master, PidFile, PidFileError, StartError, Step};
use rustix::fd::AsRawFd;
use rustix::io::Errno;

use crate::heir::{Folder, Program};
use crate::refusal::{left, prepare, refuse, refuse_for_good};
use crate::support::{self, Limit, Marks, in_child, open_count};
use crate::upgrade::{children, mask, outcome, upgrade};
use crate::world::{World, obedient};

fn config() -> Config {
    let backoff = Backoff::new().delay_ms(2, 16).jitter_percent(0);
    Config::new().workers(2).backoff(backoff)
}

fn own_pid() -> i32 {
    std::process::id() as i32
}

/// Two workers, and what the master holds with them.
fn world() -> (World, usize) {
    let mut world = World::new(config(), obedient);
    world.all_live(2);
    let (worker, _) = world.live()[1];
    world.until("it knows all", |world| world.knows_all(worker));
    (world, open_count())
}

/// Both serve, know each other, and nothing else is there.
fn as_before(world: &mut World, open: usize) {
    world.all_live(2);
    world.until("nobody else is left", |world| {
        world.master.table().occupied().count() == 2
    });
    for (worker, _) in world.live() {
        world.until("it knows all", |world| world.knows_all(worker));
    }
    assert_eq!(
        children(own_pid()).len(),
        2,
        "no zombie, and nobody unknown"
    );
    assert_eq!(open_count(), open, "no descriptor is left");
}

fn reload(world: &mut World) -> Result<u32, ReloadError> {
    world.master.workers().reload();
    world.reported("an outcome", |report| match report {
        Report::Reloaded(epoch) => Some(Ok(*epoch)),
        Report::ReloadFailed(_, why) => Some(Err(*why)),
        _ => None,
    })
}

/// Of each call that a spawn makes the first, the second and so on is refused, once.
pub(crate) fn a_refused_spawn_is_tried_again() {
    let calls = [
        (libc::SYS_epoll_ctl, Errno::NOSPC, 2),
        (libc::SYS_socketpair, Errno::NFILE, 2),
        (libc::SYS_pidfd_open, Errno::NOMEM, 1),
    ];
    for (call, errno, times) in calls {
        // Without `std`, the kernel gives the pidfd with the process.
        if call == libc::SYS_pidfd_open && !cfg!(feature = "std") {
            continue;
        }
        in_child(|| {
            let (mut world, open) = world();
            prepare(&[call]);
            for skipped in 0..times {
                let (_, victim) = world.live()[0];
                refuse(errno, skipped, 1);
                world.kill(victim);
                world.reported("it is said", |report| {
                    matches!(report, Report::SpawnFailed(_)).then_some(())
                });
                assert_eq!(world.lab.refused.take(), Some(ForkError::Refused(errno)));
                as_before(&mut world, open);
            }
            world.end();
        });
    }
}

/// In a reload it is not tried again: the old ones serve on.
pub(crate) fn a_refused_spawn_ends_a_reload() {
    in_child(|| {
        let (mut world, open) = world();
        let before = world.live();
        prepare(&[libc::SYS_epoll_ctl, libc::SYS_socketpair]);
        // The second of all calls makes the second one's mesh pair beforehand, and is made again.
        for skipped in [0, 2, 3, 4, 5, 6, 7] {
            refuse(Errno::NOMEM, skipped, 1);
            let failed = reload(&mut world);
            assert!(
                matches!(failed, Err(ReloadError::SpawnFailed(_))),
                "{failed:?}"
            );
            assert_eq!(
                world.lab.refused.take(),
                Some(ForkError::Refused(Errno::NOMEM))
            );
            as_before(&mut world, open);
            assert_eq!(world.live(), before);
        }
        for skipped in [1, 8] {
            refuse(Errno::NOMEM, skipped, 1);
            assert!(reload(&mut world).is_ok(), "{skipped}");
            as_before(&mut world, open);
        }
        assert_eq!(left(), 1, "these were all the calls");
        world.end();
    });
}

pub(crate) fn a_reload_without_descriptors() {
    in_child(|| {
        let (mut world, open) = world();
        let limits = Limit::keep();
        let mut refusals = 0;
        for free in 0..16 {
            limits.set(Limit::with_free(free));
            let outcome = reload(&mut world);
            limits.restore();
            match outcome {
                Ok(_) => assert!(free >= 8, "two workers have eight"),
                Err(ReloadError::SpawnFailed(_)) => {
                    refusals += 1;
                    assert_eq!(
                        world.lab.refused.take(),
                        Some(ForkError::Refused(Errno::MFILE))
                    );
                }
                Err(why) => panic!("{why}"),
            }
            as_before(&mut world, open);
        }
        assert!((8..16).contains(&refusals), "{refusals}");
        world.end();
    });
}

pub(crate) fn an_upgrade_without_descriptors() {
    in_child(|| {
        let folder = Folder::new();
        let (mut world, _) = world();
        let path = folder.path();
        world
            .master
            .keep(PidFile::create(path.as_c_str()).expect("nobody's"));
        let open = open_count();
        let before = world.live();
        let limits = Limit::keep();
        for free in 0..8 {
            limits.set(Limit::with_free(free));
            let outcome = upgrade(&mut world, Program::at(c"/nowhere"));
            limits.restore();
            let pid_file = world.lab.pid_file.pop();
            let why = match outcome {
                Err(UpgradeError::PidFile) if free == 0 => {
                    let (step, errno) = (Step::Open, Errno::MFILE);
                    assert_eq!(pid_file, Some(PidFileError::Refused { step, errno }));
                    None
                }
                // Both ends, the pidfd that is handed over, and the successor's.
                Err(UpgradeError::NotExecuted(2)) if free >= 3 => None,
                Err(UpgradeError::NotLaunched(errno)) if free <= 4 => Some(errno),
                outcome => panic!("{outcome:?} with {free}"),
            };
            assert!(why.is_none_or(|errno| errno == Errno::MFILE.raw_os_error()));
            as_before(&mut world, open);
            assert_eq!(
                (folder.names(), folder.pid()),
                (vec!["pid".to_owned()], own_pid())
            );
            assert_eq!(world.live(), before);
        }
        world.end();
    });
}

pub(crate) fn forks_are_refused() {
    for errno in [Errno::AGAIN, Errno::NOMEM] {
        in_child(|| {
            let (mut world, open) = world();
            let before = world.live();
            refuse_for_good(&[libc::SYS_clone, libc::SYS_clone3], errno);
            let failed = reload(&mut world);
            assert!(
                matches!(failed, Err(ReloadError::SpawnFailed(_))),
                "{failed:?}"
            );
            assert_eq!(world.lab.refused.take(), Some(ForkError::Refused(errno)));
            as_before(&mut world, open);
            let failed = upgrade(&mut world, Program::at(c"/bin/true"));
            assert_eq!(failed, Err(UpgradeError::NotLaunched(errno.raw_os_error())));
            as_before(&mut world, open);
            assert_eq!(world.live(), before);
            // One that died is tried for by a timer, less and less often.
            let (_, victim) = before[0];
            world.kill(victim);
            let delays: Vec<u64> = (0..5)
                .map(|_| {
                    world.reported("another try", |report| match report {
                        Report::Delayed(_, ms) => Some(*ms),
                        _ => None,
                    })
                })
                .collect();
            assert_eq!(delays, [2, 4, 8, 16, 16]);
            let (other, _) = before[1];
            world.until("the other serves on", |world| world.knows_all(other));
            assert_eq!(children(own_pid()).len(), 1);
            world.end();
        });
    }
}

/// What waits, or is handed over, cannot be made.
pub(crate) fn an_upgrade_that_is_refused() {
    let calls = [
        (libc::SYS_epoll_ctl, Errno::NOSPC, 2),
        (libc::SYS_socketpair, Errno::NFILE, 1),
        (libc::SYS_sendmsg, Errno::TOOMANYREFS, 1),
        (libc::SYS_pidfd_open, Errno::NOMEM, 1),
    ];
    for (call, errno, times) in calls {
        in_child(|| {
            let (mut world, open) = world();
            let before = world.live();
            prepare(&[call]);
            for skipped in 0..times {
                refuse(errno, skipped, 1);
                // Longer than any test, were it not killed.
                let program = Program::at(c"/bin/sleep").argument("1000");
                let failed = upgrade(&mut world, program);
                assert_eq!(failed, Err(UpgradeError::NotLaunched(errno.raw_os_error())));
                as_before(&mut world, open);
                assert_eq!(world.live(), before);
            }
            world.end();
        });
    }
}

pub(crate) fn a_program_that_cannot_be_executed() {
    in_child(|| {
        let (mut world, open) = world();
        let marks = Marks::new(1);
        let file = &marks.fds()[0];
        rustix::io::write(file, b"neither a format nor a script\n").expect("room");
        let text = CString::new(format!("/proc/self/fd/{}", file.as_raw_fd())).expect("a path");
        let long = "x".repeat(256 * 1024);
        let programs = [
            (Program::at(c"/nowhere"), Errno::NOENT),
            (Program::at(c"/etc/passwd"), Errno::ACCESS),
            (Program::at(&text), Errno::NOEXEC),
            (Program::at(c"/bin/true").with("LONG", &long), Errno::TOOBIG),
        ];
        for (program, errno) in programs {
            let failed = upgrade(&mut world, program);
            assert_eq!(failed, Err(UpgradeError::NotExecuted(errno.raw_os_error())));
            as_before(&mut world, open + 1);
        }
        world.end();
    });
}

const RENAMES: [i64; 3] = [
    libc::SYS_renameat2,
    libc::SYS_renameat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_rename,
    #[cfg(not(target_arch = "x86_64"))]
    libc::SYS_renameat,
];

/// The pid file cannot be set aside, or not be taken back: then it is as soon as it can.
pub(crate) fn a_pid_file_that_cannot_be_moved() {
    in_child(|| {
        let folder = Folder::new();
        let (mut world, _) = world();
        let path = folder.path();
        world
            .master
            .keep(PidFile::create(path.as_c_str()).expect("nobody's"));
        let open = open_count();
        prepare(&RENAMES);
        let step = Step::Rename;
        for errno in [Errno::ACCESS, Errno::NOSPC] {
            refuse(errno, 0, 1);
            let failed = upgrade(&mut world, Program::at(c"/nowhere"));
            assert_eq!(failed, Err(UpgradeError::PidFile));
            assert_eq!(
                world.lab.pid_file.pop(),
                Some(PidFileError::Refused { step, errno })
            );
            as_before(&mut world, open);
            assert_eq!(
                (folder.names(), folder.pid()),
                (vec!["pid".to_owned()], own_pid())
            );

            refuse(errno, 1, 1);
            let failed = upgrade(&mut world, Program::at(c"/nowhere"));
            assert_eq!(failed, Err(UpgradeError::NotExecuted(2)));
            assert_eq!(world.lab.pid_file, [PidFileError::Refused { step, errno }]);
            assert_eq!(folder.names(), ["pid.oldbin"]);
            world.until("it is taken back", |_| folder.names() == ["pid"]);
            assert_eq!(world.lab.pid_file.len(), 1, "and said once");
            world.lab.pid_file.clear();
            as_before(&mut world, open);
        }
        // Another upgrade in the meantime finds it aside, and takes it back.
        refuse(Errno::NOSPC, 1, 1);
        assert!(upgrade(&mut world, Program::at(c"/nowhere")).is_err());
        assert!(upgrade(&mut world, Program::at(c"/nowhere")).is_err());
        assert_eq!(folder.names(), ["pid"]);
        world.end();
        assert_eq!(folder.names(), [""; 0]);
    });
}

/// Whoever gets no master is as it was, and can be ended by a signal.
pub(crate) fn a_master_that_cannot_start() {
    let calls = [
        (libc::SYS_signalfd4, Errno::MFILE),
        (libc::SYS_epoll_create1, Errno::NFILE),
        (libc::SYS_epoll_ctl, Errno::NOSPC),
        (libc::SYS_pidfd_open, Errno::NOMEM),
    ];
    for (call, errno) in calls {
        in_child(|| {
            prepare(&[call]);
            let (open, blocked) = (open_count(), mask(own_pid(), "SigBlk"));
            refuse(errno, 0, 1);
            let master = Master::with(config(), support::alone());
            assert_eq!(master.err(), Some(StartError::Refused(errno)));
            assert_eq!(left(), 0);
            assert_eq!((open_count(), mask(own_pid(), "SigBlk")), (open, blocked));
            let (world, _) = world();
            world.end();
        });
    }
}

/// Nobody can look at it; it serves all the same.
pub(crate) fn a_master_without_a_board() {
    in_child(|| {
        prepare(&[libc::SYS_memfd_create]);
        refuse(Errno::NOMEM, 0, 1);
        let (mut world, open) = world();
        assert_eq!(left(), 0);
        assert!(reload(&mut world).is_ok());
        as_before(&mut world, open);
        world.end();
    });
}

pub(crate) fn refused_announcements_are_made_again() {
    for errno in [Errno::TOOMANYREFS, Errno::NOBUFS, Errno::NOMEM] {
        in_child(|| {
            let (mut world, open) = world();
            prepare(&[libc::SYS_sendmsg]);
            for _ in 0..3 {
                refuse(errno, 0, 4);
                let (_, victim) = world.live()[0];
                world.replace(victim);
                as_before(&mut world, open);
                assert_eq!(left(), 0);
            }
            world.end();
        });
    }
}

/// The successor is gone by the time anything is said of it.
pub(crate) fn a_refused_upgrade_can_be_asked_for_again() {
    in_child(|| {
        let (mut world, open) = world();
        prepare(&[libc::SYS_socketpair]);
        refuse(Errno::NFILE, 0, 1);
        let failed = upgrade(&mut world, Program::at(c"/nowhere"));
        assert_eq!(failed, Err(UpgradeError::NotLaunched(23)));
        world.master.workers().upgrade();
        world.master.workers().reload();
        assert_eq!(outcome(&mut world), Err(UpgradeError::NotExecuted(2)));
        world.reported("both are done", |report| {
            matches!(report, Report::Reloaded(_)).then_some(())
        });
        as_before(&mut world, open);
        world.end();
    });
}

/// A slot that was to be forked and was not: who comes into it later is reached all the same.
pub(crate) fn whoever_comes_after_a_refused_spawn_is_reached() {
    in_child(|| {
        let (mut world, open) = world();
        prepare(&[libc::SYS_epoll_ctl]);
        refuse(Errno::NOMEM, 0, 1);
        assert!(reload(&mut world).is_err());
        as_before(&mut world, open);
        for worker in 0..2 {
            let (_, victim) = world.live()[worker];
            world.replace(victim);
        }
        for workers in 3..=4 {
            world.master.workers().more();
            world.all_live(workers);
        }
        for (worker, _) in world.live() {
            world.until("it knows all", |world| world.knows_all(worker));
        }
        let live = world.live();
        world.greet(live[0], live[3].0);
        world.greet(live[1], live[2].0);
        world.end();
    });
}
