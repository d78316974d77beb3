//! Upgrades: from the old master's side, and from the new one's.

use forkmesh::machine::{Config, Duty, Event, ExitStatus, Phase, Upgrade, UpgradeError, Upgrades};
use forkmesh::table::{Instant, Policy, SlotSet, State};

use crate::shell::{CRASH, Shell, one, pid, two};

const NOTHING: [&str; 0] = [];

/// The successor runs.
fn launched(config: Config) -> Shell<4> {
    let mut shell = Shell::<4>::serving(config);
    assert_eq!(shell.on(Event::Upgrade), ["Launch"]);
    assert_eq!(shell.on(Event::Launched(pid(900))), NOTHING);
    shell
}

fn by_hand() -> Config {
    two().upgrades(Upgrades::Manual)
}

#[test]
fn an_upgrade_passes_on_after_the_probation() {
    let mut shell = launched(two());
    assert_eq!(shell.deadline(), Some(60_000));
    assert_eq!(
        shell.on(Event::SuccessorReady),
        ["Order(0.1, 101, Quit)", "Order(1.1, 102, Quit)"]
    );
    assert_eq!(shell.master.upgrade(), Upgrade::Probation(pid(900)));
    shell.all_leave();
    assert_eq!(
        (shell.master.phase(), shell.deadline()),
        (Phase::Running, Some(1_000))
    );
    assert_eq!(shell.at(999), NOTHING);
    assert_eq!(shell.at(1_000), ["Upgraded(900)", "Exit"]);
}

#[test]
fn workers_that_drain_longer_than_the_probation_keep_their_time() {
    let mut shell = launched(one());
    shell.on(Event::SuccessorReady);
    assert_eq!(shell.at(1_000), ["Upgraded(900)"]);
    assert_eq!(
        (shell.master.phase(), shell.deadline()),
        (Phase::Draining, Some(30_000))
    );
    assert_eq!(
        shell.dies(0, CRASH).last().map(String::as_str),
        Some("Exit")
    );
}

#[test]
fn a_failed_upgrade_changes_nothing() {
    type Cause = fn(&mut Shell<4>) -> Vec<String>;
    let causes: [(&str, Cause); 6] = [
        ("NotExecuted(2)", |shell| {
            shell.on(Event::LaunchFailed(UpgradeError::NotExecuted(2)))
        }),
        ("Refused", |shell| {
            shell.on(Event::LaunchFailed(UpgradeError::Refused))
        }),
        ("Died(Code(1))", |shell| {
            shell.on(Event::Launched(pid(900)));
            shell.on(Event::SuccessorExited(CRASH))
        }),
        ("Unready", |shell| {
            shell.on(Event::Launched(pid(900)));
            let given_up = shell.on(Event::SuccessorFailed(UpgradeError::Unready));
            assert_eq!(given_up, ["SignalSuccessor(Terminate)"]);
            shell.on(Event::SuccessorExited(CRASH))
        }),
        ("NoRoom", |shell| {
            shell.on(Event::Launched(pid(900)));
            shell.on(Event::SuccessorFailed(UpgradeError::NoRoom));
            shell.on(Event::SuccessorExited(ExitStatus::SUCCESS))
        }),
        ("Deadline", |shell| {
            shell.on(Event::Launched(pid(900)));
            assert_eq!(shell.at(59_999), NOTHING);
            assert_eq!(shell.at(60_000), ["SignalSuccessor(Terminate)"]);
            assert_eq!(shell.on(Event::SuccessorReady), NOTHING, "too late");
            shell.on(Event::SuccessorExited(CRASH))
        }),
    ];
    for (why, cause) in causes {
        let mut shell = Shell::<4>::serving(two());
        let before = shell.master.table().clone();
        assert_eq!(shell.on(Event::Upgrade), ["Launch"]);
        let failed = format!("UpgradeFailed({why})");
        assert_eq!(cause(&mut shell), ["Withdraw", failed.as_str()], "{why}");
        assert_eq!(shell.master.table(), &before, "{why}");
        assert_eq!(shell.master.upgrade(), Upgrade::None, "{why}");
        assert_eq!(
            (shell.master.duty(), shell.deadline()),
            (Duty::Serving, None),
            "{why}"
        );
        assert_eq!(
            shell.on(Event::SuccessorExited(CRASH)),
            NOTHING,
            "it is gone"
        );
        assert_eq!(
            shell.on(Event::Upgrade),
            ["Launch"],
            "it can be tried again"
        );
    }
}

