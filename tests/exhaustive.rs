//! Every order of events, for two, three and four slots: the master core is walked through all the
//! states that it can come to, breadth first, and held to its invariants in each.
//!
//! ```text
//!   a world = the core + what is really there: processes, forks and reclaims under way
//!
//!   world ──each event that could come now──► handle, drain ──► world, if it is new
//! ```
//!
//! Worlds are the same if they differ only in pids, generations and the time of day (the core says
//! so itself: `Master::digest`), or in which slot is which. Times in the configurations are
//! multiples of a tick, so there are finitely many.

#[path = "exhaustive/checks.rs"]
mod checks;
#[path = "exhaustive/helpers.rs"]
mod helpers;
#[path = "exhaustive/operator.rs"]
mod operator;
#[path = "exhaustive/reports.rs"]
mod reports;
#[path = "exhaustive/world.rs"]
mod world;

use std::collections::{HashSet, VecDeque};

use forkmesh::machine::{Backoff, Config, ExitStatus, Phase, Upgrades};
use forkmesh::table::Policy;

use crate::reports::check_reports;
use crate::world::{Clock, Menu, Polling, World};

/// Far more than there are: a fault that makes them endless is found before memory ends.
const MOST_WORLDS: usize = 200_000;

/// Walks through everything; returns how many worlds there are.
fn explore<const N: usize>(name: &str, config: Config, clock: Clock, polling: Polling) -> usize {
    walk(name, World::<N>::new(config, false), clock, polling)
}

fn walk<const N: usize>(name: &str, mut first: World<N>, clock: Clock, polling: Polling) -> usize {
    if polling == Polling::Drained {
        while let Some(action) = first.master.poll() {
            first.perform(action);
        }
    }
    let ending = first.menu.ends;
    let mut seen = HashSet::from([first.key(polling)]);
    let mut ends = 0;
    let mut next = VecDeque::from([first]);
    let mut steps = 0;
    while let Some(world) = next.pop_front() {
        world.check_strangers();
        for step in world.steps(clock, polling) {
            steps += 1;
            let mut after = world.clone();
            let actions = after.take(step, polling);
            after.check();
            if polling == Polling::Drained {
                after.check_drained();
                check_reports(&world, &after, step, &actions);
            }
            if !seen.insert(after.key(polling)) {
                continue;
            }
            if after.master.phase() != Phase::Running {
                after.check_end();
            }
            after.check_given_up();
            assert!(seen.len() < MOST_WORLDS, "the walk does not end");
            ends += usize::from(after.exited);
            next.push_back(after);
        }
    }
    println!("{name}: {} worlds, {steps} steps, {ends} ends", seen.len());
    assert!(ends > 0 || !ending, "an end is reachable");
    seen.len()
}

/// Every count can fill, every delay and stage can run out.
fn rich() -> Config {
    let backoff = Backoff::new()
        .jitter_percent(0)
        .burst(1, 10)
        .delay_ms(10, 20)
        .park_after(2)
        .reset_ms(20);
    Config::new().backoff(backoff).quit_ms(20).terminate_ms(10)
}

/// A worker that was ready is replaced at once; others wait a tick, and are parked the second time.
fn middling() -> Config {
    let backoff = Backoff::new()
        .jitter_percent(0)
        .eager()
        .delay_ms(10, 10)
        .park_after(2)
        .reset_ms(10);
    Config::new().backoff(backoff).quit_ms(20).terminate_ms(10)
}

/// As that, but only failed spawns are parked, and every stage is as long as any other.
fn plain() -> Config {
    let backoff = Backoff::new()
        .jitter_percent(0)
        .eager()
        .delay_ms(10, 10)
        .park_after(2)
        .reset_ms(0);
    Config::new().backoff(backoff).quit_ms(10).terminate_ms(10)
}

#[test]
fn two_slots_with_every_tick() {
    let worlds = explore::<2>("two slots", rich(), Clock::Tick(10), Polling::Drained);
    assert!(worlds >= 6_000, "{worlds}");
}

