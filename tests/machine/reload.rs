//! Reloads: how they go, how they fail, and what is left then.

use forkmesh::machine::{Action, Event, ExitStatus, ReloadError, Report};
use forkmesh::table::{CHILDREN, Instant, State};

use crate::shell::{CRASH, Shell, one, pid, told, two};

const NOTHING: [&str; 0] = [];

/// Its configuration is made, and wants so many workers.
fn reloading<const N: usize>(shell: &mut Shell<N>, workers: u16) -> Vec<String> {
    let (_, now) = shell.master.serving();
    let epoch = shell.next_epoch();
    assert_eq!(shell.on(Event::Reload), [format!("Load({epoch}, {now})")]);
    shell.on(Event::Loaded(workers))
}

#[test]
fn a_reload_starts_the_new_epoch_before_the_old_one_goes() {
    let mut shell = Shell::<4>::serving(two());
    assert_eq!(
        reloading(&mut shell, 2),
        [
            "Spawn(2.1)",
            "Spawned(2.1, 103)",
            "Spawn(3.1)",
            "Spawned(3.1, 104)"
        ]
    );
    assert_eq!(shell.master.starting(), Some(1));
    assert_eq!(shell.on(Event::Ready(shell.id(2))), ["Ready(2.1, 103)"]);
    assert_eq!((shell.master.serving(), shell.live()), ((0, 2), 3));
    assert_eq!(
        shell.on(Event::Ready(shell.id(3))),
        [
            "Order(0.1, 101, Quit)",
            "Order(1.1, 102, Quit)",
            "Ready(3.1, 104)",
            "Reloaded(1)"
        ]
    );
    assert_eq!(
        (shell.master.serving(), shell.master.starting()),
        ((1, 2), None)
    );
    shell.dies(0, CRASH);
    shell.dies(1, CRASH);
    assert_eq!(
        shell.state(0),
        State::Vacant,
        "the old ones are not replaced"
    );
    assert_eq!((shell.live(), shell.deadline()), (2, None));
}

#[test]
fn a_reload_that_does_not_fit_goes_in_steps() {
    let mut shell = Shell::<3>::serving(two());
    assert_eq!(
        reloading(&mut shell, 2),
        ["Spawn(2.1)", "Spawned(2.1, 103)"]
    );
    assert_eq!(shell.live(), 2, "nobody goes before somebody is ready");
    assert_eq!(
        shell.on(Event::Ready(shell.id(2))),
        ["Order(0.1, 101, Quit)", "Ready(2.1, 103)"]
    );
    assert_eq!(
        shell.dies(0, ExitStatus::SUCCESS),
        [
            "Reclaim(0.1)",
            "Exited(0.1, 101, Code(0))",
            "Spawn(0.2)",
            "Spawned(0.2, 104)"
        ]
    );
    assert_eq!(
        shell.on(Event::Ready(shell.id(0))),
        ["Order(1.1, 102, Quit)", "Ready(0.2, 104)", "Reloaded(1)"]
    );

    // Not one fits: one goes first, and no second one before a new one is ready.
    let mut shell = Shell::<2>::serving(two());
    assert_eq!(reloading(&mut shell, 2), ["Order(0.1, 101, Quit)"]);
    assert_eq!(shell.at(shell.now + 1), NOTHING);
    shell.dies(0, ExitStatus::SUCCESS);
    assert_eq!(shell.live(), 1);
    assert_eq!(
        shell.on(Event::Ready(shell.id(0))),
        ["Order(1.1, 102, Quit)", "Ready(0.2, 103)"]
    );
}

#[test]
fn a_step_that_came_to_nothing_is_taken_back() {
    let mut shell = Shell::<2>::serving(two());
    reloading(&mut shell, 2);
    shell.dies(0, ExitStatus::SUCCESS);
    assert_eq!(
        shell.dies(0, CRASH),
        [
            "Reclaim(0.2)",
            "Exited(0.2, 103, Code(1))",
            "ReloadFailed(1, Died(0.2, Code(1)))",
            "Spawn(0.3)",
            "Spawned(0.3, 104)"
        ]
    );
    let slots = shell.master.table().occupied();
    let all: Vec<_> = slots.map(|(_, slot)| (slot.epoch, slot.number)).collect();
    assert_eq!(all, [(0, 0), (0, 1)]);
}

