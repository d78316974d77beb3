//! The relay's decisions: every order of events, against a world that knows who lives.

use std::collections::BTreeSet;

use forkmesh::machine::{ExitStatus, Relay, RelayAction, RelayEvent};
use forkmesh::table::Pid;

const TERM: u8 = 15;
const USR2: u8 = 12;
const CRASH: ExitStatus = ExitStatus::Code(7);
const STATUSES: [ExitStatus; 2] = [ExitStatus::SUCCESS, CRASH];

fn pid(number: i32) -> Pid {
    Pid::new(number).expect("a pid")
}

fn signalled(signal: u8) -> RelayEvent {
    let repeatable = signal == TERM;
    RelayEvent::Signalled { signal, repeatable }
}

/// The masters that run, and what is owed to whom.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct World {
    /// Which masters live, oldest first, by number.
    alive: Vec<i32>,
    /// A launch is under way.
    launching: bool,
    /// How many questions the oldest master has asked that were not answered.
    unanswered: u32,
    /// TERM was sent when there was, or might be, a next master, which has not heard it.
    unheard: bool,
    /// What the relay ended with.
    exit: Option<u8>,
    /// How many masters there have been.
    made: i32,
}

/// A step of the world: what happens, and what that means to it.
fn steps(world: &World) -> Vec<RelayEvent> {
    let mut steps = vec![signalled(TERM), signalled(USR2)];
    for status in STATUSES {
        steps.push(RelayEvent::Exited(pid(99), status));
        let each = world.alive.iter();
        steps.extend(each.map(|number| RelayEvent::Exited(pid(*number), status)));
    }
    if !world.alive.is_empty() {
        steps.push(RelayEvent::Asked);
    }
    if world.launching {
        steps.push(RelayEvent::Launched(pid(world.made + 1)));
        steps.push(RelayEvent::LaunchFailed { errno: 11 });
    }
    steps
}

/// What the event does to the world by itself.
fn happen(world: &mut World, event: RelayEvent) {
    match event {
        RelayEvent::Asked => world.unanswered += 1,
        RelayEvent::Signalled { signal: TERM, .. } => {
            world.unheard |= world.launching || world.alive.len() == 2;
        }
        RelayEvent::Launched(pid) => {
            world.launching = false;
            world.made += 1;
            world.alive.push(pid.as_i32());
        }
        RelayEvent::LaunchFailed { .. } => world.launching = false,
        RelayEvent::Exited(pid, _) => {
            if world.alive.first() == Some(&pid.as_i32()) {
                world.unanswered = 0; // who has gone is owed nothing
            }
            world.alive.retain(|number| *number != pid.as_i32());
        }
        _ => {}
    }
}

fn code(status: ExitStatus) -> u8 {
    match status {
        ExitStatus::Code(code) => code,
        other => panic!("nobody ends with {other:?}"),
    }
}

/// What the relay answers to it, checked against the world after it.
fn check(before: &World, event: RelayEvent, action: Option<RelayAction>, world: &mut World) {
    let oldest = world.alive.first().copied();
    match action {
        Some(RelayAction::Forward(to, signal)) => {
            assert_eq!(Some(to.as_i32()), oldest);
            assert_eq!(event, signalled(signal));
        }
        Some(RelayAction::Launch) => {
            assert!(!before.launching && world.alive.len() == 1);
            world.launching = true; // the answer follows when that is over
        }
        Some(RelayAction::TellBusy) => {
            assert!(before.launching || world.alive.len() == 2);
            world.unanswered -= 1;
        }
        Some(RelayAction::TellLaunched(next)) => {
            assert_eq!(world.alive.get(1), Some(&next.as_i32()));
            world.unanswered -= 1;
        }
        Some(RelayAction::TellFailed { errno: 11 }) => {
            assert!(oldest.is_some());
            world.unanswered -= 1;
        }
        Some(RelayAction::TellEnded(status)) => {
            assert_eq!(world.alive.len(), 1);
            assert_eq!(event, RelayEvent::Exited(pid(before.alive[1]), status));
        }
        Some(RelayAction::Follow { next, again }) => {
            assert_eq!(again, u64::from(world.unheard) << (TERM - 1));
            assert_eq!(world.alive, [next.as_i32()]);
            assert_ne!(before.alive.first(), Some(&next.as_i32()));
        }
        Some(RelayAction::Exit(status)) => {
            assert!(world.alive.is_empty() && !world.launching);
            world.exit = Some(code(status));
        }
        Some(other) => panic!("{other:?} to {event:?}"),
        None => {}
    }
    let silent = matches!(event, RelayEvent::Signalled { .. }) && oldest.is_some();
    assert!(!silent || action.is_some(), "a signal is passed on");
    if !world.launching && world.alive.len() < 2 {
        world.unheard = false; // whoever is left has heard it, by now
    }
}

