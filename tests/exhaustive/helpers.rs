//! The walks of masters that have helpers, too: nobody waits for one, and none is forgotten.

use forkmesh::machine::ExitStatus;
use forkmesh::table::Policy;

use crate::world::{Clock, Menu, Polling, World};
use crate::{CRASH, CRASHES, bare, operate, walk};

/// One that stays, and one that does its work once.
const HELPERS: &[Policy] = &[Policy::RESTART, Policy::empty()];

#[test]
fn helpers_of_two_slots() {
    let menu = Menu {
        reloads: &[1, 2],
        rest: true,
        ends: true,
        statuses: &[CRASH, ExitStatus::FATAL],
        helpers: &HELPERS[..1],
        ..CRASHES
    };
    let worlds = operate::<2>("a helper in a tight table", bare(1), menu, 0);
    assert!(worlds >= 18_000, "{worlds}");
}

#[test]
fn helpers_of_three_slots() {
    let menu = Menu {
        reloads: &[1],
        helpers: HELPERS,
        ..CRASHES
    };
    let worlds = operate::<3>("two helpers", bare(1), menu, 0);
    assert!(worlds >= 75_000, "{worlds}");
}

#[test]
fn helpers_and_a_successor() {
    let menu = Menu {
        upgrades: true,
        rest: true,
        count: true,
        helpers: &HELPERS[..1],
        ..CRASHES
    };
    let worlds = operate::<2>("helpers and a successor", bare(1), menu, 0);
    assert!(worlds >= 20_000, "{worlds}");
}

#[test]
fn helpers_of_a_successor() {
    let menu = Menu {
        statuses: &[CRASH, ExitStatus::FATAL],
        helpers: &HELPERS[1..],
        ..CRASHES
    };
    let worlds = operate::<3>("helpers of a successor", bare(1), menu, 1);
    assert!(worlds >= 880, "{worlds}");
}

#[test]
fn helpers_with_events_between_polls() {
    let menu = Menu {
        reloads: &[1],
        helpers: &HELPERS[..1],
        ..CRASHES
    };
    let world = World::<2>::with(bare(1), false, menu, 0);
    let worlds = walk(
        "helpers, stepwise",
        world,
        Clock::Deadline,
        Polling::Stepwise,
    );
    assert!(worlds >= 130_000, "{worlds}");
}
