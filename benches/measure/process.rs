//! Processes for measuring: forked, reaped, and a page that both of them see.

use core::ops::Deref;
use std::io::Error;

/// A child that runs, or has ended and was not reaped.
#[must_use = "a child that is not reaped stays"]
#[derive(Debug)]
pub(crate) struct Forked(pub(crate) i32);

/// A page that parent and child share. It begins as zeroes.
#[derive(Debug)]
pub(crate) struct Page<T: 'static>(&'static T);

/// What may begin as zeroes, and be shared by processes.
///
/// # Safety
///
/// Zeroes are a value of the type, and it is changed only by atomic operations.
pub(crate) unsafe trait Shared: Sync {}

/// Forks; the child runs `child` and ends with what it returns.
pub(crate) fn fork(child: impl FnOnce() -> u8) -> Forked {
    // SAFETY: a bench has one thread.
    match unsafe { libc::fork() } {
        0 => {
            let code = child();
            // SAFETY: ends the process; what it has in common with the parent is not touched.
            unsafe { libc::_exit(code.into()) }
        }
        pid => Forked(checked(pid, "fork")),
    }
}

impl Forked {
    /// Waits until the child has ended, which it has to do with 0.
    pub(crate) fn reap(self) {
        let mut status = -1;
        // SAFETY: `status` lives through the call.
        let done = unsafe { libc::waitpid(self.0, &raw mut status, 0) };
        checked(done, "waitpid");
        assert_eq!(status, 0, "the child failed");
    }
}

impl<T: Shared> Page<T> {
    /// A new page; it is gone with the value.
    pub(crate) fn new() -> Self {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let kind = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
        let place = core::ptr::null_mut();
        // SAFETY: a new mapping, wherever the kernel likes.
        let page = unsafe { libc::mmap(place, size_of::<T>(), access, kind, -1, 0) };
        assert_ne!(page, libc::MAP_FAILED, "mmap: {}", Error::last_os_error());
        // SAFETY: the page is zeroed, which a shared value may be; it is aligned; it is unmapped only
        // when the value that holds this reference is dropped.
        Self(unsafe { &*page.cast() })
    }
}

impl<T> Deref for Page<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0
    }
}

impl<T> Drop for Page<T> {
    fn drop(&mut self) {
        let page = core::ptr::from_ref(self.0).cast_mut().cast();
        // SAFETY: the mapping was made in `new`; the only reference to it is dropped with it.
        unsafe { libc::munmap(page, size_of::<T>()) };
    }
}

/// CLOCK_MONOTONIC, which is one clock for all processes.
pub(crate) fn now_ns() -> u64 {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `now` lives through the call.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// The result of a call that says -1 when it fails.
#[track_caller]
pub(crate) fn checked(result: i32, call: &str) -> i32 {
    assert!(result >= 0, "{call}: {}", Error::last_os_error());
    result
}