#[test]
fn a_successor_that_hangs_is_killed() {
    let mut shell = launched(one());
    assert_eq!(shell.at(60_000), ["SignalSuccessor(Terminate)"]);
    for due in [66_000, 69_000, 72_000] {
        assert_eq!(shell.deadline(), Some(due));
        assert_eq!(shell.at(due - 1), NOTHING, "waking up hurries nobody");
        assert_eq!(shell.at(due), ["SignalSuccessor(Kill)"]);
    }
    let killed = ExitStatus::Killed {
        signal: 9,
        core: false,
    };
    assert_eq!(
        shell.on(Event::SuccessorExited(killed)),
        ["Withdraw", "UpgradeFailed(Deadline)"]
    );
    assert_eq!((shell.live(), shell.deadline()), (1, None));
}

#[test]
fn a_successor_in_probation_can_fail() {
    let mut shell = launched(two());
    shell.on(Event::SuccessorReady);
    shell.dies(0, ExitStatus::SUCCESS);
    assert_eq!(
        shell.on(Event::SuccessorExited(CRASH)),
        [
            "Withdraw",
            "UpgradeFailed(DiedReady(Code(1)))",
            "Spawn(0.2)",
            "Spawned(0.2, 103)",
            "Spawn(2.1)",
            "Spawned(2.1, 104)",
        ],
        "whoever was told to go is replaced, though it still drains"
    );
    shell.all_ready();
    shell.all_leave();
    assert_eq!((shell.live(), shell.numbers().len()), (2, 2));
    assert_eq!(
        (shell.master.duty(), shell.deadline()),
        (Duty::Serving, None)
    );
}

#[test]
fn who_rested_before_an_upgrade_rests_on_after_it() {
    for config in [two(), by_hand()] {
        let mut shell = Shell::<4>::serving(config);
        shell.on(Event::Rest);
        shell.all_leave();
        shell.on(Event::Upgrade);
        shell.on(Event::Launched(pid(900)));
        shell.on(Event::SuccessorReady);
        shell.on(Event::Rest);
        shell.on(Event::SuccessorExited(CRASH));
        assert_eq!(
            (shell.master.duty(), shell.numbers()),
            (Duty::Resting, vec![])
        );
    }
}

#[test]
fn by_hand_the_operator_goes_on() {
    let mut shell = launched(by_hand());
    assert_eq!(shell.on(Event::SuccessorReady), ["Upgraded(900)"]);
    assert_eq!((shell.live(), shell.deadline()), (2, None), "both serve");
    assert_eq!(shell.on(Event::Upgrade), ["UpgradeFailed(Standing)"]);
    assert_eq!(shell.master.upgrade(), Upgrade::Standing(pid(900)));
    assert_eq!(shell.on(Event::Rest).len(), 2);
    shell.all_leave();
    assert_eq!(shell.master.duty(), Duty::Relieved);
    assert_eq!(shell.on(Event::Quit), ["Exit"], "the successor stays");
}

#[test]
fn by_hand_the_operator_goes_back() {
    let mut shell = launched(by_hand());
    shell.on(Event::SuccessorReady);
    shell.on(Event::Rest);
    shell.all_leave();
    let back = shell.on(Event::Reload);
    assert_eq!(
        back.len(),
        4,
        "the same workers, no new configuration: {back:?}"
    );
    assert_eq!(
        (shell.master.serving(), shell.master.duty()),
        ((0, 2), Duty::Serving)
    );
    shell.all_ready();
    let ended = shell.on(Event::SuccessorExited(ExitStatus::SUCCESS));
    assert_eq!(ended, ["Withdraw", "UpgradeFailed(DiedReady(Code(0)))"]);
    assert_eq!((shell.live(), shell.numbers().len()), (2, 2));
}

