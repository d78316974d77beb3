//! What /proc says of a worker that has set itself up.

use std::fs;

use forkmesh::run::{Capabilities, Exit, Setup, SetupError, Worker};
use rustix::process::{Gid, Signal, Uid, geteuid, parent_process_death_signal};
use rustix::thread::{
    sched_getaffinity, set_thread_groups, set_thread_res_gid, set_thread_res_uid,
};

use crate::support::in_child;
use crate::world::{World, is_root, nobody, status};

/// A worker that does this while it is set up.
fn worker(
    mut set_up: impl FnMut(&Worker) -> Result<(), SetupError>,
) -> impl FnMut(&mut Worker) -> Result<(), Exit> {
    move |worker| set_up(worker).map_err(|error| worker.fails(error))
}

fn identity_of(pid: i32) -> [String; 7] {
    let fields = [
        "Uid", "Gid", "Groups", "CapPrm", "CapEff", "CapInh", "CapAmb",
    ];
    fields.map(|field| status(pid, field))
}

const NONE: &str = "0000000000000000";

pub(crate) fn a_drop_is_whole() {
    if !is_root("a_drop_is_whole") {
        return;
    }
    in_child(|| {
        let mut world = World::new(
            1,
            worker(|worker| {
                let mut setup = Setup::begin(worker).drop_to(&nobody())?;
                setup.no_new_privileges()?;
                Ok(())
            }),
        );
        let pid = world.live(1)[&0];
        let four = |id: &str| [id; 4].join(" ");
        let uid = four("65534");
        let gid = four("65533");
        let expected = [&uid, &gid, "7 65533", NONE, NONE, NONE, NONE];
        assert_eq!(identity_of(pid), expected);
        assert_eq!(status(pid, "NoNewPrivs"), "1");
        world.end();
    });
}

/// Neither the user, nor the group, nor the groups; nor by capabilities.
pub(crate) fn a_drop_cannot_be_undone() {
    if !is_root("a_drop_cannot_be_undone") {
        return;
    }
    in_child(|| {
        let mut world = World::new(
            1,
            worker(|worker| {
                let mut setup = Setup::begin(worker).drop_to(&nobody())?;
                setup.then(1, || {
                    let (root, none) = (Uid::ROOT, None::<Uid>);
                    assert!(set_thread_res_uid(root, root, root).is_err());
                    assert!(set_thread_res_uid(none, root, none).is_err());
                    assert!(set_thread_res_gid(Gid::ROOT, Gid::ROOT, Gid::ROOT).is_err());
                    assert!(set_thread_groups(&[]).is_err());
                    assert!(fs::read("/etc/shadow").is_err());
                    Ok(())
                })?;
                Ok(())
            }),
        );
        let pid = world.live(1)[&0];
        assert_eq!(status(pid, "NoNewPrivs"), "0", "that is a step of its own");
        world.end();
    });
}

pub(crate) fn capabilities_are_kept_on_request() {
    if !is_root("capabilities_are_kept_on_request") {
        return;
    }
    in_child(|| {
        let kept = Capabilities::NET_BIND_SERVICE | Capabilities::BPF;
        let who = nobody().keeping(kept);
        let mut world = World::new(
            1,
            worker(move |worker| {
                let mut setup = Setup::begin(worker).drop_to(&who)?;
                setup.then(1, || {
                    let keeps = rustix::thread::get_keep_capabilities();
                    assert_eq!(keeps, Ok(false), "not for the next change");
                    Ok(())
                })?;
                Ok(())
            }),
        );
        let pid = world.live(1)[&0];
        let [uid, _, _, permitted, effective, inheritable, ambient] = identity_of(pid);
        assert_eq!(uid, "65534 65534 65534 65534");
        let bits = format!("{:016x}", (1_u64 << 10) | (1 << 39));
        assert_eq!([&permitted, &effective], [&bits, &bits]);
        assert_eq!([inheritable.as_str(), &ambient], [NONE, NONE]);
        world.end();
    });
}

/// The kernel forgets it when the user changes; nobody would end a worker whose master is killed then.
pub(crate) fn a_drop_keeps_the_tie_to_the_master() {
    if !is_root("a_drop_keeps_the_tie_to_the_master") {
        return;
    }
    in_child(|| {
        let mut world = World::new(
            1,
            worker(|worker| {
                let before = parent_process_death_signal();
                assert_eq!(before, Ok(Some(Signal::KILL)));
                let mut setup = Setup::begin(worker).drop_to(&nobody())?;
                let after = || parent_process_death_signal().map(|after| (after, before));
                setup.then(1, || {
                    after().map(|(after, before)| assert_eq!(Ok(after), before))
                })?;
                Ok(())
            }),
        );
        world.live(1);
        world.end();
    });
}

