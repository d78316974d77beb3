//! A worker that asks for everything at once, and all that /proc says of it then: as root, who drops, and
//! as an ordinary user, who keeps what it is.

use std::fs::{self, File};

use forkmesh::run::{Setup, SetupError, Worker};
use rustix::fd::{AsFd, AsRawFd, OwnedFd};
use rustix::process::geteuid;
use rustix::thread::sched_getaffinity;

use crate::drop::{become_nobody, limit};
use crate::foreign::owned;
use crate::support::{in_child, open_in};
use crate::world::{World, nobody, status};

pub(crate) fn a_worker_is_what_was_asked() {
    if geteuid().is_root() {
        in_child(|| everything(true));
        in_child(|| {
            become_nobody();
            everything(false);
        });
    } else {
        in_child(|| everything(false));
    }
}

fn set_up(worker: &Worker, drops: bool, kept: &OwnedFd) -> Result<(), SetupError> {
    let mut setup = Setup::begin(worker);
    setup.environment(&[c"PATH=/bin", c"LANG=C"])?;
    setup.priority(17)?.descriptors(99)?.core_bytes(0)?;
    let mut setup = match drops {
        true => setup.drop_to(&nobody())?,
        false => setup.keep_identity(),
    };
    setup.own_processor()?.dumpable(true)?.directory(c"/proc")?;
    setup.keep_only(worker, &[kept.as_fd()])?;
    setup.no_new_privileges()?;
    Ok(())
}

fn everything(drops: bool) {
    let own = std::process::id() as i32;
    let kept = owned(File::open("/proc/version").expect("a file"));
    let litter = owned(File::open("/proc/version").expect("a file"));
    let mut world = World::new(1, |worker: &mut Worker| {
        set_up(worker, drops, &kept).map_err(|error| worker.fails(error))
    });
    let pid = world.live(1)[&0];
    let read = |name: &str| fs::read_to_string(format!("/proc/{pid}/{name}")).expect("it runs");

    // status
    let identity = ["Uid", "Gid", "Groups"].map(|field| status(pid, field));
    if drops {
        let expected = [&[65_534; 4], &[65_533; 4]]
            .map(|ids: &[u32; 4]| ids.map(|id| id.to_string()).join(" "));
        assert_eq!(identity[..2], expected);
        assert_eq!(identity[2], "7 65533");
    } else {
        assert_eq!(
            identity,
            ["Uid", "Gid", "Groups"].map(|field| status(own, field))
        );
    }
    for capabilities in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        assert_eq!(
            status(pid, capabilities),
            "0000000000000000",
            "{capabilities}"
        );
    }
    assert_eq!(status(pid, "NoNewPrivs"), "1");
    assert_eq!(status(pid, "Threads"), "1");
    let allowed = sched_getaffinity(None).expect("allowed somewhere");
    let first = (0..1024)
        .find(|number| allowed.is_set(*number))
        .expect("one");
    assert_eq!(status(pid, "Cpus_allowed_list"), first.to_string());
    let stat = read("stat");
    let (_, after) = stat.rsplit_once(") ").expect("a name");
    assert_eq!(after.split(' ').nth(19 - 3), Some("17"), "the nice value");

    // limits, cgroup, cwd, environ
    assert_eq!(limit(pid, "Max open files"), ["99", "99"]);
    assert_eq!(limit(pid, "Max core file size"), ["0", "0"]);
    for unasked in ["Max processes", "Max stack size", "Max locked memory"] {
        assert_eq!(limit(pid, unasked), limit(own, unasked), "{unasked}");
    }
    let cgroup = fs::read_to_string("/proc/self/cgroup").expect("/proc");
    assert_eq!(read("cgroup"), cgroup, "the master's");
    let directory = fs::read_link(format!("/proc/{pid}/cwd")).expect("a directory");
    assert_eq!(directory.to_str(), Some("/proc"));
    assert_eq!(read("environ").trim_end_matches('\0'), "PATH=/bin\0LANG=C");

    // fd: standard input, output and error, what is kept, and the worker's own
    let open = open_in(pid);
    let number = kept.as_raw_fd();
    assert_eq!(open[&number].name, "/proc/version");
    assert!(!open.contains_key(&litter.as_raw_fd()), "{open:?}");
    let mut others: Vec<&str> = open
        .iter()
        .filter(|(other, _)| **other > 2 && **other != number)
        .map(|(_, open)| open.name.split([':', '[']).next().expect("a name"))
        .collect();
    others.sort_unstable();
    assert_eq!(
        others,
        ["anon_inode", "anon_inode", "anon_inode", "socket"],
        "{open:?}"
    );
    world.end();
}
