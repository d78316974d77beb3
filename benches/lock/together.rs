//! Two processes that do the same at the same time, each on a CPU of its own.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::SeqCst};

use crate::process::{self, Page, Shared, now_ns};

#[derive(Debug)]
struct Start {
    ready: AtomicU32,
    ended_ns: AtomicU64,
}

// SAFETY: atomics, which may be zero.
unsafe impl Shared for Start {}

/// Runs `work` in this process and in a child, which are told 0 and 1; nanoseconds from the moment when
/// both are there until both are done.
pub(crate) fn measure(work: impl Fn(usize)) -> f64 {
    let start = Page::<Start>::new();
    let meet = |slot| {
        pin(slot);
        start.ready.fetch_add(1, SeqCst);
        while start.ready.load(SeqCst) < 2 {
            core::hint::spin_loop();
        }
    };
    let child = process::fork(|| {
        meet(1);
        work(1);
        start.ended_ns.store(now_ns(), SeqCst);
        0
    });
    meet(0);
    let begun = now_ns();
    work(0);
    let ended = now_ns();
    child.reap();
    (ended.max(start.ended_ns.load(SeqCst)) - begun) as f64
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