#[test]
fn a_reload_has_one_outcome() {
    type Cause = fn(&mut Shell<2>) -> Vec<String>;
    let causes: [(&str, Cause); 8] = [
        ("Reloaded(1)", |shell| {
            shell.on(Event::Loaded(1));
            shell.on(Event::Ready(shell.id(1)))
        }),
        ("ReloadFailed(1, Refused)", |shell| {
            shell.on(Event::LoadRefused)
        }),
        ("ReloadFailed(1, Died(1.1, Code(1)))", |shell| {
            shell.on(Event::Loaded(1));
            shell.dies(1, CRASH)
        }),
        ("ReloadFailed(1, Died(1.1, Code(2)))", |shell| {
            shell.on(Event::Loaded(1));
            shell.dies(1, ExitStatus::FATAL)
        }),
        ("ReloadFailed(1, SpawnFailed(1.1))", |shell| {
            shell.failing = 1;
            shell.on(Event::Loaded(1))
        }),
        ("ReloadFailed(1, Deadline)", |shell| {
            shell.on(Event::Loaded(1));
            assert_eq!(shell.at(29_999), NOTHING);
            shell.at(30_000)
        }),
        ("ReloadFailed(1, Ended)", |shell| {
            shell.on(Event::Loaded(1));
            shell.on(Event::Quit)
        }),
        ("ReloadFailed(1, Ended)", |shell| shell.on(Event::Terminate)),
    ];
    for (outcome, cause) in causes {
        let mut shell = Shell::<2>::serving(one());
        assert_eq!(shell.on(Event::Reload), ["Load(1, 1)"]);
        let mut trace = cause(&mut shell);
        let running = shell.state(0) == State::Live(shell.pid(0).expect("a process"));
        trace.extend(shell.at(100_000));
        for late in [Event::Loaded(1), Event::LoadRefused, Event::Elapsed] {
            trace.extend(shell.on(late));
        }
        let told: Vec<_> = trace
            .iter()
            .filter(|line| line.contains("Reload"))
            .collect();
        assert_eq!(told, [outcome]);
        let fails = outcome.starts_with("ReloadFailed") && !outcome.contains("Ended");
        assert_eq!(running, fails, "the old worker after {outcome}");
        assert_eq!(shell.master.starting(), None);
    }
}

#[test]
fn a_worker_that_was_ready_may_die_while_others_start() {
    let mut shell = Shell::<4>::serving(two());
    reloading(&mut shell, 2);
    shell.ready(2);
    assert_eq!(
        shell.dies(2, CRASH),
        [
            "Reclaim(2.1)",
            "Exited(2.1, 103, Code(1))",
            "Spawn(2.2)",
            "Spawned(2.2, 105)"
        ]
    );
    shell.ready(3);
    assert_eq!(shell.master.serving(), (0, 2), "not all are ready");
    let trace = shell.on(Event::Ready(shell.id(2)));
    assert_eq!(trace.last().map(String::as_str), Some("Reloaded(1)"));
    // But with exit code 2 it says that it will not serve.
    reloading(&mut shell, 2);
    assert_eq!(shell.live(), 2);
}

#[test]
fn a_deadline_is_put_off_by_progress() {
    let mut shell = Shell::<4>::serving(two().reload_ms(1_000));
    reloading(&mut shell, 2);
    assert_eq!(shell.deadline(), Some(1_000));
    shell.now = 900;
    shell.ready(2);
    assert_eq!(shell.deadline(), Some(1_900));
    assert_eq!(shell.at(1_899), NOTHING);
    assert_eq!(
        shell.at(1_900),
        [
            "Order(2.1, 103, Quit)",
            "Order(3.1, 104, Quit)",
            "ReloadFailed(1, Deadline)"
        ]
    );
    assert_eq!((shell.master.serving(), shell.live()), ((0, 2), 2));
}

#[test]
fn a_reload_can_want_fewer_workers_or_more() {
    for (workers, live) in [(1, 1), (3, 3), (0, 0), (900, 6)] {
        let mut shell = Shell::<6>::serving(two());
        let mut trace = reloading(&mut shell, workers);
        for _ in 0..8 {
            trace.extend(shell.all_ready());
            trace.extend(shell.all_leave());
        }
        assert!(
            trace.contains(&"Reloaded(1)".to_owned()),
            "{workers}: {trace:?}"
        );
        assert_eq!(shell.live(), live, "{workers}");
        assert_eq!(shell.master.table().occupied().count(), live);
        assert_eq!(shell.master.serving(), (1, live as u16));
    }
}

