//! What a master reports in a step, held against what happened in it.

use forkmesh::machine::{Action, Event, Report};
use forkmesh::table::{After, State};

use crate::world::{Step, World};

/// Each thing that happened is reported, once, and nothing that did not.
pub(crate) fn check_reports<const N: usize>(
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
            Action::Report(
                Report::Reloaded(_)
                | Report::ReloadFailed(..)
                | Report::Upgraded(_)
                | Report::UpgradeFailed(_),
            ) => {} // the operator looks at them
            Action::Report(report) => {
                assert_eq!(expected.pop(), Some(*report), "{step:?}");
            }
            _ => {}
        }
    }
    assert_eq!(expected, [], "not reported");
    check_blame(before, step, actions);
    let of = |world: &World<N>, wanted: [State; 2]| {
        let states = (0..N).map(|place| world.state(place));
        states.filter(|state| wanted.contains(state)).count()
    };
    let parks = [State::Parked, State::Reclaiming(After::Park)];
    let cools = [State::Cooling, State::Reclaiming(After::Cool)];
    match step {
        // A reload may take the slot of one that was given up.
        Step::Event(Event::SpawnFailed(_) | Event::Exited(..)) if before.operator.reloads() => {
            assert!(parked + delayed <= 1, "{step:?}");
        }
        // It was given up, and the master with it.
        Step::Event(Event::Exited(..))
            if before.menu.awaited && before.master.phase() != after.master.phase() =>
        {
            assert!(parked <= 1 && delayed == 0, "{step:?}");
        }
        Step::Event(Event::SpawnFailed(_) | Event::Exited(..)) => {
            assert_eq!(parked, of(after, parks) - of(before, parks), "{step:?}");
            assert!(delayed <= of(after, cools) - of(before, cools), "{step:?}");
        }
        _ => assert_eq!((parked, delayed), (0, 0), "{step:?}"),
    }
}

/// Nothing fails for a helper.
fn check_blame<const N: usize>(before: &World<N>, step: Step, actions: &[Action]) {
    let Step::Event(Event::SpawnFailed(id) | Event::Exited(id, _)) = step else {
        return;
    };
    let failed = actions.iter().any(|action| {
        matches!(
            action,
            Action::Report(Report::ReloadFailed(..)) | Action::SayFailed(_)
        )
    });
    let helper = before.is_helper(id.index().as_usize());
    assert!(!helper || !failed, "{step:?} of a helper: {actions:?}");
}
