//! How long does it take to start 1000 workers with two socket pairs each?
//!
//! Measured: from the first call to the moment when the master has heard "ready" from all of them
//! (each by then has descriptors for every sibling, and an epoll instance, a signalfd and the
//! master's pidfd of its own), and to the moment when each has been told of all others; beside it
//! the same protocol in plain calls of libc, in turns with it. Every start happens in a process that
//! was forked for it, so that each finds the same memory and the same free descriptors. Ending the
//! workers is not measured.
//!
//! Not said: what the workers' own work costs; what it costs in a master with much memory (fork
//! copies its page tables); restarts and reloads.
//!
//! 1000 workers need a limit of 4100 descriptors; with a lower hard limit there are fewer workers.

#[path = "start/forkmesh.rs"]
mod ours;
#[path = "start/plain.rs"]
mod plain;
#[path = "measure/process.rs"]
mod process;
#[path = "measure/rounds.rs"]
mod rounds;

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::SeqCst};

use process::{Page, Shared, now_ns};
use rounds::{Row, Table, bar};

/// What the processes of one start tell each other.
#[derive(Debug)]
struct Progress {
    /// How many workers were told of all others.
    told: AtomicU32,
    /// How long it took until all were ready.
    ready_ns: AtomicU64,
    /// How long it took until all were told.
    told_ns: AtomicU64,
}

// SAFETY: atomics, which may be zero.
unsafe impl Shared for Progress {}

/// Until when.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Until {
    Ready,
    Told,
}

/// Runs one start in a process of its own; milliseconds.
fn start(workers: usize, until: Until, how: fn(usize, Until, &Progress)) -> f64 {
    let progress = Page::<Progress>::new();
    let child = process::fork(|| {
        how(workers, until, &progress);
        0
    });
    child.reap();
    let time = match until {
        Until::Ready => &progress.ready_ns,
        Until::Told => &progress.told_ns,
    };
    time.load(SeqCst) as f64 / 1e6
}

impl Progress {
    fn is_ready(&self, since: u64) {
        self.ready_ns.store(now_ns() - since, SeqCst);
    }

    /// Whether all were told; if so, that is now.
    fn is_told(&self, workers: usize, since: u64) -> bool {
        let told = self.told.load(SeqCst) as usize == workers;
        if told {
            self.told_ns.store(now_ns() - since, SeqCst);
        }
        told
    }
}

const READY: [Row; 2] = [
    Row {
        name: "libc",
        run: |_, workers| start(workers, Until::Ready, plain::start),
    },
    Row {
        name: "forkmesh",
        run: |_, workers| start(workers, Until::Ready, ours::start),
    },
];

const TOLD: [Row; 2] = [
    Row {
        name: "libc",
        run: |_, workers| start(workers, Until::Told, plain::start),
    },
    Row {
        name: "forkmesh",
        run: |_, workers| start(workers, Until::Told, ours::start),
    },
];

fn main() {
    let full = std::env::args().any(|argument| argument == "--bench");
    let (workers, rounds) = if full { (1000, 9) } else { (8, 1) };
    let limit = plain::raise_limit();
    let workers = workers.min((limit / 4 - 32) as usize);
    println!("\n{workers} workers, two pairs each");
    let ready = Table::measure("until all are ready", "ms", &READY, rounds, workers);
    ready.print();
    let told = Table::measure("until all are told of all", "ms", &TOLD, rounds, workers);
    told.print();
    if !full {
        return;
    }
    println!("\nbounds");
    bar("all ready, ms", ready.figure("forkmesh"), 1000.0);
    bar("all ready, to libc", ready.ratio("forkmesh", "libc"), 1.5);
    bar("all told, to libc", told.ratio("forkmesh", "libc"), 1.5);
}
