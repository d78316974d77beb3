//! Processes for measuring: forked, pinned, reaped, and a clock that both of them see.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::SeqCst};
use std::fs::File;
use std::io::Error;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// A child that runs, or has ended and was not reaped.
#[must_use = "a child that is not reaped stays"]
#[derive(Debug)]
pub(crate) struct Forked(pub(crate) i32);

/// A page that parent and child share: whether the child is ready, and when it was done.
#[derive(Debug)]
pub(crate) struct Clock(&'static Shared);

#[derive(Debug)]
struct Shared {
    ready: AtomicU32,
    stopped: AtomicU64,
}

/// An epoll instance for one descriptor.
#[derive(Debug)]
pub(crate) struct Waiter(Option<OwnedFd>);

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

impl Clock {
    /// A new page; it is gone with the value.
    pub(crate) fn new() -> Self {
        let size = size_of::<Shared>();
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let kind = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
        // SAFETY: a new mapping, wherever the kernel likes.
        let page = unsafe { libc::mmap(core::ptr::null_mut(), size, access, kind, -1, 0) };
        assert_ne!(page, libc::MAP_FAILED, "mmap: {}", Error::last_os_error());
        // SAFETY: the page is zeroed, which `Shared` may be; it is aligned; it is unmapped only when
        // the value that holds this reference is dropped.
        Self(unsafe { &*page.cast() })
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

impl Drop for Clock {
    fn drop(&mut self) {
        let page = core::ptr::from_ref(self.0).cast_mut().cast();
        // SAFETY: the mapping was made in `new`; the only reference to it is dropped with it.
        unsafe { libc::munmap(page, size_of::<Shared>()) };
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

/// A descriptor to send: it costs nothing to open or to close beyond what any does.
pub(crate) fn something() -> OwnedFd {
    File::open("/dev/null").expect("/dev/null opens").into()
}

/// The result of a call that says -1 when it fails.
#[track_caller]
pub(crate) fn checked(result: i32, call: &str) -> i32 {
    assert!(result >= 0, "{call}: {}", Error::last_os_error());
    result
}
