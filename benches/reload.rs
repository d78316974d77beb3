//! How long does a reload take, and how many workers serve meanwhile?
//!
//! Measured: from the request to the moment when the new workers serve and the last of the old ones was
//! reaped, no work being left for them to finish. Each round makes a master of its own, in a process of
//! its own. Where both epochs do not fit in the table the reload goes in steps; the workers that serve
//! are counted after each turn of the master's loop.
//!
//! Not said: what a configuration costs to read, or a connection to finish.

#[path = "measure/process.rs"]
mod process;

use core::sync::atomic::{AtomicU64, Ordering::SeqCst};

use forkmesh::machine::{Config, Report};
use forkmesh::run::{Event, Exit, Master, Notice, Poller, Service, Silent, Worker, Workers};
use forkmesh::table::State;
use process::{Page, Shared, now_ns};

/// What one round found.
#[derive(Debug)]
struct Found {
    /// How long the reload took.
    reload_ns: AtomicU64,
    /// How many workers served at the least.
    fewest: AtomicU64,
}

// SAFETY: atomics, which may be zero.
unsafe impl Shared for Found {}

#[derive(Default)]
struct Counting {
    reloaded: bool,
}

impl Service for Counting {
    fn work(&mut self, worker: &mut Worker) -> Exit {
        let Ok(mut poller) = Poller::new(worker) else {
            return Exit::FAILURE;
        };
        worker.ready();
        loop {
            while let Some(event) = worker.receive() {
                if matches!(event, Event::Quit | Event::Terminate) {
                    return Exit::SUCCESS;
                }
            }
            if poller.wait(worker, None).is_err() {
                return Exit::FAILURE;
            }
        }
    }

    fn notice(&mut self, _: &mut Workers<'_>, notice: Notice) {
        match notice {
            Notice::Report(Report::Reloaded(_)) => self.reloaded = true,
            Notice::Report(Report::ReloadFailed(_, why)) => panic!("{why}"),
            _ => {}
        }
    }
}

/// How many serve, and how many processes there are.
fn count(master: &Master) -> (usize, usize) {
    let states = master.table().occupied().map(|(_, slot)| slot.state());
    states.fold((0, 0), |(live, all), state| {
        let serves = matches!(state, State::Live(_));
        (live + usize::from(serves), all + 1)
    })
}

fn reload(workers: usize, found: &Found) {
    let mut service = Counting::default();
    let mut master = Master::new(Config::new().workers(workers)).expect("a master");
    master.observed_by(&Silent);
    master.start(&mut service).expect("started");
    while count(&master).0 < workers {
        master.turn(&mut service, None).expect("epoll works");
    }
    let since = now_ns();
    let mut fewest = workers;
    master.workers().reload();
    while !service.reloaded || count(&master) != (workers, workers) {
        master.turn(&mut service, None).expect("epoll works");
        fewest = fewest.min(count(&master).0);
    }
    found.reload_ns.store(now_ns() - since, SeqCst);
    found.fewest.store(fewest as u64, SeqCst);
    master.workers().terminate();
    while !master.is_ended() {
        master.turn(&mut service, None).expect("epoll works");
    }
}

/// Medians of so many rounds: milliseconds, and the fewest of all rounds.
fn measure(workers: usize, rounds: usize) -> (f64, u64) {
    let mut times = Vec::new();
    let mut fewest = u64::MAX;
    for _ in 0..rounds {
        let found = Page::<Found>::new();
        process::fork(|| {
            reload(workers, &found);
            0
        })
        .reap();
        times.push(found.reload_ns.load(SeqCst) as f64 / 1e6);
        fewest = fewest.min(found.fewest.load(SeqCst));
    }
    times.sort_by(f64::total_cmp);
    (times[times.len() / 2], fewest)
}

/// Workers, rounds, and the bound in milliseconds.
const QUESTIONS: [(usize, usize, f64); 4] = [
    (2, 51, 10.0),
    (64, 9, 1_000.0),
    (1000, 5, 6_000.0),
    (1022, 3, 60_000.0),
];

fn main() {
    let full = std::env::args().any(|argument| argument == "--bench");
    println!(
        "{:>8} {:>12} {:>8}   {:>6}",
        "workers", "reload, ms", "bound", "fewest"
    );
    for (workers, rounds, bound) in QUESTIONS {
        if !full && workers > 2 {
            return;
        }
        let (time, fewest) = measure(workers, if full { rounds } else { 1 });
        let word = if time <= bound { "met" } else { "NOT MET" };
        println!("{workers:>8} {time:>12.2} {bound:>8}   {fewest:>6}   {word}");
    }
}
