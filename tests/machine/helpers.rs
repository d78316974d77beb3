//! Helpers: when they start and go, and what their deaths are not allowed to do; and reloads that
//! wait for what is not there yet.

use forkmesh::machine::{Backoff, Config, Event, ExitStatus};
use forkmesh::table::{Policy, Role, SlotSet, State};

use crate::shell::{CRASH, Shell, one, two};

const NOTHING: [&str; 0] = [];

/// Two workers, a manager and a loader.
fn crew() -> Config {
    two().helper(Policy::RESTART).helper(Policy::empty())
}

/// The helpers that stay: number and epoch.
fn helpers<const N: usize>(shell: &Shell<N>) -> Vec<(u16, u32)> {
    let slots = shell.master.table().occupied();
    let own = slots.filter(|(_, slot)| slot.role == Role::Helper && slot.state().stays());
    own.map(|(_, slot)| (slot.number, slot.epoch)).collect()
}

#[test]
fn helpers_are_started_after_the_workers() {
    let mut shell = Shell::<5>::new(crew());
    assert_eq!(shell.start().len(), 8);
    let slots = shell.master.table().occupied();
    let all: Vec<_> = slots.map(|(_, slot)| (slot.role, slot.number)).collect();
    let expected = [
        (Role::Worker, 0),
        (Role::Worker, 1),
        (Role::Helper, 0),
        (Role::Helper, 1),
    ];
    assert_eq!(all, expected);
}

#[test]
fn each_helper_has_its_own_policy() {
    let mut shell = Shell::<4>::serving(crew());
    let manager = shell.dies(2, CRASH);
    assert_eq!(manager.last().expect("a spawn"), "Spawned(2.2, 105)");
    shell.dies(3, CRASH);
    assert_eq!(shell.state(3), State::Vacant, "once is enough");
    shell.ready(2);
    shell.dies(2, ExitStatus::SUCCESS);
    assert_eq!(helpers(&shell), [(0, 0)]);
}

#[test]
fn a_helper_that_crashes_is_slowed_and_parked() {
    let backoff = Backoff::new()
        .jitter_percent(0)
        .delay_ms(10, 10)
        .park_after(2);
    let mut shell = Shell::<2>::new(one().helper(Policy::RESTART).backoff(backoff));
    shell.start();
    shell.ready(0);
    shell.dies(1, CRASH);
    assert_eq!(shell.state(1), State::Cooling);
    assert_eq!(shell.deadline(), Some(10));
    shell.at(10);
    let parked = shell.dies(1, CRASH);
    assert_eq!(parked[2], "Parked(1.2, NeverReady)");
    assert_eq!(shell.live(), 1, "the worker serves");
}

#[test]
fn a_helper_never_fails_a_reload() {
    let mut shell = Shell::<8>::serving(crew());
    shell.on(Event::Reload);
    shell.on(Event::Loaded(2));
    assert_eq!(helpers(&shell), [(0, 0), (1, 0)], "the old ones go on");
    shell.dies(2, ExitStatus::FATAL);
    shell.ready(4);
    shell.failing = 1; // the new manager's
    let trace = shell.on(Event::Ready(shell.id(5)));
    assert_eq!(
        trace,
        [
            "Order(0.1, 101, Quit)",
            "Order(1.1, 102, Quit)",
            "Order(3.1, 104, Quit)",
            "Ready(5.1, 106)",
            "Reloaded(1)",
            "Spawn(2.2)",
            "SpawnFailed(2.2)",
            "Delayed(2.2, 10)",
            "Spawn(6.1)",
            "Spawned(6.1, 107)",
        ]
    );
    shell.dies(6, ExitStatus::FATAL);
    shell.at(100);
    assert_eq!(helpers(&shell)[0], (0, 1), "it is made in the end");
    assert_eq!(shell.master.serving(), (1, 2));
}

#[test]
fn helpers_give_way_to_workers() {
    let mut shell = Shell::<3>::serving(two().helper(Policy::RESTART));
    shell.on(Event::Reload);
    let trace = shell.on(Event::Loaded(2));
    assert_eq!(trace, ["Order(2.1, 103, Quit)"], "before any worker goes");
    shell.dies(2, ExitStatus::SUCCESS);
    assert_eq!((helpers(&shell).len(), shell.live()), (0, 2));
    shell.on(Event::SpawnFailed(shell.id(2))); // not asked for: nothing
    shell.dies(2, CRASH); // the new worker: the reload fails
    assert_eq!(helpers(&shell), [(0, 0)], "and it is called back");
}

#[test]
fn helpers_rest_and_come_back_with_the_workers() {
    let mut shell = Shell::<4>::serving(crew());
    assert_eq!(shell.on(Event::Rest).len(), 4);
    shell.all_leave();
    assert_eq!(helpers(&shell), []);
    shell.on(Event::Reload);
    shell.on(Event::Loaded(2));
    assert_eq!(helpers(&shell), [], "not before it serves");
    shell.all_ready();
    assert_eq!(helpers(&shell), [(0, 1), (1, 1)]);
}

