//! Steps that fail: what they are called, what the master is told, and how they are mended.

use forkmesh::machine::{Report, Why};
use forkmesh::run::{Exit, Identity, Setup, SetupError, SetupStep, Worker};
use forkmesh::wire::board::{Ended, Failure, Reached};
use rustix::io::Errno;
use rustix::process::{Gid, Uid, geteuid};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

use crate::support::in_child;
use crate::world::{World, nobody};

type SetUp = fn(&Worker) -> Result<(), SetupError>;

/// Has a worker fail at a step, looks at everything that is known of it then, and mends the fault.
fn fails_at(step: SetupStep, errno: Errno, set_up: SetUp) {
    let mut world = World::new(1, |worker: &mut Worker| {
        if worker.epoch() > 0 {
            return Ok(());
        }
        set_up(worker).map_err(|error| {
            assert_eq!(error, SetupError { step, errno });
            worker.fails(error)
        })
    });
    world.until("it is parked", |world| {
        world.has_reported(|report| matches!(report, Report::Parked(_, Why::Fatal)))
    });
    let said = (step.stage(), errno.raw_os_error());
    assert_eq!(world.lab.failures, [said]);
    assert_eq!(SetupStep::of_stage(said.0), Some(step));
    let (slot, _) = world.master.table().occupied().next().expect("parked");
    let last = world.last(slot);
    assert_eq!(last.ended, Ended::Code(Exit::FATAL.0));
    assert_eq!(last.reached, Reached::Starting);
    let (stage, errno) = said;
    assert_eq!(last.failure, Some(Failure { stage, errno }));
    let spawned = |report: &&_| matches!(report, Report::Spawned(..));
    assert_eq!(world.lab.reports.iter().filter(spawned).count(), 1);
    world.reload();
    world.until("it is revived", |world| {
        world.has_reported(|report| matches!(report, Report::Reloaded(1)))
    });
    assert_eq!(world.live(1).len(), 1);
    world.end();
}

fn become_nobody() {
    let (uid, gid) = (Uid::from_raw(65_534), Gid::from_raw(65_534));
    set_thread_groups(&[]).expect("root may");
    set_thread_res_gid(gid, gid, gid).expect("root may");
    set_thread_res_uid(uid, uid, uid).expect("root may");
}

fn dropped(worker: &Worker) -> Setup<forkmesh::run::Dropped> {
    Setup::begin(worker).keep_identity()
}

pub(crate) fn every_step_names_its_failure() {
    in_child(|| {
        // Above what fs.nr_open can be.
        fails_at(SetupStep::Descriptors, Errno::PERM, |worker| {
            Setup::begin(worker).descriptors(u32::MAX.into()).map(drop)
        });
        fails_at(SetupStep::Environment, Errno::INVAL, |worker| {
            Setup::begin(worker).environment(&[c"nothing"]).map(drop)
        });
        fails_at(SetupStep::Processors, Errno::INVAL, |worker| {
            dropped(worker).processors(&[]).map(drop)
        });
        fails_at(SetupStep::Processors, Errno::INVAL, |worker| {
            dropped(worker).own_processor_of(&[]).map(drop)
        });
        fails_at(SetupStep::Processors, Errno::INVAL, |worker| {
            dropped(worker).processors(&[1024]).map(drop)
        });
        fails_at(SetupStep::Directory, Errno::NOENT, |worker| {
            dropped(worker).directory(c"/nowhere/at/all").map(drop)
        });
        fails_at(SetupStep::Own(9), Errno::NOSYS, |worker| {
            dropped(worker).then(9, || Err(Errno::NOSYS)).map(drop)
        });
        fails_at(SetupStep::Uid, Errno::INVAL, |worker| {
            Setup::begin(worker)
                .drop_to(&Identity::new(0, 65_534))
                .map(drop)
        });
        if geteuid().is_root() {
            only_for_root();
        }
    });
}

