//! Starts, deaths and what follows from them.

use forkmesh::machine::{Action, Backoff, Event, ExitStatus, Master, Phase};
use forkmesh::table::{Instant, Policy, State};

use crate::shell::{CRASH, Shell, one, pid, two};

#[test]
fn a_start_spawns_every_worker_and_reports_it() {
    let mut shell = Shell::<4>::new(two());
    assert_eq!(
        shell.start(),
        [
            "Spawn(0.1)",
            "Spawned(0.1, 101)",
            "Spawn(1.1)",
            "Spawned(1.1, 102)"
        ]
    );
    assert_eq!(shell.on(Event::Ready(shell.id(1))), ["Ready(1.1, 102)"]);
    assert_eq!(shell.state(0), State::Starting(Some(pid(101))));
    assert_eq!(shell.state(1), State::Live(pid(102)));
    let slots = shell.master.table().occupied();
    let numbers: Vec<_> = slots.map(|(_, slot)| (slot.number, slot.epoch)).collect();
    assert_eq!(numbers, [(0, 0), (1, 0)]);
    assert_eq!(shell.deadline(), None);
    assert_eq!(shell.master.ignored(), 0);
}

#[test]
fn a_table_that_is_too_small_is_filled() {
    let mut shell = Shell::<2>::new(one().workers(3));
    assert_eq!(shell.start().len(), 4);
    assert_eq!(shell.master.table().occupied().count(), 2);
}

#[test]
fn a_worker_that_was_ready_is_replaced_in_the_same_turn() {
    let mut shell = Shell::<4>::serving(two());
    assert_eq!(
        shell.dies(0, CRASH),
        [
            "Reclaim(0.1)",
            "Exited(0.1, 101, Code(1))",
            "Spawn(0.2)",
            "Spawned(0.2, 103)",
        ]
    );
    assert_eq!(
        shell
            .master
            .last_exit(shell.id(0).index())
            .map(|last| last.status),
        Some(CRASH)
    );
    assert_eq!(shell.master.last_exit(shell.id(1).index()), None);
}

#[test]
fn a_slot_is_not_spawned_before_it_is_reclaimed() {
    let mut master = Master::<2>::new(one());
    master.start();
    let now = Instant::ORIGIN;
    let Some(Action::Spawn(id)) = master.poll() else {
        panic!("a start spawns");
    };
    master.handle(now, Event::Spawned(id, pid(5)));
    master.handle(now, Event::Ready(id));
    master.handle(now, Event::Exited(id, CRASH));
    master.handle(now, Event::Reclaimed(id));
    assert_eq!(master.ignored(), 1, "it was not asked for yet");
    assert_eq!(master.poll(), Some(Action::Reclaim(id)));
    let rest: Vec<_> = core::iter::from_fn(|| master.poll()).collect();
    assert_eq!(rest.len(), 3, "reports only: {rest:?}");
    master.handle(now, Event::Reclaimed(id));
    assert_eq!(master.poll(), Some(Action::Spawn(id.next())));
    assert_eq!(master.poll(), None);
}

/// The delays after each of these deaths; `None` where it is filled at once.
fn delays(shell: &mut Shell<1>, deaths: usize, ready: bool) -> Vec<Option<u64>> {
    (0..deaths)
        .map(|_| {
            if ready {
                shell.ready(0);
            }
            shell.dies(0, CRASH);
            let due = shell.deadline()?;
            let delay_ms = due - shell.now;
            assert_eq!(shell.at(due - 1), [""; 0], "too early");
            shell.at(due);
            Some(delay_ms)
        })
        .collect()
}

#[test]
fn a_burst_backs_off_10_20_40_to_1000() {
    let mut shell = Shell::<1>::serving(one());
    let mut expected = vec![None; 5];
    expected.extend([10, 20, 40, 80, 160, 320, 640, 1000, 1000, 1000].map(Some));
    assert_eq!(delays(&mut shell, 15, true), expected);
    // For ever, but never parked; and until it has lived for 10 s.
    assert_eq!(delays(&mut shell, 100, true), vec![Some(1000); 100]);
    shell.now += 9_999;
    assert_eq!(delays(&mut shell, 1, true), [Some(1000)]);
    shell.now += 10_000;
    let mut anew = vec![None; 5];
    anew.push(Some(10));
    assert_eq!(delays(&mut shell, 6, true), anew);
}

#[test]
fn the_window_slides() {
    let config = one().backoff(Backoff::new().jitter_percent(0).burst(2, 1_000));
    let mut shell = Shell::<1>::serving(config);
    for _ in 0..20 {
        shell.now += 500;
        assert_eq!(
            delays(&mut shell, 1, true),
            [None],
            "the third is 1000 ms old"
        );
    }
    shell.now += 499;
    assert_eq!(
        delays(&mut shell, 1, true),
        [Some(10)],
        "the third is 999 ms old"
    );
}

#[test]
fn a_burst_can_be_0_to_8() {
    for burst in 0..=Backoff::MOST_BURST {
        let config = one().backoff(Backoff::new().jitter_percent(0).burst(burst, 1_000));
        let mut shell = Shell::<1>::serving(config);
        let mut expected = vec![None; burst.into()];
        expected.push(Some(10));
        let deaths = usize::from(burst) + 1;
        assert_eq!(delays(&mut shell, deaths, true), expected, "burst {burst}");
    }
}

