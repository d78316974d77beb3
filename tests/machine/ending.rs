//! How the master ends.

use forkmesh::machine::{Action, Event, ExitStatus, Master, Phase};
use forkmesh::table::{Instant, State};

use crate::shell::{CRASH, Shell, one, pid, two};

#[test]
fn quit_asks_then_terminates_then_kills() {
    let mut shell = Shell::<2>::serving(two());
    shell.now = 1_000;
    assert_eq!(
        shell.on(Event::Quit),
        ["Order(0.1, 101, Quit)", "Order(1.1, 102, Quit)"]
    );
    assert_eq!(shell.master.phase(), Phase::Draining);
    assert_eq!(
        shell.dies(1, ExitStatus::SUCCESS),
        ["Reclaim(1.1)", "Exited(1.1, 102, Code(0))"]
    );
    assert_eq!(shell.deadline(), Some(31_000));
    assert_eq!(shell.at(30_999), [""; 0]);
    assert_eq!(
        shell.at(31_000),
        ["Signal(0.1, 101, Terminate)", "Order(0.1, 101, Terminate)"]
    );
    for due in [34_000, 37_000, 40_000] {
        assert_eq!(shell.deadline(), Some(due));
        assert_eq!(shell.at(due - 1), [""; 0]);
        assert_eq!(shell.at(due), ["Signal(0.1, 101, Kill)"]);
    }
    let killed = ExitStatus::Killed {
        signal: 9,
        core: false,
    };
    assert_eq!(
        shell.dies(0, killed),
        [
            "Reclaim(0.1)",
            "Exited(0.1, 101, Killed { signal: 9, core: false })",
            "Exit"
        ]
    );
    assert_eq!(
        (shell.master.phase(), shell.deadline()),
        (Phase::Stopped, None)
    );
}

#[test]
fn terminate_signals_then_kills() {
    let mut shell = Shell::<2>::serving(one());
    assert_eq!(shell.on(Event::Terminate), ["Signal(0.1, 101, Terminate)"]);
    assert_eq!(shell.master.phase(), Phase::Stopping);
    shell.now = 2_000;
    assert_eq!(shell.on(Event::Terminate), [""; 0], "twice changes nothing");
    assert_eq!(shell.on(Event::Quit), [""; 0], "nor does a quit");
    assert_eq!(shell.deadline(), Some(3_000));
    assert_eq!(shell.at(3_000), ["Signal(0.1, 101, Kill)"]);
    assert_eq!(shell.at(6_000), ["Signal(0.1, 101, Kill)"]);
}

#[test]
fn terminate_hurries_a_quit_but_not_who_was_terminated() {
    let mut shell = Shell::<2>::serving(one());
    shell.on(Event::Quit);
    shell.now = 10_000;
    assert_eq!(shell.on(Event::Quit), [""; 0], "twice changes nothing");
    assert_eq!(shell.deadline(), Some(30_000));
    assert_eq!(shell.on(Event::Terminate), ["Signal(0.1, 101, Terminate)"]);
    assert_eq!(shell.deadline(), Some(13_000));

    let mut shell = Shell::<2>::serving(one());
    shell.on(Event::Quit);
    shell.at(30_000);
    shell.now = 31_000;
    assert_eq!(shell.on(Event::Terminate), [""; 0]);
    assert_eq!(shell.deadline(), Some(33_000));
}

#[test]
fn a_quit_that_was_not_sent_yet_gives_way_to_terminate() {
    let mut shell = Shell::<2>::serving(one());
    shell.master.handle(Instant::ORIGIN, Event::Quit);
    assert_eq!(shell.on(Event::Terminate), ["Signal(0.1, 101, Terminate)"]);
}