fn only_for_root() {
    // "Leave it as it is", to the kernel: never by accident.
    fails_at(SetupStep::Uid, Errno::INVAL, |worker| {
        let who = Identity::new(u32::MAX, 65_534);
        Setup::begin(worker).drop_to(&who).map(drop)
    });
    fails_at(SetupStep::Gid, Errno::INVAL, |worker| {
        let who = Identity::new(65_534, u32::MAX);
        Setup::begin(worker).drop_to(&who).map(drop)
    });
    fails_at(SetupStep::Groups, Errno::INVAL, |worker| {
        let who = nobody().with_groups(&[u32::MAX]).expect("one");
        Setup::begin(worker).drop_to(&who).map(drop)
    });
    // Bit 63 is no capability.
    fails_at(SetupStep::Verification, Errno::PERM, |worker| {
        let kept = forkmesh::run::Capabilities::from_bits_retain(1 << 63);
        Setup::begin(worker)
            .drop_to(&nobody().keeping(kept))
            .map(drop)
    });
    // With CAP_SETUID there is a way back.
    fails_at(SetupStep::Verification, Errno::PERM, |worker| {
        let kept = forkmesh::run::Capabilities::from_bits_retain(1 << 7);
        Setup::begin(worker)
            .drop_to(&nobody().keeping(kept))
            .map(drop)
    });
    fails_at(SetupStep::Directory, Errno::ACCESS, |worker| {
        let mut setup = Setup::begin(worker).drop_to(&nobody())?;
        setup.directory(c"/root").map(drop)
    });
}

pub(crate) fn an_ordinary_user_cannot_drop() {
    in_child(|| {
        if geteuid().is_root() {
            become_nobody();
        }
        fails_at(SetupStep::Groups, Errno::PERM, |worker| {
            Setup::begin(worker).drop_to(&nobody()).map(drop)
        });
        fails_at(SetupStep::Priority, Errno::ACCESS, |worker| {
            Setup::begin(worker).priority(-5).map(drop)
        });
        fails_at(SetupStep::Core, Errno::PERM, |worker| {
            let mut setup = Setup::begin(worker);
            setup.core_bytes(0)?.core_bytes(u64::MAX).map(drop)
        });
    });
}

/// The fault is in the configuration of epoch 0, and mended in that of epoch 1.
pub(crate) fn a_failed_setup_parks_until_a_reload() {
    in_child(|| {
        let mut world = World::new(2, |worker: &mut Worker| {
            let directory = match (worker.number(), worker.epoch()) {
                (1, 0) => c"/nowhere/at/all",
                _ => c"/",
            };
            let entered = dropped(worker).directory(directory).map(drop);
            entered.map_err(|error| worker.fails(error))
        });
        world.until("one is parked", |world| {
            world.has_reported(|report| matches!(report, Report::Parked(_, Why::Fatal)))
        });
        assert_eq!(world.live(1).keys().collect::<Vec<_>>(), [&0]);
        let stage = SetupStep::Directory.stage();
        assert_eq!(world.lab.failures, [(stage, Errno::NOENT.raw_os_error())]);
        world.reload();
        world.until("it is revived", |world| {
            world.has_reported(|report| matches!(report, Report::Reloaded(1)))
        });
        assert_eq!(world.live(2).keys().collect::<Vec<_>>(), [&0, &1]);
        world.end();
    });
}

pub(crate) fn a_step_has_one_stage() {
    let mut steps = 0;
    for stage in (0..70_000).chain(99_990..100_100) {
        if let Some(step) = SetupStep::of_stage(stage) {
            assert_eq!(step.stage(), stage);
            steps += 1;
        }
    }
    assert_eq!(steps, (1 << 16) + 14);
    let error = SetupError {
        step: SetupStep::Directory,
        errno: Errno::ACCESS,
    };
    assert!(error.to_string().starts_with("directory: "));
}
