//! Waiting: for a child to be there, for a descriptor to be ready; and on which CPU.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::SeqCst};
use std::fs::File;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use super::process::{Page, Shared, checked, now_ns};

/// What parent and child tell each other: whether the child is ready, and when it was done.
#[derive(Debug)]
pub(crate) struct Clock(Page<Times>);

#[derive(Debug)]
struct Times {
    ready: AtomicU32,
    stopped: AtomicU64,
}

// SAFETY: atomics, which may be zero.
unsafe impl Shared for Times {}

/// An epoll instance for one descriptor.
#[derive(Debug)]
pub(crate) struct Waiter(Option<OwnedFd>);

impl Clock {
    /// A new one.
    pub(crate) fn new() -> Self {
        Self(Page::new())
    }

    /// In the child: it is about to wait for the first frame.
    pub(crate) fn ready(&self) {
        self.0.ready.store(1, SeqCst);
    }

    /// In the parent: until then, and a little longer, so that it sleeps.
    pub(crate) fn until_ready(&self) {
        while self.0.ready.load(SeqCst) == 0 {
            std::thread::yield_now();
        }
        let until = now_ns() + 30_000;
        while now_ns() < until {
            std::thread::yield_now();
        }
    }

    /// In the child: the last frame is in.
    pub(crate) fn stop(&self) {
        self.0.stopped.store(now_ns(), SeqCst);
    }

    /// In the parent, after the child's end: when that was.
    pub(crate) fn stopped(&self) -> u64 {
        self.0.stopped.load(SeqCst)
    }
}

impl Waiter {
    /// Waits for something to read; for nothing where the descriptor is -1.
    pub(crate) fn to_read(descriptor: i32) -> Self {
        Self::new(descriptor, libc::EPOLLIN)
    }

    /// Waits for room to write; for nothing where the descriptor is -1.
    pub(crate) fn to_write(descriptor: i32) -> Self {
        Self::new(descriptor, libc::EPOLLOUT)
    }

    fn new(descriptor: i32, what: i32) -> Self {
        if descriptor < 0 {
            return Self(None);
        }
        // SAFETY: the call reads no memory.
        let epoll = checked(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) }, "epoll");
        // SAFETY: the kernel made this descriptor just now, for us alone.
        let epoll = unsafe { OwnedFd::from_raw_fd(epoll) };
        let mut event = libc::epoll_event {
            events: what as u32,
            u64: 0,
        };
        let add = libc::EPOLL_CTL_ADD;
        // SAFETY: `event` lives through the call.
        let done = unsafe { libc::epoll_ctl(epoll.as_raw_fd(), add, descriptor, &raw mut event) };
        checked(done, "epoll_ctl");
        Self(Some(epoll))
    }

    /// Sleeps until then.
    pub(crate) fn wait(&self) {
        if let Some(epoll) = &self.0 {
            let mut event = libc::epoll_event { events: 0, u64: 0 };
            // SAFETY: there is room for one event, as the third argument says.
            unsafe { libc::epoll_wait(epoll.as_raw_fd(), &raw mut event, 1, -1) };
        }
    }
}

/// From now on this process runs on this CPU alone, where there are that many.
pub(crate) fn pin(cpu: usize) {
    // SAFETY: a set of CPUs is a field of bits, which may be zero.
    let mut set: libc::cpu_set_t = unsafe { core::mem::zeroed() };
    // SAFETY: `set` is a set of CPUs, and there are fewer CPUs asked for than it has bits.
    unsafe { libc::CPU_SET(cpu, &mut set) };
    // SAFETY: the set is as long as the second argument says.
    unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set) };
}

/// A descriptor to send: it costs nothing to open or to close beyond what any does.
pub(crate) fn something() -> OwnedFd {
    File::open("/dev/null").expect("/dev/null opens").into()
}