#[test]
fn nobody_counts_helpers() {
    let mut shell = Shell::<5>::serving(crew());
    for event in [
        Event::More,
        Event::More,
        Event::Fewer,
        Event::Fewer,
        Event::Fewer,
    ] {
        shell.on(event);
        assert_eq!(helpers(&shell), [(0, 0), (1, 0)], "{event:?}");
    }
    assert_eq!(shell.master.serving(), (0, 1));
    for _ in 0..9 {
        shell.on(Event::More);
    }
    assert_eq!(shell.master.serving(), (0, 3), "there is room for helpers");
}

#[test]
fn a_predecessor_does_not_wait_for_a_helper() {
    let mut shell = Shell::<4>::new(one().helper(Policy::RESTART).helper(Policy::empty()));
    shell.master.succeed(&SlotSet::first_of(1));
    shell.start();
    shell.dies(2, ExitStatus::FATAL);
    shell.dies(3, CRASH);
    let trace = shell.on(Event::Ready(shell.id(1)));
    assert_eq!(trace, ["Ready(1.1, 101)", "SayReady"]);
}

#[test]
fn a_successor_without_room_for_its_helpers_serves() {
    let mut shell = Shell::<2>::new(one().helper(Policy::RESTART));
    shell.master.succeed(&SlotSet::first_of(1));
    shell.start();
    let trace = shell.on(Event::Ready(shell.id(1)));
    assert_eq!(trace, ["Ready(1.1, 101)", "SayReady"]);
    assert_eq!(helpers(&shell), []);
    shell.on(Event::PredecessorGone);
    assert_eq!(helpers(&shell), [(0, 0)], "there is room now");
}

#[test]
fn helpers_end_with_the_master() {
    let mut shell = Shell::<4>::serving(crew());
    assert_eq!(shell.on(Event::Quit).len(), 4);
    assert_eq!(shell.on(Event::Terminate).len(), 4);
    let trace = shell.all_leave();
    assert_eq!(trace.last().expect("an end"), "Exit");
}

#[test]
fn an_order_that_was_not_read_is_given_again() {
    let mut shell = Shell::<2>::serving(one().helper(Policy::RESTART));
    let helper = shell.id(1);
    assert_eq!(
        shell.on(Event::Unheard(helper)),
        NOTHING,
        "nothing was said"
    );
    shell.on(Event::Rest);
    let again = shell.on(Event::Unheard(helper));
    assert_eq!(again, ["Order(1.1, 102, Quit)"]);
    shell.on(Event::Terminate);
    assert_eq!(
        shell.on(Event::Unheard(helper)),
        NOTHING,
        "it was signalled"
    );
    shell.dies(1, CRASH);
    let ignored = shell.master.ignored();
    shell.on(Event::Unheard(helper));
    assert_eq!(shell.master.ignored(), ignored + 1);
}

#[test]
fn what_is_deferred_is_loaded_again() {
    let mut shell = Shell::<2>::serving(one());
    shell.on(Event::Reload);
    assert_eq!(shell.on(Event::LoadDeferred(500)), NOTHING);
    assert_eq!(shell.deadline(), Some(500));
    assert_eq!(shell.at(499), NOTHING);
    shell.on(Event::More);
    assert_eq!(shell.master.serving(), (0, 1), "that is kept");
    assert_eq!(shell.at(500), ["Load(1, 1)"]);
    assert_eq!(shell.on(Event::LoadDeferred(0)), NOTHING);
    assert_eq!(shell.deadline(), Some(501), "it never spins");
    assert_eq!(shell.at(501), ["Load(1, 1)"]);
    assert_eq!(
        shell.on(Event::Loaded(1)),
        ["Spawn(1.1)", "Spawned(1.1, 102)"]
    );
    let trace = shell.on(Event::Ready(shell.id(1)));
    assert!(trace.contains(&"Reloaded(1)".to_owned()), "{trace:?}");
}

#[test]
fn a_reload_that_waits_is_hurried_by_another() {
    let mut shell = Shell::<2>::serving(one());
    shell.on(Event::Reload);
    shell.on(Event::LoadDeferred(500));
    assert_eq!(shell.on(Event::Reload), ["Load(1, 1)"], "the same, at once");
    assert_eq!(shell.on(Event::LoadRefused), ["ReloadFailed(1, Refused)"]);
    assert_eq!(shell.deadline(), None, "nothing is left of it");
}

#[test]
fn a_reload_that_waits_ends_with_the_master() {
    for event in [Event::Quit, Event::Terminate] {
        let mut shell = Shell::<2>::serving(one());
        shell.on(Event::Reload);
        shell.on(Event::LoadDeferred(500));
        let trace = shell.on(event);
        assert_eq!(trace[1], "ReloadFailed(1, Ended)", "{event:?}");
        shell.now = 600;
        assert_eq!(shell.on(Event::Elapsed), NOTHING, "{event:?}");
    }
}
