//! Many descriptors at once: closing them in runs, moving them out of the way, and how many there
//! may be.

use rustix::fd::{AsFd, IntoRawFd, OwnedFd, RawFd};
use rustix::io::fcntl_dupfd_cloexec;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use syscalls::{Sysno, raw_syscall};

/// Closes what it is given, neighbours together: a run of neighbouring numbers costs one
/// `close_range`, however long it is. What is left is closed when it is dropped.
///
/// It closes exactly what it owns: that neighbours were made side by side makes it fast, and nothing
/// else depends on it.
#[derive(Debug, Default)]
pub(crate) struct Sweep {
    run: core::ops::Range<RawFd>,
}

impl Sweep {
    /// Takes a descriptor, to close it now or soon.
    pub(crate) fn add(&mut self, descriptor: OwnedFd) {
        let number = descriptor.into_raw_fd();
        if number != self.run.end || self.run.is_empty() {
            self.close();
            self.run.start = number;
        }
        self.run.end = number + 1;
    }

    fn close(&mut self) {
        let run = core::mem::take(&mut self.run);
        if run.is_empty() {
            return;
        }
        let (first, last) = (run.start, run.end - 1);
        // SAFETY: every number in the run was given up to `add` as an owned descriptor, and is
        // closed once: `run` was taken. The call reads no memory.
        let done = unsafe { raw_syscall!(Sysno::close_range, first, last, 0) };
        if done != 0 {
            run.for_each(close); // a kernel before 5.9
        }
    }
}

impl Drop for Sweep {
    fn drop(&mut self) {
        self.close();
    }
}

fn close(number: RawFd) {
    // SAFETY: the caller owns the descriptor of this number and does not use it again. The call
    // reads no memory.
    unsafe { raw_syscall!(Sysno::close, number) };
}

/// A copy at the lowest free number that is not below `least`; the original where there is none.
pub(crate) fn moved_up(descriptor: OwnedFd, least: RawFd) -> OwnedFd {
    fcntl_dupfd_cloexec(descriptor.as_fd(), least).unwrap_or(descriptor)
}

/// Raises the soft limit on descriptors to the hard one, and says what it now is.
pub(crate) fn raise_limit() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    let in_force = if setrlimit(Resource::Nofile, raised).is_ok() {
        raised
    } else {
        limit
    };
    in_force.current.unwrap_or(u64::MAX)
}
