//! Descriptors that a worker did not ask for, and what else it has of its master.

use std::fs::{self, File};

use forkmesh::run::{Setup, Worker};
use rustix::fd::{AsFd, AsRawFd};
use rustix::io::fcntl_dupfd_cloexec;

use crate::foreign::owned;
use crate::support::{in_child, open_in};
use crate::world::World;

pub(crate) fn what_is_not_kept_is_closed() {
    in_child(|| {
        // Whatever this process was started with is litter, too; and some that lies high, and in between.
        let open = || owned(File::open("/proc/version").expect("a file"));
        let (wanted, litter) = (open(), open());
        let far = fcntl_dupfd_cloexec(&litter, 700).expect("a number");
        let farther = fcntl_dupfd_cloexec(&wanted, 900).expect("a number");
        let mut world = World::meshed(3, |worker: &mut Worker| {
            let mut setup = Setup::begin(worker).keep_identity();
            let kept = [wanted.as_fd(), farther.as_fd()];
            setup
                .keep_only(worker, &kept)
                .map_err(|error| worker.fails(error))?;
            Ok(())
        });
        let live = world.live(3);
        assert!(open_in(std::process::id() as i32).contains_key(&far.as_raw_fd()));
        for pid in live.into_values() {
            let mut open = open_in(pid);
            open.retain(|number, _| *number > 2);
            let files = open.iter().filter(|(_, open)| open.name == "/proc/version");
            let numbers: Vec<i32> = files.map(|(number, _)| *number).collect();
            let kept = [wanted.as_raw_fd(), farther.as_raw_fd()];
            assert_eq!(numbers, kept, "{open:?}");
            // The worker's own: the master's pidfd, signals, control, mesh, two siblings'; and the poller.
            let count = |name: &str| {
                let named = open.values().filter(|open| open.name.starts_with(name));
                named.count()
            };
            assert_eq!(count("socket:"), 4, "{open:?}");
            assert_eq!(count("anon_inode:[pidfd]"), 1, "{open:?}");
            assert_eq!(count("anon_inode:[signalfd]"), 1, "{open:?}");
            assert_eq!(count("anon_inode:[eventpoll]"), 1, "{open:?}");
            assert_eq!(open.len(), 9, "and no more: {open:?}");
        }
        world.end();
    });
}

/// Nothing but what was asked for is another's than the master's.
pub(crate) fn what_is_no_step_is_the_masters() {
    in_child(|| {
        let mut world = World::new(1, |worker: &mut Worker| {
            let mut setup = Setup::begin(worker).keep_identity();
            setup.directory(c"/").map_err(|error| worker.fails(error))?;
            Ok(())
        });
        let worker = world.live(1)[&0];
        let own = std::process::id() as i32;
        for file in [
            "cgroup",
            "limits",
            "environ",
            "personality",
            "oom_score_adj",
        ] {
            let of = |pid: i32| fs::read(format!("/proc/{pid}/{file}")).ok();
            assert_eq!(of(worker), of(own), "{file}");
        }
        for link in ["root", "exe", "ns/pid", "ns/mnt", "ns/net", "ns/user"] {
            let of = |pid: i32| fs::read_link(format!("/proc/{pid}/{link}")).ok();
            assert_eq!(of(worker), of(own), "{link}");
        }
        let status = |pid, field| crate::world::status(pid, field);
        for field in [
            "Umask", "Uid", "Gid", "Groups", "CapEff", "CapBnd", "Seccomp",
        ] {
            assert_eq!(status(worker, field), status(own, field), "{field}");
        }
        world.end();
    });
}

pub(crate) fn seeds_differ() {
    in_child(|| {
        let mut seeds = Vec::new();
        let mut world = World::new(2, |worker: &mut Worker| {
            let first = worker.seed().expect("the kernel has some");
            assert_ne!(first, worker.seed().expect("the kernel has some"));
            let file = format!("seed-{}-{}", std::process::id(), worker.number());
            let path = std::env::temp_dir().join(file);
            fs::write(path, first).expect("a file");
            Ok(())
        });
        for (number, pid) in world.live(2) {
            let path = std::env::temp_dir().join(format!("seed-{pid}-{number}"));
            seeds.push(fs::read(&path).expect("a file"));
            fs::remove_file(path).expect("it was there");
        }
        assert_eq!(seeds[0].len(), 32);
        assert_ne!(seeds[0], seeds[1], "siblings draw other numbers");
        world.end();
    });
}
