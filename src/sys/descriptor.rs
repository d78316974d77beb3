//! Many descriptors at once: closing them in runs, moving them out of the way, and how many there
//! may be.

use rustix::fd::{AsFd, AsRawFd, IntoRawFd, OwnedFd, RawFd};
use rustix::io::{Errno, FdFlags, fcntl_dupfd_cloexec, fcntl_setfd};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use syscalls::{Sysno, raw_syscall, syscall};

use crate::sys::errno;

/// Closes what it was given when it is dropped, neighbours together: a run of neighbouring numbers
/// costs one `close_range`, however long it is and in whatever order it came.
///
/// It closes exactly what it owns: that many were made side by side makes it fast, and nothing else
/// depends on it.
#[derive(Debug)]
pub(crate) struct Sweep {
    /// A bit for each number that it owns.
    owned: [u64; SWEPT / 64],
}

/// The numbers below this can wait to be closed together; one that is not is closed at once.
const SWEPT: usize = 8192;

impl Sweep {
    /// Takes a descriptor, to close it now or soon.
    pub(crate) fn add(&mut self, descriptor: OwnedFd) {
        let number = descriptor.into_raw_fd();
        match self.owned.get_mut(number as usize / 64) {
            Some(word) => *word |= 1 << (number % 64),
            None => close(number),
        }
    }

    /// The first number from here on that is owned, or that is not; `SWEPT` where there is none.
    fn next(&self, from: usize, owned: bool) -> usize {
        let mut mask = u64::MAX << (from % 64);
        for (at, word) in self.owned.iter().enumerate().skip(from / 64) {
            let found = if owned { *word } else { !*word } & mask;
            if found != 0 {
                return at * 64 + found.trailing_zeros() as usize;
            }
            mask = u64::MAX;
        }
        SWEPT
    }
}

impl Default for Sweep {
    fn default() -> Self {
        Self {
            owned: [0; SWEPT / 64],
        }
    }
}

impl Drop for Sweep {
    fn drop(&mut self) {
        let mut first = self.next(0, true);
        while first < SWEPT {
            let end = self.next(first, false);
            // Every number in the run was given up to `add` as an owned descriptor, and is closed once: the
            // runs do not overlap.
            if close_range(first as u32, end as u32 - 1, 0).is_err() {
                (first..end).for_each(|number| close(number as RawFd)); // a kernel before 5.9, or a filter that refuses it
            }
            first = self.next(end, true);
        }
    }
}

/// Closes a run of descriptors, or has an exec close them.
fn close_range(first: u32, last: u32, flags: u32) -> Result<(), Errno> {
    // SAFETY: the callers own every descriptor in the run and do not use it again, or change nothing but
    // what an exec does. The call reads no memory.
    let done = unsafe { syscall!(Sysno::close_range, first, last, flags) };
    done.map(drop).map_err(errno)
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

/// Closes every descriptor but the first three and those that are kept. What owns one of the others must
/// not use it again, nor close it: by the caller's word.
pub(crate) fn close_all_but(kept: impl Iterator<Item = RawFd> + Clone) -> Result<(), Errno> {
    let mut first = BEHIND_STDIO;
    loop {
        let next = kept.clone().filter(|number| *number >= first).min();
        let last = next.map_or(u32::MAX, |number| number as u32 - 1);
        if first as u32 <= last {
            close_range(first as u32, last, 0)?; // nobody uses these, by the caller's word
        }
        match next {
            Some(number) => first = number + 1,
            None => return Ok(()),
        }
    }
}

/// The descriptor, or a copy of it, at a number where no standard input, output or error is looked for.
pub(crate) fn behind_stdio(descriptor: OwnedFd) -> Result<OwnedFd, Errno> {
    if descriptor.as_raw_fd() >= BEHIND_STDIO {
        return Ok(descriptor);
    }
    fcntl_dupfd_cloexec(descriptor, BEHIND_STDIO)
}

/// Has an exec leave this descriptor open.
pub(crate) fn keep_through_exec(descriptor: impl AsFd) -> Result<(), Errno> {
    fcntl_setfd(descriptor, FdFlags::empty())
}

/// Has an exec close every descriptor but the first three, whoever made it.
pub(crate) fn close_at_exec() {
    if close_range(BEHIND_STDIO as u32, u32::MAX, AT_EXEC).is_ok() {
        return;
    }
    // A kernel before 5.11, or a filter that refuses it.
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(MOST_NUMBERS);
    for number in BEHIND_STDIO as u64..limit.min(MOST_NUMBERS) {
        // SAFETY: the call reads no memory, and changes nothing but what an exec does; a number that is
        // no descriptor is an error.
        unsafe { raw_syscall!(Sysno::fcntl, number, SET_FLAGS, CLOSE_ON_EXEC) };
    }
}

/// The first number behind those of standard input, output and error.
const BEHIND_STDIO: RawFd = 3;
const AT_EXEC: u32 = 1 << 2;
const SET_FLAGS: u32 = 2;
const CLOSE_ON_EXEC: u32 = 1;
/// The kernel's own limit (fs.nr_open), unless it was raised.
const MOST_NUMBERS: u64 = 1 << 20;

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
