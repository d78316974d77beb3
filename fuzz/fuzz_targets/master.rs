//! What the master core makes of any order of events, longer than what can be walked through: the
//! world of tests/exhaustive, with 4 to 8 slots, and its invariants.
//!
//! ```text
//!   kind workers step step step …     one byte each; a step is the (byte % possible)th thing that can happen
//!     │
//!     │       └─ and helpers: none, the manager, the loader, both
//!     └─ 0bcreu_mpss: slots (4, 5, 6, 8), predecessor, mesh, upgrades by hand, ends, rest, no count;
//!        without a predecessor, somebody else waits to hear of the start where `workers` is above 127
//! ```
//!
//! At the end of the bytes the master is told to end, and has to come to it. With FUZZ_EVENTS in the
//! environment, the number of events so far is printed at every millionth.
#![no_main]

#[path = "../../tests/exhaustive/checks.rs"]
#[allow(dead_code, reason = "the walks use the rest")]
mod checks;
#[path = "../../tests/exhaustive/operator.rs"]
#[allow(dead_code, reason = "the walks use the rest")]
mod operator;
#[path = "../../tests/exhaustive/world.rs"]
#[allow(dead_code, reason = "the walks use the rest")]
mod world;

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use forkmesh::machine::{Backoff, Config, Event, Phase, Upgrades};
use forkmesh::table::Policy;
use libfuzzer_sys::fuzz_target;

use crate::world::{Clock, Menu, Polling, STATUSES, Step, World};

static EVENTS: AtomicU64 = AtomicU64::new(0);
static COUNTS: LazyLock<bool> = LazyLock::new(|| std::env::var_os("FUZZ_EVENTS").is_some());

/// A longer script finds nothing that a short one does not.
const MOST_STEPS: usize = 400;

fuzz_target!(|data: &[u8]| {
    let [kind, workers, steps @ ..] = data else {
        return;
    };
    match kind % 4 {
        0 => play::<4>(kind / 4, *workers, steps),
        1 => play::<5>(kind / 4, *workers, steps),
        2 => play::<6>(kind / 4, *workers, steps),
        _ => play::<8>(kind / 4, *workers, steps),
    }
});

fn play<const N: usize>(kind: u8, workers: u8, steps: &[u8]) {
    let foreign = usize::from(kind & 1);
    let meshed = kind & 2 != 0;
    let upgrades = if kind & 4 == 0 {
        Upgrades::Automatic
    } else {
        Upgrades::Manual
    };
    let menu = Menu {
        statuses: &STATUSES,
        ends: kind & 8 != 0,
        reloads: &[1, 2, 4, 8, 0],
        defers: true,
        helpers: HELPERS[usize::from(workers) / 64],
        rest: kind & 16 != 0,
        count: kind & 32 == 0,
        upgrades: true,
        restarts: true,
        awaited: foreign == 0 && workers >= 128,
    };
    let workers = usize::from(workers) % (N + 2);
    let config = config().upgrades(upgrades).workers(workers).mesh(meshed);
    let mut world = World::<N>::with(config, meshed, menu, foreign);
    drain(&mut world);
    for byte in steps.iter().take(MOST_STEPS) {
        if world.exited {
            break;
        }
        step(&mut world, *byte);
    }
    end(world);
}

/// One that stays, and one that does its work once.
const HELPERS: [&[Policy]; 4] = [
    &[],
    &[Policy::RESTART],
    &[Policy::empty()],
    &[Policy::RESTART, Policy::empty()],
];

/// Everything can happen in a few steps.
fn config() -> Config {
    let backoff = Backoff::new().burst(1, 50).delay_ms(10, 40).park_after(2);
    let config = Config::new().backoff(backoff.reset_ms(100));
    let config = config.quit_ms(30).terminate_ms(10).most_draining(2);
    config.reload_ms(40).upgrade_ms(40).probation_ms(20)
}

fn step<const N: usize>(world: &mut World<N>, byte: u8) {
    // The last of the possible steps is time, where it passes; TERM and QUIT are rare.
    let possible = world.steps(Clock::Deadline, Polling::Drained);
    let Some(step) = possible.get(usize::from(byte) % possible.len().max(1)) else {
        return;
    };
    take(world, *step);
    world.check();
    world.check_drained();
}

fn take<const N: usize>(world: &mut World<N>, step: Step) {
    world.take(step, Polling::Drained);
    let events = EVENTS.fetch_add(1, Ordering::Relaxed) + 1;
    if *COUNTS && events.is_multiple_of(1_000_000) {
        println!("{events} events");
    }
}

fn drain<const N: usize>(world: &mut World<N>) {
    while let Some(action) = world.master.poll() {
        world.perform(action);
    }
    world.check();
}

/// Whatever happened, it ends; and who was given up is gone.
fn end<const N: usize>(mut world: World<N>) {
    world.check_given_up();
    if world.master.phase() == Phase::Running {
        take(&mut world, Step::Event(Event::Quit));
    }
    world.check_end();
}
