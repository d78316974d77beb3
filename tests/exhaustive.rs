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

#[path = "exhaustive/world.rs"]
mod world;

use std::collections::{HashSet, VecDeque};

use forkmesh::machine::{Action, Backoff, Config, Event, Phase, Report};
use forkmesh::table::{After, State};

use crate::world::{Clock, Polling, Step, World};

/// Far more than there are: a fault that makes them endless is found before memory ends.
const MOST_WORLDS: usize = 200_000;

/// Each thing that happened is reported, once, and nothing that did not.
fn check_reports<const N: usize>(
    before: &World<N>,
    after: &World<N>,
    step: Step,
    actions: &[Action],
) {
    let mut expected = Vec::new();
    if let Step::Event(event) = step {
        match event {
            Event::Spawned(id, pid) => expected.push(Report::Spawned(id, pid)),
            Event::SpawnFailed(id) => expected.push(Report::SpawnFailed(id)),
            Event::Exited(id, status) => {
                let pid = before.state(id.index().as_usize()).pid();
                expected.push(Report::Exited(id, pid.expect("it ran"), status));
            }
            Event::Ready(id) => {
                if let State::Starting(Some(pid)) = before.state(id.index().as_usize()) {
                    expected.push(Report::Ready(id, pid));
                }
            }
            _ => {}
        }
    }
    let mut parked = 0;
    let mut delayed = 0;
    for action in actions {
        match action {
            Action::Report(Report::Parked(..)) => parked += 1,
            Action::Report(Report::Delayed(_, delay_ms)) => {
                assert!(*delay_ms > 0);
                delayed += 1;
            }
            Action::Report(report) => {
                assert_eq!(expected.pop(), Some(*report), "{step:?}");
            }
            _ => {}
        }
    }
    assert_eq!(expected, [], "not reported");
    let count = |world: &World<N>, wanted: [State; 2]| {
        let states = (0..N).map(|place| world.state(place));
        states.filter(|state| wanted.contains(state)).count()
    };
    let parks = [State::Parked, State::Reclaiming(After::Park)];
    let cools = [State::Cooling, State::Reclaiming(After::Cool)];
    if let Step::Event(Event::SpawnFailed(_) | Event::Exited(..)) = step {
        assert_eq!(
            parked,
            count(after, parks) - count(before, parks),
            "{step:?}"
        );
        assert!(
            delayed <= count(after, cools) - count(before, cools),
            "{step:?}"
        );
    } else {
        assert_eq!((parked, delayed), (0, 0), "{step:?}");
    }
}

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
            assert!(seen.len() < MOST_WORLDS, "the walk does not end");
            ends += usize::from(after.exited);
            next.push_back(after);
        }
    }
    println!("{name}: {} worlds, {steps} steps, {ends} ends", seen.len());
    assert!(ends > 0, "an end is reachable");
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
    assert!(worlds >= 45_000, "{worlds}");
}

#[test]
fn three_slots() {
    let worlds = explore::<3>("three slots", middling(), Clock::Deadline, Polling::Drained);
    assert!(worlds >= 7_000, "{worlds}");
}

#[test]
fn four_slots() {
    let worlds = explore::<4>("four slots", plain(), Clock::Deadline, Polling::Drained);
    assert!(worlds >= 5_500, "{worlds}");
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
    assert!(worlds >= 6_500, "{worlds}");
}