/// What holds between two events.
fn rests(relay: &Relay, world: &World) {
    assert!(world.alive.len() <= 2);
    assert_eq!(
        relay.current().map(Pid::as_i32),
        world.alive.first().copied()
    );
    assert_eq!(relay.next().map(Pid::as_i32), world.alive.get(1).copied());
    let over = world.alive.is_empty() && !world.launching;
    assert_eq!(over, world.exit.is_some(), "it ends when nobody is left");
    assert_eq!(
        world.unanswered,
        u32::from(world.launching && !world.alive.is_empty())
    );
}

/// Pids count up, and what comes after the fourth master was seen with the second.
const MOST_MASTERS: i32 = 4;

#[test]
fn every_order_of_a_relays_events() {
    let start = World {
        alive: vec![1],
        launching: false,
        unanswered: 0,
        unheard: false,
        exit: None,
        made: 1,
    };
    let mut open = vec![(Relay::new(pid(1)), start)];
    let mut seen = BTreeSet::new();
    let mut exits = BTreeSet::new();
    while let Some((relay, world)) = open.pop() {
        rests(&relay, &world);
        if !seen.insert((format!("{relay:?}"), world.clone())) {
            continue;
        }
        exits.extend(world.exit);
        if world.exit.is_some() || world.made > MOST_MASTERS {
            continue;
        }
        for event in steps(&world) {
            let (mut relay, mut after) = (relay, world.clone());
            happen(&mut after, event);
            let action = relay.handle(event);
            check(&world, event, action, &mut after);
            open.push((relay, after));
        }
    }
    assert!(seen.len() > 30, "{} states", seen.len());
    assert_eq!(exits, [0, 7].into(), "with whatever the last one ended");
}

/// The status is that of the master that ended last, and a launch that was under way does not hide it.
#[test]
fn a_relay_ends_like_its_last_master() {
    let mut relay = Relay::new(pid(1));
    assert_eq!(relay.handle(RelayEvent::Asked), Some(RelayAction::Launch));
    let launched = relay.handle(RelayEvent::Launched(pid(2)));
    assert_eq!(launched, Some(RelayAction::TellLaunched(pid(2))));
    let first = relay.handle(RelayEvent::Exited(pid(1), CRASH));
    let (next, again) = (pid(2), 0);
    assert_eq!(first, Some(RelayAction::Follow { next, again }));
    assert_eq!(relay.handle(RelayEvent::Asked), Some(RelayAction::Launch));
    let second = relay.handle(RelayEvent::Exited(pid(2), ExitStatus::SUCCESS));
    assert_eq!(second, None, "there may be another one in a moment");
    let failed = relay.handle(RelayEvent::LaunchFailed { errno: 12 });
    assert_eq!(failed, Some(RelayAction::Exit(ExitStatus::SUCCESS)));
}

#[test]
fn what_does_not_fit_is_nothing_to_a_relay() {
    let mut relay = Relay::new(pid(1));
    let before = relay;
    for event in [
        RelayEvent::Launched(pid(3)),
        RelayEvent::LaunchFailed { errno: 1 },
        RelayEvent::Exited(pid(3), CRASH),
    ] {
        assert_eq!(relay.handle(event), None);
        assert_eq!(relay, before);
    }
}