#[test]
fn two_slots_with_events_between_polls() {
    let worlds = explore::<2>(
        "two slots, stepwise",
        plain(),
        Clock::Deadline,
        Polling::Stepwise,
    );
    assert!(worlds >= 80_000, "{worlds}");
}

#[test]
fn three_slots() {
    let worlds = explore::<3>("three slots", middling(), Clock::Deadline, Polling::Drained);
    assert!(worlds >= 7_500, "{worlds}");
}

#[test]
fn four_slots() {
    let worlds = explore::<4>("four slots", plain(), Clock::Deadline, Polling::Drained);
    assert!(worlds >= 16_000, "{worlds}");
}

#[test]
fn two_slots_with_a_mesh() {
    let config = plain().backoff(
        Backoff::new()
            .jitter_percent(0)
            .eager()
            .delay_ms(10, 10)
            .park_after(1)
            .reset_ms(0),
    );
    let world = World::<2>::new(config, true);
    let worlds = walk(
        "two slots, meshed",
        world,
        Clock::Deadline,
        Polling::Drained,
    );
    assert!(worlds >= 24_000, "{worlds}");
}

const CRASH: ExitStatus = ExitStatus::Code(1);

/// No worker is tried twice, and every time is one tick.
fn bare(workers: usize) -> Config {
    let backoff = Backoff::new()
        .jitter_percent(0)
        .eager()
        .delay_ms(10, 10)
        .park_after(1)
        .reset_ms(0);
    let config = Config::new().backoff(backoff).workers(workers);
    let config = config.quit_ms(10).terminate_ms(10).reload_ms(10);
    config.upgrade_ms(10).probation_ms(10).mesh(false)
}

/// Workers crash, and nobody ends the master.
const CRASHES: Menu = Menu {
    statuses: &[CRASH],
    ends: false,
    ..Menu::LIVES
};

/// All that an operator can ask for, but TTIN and TTOU.
const EVERYTHING: Menu = Menu {
    ends: true,
    reloads: &[1],
    rest: true,
    upgrades: true,
    ..CRASHES
};

/// With an operator, and with so many slots of a predecessor.
fn operate<const N: usize>(name: &str, config: Config, menu: Menu, foreign: usize) -> usize {
    let world = World::<N>::with(config, false, menu, foreign);
    walk(name, world, Clock::Deadline, Polling::Drained)
}

/// An operator's events come between any two polls, too.
fn operate_stepwise(name: &str, menu: Menu) -> usize {
    let world = World::<1>::with(bare(1), false, menu, 0);
    walk(name, world, Clock::Deadline, Polling::Stepwise)
}

#[test]
fn reloads_that_fit() {
    let menu = Menu {
        reloads: &[1, 0],
        ..CRASHES
    };
    let worlds = operate::<2>("reloads that fit", bare(1), menu, 0);
    assert!(worlds >= 1_000, "{worlds}");
}

#[test]
fn reloads_that_do_not_fit() {
    let menu = Menu {
        reloads: &[1, 2],
        statuses: &[CRASH, ExitStatus::FATAL],
        ..CRASHES
    };
    let worlds = operate::<2>("reloads that do not fit", bare(2), menu, 0);
    assert!(worlds >= 6_000, "{worlds}");
}

#[test]
fn reloads_that_are_deferred() {
    let menu = Menu {
        defers: true,
        ..EVERYTHING
    };
    let worlds = operate::<2>("deferred", bare(1), menu, 0);
    assert!(worlds >= 65_000, "{worlds}");
}

#[test]
fn reloads_that_are_deferred_between_polls() {
    let menu = Menu {
        reloads: &[1],
        defers: true,
        ends: true,
        ..CRASHES
    };
    let worlds = operate_stepwise("deferred, stepwise", menu);
    assert!(worlds >= 4_000, "{worlds}");
}

#[test]
fn reloads_in_steps() {
    let menu = Menu {
        reloads: &[2],
        ..CRASHES
    };
    let worlds = operate::<3>("reloads in steps", bare(2), menu, 0);
    assert!(worlds >= 18_000, "{worlds}");
}

#[test]
fn reloads_of_more_workers_than_slots() {
    let menu = Menu {
        reloads: &[1, 2],
        ..CRASHES
    };
    let worlds = operate::<2>("more workers than slots", bare(3), menu, 0);
    assert!(worlds >= 7_000, "{worlds}");
}