#[test]
fn by_hand_the_end_of_the_successor_calls_back() {
    let mut shell = launched(by_hand());
    shell.on(Event::SuccessorReady);
    shell.on(Event::Rest);
    shell.all_leave();
    let ended = shell.on(Event::SuccessorExited(CRASH));
    assert_eq!(ended.len(), 6, "{ended:?}");
    assert_eq!(
        (shell.numbers(), shell.master.duty()),
        (vec![0, 1], Duty::Serving)
    );
}

#[test]
fn an_end_waits_for_a_launch_and_gives_up_what_is_not_ready() {
    for end in [Event::Quit, Event::Terminate] {
        // The launch is under way.
        let mut shell = Shell::<4>::new(one().workers(0));
        shell.start();
        shell.on(Event::Upgrade);
        assert_eq!(shell.on(end), NOTHING, "there may be a successor");
        assert_eq!(
            shell.on(Event::Launched(pid(900))),
            ["SignalSuccessor(Terminate)"]
        );
        assert_eq!(shell.at(6_000), ["SignalSuccessor(Kill)"]);
        assert_eq!(
            shell.on(Event::SuccessorExited(CRASH)),
            ["Withdraw", "UpgradeFailed(Ended)", "Exit"]
        );
        // It failed.
        let mut shell = Shell::<4>::new(one().workers(0));
        shell.on(Event::Upgrade);
        shell.on(end);
        let failed = shell.on(Event::LaunchFailed(UpgradeError::Refused));
        assert_eq!(failed, ["Withdraw", "UpgradeFailed(Refused)", "Exit"]);
        // Nobody was told to launch it yet.
        let mut shell = Shell::<4>::new(one().workers(0));
        shell.master.handle(Instant::ORIGIN, Event::Upgrade);
        assert_eq!(shell.on(end), ["Exit"]);
        // It starts.
        let mut shell = launched(one());
        let trace = shell.on(end);
        assert!(
            trace.contains(&"SignalSuccessor(Terminate)".to_owned()),
            "{trace:?}"
        );
        shell.dies(0, CRASH);
        let gone = shell.on(Event::SuccessorExited(CRASH));
        assert_eq!(gone, ["Withdraw", "UpgradeFailed(Ended)", "Exit"]);
        // It is being given up.
        let mut shell = launched(one());
        shell.on(Event::SuccessorFailed(UpgradeError::Unready));
        shell.on(end);
        assert_ne!(
            shell.dies(0, CRASH).last().map(String::as_str),
            Some("Exit")
        );
        let gone = shell.on(Event::SuccessorExited(CRASH));
        assert_eq!(gone, ["Withdraw", "UpgradeFailed(Unready)", "Exit"]);
    }
}

#[test]
fn an_end_leaves_a_successor_that_is_ready() {
    for end in [Event::Quit, Event::Terminate] {
        let mut shell = launched(one());
        shell.on(Event::SuccessorReady);
        let trace = shell.on(end);
        assert!(trace.contains(&"Upgraded(900)".to_owned()), "{trace:?}");
        assert!(
            !trace.iter().any(|line| line.contains("Successor")),
            "{trace:?}"
        );
        assert_eq!(
            shell.dies(0, CRASH).last().map(String::as_str),
            Some("Exit")
        );
    }
}

/// A new master: the predecessor has this many slots, the lowest.
fn succeeding<const N: usize>(foreign: usize, config: Config) -> Shell<N> {
    let mut shell = Shell::<N>::new(config);
    shell.master.succeed(&SlotSet::first_of(foreign));
    shell
}

#[test]
fn the_predecessors_slots_are_never_claimed() {
    let mut shell = succeeding::<4>(2, one());
    shell.start();
    assert_eq!(
        shell.on(Event::Ready(shell.id(2))),
        ["Ready(2.1, 101)", "SayReady"]
    );
    for _ in 0..4 {
        shell.on(Event::More);
    }
    assert_eq!(
        (shell.state(0), shell.state(1)),
        (State::Vacant, State::Vacant)
    );
    assert_eq!(shell.numbers(), [0, 1]);
    // Once it is gone, its slots are as good as any.
    assert_eq!(shell.on(Event::PredecessorGone).len(), 4);
    assert_eq!(shell.on(Event::PredecessorGone), NOTHING);
    assert_eq!(shell.numbers().len(), 4);
}

