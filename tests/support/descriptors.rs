//! Who holds which descriptor: by inode, from fstat and from /proc.

use std::collections::BTreeMap;
use std::fs;

use rustix::event::{EventfdFlags, eventfd};
use rustix::fd::{AsFd, AsRawFd, OwnedFd};
use rustix::fs::{MemfdFlags, fstat, memfd_create};
use rustix::io::{FdFlags, fcntl_getfd};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What tells one open thing from another.
pub(crate) type Inode = (u64, u64);

/// What lies behind a descriptor.
pub(crate) fn inode(fd: impl AsFd) -> Inode {
    let stat = fstat(fd).expect("an open descriptor has a status");
    (stat.st_dev, stat.st_ino)
}

/// Whether exec closes it.
pub(crate) fn is_close_on_exec(fd: impl AsFd) -> bool {
    fcntl_getfd(fd)
        .expect("an open descriptor has flags")
        .contains(FdFlags::CLOEXEC)
}

/// One entry of a process's descriptor table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Descriptor {
    /// What /proc calls it, such as `socket:[4711]`.
    pub(crate) name: String,
    /// The inode of a socket; `None` for anything else.
    pub(crate) socket: Option<u64>,
    /// Whether exec closes it.
    pub(crate) close_on_exec: bool,
}

/// The descriptors that a process holds, by number. It is to stand still meanwhile, or some of them
/// may be missing.
pub(crate) fn open_in(pid: i32) -> BTreeMap<i32, Descriptor> {
    list(&format!("/proc/{pid}"))
}

/// How many descriptors this process holds.
pub(crate) fn open_count() -> usize {
    // One is the look's own.
    fs::read_dir("/proc/self/fd").expect("/proc").count() - 1
}

/// The descriptors that `make` leaves open in this process, beside what it returns.
pub(crate) fn opened_by<T>(make: impl FnOnce() -> T) -> (T, BTreeMap<i32, Descriptor>) {
    let before = list("/proc/self");
    let made = make();
    let mut after = list("/proc/self");
    after.retain(|number, descriptor| before.get(number) != Some(descriptor));
    (made, after)
}

fn list(process: &str) -> BTreeMap<i32, Descriptor> {
    let folder = format!("{process}/fd");
    let numbers: Vec<i32> = fs::read_dir(&folder)
        .expect("a process that runs has descriptors")
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    // The look's own descriptor is closed by now, and so has no name.
    numbers
        .into_iter()
        .filter_map(|number| {
            let name = fs::read_link(format!("{folder}/{number}")).ok()?;
            let name = name.to_string_lossy().into_owned();
            let info = fs::read_to_string(format!("{process}/fdinfo/{number}")).ok()?;
            let descriptor = Descriptor {
                socket: socket_of(&name),
                close_on_exec: flags(&info)? & CLOEXEC != 0,
                name,
            };
            Some((number, descriptor))
        })
        .collect()
}

fn socket_of(name: &str) -> Option<u64> {
    name.strip_prefix("socket:[")?
        .strip_suffix(']')?
        .parse()
        .ok()
}

/// The `flags:` line of an fdinfo, which is octal.
fn flags(info: &str) -> Option<u32> {
    let line = info.lines().find_map(|line| line.strip_prefix("flags:"))?;
    u32::from_str_radix(line.trim(), 8).ok()
}

const CLOEXEC: u32 = 0o2_000_000;

/// The lowest descriptor number that is free: it tells of a leak for the price of two system calls.
pub(crate) fn lowest_free() -> i32 {
    let event = eventfd(0, EventfdFlags::CLOEXEC).expect("a free descriptor");
    event.as_raw_fd()
}

/// The soft limit on descriptors, as it was; it is that again when this is dropped.
#[derive(Debug)]
pub(crate) struct Limit {
    before: Rlimit,
}

impl Limit {
    pub(crate) fn keep() -> Self {
        Self {
            before: getrlimit(Resource::Nofile),
        }
    }

    /// No descriptor with this number or a higher one can be made from now on.
    pub(crate) fn set(&self, below: u64) {
        let limit = Rlimit {
            current: Some(below),
            ..self.before
        };
        setrlimit(Resource::Nofile, limit).expect("lowering a limit is allowed");
    }

    /// The limit that leaves room for exactly this many descriptors more than are open now.
    pub(crate) fn with_free(free: usize) -> u64 {
        let open = list("/proc/self");
        (0..)
            .filter(|number| !open.contains_key(number))
            .nth(free)
            .expect("numbers do not end") as u64
    }

    pub(crate) fn restore(&self) {
        setrlimit(Resource::Nofile, self.before).expect("the limit was this before");
    }
}

impl Drop for Limit {
    fn drop(&mut self) {
        self.restore();
    }
}

/// Descriptors that can be told from each other: one memfd each.
#[derive(Debug)]
pub(crate) struct Marks(Vec<OwnedFd>);

impl Marks {
    pub(crate) fn new(count: usize) -> Self {
        let mark = |_| memfd_create(c"mark", MemfdFlags::CLOEXEC).expect("a memfd");
        Self((0..count).map(mark).collect())
    }

    pub(crate) fn fds(&self) -> &[OwnedFd] {
        &self.0
    }

    pub(crate) fn inodes(&self) -> Vec<Inode> {
        self.0.iter().map(inode).collect()
    }
}