pub(crate) fn become_nobody() {
    let (uid, gid) = (Uid::from_raw(65_534), Gid::from_raw(65_534));
    set_thread_groups(&[]).expect("root may");
    set_thread_res_gid(gid, gid, gid).expect("root may");
    set_thread_res_uid(uid, uid, uid).expect("root may");
}

pub(crate) fn without_root_the_identity_is_kept() {
    in_child(|| {
        if geteuid().is_root() {
            become_nobody();
        }
        let own = identity_of(std::process::id() as i32);
        let mut world = World::new(
            1,
            worker(|worker| {
                let mut setup = Setup::begin(worker);
                setup.priority(19)?.descriptors(64)?.core_bytes(0)?;
                let mut setup = setup.keep_identity();
                setup.directory(c"/")?.no_new_privileges()?.dumpable(true)?;
                Ok(())
            }),
        );
        let pid = world.live(1)[&0];
        assert_eq!(identity_of(pid), own);
        assert_eq!(status(pid, "NoNewPrivs"), "1");
        assert_eq!(limit(pid, "Max open files"), ["64", "64"]);
        world.end();
    });
}

pub(crate) fn a_number_keeps_its_processor() {
    in_child(|| {
        let allowed = sched_getaffinity(None).expect("allowed somewhere");
        let allowed: Vec<usize> = (0..1024).filter(|number| allowed.is_set(*number)).collect();
        let last = *allowed.last().expect("one at least");
        let expected = |number: u16| allowed[usize::from(number) % allowed.len()].to_string();
        let workers = allowed.len() + 1;
        let mut world = World::new(
            workers,
            worker(move |worker| {
                let mut setup = Setup::begin(worker).keep_identity();
                match worker.epoch() {
                    0 | 1 => setup.own_processor()?,
                    2 => setup.own_processor_of(&[last])?,
                    _ => setup.processors(&[last, 1023])?,
                };
                Ok(())
            }),
        );
        let runs_on = |pid| status(pid, "Cpus_allowed_list");
        let first = world.live(workers);
        for (number, pid) in &first {
            assert_eq!(runs_on(*pid), expected(*number), "worker {number}");
        }
        let victim = first[&0];
        world.kill(victim);
        world.until("its successor", |world| {
            let spawned = |report: &&_| matches!(report, forkmesh::machine::Report::Ready(..));
            world.lab.reports.iter().filter(spawned).count() == workers + 1
        });
        let second = world.live(workers);
        assert_ne!(second[&0], victim);
        assert_eq!(runs_on(second[&0]), expected(0), "kept over a respawn");
        for epoch in 1..=3 {
            world.reload();
            world.until("the new ones", |world| {
                world.has_reported(|report| {
                    matches!(report, forkmesh::machine::Report::Reloaded(e) if *e == epoch)
                })
            });
            for (number, pid) in world.live(workers) {
                let on = if epoch == 1 {
                    expected(number)
                } else {
                    last.to_string()
                };
                assert_eq!(runs_on(pid), on, "worker {number} of epoch {epoch}");
            }
        }
        world.end();
    });
}

pub(crate) fn limits_and_directory_are_what_was_asked() {
    in_child(|| {
        // An ordinary user may have had none before.
        let core = if geteuid().is_root() { 4096 } else { 0 };
        let mut world = World::new(
            1,
            worker(move |worker| {
                let mut setup = Setup::begin(worker);
                setup.priority(19)?.descriptors(77)?.core_bytes(core)?;
                let mut setup = setup.keep_identity();
                setup.directory(c"/proc")?.dumpable(false)?;
                setup.then(1, || {
                    let dumpable = rustix::process::dumpable_behavior();
                    let expected = rustix::process::DumpableBehavior::NotDumpable;
                    assert_eq!(dumpable, Ok(expected));
                    Ok(())
                })?;
                setup.dumpable(true)?;
                Ok(())
            }),
        );
        let pid = world.live(1)[&0];
        assert_eq!(limit(pid, "Max open files"), ["77", "77"]);
        assert_eq!(
            limit(pid, "Max core file size"),
            [core.to_string(), core.to_string()]
        );
        let cwd = fs::read_link(format!("/proc/{pid}/cwd")).expect("a directory");
        assert_eq!(cwd.to_str(), Some("/proc"));
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
        let (_, after) = stat.rsplit_once(") ").expect("a name");
        assert_eq!(after.split(' ').nth(19 - 3), Some("19"), "the nice value");
        world.end();
    });
}

/// A row of /proc/PID/limits: the soft limit, and the hard one.
pub(crate) fn limit(pid: i32, name: &str) -> [String; 2] {
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).expect("it runs");
    let row = limits.lines().find_map(|line| line.strip_prefix(name));
    let mut words = row.expect("a limit").split_whitespace().map(str::to_owned);
    [(); 2].map(|()| words.next().expect("two"))
}