#[test]
fn a_death_takes_back_what_was_to_be_said() {
    let mut shell = Shell::<2>::serving(one());
    shell.master.handle(Instant::ORIGIN, Event::Terminate);
    let trace = shell.dies(0, CRASH);
    assert_eq!(trace, ["Reclaim(0.1)", "Exited(0.1, 101, Code(1))", "Exit"]);

    let mut shell = Shell::<2>::serving(two());
    shell.master.handle(Instant::ORIGIN, Event::Quit);
    assert_eq!(
        shell.dies(0, CRASH),
        [
            "Reclaim(0.1)",
            "Order(1.1, 102, Quit)",
            "Exited(0.1, 101, Code(1))"
        ]
    );
}

#[test]
fn an_empty_master_exits_once() {
    for event in [Event::Quit, Event::Terminate] {
        let mut shell = Shell::<2>::new(one().workers(0));
        assert_eq!(shell.start(), [""; 0]);
        assert_eq!(shell.on(event), ["Exit"]);
        assert_eq!(shell.master.phase(), Phase::Stopped);
        assert_eq!(shell.on(Event::Quit), [""; 0]);
        assert_eq!(shell.on(Event::Terminate), [""; 0]);
        assert_eq!(shell.start(), [""; 0]);
        assert_eq!(shell.master.ignored(), 2);
    }
}

#[test]
fn quit_before_the_spawns_were_polled_makes_none() {
    let mut shell = Shell::<2>::new(two());
    shell.master.start();
    assert_eq!(shell.on(Event::Quit), ["Exit"]);
    assert_eq!(shell.start(), [""; 0], "too late");
}

#[test]
fn quit_while_a_spawn_is_under_way() {
    let under_way = || {
        let mut shell = Shell::<2>::new(one());
        shell.holds_spawns = true;
        assert_eq!(shell.start(), ["Spawn(0.1)"]);
        shell
    };
    let mut shell = under_way();
    assert_eq!(shell.on(Event::Quit), [""; 0], "there may be a child");
    let spawned = Event::Spawned(shell.id(0), pid(7));
    assert_eq!(
        shell.on(spawned),
        ["Order(0.1, 7, Quit)", "Spawned(0.1, 7)"]
    );
    assert_eq!(shell.deadline(), Some(30_000));
    let exited = shell.dies(0, ExitStatus::SUCCESS);
    assert_eq!(exited.last().map(String::as_str), Some("Exit"));

    let mut shell = under_way();
    assert_eq!(shell.on(Event::Terminate), [""; 0]);
    let trace = shell.on(spawned);
    assert_eq!(trace, ["Signal(0.1, 7, Terminate)", "Spawned(0.1, 7)"]);

    let mut shell = under_way();
    shell.on(Event::Quit);
    let failed = Event::SpawnFailed(shell.id(0));
    assert_eq!(shell.on(failed), ["SpawnFailed(0.1)", "Exit"]);
}

#[test]
fn quit_empties_the_slots_without_a_process() {
    let mut shell = Shell::<4>::serving(one().workers(4));
    shell.dies(0, ExitStatus::FATAL);
    for _ in 0..6 {
        if shell.pid(1).is_some() {
            shell.ready(1);
            shell.dies(1, CRASH);
        }
    }
    assert_eq!(
        (shell.state(0), shell.state(1)),
        (State::Parked, State::Cooling)
    );
    shell.on(Event::Quit);
    assert_eq!(
        (shell.state(0), shell.state(1)),
        (State::Vacant, State::Vacant)
    );
    shell.dies(2, CRASH);
    let last = shell.dies(3, ExitStatus::FATAL);
    assert_eq!(last.last().map(String::as_str), Some("Exit"));
}

#[test]
fn a_reclaiming_slot_keeps_the_master_but_is_not_filled_again() {
    let mut master = Master::<1>::new(one());
    let now = Instant::ORIGIN;
    master.start();
    let Some(Action::Spawn(id)) = master.poll() else {
        panic!("a start spawns");
    };
    master.handle(now, Event::Spawned(id, pid(5)));
    master.handle(now, Event::Exited(id, CRASH));
    while master.poll().is_some() {}
    master.handle(now, Event::Quit);
    assert_eq!(master.poll(), None);
    master.handle(now, Event::Reclaimed(id));
    assert_eq!(master.poll(), Some(Action::Exit));
}
