//! futex: sleeping on a word that processes share, and waking those who sleep there.
#![allow(clippy::disallowed_types)] // the kernel wants the plain word, not one that models can watch

use core::sync::atomic::AtomicU32;

use rustix::io::Errno;
use rustix::thread::futex::{self, Flags, Timespec};

/// The clock that a sleeper's patience is measured by.
pub(crate) use super::clock::now_ms;

/// Shared: the sleepers are found by the page behind the address, so that every process that has
/// mapped it means the same word.
const SHARED: Flags = Flags::empty();

/// Sleeps until it is woken, for `timeout_ms` at most, and only if the word has this value; returns
/// whether nothing but the time ended it. The caller looks again in any case: a signal ends the
/// sleep, too.
pub(crate) fn wait(word: &AtomicU32, value: u32, timeout_ms: u64) -> bool {
    let timeout = Timespec {
        tv_sec: (timeout_ms / 1_000).min(i32::MAX as u64) as _,
        tv_nsec: (timeout_ms % 1_000 * 1_000_000) as _,
    };
    futex::wait(word, SHARED, value, Some(&timeout)) == Err(Errno::TIMEDOUT)
}

/// Wakes this many of those who sleep on the word, in the order in which they came. Cost: one
/// system call.
pub(crate) fn wake(word: &AtomicU32, count: u32) {
    let _ = futex::wake(word, SHARED, count.min(i32::MAX as u32));
}