#[test]
fn a_reload_revives_whoever_was_given_up() {
    let mut shell = Shell::<4>::serving(two());
    shell.dies(0, ExitStatus::FATAL);
    assert_eq!(shell.state(0), State::Parked);
    reloading(&mut shell, 2);
    shell.all_ready();
    shell.all_leave();
    assert_eq!((shell.live(), shell.state(0)), (2, State::Vacant));
}

#[test]
fn a_slot_that_was_given_up_makes_room_first() {
    let mut shell = Shell::<2>::serving(two());
    shell.dies(0, ExitStatus::FATAL);
    assert_eq!(
        reloading(&mut shell, 2),
        ["Spawn(0.2)", "Spawned(0.2, 103)"]
    );
    assert_eq!(shell.live(), 1, "whoever serves stays");
}

#[test]
fn a_table_that_is_too_small_costs_one_worker_a_step() {
    let mut shell = Shell::<2>::serving(one().workers(4));
    assert_eq!(reloading(&mut shell, 1), ["Order(0.1, 101, Quit)"]);
    shell.dies(0, ExitStatus::SUCCESS);
    assert_eq!(shell.live(), 1);
    let new = shell
        .master
        .table()
        .slot(shell.id(0))
        .expect("a slot")
        .epoch;
    assert_eq!(new, 1, "the room is for the new worker");
}

#[test]
fn what_cools_for_nobody_is_not_reported() {
    // A fork for an old worker fails; before that is polled, its slot goes to a new one.
    let mut shell = Shell::<3>::serving(two());
    reloading(&mut shell, 2);
    shell.holds_spawns = true;
    shell.dies(0, CRASH);
    let failed = Event::SpawnFailed(shell.id(0));
    shell.master.handle(Instant::ORIGIN, failed);
    assert_eq!(
        shell.on(Event::Ready(shell.id(2))),
        ["SpawnFailed(0.2)", "Ready(2.1, 103)", "Spawn(0.3)"]
    );
    assert_eq!(shell.live(), 2, "whoever serves stays");
}

/// One reload that is a success; nobody of the old epoch leaves.
fn reloads(shell: &mut Shell<16>) -> Vec<String> {
    let mut trace = reloading(shell, 1);
    trace.extend(shell.all_ready());
    trace
}

#[test]
fn old_epochs_are_terminated() {
    let mut shell = Shell::<16>::serving(one().most_draining(2));
    for _ in 0..2 {
        let trace = reloads(&mut shell);
        assert!(
            !trace.iter().any(|line| line.starts_with("Signal")),
            "{trace:?}"
        );
    }
    let trace = reloads(&mut shell);
    assert!(
        trace.contains(&"Signal(0.1, 101, Terminate)".to_owned()),
        "{trace:?}"
    );
    let signals = trace.iter().filter(|line| line.starts_with("Signal"));
    assert_eq!(signals.count(), 1, "{trace:?}");
    // The others keep their time, and the next reload takes the next.
    let trace = reloads(&mut shell);
    assert!(
        trace.contains(&"Signal(1.1, 102, Terminate)".to_owned()),
        "{trace:?}"
    );
    assert!(
        !trace.contains(&"Signal(0.1, 101, Terminate)".to_owned()),
        "{trace:?}"
    );
}

#[test]
fn reloads_that_fail_hurry_nobody() {
    let mut shell = Shell::<16>::serving(one().most_draining(1));
    for _ in 0..5 {
        shell.on(Event::Reload);
        shell.on(Event::LoadRefused);
    }
    let trace = reloads(&mut shell);
    assert!(
        trace.contains(&"Order(0.1, 101, Quit)".to_owned()),
        "{trace:?}"
    );
    assert!(
        !trace.iter().any(|line| line.starts_with("Signal")),
        "{trace:?}"
    );
    assert_eq!(shell.deadline(), Some(30_000), "it has all its time");
}