#[test]
fn ready_is_said_once_when_all_are() {
    let mut shell = succeeding::<4>(1, two());
    shell.start();
    assert_eq!(shell.on(Event::Ready(shell.id(2))), ["Ready(2.1, 102)"]);
    let last = shell.on(Event::Ready(shell.id(1)));
    assert_eq!(last, ["Ready(1.1, 101)", "SayReady"]);
    shell.dies(1, CRASH);
    assert_eq!(shell.all_ready(), ["Ready(1.2, 103)"]);
    // Without workers there is nobody to wait for.
    let mut shell = succeeding::<4>(1, one().workers(0));
    assert_eq!(shell.start(), ["SayReady"]);
}

#[test]
fn a_master_that_cannot_serve_says_so() {
    let mut shell = succeeding::<4>(3, two());
    let trace = shell.start();
    assert!(trace.contains(&"SayFailed(NoRoom)".to_owned()), "{trace:?}");

    let mut shell = succeeding::<4>(1, two());
    shell.start();
    let trace = shell.dies(1, ExitStatus::FATAL);
    assert_eq!(trace.last().map(String::as_str), Some("SayFailed(Unready)"));
    shell.all_ready();
    assert_eq!(shell.on(Event::Elapsed), NOTHING, "once");

    // One that is not started again, and never was ready, is as bad.
    let policy = Policy::RESTART_ON_FAILURE;
    let mut shell = succeeding::<4>(1, one().restart(policy));
    shell.start();
    let trace = shell.dies(1, ExitStatus::SUCCESS);
    assert!(
        trace.contains(&"SayFailed(Unready)".to_owned()),
        "{trace:?}"
    );
}

#[test]
fn an_upgrade_waits_until_the_predecessor_is_gone() {
    let mut shell = succeeding::<4>(1, one());
    shell.start();
    shell.all_ready();
    assert_eq!(shell.on(Event::Upgrade), NOTHING);
    assert_eq!(
        shell.on(Event::Reload),
        ["Load(1, 1)"],
        "nothing else waits"
    );
    shell.on(Event::LoadRefused);
    assert_eq!(shell.on(Event::PredecessorGone), ["Launch"]);
}

#[test]
fn nothing_is_done_beside_an_upgrade() {
    let mut shell = Shell::<4>::serving(one());
    shell.on(Event::Upgrade);
    for event in [Event::Reload, Event::Rest, Event::More] {
        assert_eq!(shell.on(event), NOTHING, "{event:?}");
    }
    shell.on(Event::Launched(pid(900)));
    assert_eq!(
        shell.on(Event::SuccessorExited(CRASH)),
        ["Withdraw", "UpgradeFailed(Died(Code(1)))", "Load(1, 1)"]
    );
    let refused = shell.on(Event::LoadRefused);
    assert!(
        refused.contains(&"Order(0.1, 101, Quit)".to_owned()),
        "{refused:?}"
    );
    assert_eq!(shell.master.serving(), (0, 2));
}

#[test]
fn a_successor_is_warned_before_it_is_killed() {
    let mut shell = launched(one());
    let later = Instant::from_ms;
    shell.master.handle(later(60_000), Event::Elapsed);
    shell.master.handle(later(63_000), Event::Elapsed);
    shell.now = 63_000;
    assert_eq!(shell.drain(), ["SignalSuccessor(Terminate)"]);
    assert_eq!(shell.at(66_000), ["SignalSuccessor(Kill)"]);
}

#[test]
fn nobody_waits_for_workers_who_rest() {
    let mut shell = succeeding::<4>(1, one());
    shell.start();
    assert_eq!(
        shell.on(Event::Rest),
        ["Order(1.1, 101, Quit)", "SayFailed(Unready)"]
    );
}