#[test]
fn an_eager_slot_never_waits() {
    let config = one().backoff(Backoff::new().jitter_percent(0).eager());
    let mut shell = Shell::<1>::serving(config);
    assert_eq!(delays(&mut shell, 400, true), vec![None; 400]);
    assert_eq!(
        delays(&mut shell, 2, false),
        [Some(10), Some(20)],
        "unless it never was ready"
    );
    assert_eq!(delays(&mut shell, 9, true), vec![None; 9]);
}

#[test]
fn ten_deaths_before_ready_park() {
    let mut shell = Shell::<1>::new(one());
    shell.start();
    let expected = [10, 20, 40, 80, 160, 320, 640, 1000, 1000].map(Some);
    assert_eq!(delays(&mut shell, 9, false), expected);
    assert_eq!(
        shell.dies(0, CRASH),
        [
            "Reclaim(0.10)",
            "Exited(0.10, 110, Code(1))",
            "Parked(0.10, NeverReady)"
        ]
    );
    assert_eq!((shell.state(0), shell.deadline()), (State::Parked, None));
}

#[test]
fn ready_once_forgives_nine_deaths() {
    let mut shell = Shell::<1>::new(one());
    shell.start();
    delays(&mut shell, 9, false);
    delays(&mut shell, 1, true);
    assert_eq!(delays(&mut shell, 9, false), vec![Some(1000); 9]);
    shell.dies(0, CRASH);
    assert_eq!(shell.state(0), State::Parked);
}

#[test]
fn failed_spawns_are_tried_for_ever() {
    let mut shell = Shell::<1>::new(one());
    shell.failing = 30;
    assert_eq!(
        shell.start(),
        ["Spawn(0.1)", "SpawnFailed(0.1)", "Delayed(0.1, 10)"]
    );
    for generation in 2..31 {
        assert_eq!(shell.state(0), State::Cooling);
        let trace = shell.at(shell.deadline().expect("it waits"));
        assert_eq!(trace[0], format!("Spawn(0.{generation})"));
        assert_eq!(trace.len(), 3);
        let rare = generation < 8 || trace[2] == format!("Delayed(0.{generation}, 1000)");
        assert!(rare, "{trace:?}");
    }
    shell.at(shell.deadline().expect("it waits"));
    assert!(matches!(shell.state(0), State::Starting(Some(_))));
}

#[test]
fn a_failed_spawn_is_not_tried_again_at_once() {
    let config = one().backoff(Backoff::new().jitter_percent(0).delay_ms(0, 0));
    let mut shell = Shell::<1>::new(config);
    shell.failing = 1;
    assert_eq!(
        shell.start().last().map(String::as_str),
        Some("Delayed(0.1, 1)")
    );
}

#[test]
fn exit_code_2_parks_always() {
    for policy in [Policy::RESTART, Policy::empty()] {
        for ready in [true, false] {
            let mut shell = Shell::<1>::new(one().restart(policy));
            shell.start();
            if ready {
                shell.ready(0);
            }
            assert_eq!(
                shell.dies(0, ExitStatus::FATAL),
                [
                    "Reclaim(0.1)",
                    "Exited(0.1, 101, Code(2))",
                    "Parked(0.1, Fatal)"
                ]
            );
            assert_eq!(shell.state(0), State::Parked);
        }
    }
}

#[test]
fn the_policy_says_which_deaths_count() {
    let killed = ExitStatus::Killed {
        signal: 11,
        core: true,
    };
    for (policy, status, again) in [
        (Policy::RESTART, ExitStatus::SUCCESS, true),
        (Policy::RESTART, CRASH, true),
        (Policy::RESTART_ON_FAILURE, ExitStatus::SUCCESS, false),
        (Policy::RESTART_ON_FAILURE, killed, true),
        (Policy::RESTART_ON_SUCCESS, ExitStatus::SUCCESS, true),
        (Policy::RESTART_ON_SUCCESS, CRASH, false),
        (Policy::empty(), killed, false),
    ] {
        let mut shell = Shell::<1>::serving(one().restart(policy));
        shell.dies(0, status);
        assert_eq!(shell.pid(0).is_some(), again, "{policy:?} {status:?}");
        assert_eq!(
            shell.master.table().is_empty(),
            !again,
            "{policy:?} {status:?}"
        );
        assert_eq!(shell.master.phase(), Phase::Running);
    }
}

#[test]
fn jitter_spreads_the_delays() {
    let config = one().workers(40).backoff(Backoff::new().jitter_percent(20));
    let mut shell = Shell::<40>::new(config);
    shell.failing = 40;
    let mut spread = Vec::new();
    for _ in 0..8 {
        let trace = if spread.is_empty() {
            shell.start()
        } else {
            shell.on(Event::Elapsed)
        };
        let delays = trace.iter().filter_map(|line| {
            let (_, delay) = line.strip_prefix("Delayed(")?.split_once(", ")?;
            delay.strip_suffix(')')?.parse::<u64>().ok()
        });
        let delays: Vec<_> = delays.collect();
        assert_eq!(delays.len(), 40, "{trace:?}");
        spread.push(delays);
        shell.failing = 40;
        shell.now += 2_000;
    }
    for (whole, delays) in [10, 20, 40, 80, 160, 320, 640, 1_000]
        .into_iter()
        .zip(spread)
    {
        let (least, most) = (delays.iter().min(), delays.iter().max());
        assert!(
            least >= Some(&(whole * 4 / 5)) && most <= Some(&whole),
            "{whole}: {delays:?}"
        );
        let different: std::collections::HashSet<_> = delays.iter().collect();
        let room = (whole / 5) as usize;
        assert!(different.len() >= room.min(30), "{whole}: {delays:?}");
    }
}
