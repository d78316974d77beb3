//! What operators ask for, alone, together, and while something else is under way.

use forkmesh::machine::{Duty, Event, ExitStatus, Upgrade, UpgradeError, Upgrades};
use forkmesh::table::{Instant, State};

use crate::shell::{CRASH, Shell, one, pid, two};

const NOTHING: [&str; 0] = [];

#[test]
fn requests_that_come_together_are_all_served() {
    let mut shell = Shell::<8>::serving(one());
    let all = [
        Event::Rest,
        Event::Upgrade,
        Event::More,
        Event::Reopen,
        Event::Reload,
    ];
    for event in all {
        shell.master.handle(Instant::ORIGIN, event);
    }
    // The upgrade and the rest were taken up: nothing was under way yet.
    assert_eq!(shell.master.duty(), Duty::Resting);
    let mut trace = shell.drain();
    trace.extend(shell.on(Event::LaunchFailed(UpgradeError::Refused)));
    for said in [
        "Order(0.1, 101, Quit)",
        "Launch",
        "Reopen",
        "Order(0.1, 101, Reopen)",
        "Load(1, 1)",
    ] {
        let times = trace.iter().filter(|line| *line == said).count();
        assert_eq!(times, 1, "{said}: {trace:?}");
    }

    // The refusal of one does not keep the others waiting for the next event.
    let mut shell = Shell::<8>::serving(one());
    shell.on(Event::Reload);
    for event in [
        Event::Rest,
        Event::Reload,
        Event::More,
        Event::More,
        Event::Fewer,
    ] {
        assert_eq!(shell.on(event), NOTHING, "{event:?} waits");
    }
    assert_eq!(
        shell.on(Event::LoadRefused),
        ["ReloadFailed(1, Refused)", "Load(2, 1)"]
    );
    assert_eq!(
        shell.on(Event::LoadRefused),
        ["Order(0.1, 101, Quit)", "ReloadFailed(2, Refused)"]
    );
    assert_eq!(shell.master.serving(), (0, 2));
}

#[test]
fn a_reload_that_is_asked_for_twice_is_served_once_more() {
    // While it is loaded, and while workers start.
    let mut shell = Shell::<4>::serving(one());
    assert_eq!(shell.on(Event::Reload), ["Load(1, 1)"]);
    assert_eq!(shell.on(Event::Reload), NOTHING);
    shell.on(Event::Loaded(1));
    assert_eq!(shell.on(Event::Reload), NOTHING);
    assert_eq!(
        shell.on(Event::Ready(shell.id(1))),
        [
            "Order(0.1, 101, Quit)",
            "Ready(1.1, 102)",
            "Reloaded(1)",
            "Load(2, 1)"
        ]
    );
    shell.on(Event::Loaded(1));
    let trace = shell.all_ready();
    assert_eq!(trace.last().map(String::as_str), Some("Reloaded(2)"));
}

#[test]
fn more_and_fewer_count_at_once() {
    let mut shell = Shell::<4>::serving(one());
    assert_eq!(shell.on(Event::More), ["Spawn(1.1)", "Spawned(1.1, 102)"]);
    shell.ready(1);
    assert_eq!(shell.on(Event::Fewer), ["Order(1.1, 102, Quit)"]);
    assert_eq!(shell.on(Event::Fewer), NOTHING, "never below one");
    assert_eq!(shell.master.serving(), (0, 1));
    assert_eq!(shell.on(Event::More), ["Spawn(2.1)", "Spawned(2.1, 103)"]);
    shell.all_leave();
    for _ in 0..9 {
        shell.on(Event::More);
    }
    assert_eq!(
        shell.master.serving(),
        (0, 4),
        "no more than the table has room for"
    );
    let mut numbers: Vec<_> = shell.numbers();
    numbers.sort_unstable();
    assert_eq!(numbers, [0, 1, 2, 3]);
}

#[test]
fn fewer_takes_the_highest_whatever_it_does() {
    // Parked.
    let mut shell = Shell::<2>::serving(two());
    shell.dies(1, ExitStatus::FATAL);
    assert_eq!(shell.on(Event::Fewer), NOTHING);
    assert_eq!((shell.state(1), shell.numbers()), (State::Vacant, vec![0]));
    // Cooling: it is not filled again.
    let mut shell = Shell::<2>::new(two());
    shell.start();
    shell.dies(1, CRASH);
    shell.on(Event::Fewer);
    assert_eq!((shell.state(1), shell.deadline()), (State::Vacant, None));
    // Its fork is under way.
    let mut shell = Shell::<2>::new(two());
    shell.holds_spawns = true;
    shell.start();
    assert_eq!(shell.on(Event::Fewer), NOTHING);
    let trace = shell.on(Event::Spawned(shell.id(1), pid(7)));
    assert_eq!(trace, ["Order(1.1, 7, Quit)", "Spawned(1.1, 7)"]);
}