/// A reload of a large table, one event at a time; the fewest workers that served at any time.
fn fewest(workers: u16) -> usize {
    let mut shell = Shell::<1024>::serving(one().workers(workers.into()));
    let mut fewest = shell.live();
    assert_eq!(fewest, usize::from(workers));
    reloading(&mut shell, workers);
    while shell.master.serving().0 == 0 {
        let mut waits = true;
        for index in 0..CHILDREN {
            match shell.state(index) {
                State::Starting(Some(_)) => drop(shell.on(Event::Ready(shell.id(index)))),
                State::Retiring(_) => drop(shell.dies(index, ExitStatus::SUCCESS)),
                _ => continue,
            }
            waits = false;
            fewest = fewest.min(shell.live());
        }
        assert!(!waits, "nothing moves");
    }
    shell.all_leave();
    assert_eq!(shell.live(), usize::from(workers));
    fewest
}

#[test]
fn a_thousand_workers_reload_without_a_gap() {
    assert_eq!(fewest(1_000), 1_000);
}

#[test]
fn a_full_table_reloads_with_one_worker_less() {
    assert_eq!(fewest(1_022), 1_021);
}

#[test]
fn a_helper_that_was_just_started_is_not_told_to_go() {
    // Forked for the new epoch while the old one goes: only the old one is told.
    let mut shell = Shell::<4>::serving(one());
    shell.holds_spawns = true;
    reloading(&mut shell, 1);
    shell.on(Event::Spawned(shell.id(1), pid(7)));
    let trace = shell.on(Event::Ready(shell.id(1)));
    assert_eq!(
        trace,
        ["Order(0.1, 101, Quit)", "Ready(1.1, 7)", "Reloaded(1)"]
    );
    assert_eq!(shell.state(1), State::Live(pid(7)));
}

#[test]
fn a_fork_that_comes_after_the_reload_failed_is_retired() {
    let mut shell = Shell::<4>::serving(two());
    shell.holds_spawns = true;
    assert_eq!(reloading(&mut shell, 2), ["Spawn(2.1)", "Spawn(3.1)"]);
    let failed = shell.on(Event::SpawnFailed(shell.id(2)));
    assert_eq!(failed[1], "ReloadFailed(1, SpawnFailed(2.1))");
    let late = shell.on(Event::Spawned(shell.id(3), pid(7)));
    assert_eq!(late, ["Order(3.1, 7, Quit)", "Spawned(3.1, 7)"]);
}

#[test]
fn the_last_exit_says_how_far_it_came() {
    let mut shell = Shell::<1>::serving(one());
    let last = |shell: &Shell<1>| shell.master.last_exit(shell.id(0).index());
    assert_eq!(last(&shell), None);
    shell.now = 1_234;
    shell.dies(0, CRASH);
    let ending = last(&shell).expect("an end");
    assert_eq!((ending.status, ending.was_ready), (CRASH, true));
    assert_eq!((ending.lived_ms, ending.failed), (1_234, None));

    shell.now += 5;
    shell.on(Event::Failed(shell.id(0), 3, 13));
    assert_eq!(last(&shell), Some(ending), "it has not ended yet");
    shell.dies(0, ExitStatus::FATAL);
    let ending = last(&shell).expect("an end");
    assert_eq!(
        (ending.status, ending.was_ready),
        (ExitStatus::FATAL, false)
    );
    assert_eq!((ending.lived_ms, ending.failed), (5, Some((3, 13))));
}

#[test]
fn who_was_told_to_go_had_been_ready() {
    let mut shell = Shell::<1>::serving(one());
    let id = shell.id(0);
    shell.on(Event::Rest);
    shell.dies(0, ExitStatus::SUCCESS);
    let ending = shell.master.last_exit(id.index()).expect("an end");
    assert!(ending.was_ready);
}

#[test]
fn what_one_life_failed_at_is_not_said_of_the_next() {
    let mut shell = Shell::<1>::serving(one());
    shell.on(Event::Failed(shell.id(0), 3, 13));
    shell.dies(0, CRASH);
    shell.ready(0);
    shell.dies(0, CRASH);
    let ending = shell.master.last_exit(shell.id(0).index()).expect("an end");
    assert_eq!(ending.failed, None);
}

#[test]
fn an_outcome_that_was_not_polled_is_not_lost() {
    let mut shell = Shell::<2>::serving(one());
    shell.on(Event::Reload);
    let now = Instant::ORIGIN;
    for event in [Event::Reload, Event::LoadRefused, Event::Quit] {
        shell.master.handle(now, event);
    }
    let trace = shell.drain();
    let refused = ReloadError::Refused;
    let report = Action::Report(Report::ReloadFailed(1, refused));
    assert_eq!(trace, ["Order(0.1, 101, Quit)".to_owned(), told(&report)]);
}