#[test]
fn reloads_of_workers_that_have_done_their_work() {
    let menu = Menu {
        reloads: &[1],
        restarts: false,
        statuses: &[ExitStatus::SUCCESS],
        ..CRASHES
    };
    let config = bare(1).restart(Policy::RESTART_ON_FAILURE);
    let worlds = operate::<2>("reloads of the done", config, menu, 0);
    assert!(worlds >= 700, "{worlds}");
}

#[test]
fn reloads_and_ends() {
    let menu = Menu {
        reloads: &[1],
        ends: true,
        statuses: &[CRASH, ExitStatus::FATAL],
        ..CRASHES
    };
    let worlds = operate::<2>("reloads and ends", bare(1), menu, 0);
    assert!(worlds >= 1_400, "{worlds}");
}

#[test]
fn rest_and_count() {
    let menu = Menu {
        rest: true,
        count: true,
        reloads: &[1],
        ..CRASHES
    };
    let worlds = operate::<2>("rest and count", bare(1), menu, 0);
    assert!(worlds >= 20_000, "{worlds}");
}

#[test]
fn everything_of_one_slot() {
    let menu = Menu {
        count: true,
        ..EVERYTHING
    };
    let worlds = operate::<1>("everything, one slot", bare(1), menu, 0);
    assert!(worlds >= 2_500, "{worlds}");
}

#[test]
fn upgrades_and_reloads_of_two_slots() {
    let menu = Menu {
        ends: false,
        rest: false,
        ..EVERYTHING
    };
    let worlds = operate::<2>("upgrades and reloads", bare(1), menu, 0);
    assert!(worlds >= 13_000, "{worlds}");
}

#[test]
fn upgrades_by_hand() {
    let config = bare(1).upgrades(Upgrades::Manual);
    let worlds = operate::<1>("upgrades by hand", config, EVERYTHING, 0);
    assert!(worlds >= 3_000, "{worlds}");
}

#[test]
fn successors_that_reload() {
    let menu = Menu {
        reloads: &[1],
        ..CRASHES
    };
    let worlds = operate::<3>("successors that reload", bare(1), menu, 1);
    assert!(worlds >= 10_000, "{worlds}");
}

#[test]
fn successors_that_upgrade() {
    let menu = Menu {
        upgrades: true,
        ends: true,
        ..CRASHES
    };
    let worlds = operate::<2>("successors that upgrade", bare(1), menu, 1);
    assert!(worlds >= 6_000, "{worlds}");
}

#[test]
fn successors_without_room() {
    let menu = Menu {
        ends: true,
        ..CRASHES
    };
    let worlds = operate::<2>("successors without room", bare(2), menu, 1);
    assert!(worlds >= 250, "{worlds}");
}

#[test]
fn starts_that_somebody_waits_for() {
    let menu = Menu {
        statuses: &[CRASH, ExitStatus::FATAL],
        reloads: &[1],
        rest: true,
        ends: true,
        awaited: true,
        ..CRASHES
    };
    let worlds = operate::<2>("starts that are awaited", bare(2), menu, 0);
    assert!(worlds >= 10_000, "{worlds}");
}

#[test]
fn awaited_starts_with_events_between_polls() {
    let menu = Menu {
        ends: true,
        rest: true,
        awaited: true,
        ..CRASHES
    };
    let worlds = operate_stepwise("awaited starts, stepwise", menu);
    assert!(worlds >= 500, "{worlds}");
}

#[test]
fn reloads_with_events_between_polls() {
    let menu = Menu {
        reloads: &[1],
        rest: true,
        ..CRASHES
    };
    let worlds = operate_stepwise("reloads, stepwise", menu);
    assert!(worlds >= 6_000, "{worlds}");
}

#[test]
fn upgrades_with_events_between_polls() {
    let menu = Menu {
        upgrades: true,
        rest: true,
        ends: true,
        ..CRASHES
    };
    let worlds = operate_stepwise("upgrades, stepwise", menu);
    assert!(worlds >= 12_000, "{worlds}");
}