#[test]
fn a_count_is_kept_while_workers_rest_or_a_reload_is_under_way() {
    let mut shell = Shell::<4>::serving(one());
    shell.on(Event::Rest);
    shell.all_leave();
    assert_eq!(shell.on(Event::More), NOTHING, "they rest");
    assert_eq!(shell.on(Event::Reload), ["Load(1, 2)"], "but are counted");
    assert_eq!(shell.on(Event::More), NOTHING);
    shell.on(Event::Loaded(2));
    shell.all_ready();
    assert_eq!(shell.master.serving(), (1, 3), "after the reload");
    assert_eq!(shell.numbers().len(), 3);
}

#[test]
fn workers_that_rest_come_back_by_a_reload() {
    let mut shell = Shell::<4>::serving(two());
    assert_eq!(
        shell.on(Event::Rest),
        ["Order(0.1, 101, Quit)", "Order(1.1, 102, Quit)"]
    );
    assert_eq!(shell.on(Event::Rest), NOTHING);
    shell.dies(0, CRASH);
    shell.dies(1, ExitStatus::SUCCESS);
    assert_eq!((shell.numbers(), shell.deadline()), (vec![], None));
    // One that fails leaves them at rest.
    shell.on(Event::Reload);
    shell.on(Event::LoadRefused);
    assert_eq!(
        (shell.master.duty(), shell.numbers()),
        (Duty::Resting, vec![])
    );
    shell.on(Event::Reload);
    assert_eq!(shell.on(Event::Loaded(2)).len(), 4);
    shell.all_ready();
    assert_eq!((shell.master.duty(), shell.live()), (Duty::Serving, 2));
}

#[test]
fn a_successor_that_ends_brings_back_no_second_set_of_workers() {
    let mut shell = Shell::<8>::serving(two().upgrades(Upgrades::Manual));
    shell.on(Event::Rest);
    shell.all_leave();
    shell.on(Event::Reload);
    shell.on(Event::Loaded(2));
    shell.all_ready();
    shell.on(Event::Upgrade);
    shell.on(Event::Launched(pid(900)));
    shell.on(Event::SuccessorReady);
    let ended = shell.on(Event::SuccessorExited(ExitStatus::SUCCESS));
    assert_eq!(ended, ["Withdraw", "UpgradeFailed(DiedReady(Code(0)))"]);
    assert_eq!((shell.live(), shell.numbers().len()), (2, 2));
}

#[test]
fn a_reload_follows_a_launch_that_failed() {
    let mut shell = Shell::<4>::serving(one());
    shell.on(Event::Upgrade);
    shell.on(Event::LaunchFailed(UpgradeError::NotLaunched(2)));
    assert_eq!(shell.master.upgrade(), Upgrade::None);
    assert_eq!(
        shell.on(Event::Reload),
        ["Load(1, 1)"],
        "not a second set of workers"
    );
    assert_eq!(shell.numbers(), [0]);
}

#[test]
fn everybody_opens_their_files_again_once_the_master_has() {
    let mut shell = Shell::<4>::serving(two());
    shell.on(Event::Fewer);
    assert_eq!(
        shell.on(Event::Reopen),
        [
            "Reopen",
            "Order(0.1, 101, Reopen)",
            "Order(1.1, 102, Reopen)"
        ],
        "those who drain write, too"
    );
    assert_eq!(shell.on(Event::Elapsed), NOTHING);
    // A death takes back what was to be said.
    shell.master.handle(Instant::ORIGIN, Event::Reopen);
    let trace = shell.dies(1, ExitStatus::SUCCESS);
    assert!(
        !trace.iter().any(|line| line.starts_with("Order(1")),
        "{trace:?}"
    );
}

#[test]
fn nothing_is_asked_of_a_master_that_ends() {
    let mut shell = Shell::<4>::serving(one());
    shell.on(Event::Quit);
    for event in [
        Event::Reload,
        Event::Rest,
        Event::More,
        Event::Fewer,
        Event::Upgrade,
    ] {
        assert_eq!(shell.on(event), NOTHING, "{event:?}");
    }
    assert_eq!(
        shell.dies(0, CRASH).last().map(String::as_str),
        Some("Exit")
    );
}

#[test]
fn requests_that_were_kept_end_with_the_master() {
    let mut shell = Shell::<4>::serving(one());
    shell.on(Event::Reload);
    for event in [Event::Reload, Event::Upgrade, Event::Rest, Event::More] {
        shell.on(event);
    }
    shell.on(Event::Quit);
    assert_eq!(shell.on(Event::LoadRefused), NOTHING);
    assert_eq!(
        shell.dies(0, CRASH).last().map(String::as_str),
        Some("Exit")
    );
}
