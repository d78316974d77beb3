//! What does it cost to count something?
//!
//! Measured: one addition, by two processes on two CPUs that do nothing else, to one shared counter, to a
//! counter of each one's own by a locked addition, and to forkmesh's line of each process; the same
//! without another process; an update of three values; and a snapshot of all 1024 lines. In each round
//! every contender has its turn, and ratios are taken within the round.
//!
//! Not said: what it costs to read a line that is being written at that moment.

#[path = "measure/process.rs"]
mod process;
#[path = "measure/rounds.rs"]
mod rounds;
#[path = "lock/together.rs"]
mod together;

use core::hint::black_box;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use forkmesh::sync::counters::{Counters, Counting, Line, Stub};
use forkmesh::table::{SLOTS, SlotIndex};
use process::{Page, Shared, now_ns};
use rounds::{Row, Table, bar};

#[repr(C)]
struct Arena {
    lines: [Line; SLOTS],
    locked: [Padded; 2],
}

#[repr(C, align(64))]
struct Padded(AtomicU64);

// SAFETY: atomics, which may be zero.
unsafe impl Shared for Arena {}

impl Arena {
    fn own(&self, slot: usize) -> Counting<'_, Stub> {
        let index = SlotIndex::new(slot).expect("0 or 1");
        Counters::new(&self.lines).own(index).expect("a line")
    }
}

const SHARED: &str = "one shared counter, fetch_add";
const OURS: &str = "forkmesh, add";

fn main() {
    let is_bench = std::env::args().any(|argument| argument == "--bench");
    let (rounds, turns) = if is_bench { (60, 200_000) } else { (1, 1000) };

    let rows = [
        Row {
            name: SHARED,
            run: |_, turns| two(turns, |arena, _| locked(&arena.locked[0], turns)),
        },
        Row {
            name: "one each, fetch_add",
            run: |_, turns| two(turns, |arena, slot| locked(&arena.locked[slot], turns)),
        },
        Row {
            name: OURS,
            run: |_, turns| two(turns, |arena, slot| add(&arena.own(slot), turns)),
        },
        Row {
            name: "forkmesh, update of three",
            run: |_, turns| two(turns, |arena, slot| update(&arena.own(slot), turns)),
        },
    ];
    let title = "one addition, two processes on two CPUs";
    let together = Table::measure(title, "ns, a process", &rows, rounds, turns);
    together.print();

    let rows = [Row {
        name: "forkmesh, snapshot of 1024 lines",
        run: |_, turns| {
            let arena = Page::<Arena>::new();
            let counters = Counters::<Stub>::new(&arena.lines);
            let turns = turns / 100;
            let start = now_ns();
            (0..turns).for_each(|_| {
                black_box(counters.snapshot());
            });
            (now_ns() - start) as f64 / turns as f64
        },
    }];
    Table::measure("all of them added up", "ns", &rows, rounds, turns).print();

    if rounds > 1 {
        println!("\nbounds: ratios within one round, medians of all rounds");
        let ratio = together.ratio(OURS, SHARED);
        bar("an addition, to one to a shared counter", ratio, 0.1);
    }
}

/// Nanoseconds a turn, where each of two processes takes so many.
fn two(turns: usize, work: impl Fn(&Arena, usize)) -> f64 {
    let arena = Page::<Arena>::new();
    together::measure(|slot| work(&arena, slot)) / turns as f64
}

// No loop may be turned into one addition: each count is one that others could see.
fn locked(counter: &Padded, turns: usize) {
    for _ in 0..turns {
        counter.0.fetch_add(1, Relaxed);
    }
}

fn add(own: &Counting<'_, Stub>, turns: usize) {
    for _ in 0..turns {
        own.add(Stub::Requests, black_box(1));
    }
}

fn update(own: &Counting<'_, Stub>, turns: usize) {
    for _ in 0..turns {
        own.update(|group| {
            group.add(Stub::Accepted, black_box(1));
            group.add(Stub::Handled, black_box(1));
            group.add(Stub::Active, black_box(1));
        });
    }
}
