//! What this process may use: priority, limits, processors; and where it is.

use core::ffi::CStr;

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, chdir, setpriority_process, setrlimit};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// The nice value: -20 first, 19 last. The kernel takes what lies outside for the nearest.
pub(crate) fn set_priority(nice: i32) -> Result<(), Errno> {
    setpriority_process(None, nice)
}

/// Both limits on descriptors.
pub(crate) fn limit_descriptors(most: Option<u64>) -> Result<(), Errno> {
    limit(Resource::Nofile, most)
}

/// Both limits on the size of a core, in bytes.
pub(crate) fn limit_core(most: Option<u64>) -> Result<(), Errno> {
    limit(Resource::Core, most)
}

fn limit(resource: Resource, most: Option<u64>) -> Result<(), Errno> {
    let both = Rlimit {
        current: most,
        maximum: most,
    };
    setrlimit(resource, both)
}

/// Runs on these processors alone.
pub(crate) fn set_processors(numbers: impl Iterator<Item = usize>) -> Result<(), Errno> {
    let mut set = CpuSet::new();
    for number in numbers {
        if number >= CpuSet::MAX_CPU {
            return Err(Errno::INVAL);
        }
        set.set(number);
    }
    sched_setaffinity(None, &set)
}

/// The processors that it may run on, lowest first; of 1024.
pub(crate) fn processors() -> Result<impl Iterator<Item = usize> + Clone, Errno> {
    let set = sched_getaffinity(None)?;
    Ok((0..CpuSet::MAX_CPU).filter(move |number| set.is_set(*number)))
}

/// Goes to this directory.
pub(crate) fn enter(directory: &CStr) -> Result<(), Errno> {
    chdir(directory)
}
