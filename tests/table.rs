//! The table and its words, each against a model or against every case there is.

use std::collections::BTreeSet;

use forkmesh::table::{
    After, CHILDREN, Change, Claim, Generation, Pid, Policy, Refused, Role, SLOTS, SlotId,
    SlotIndex, SlotSet, SpawnMode, State, Table,
};
use proptest::prelude::{Just, Strategy, any, prop_assert_eq, prop_oneof, proptest};

const AFTERS: [After; 3] = [After::Cool, After::Park, After::Vacate];

fn pid(number: i32) -> Pid {
    Pid::new(number).expect("positive")
}

fn index(number: usize) -> SlotIndex {
    SlotIndex::new(number).expect("below 1024")
}

fn states() -> Vec<State> {
    let mut states = vec![
        State::Vacant,
        State::Starting(None),
        State::Starting(Some(pid(7))),
        State::Live(pid(7)),
        State::Retiring(pid(7)),
        State::Cooling,
        State::Parked,
    ];
    states.extend(AFTERS.map(State::Reclaiming));
    states
}

fn changes() -> Vec<Change> {
    let mut changes = vec![
        Change::Claim,
        Change::Spawned(pid(8)),
        Change::Ready,
        Change::Retire,
        Change::Reclaimed,
        Change::Elapsed,
        Change::Release,
        Change::Revive,
    ];
    changes.extend(AFTERS.map(Change::SpawnFailed));
    changes.extend(AFTERS.map(Change::Exited));
    changes
}

/// The whole relation, written down a second time: by what a change needs, not by state.
fn decided(state: State, change: Change) -> Option<State> {
    let rest = |after| match after {
        After::Cool => State::Cooling,
        After::Park => State::Parked,
        After::Vacate => State::Vacant,
    };
    let waits = state == State::Starting(None);
    match change {
        Change::Claim => (state == State::Vacant).then_some(State::Starting(None)),
        Change::Spawned(new) => waits.then_some(State::Starting(Some(new))),
        Change::SpawnFailed(after) => waits.then(|| rest(after)),
        Change::Ready => match state {
            State::Starting(Some(own)) => Some(State::Live(own)),
            _ => None,
        },
        Change::Retire => match state {
            State::Starting(Some(own)) | State::Live(own) => Some(State::Retiring(own)),
            _ => None,
        },
        Change::Exited(after) => state.pid().map(|_| State::Reclaiming(after)),
        Change::Reclaimed => match state {
            State::Reclaiming(after) => Some(rest(after)),
            _ => None,
        },
        Change::Elapsed => (state == State::Cooling).then_some(State::Starting(None)),
        Change::Revive => (state == State::Parked).then_some(State::Starting(None)),
        Change::Release => match state {
            State::Starting(None) | State::Cooling | State::Parked => Some(State::Vacant),
            State::Reclaiming(_) => Some(State::Reclaiming(After::Vacate)),
            _ => None,
        },
    }
}

#[test]
fn every_pair_of_state_and_change_is_decided() {
    let mut pairs = 0;
    let mut allowed = 0;
    for state in states() {
        for change in changes() {
            let after = state.after(change);
            assert_eq!(after, decided(state, change), "{state:?} on {change:?}");
            pairs += 1;
            allowed += usize::from(after.is_some());
        }
    }
    assert_eq!((pairs, allowed), (140, 28));
}

#[test]
fn a_refused_change_changes_nothing() {
    let mut table = Table::<2>::new();
    let id = table.claim(Claim::default()).expect("empty");
    let before = table.clone();
    let refused = Refused::State(State::Starting(None));
    assert_eq!(table.apply(id, Change::Ready), Err(refused));
    assert_eq!(table.apply(id.next(), Change::Release), Err(Refused::Stale));
    let outside = SlotId::new(index(2), Generation::FIRST);
    assert_eq!(table.apply(outside, Change::Release), Err(Refused::Stale));
    assert_eq!(table, before);
}

/// A walk through a table of four slots: which slot, which change.
fn walk() -> impl Strategy<Value = Vec<(usize, Change)>> {
    let after = || prop_oneof![Just(After::Cool), Just(After::Park), Just(After::Vacate)];
    let change = prop_oneof![
        2 => Just(Change::Claim),
        4 => (1..1_000i32).prop_map(|number| Change::Spawned(pid(number))),
        1 => after().prop_map(Change::SpawnFailed),
        2 => Just(Change::Ready),
        2 => Just(Change::Retire),
        3 => after().prop_map(Change::Exited),
        3 => Just(Change::Reclaimed),
        2 => Just(Change::Elapsed),
        1 => Just(Change::Release),
        1 => Just(Change::Revive),
    ];
    proptest::collection::vec((0..4usize, change), 1..200)
}

proptest! {
    #[test]
    fn an_old_id_never_reaches_the_slot(walk in walk()) {
        let mut table = Table::<4>::new();
        let mut over = BTreeSet::new();
        for (place, change) in walk {
            if change == Change::Claim {
                table.claim(Claim::default());
                continue;
            }
            let id = table.id_at(index(place)).expect("a row of the table");
            let before = *table.slot(id).expect("its present life");
            let changed = table.apply(id, change).is_ok();
            let had_hope = matches!(before.state(), State::Starting(_)) || before.state().pid().is_some();
            let ends = matches!(
                change,
                Change::Exited(_) | Change::SpawnFailed(_) | Change::Release
            );
            if changed && had_hope && ends {
                over.insert(id);
                prop_assert_eq!(table.id_at(index(place)), Some(id.next()));
            } else {
                prop_assert_eq!(table.id_at(index(place)), Some(id));
            }
            for old in &over {
                prop_assert_eq!(table.slot(*old), None);
                prop_assert_eq!(table.apply(*old, Change::Release), Err(Refused::Stale));
            }
            let occupied: Vec<_> = table.occupied().map(|(id, _)| id).collect();
            for place in 0..4 {
                let id = table.id_at(index(place)).expect("a row");
                let vacant = table.slot(id).expect("present").state() == State::Vacant;
                prop_assert_eq!(occupied.contains(&id), !vacant);
            }
        }
    }

    #[test]
    fn a_slot_set_is_a_set(steps in proptest::collection::vec((0..4u8, 0..SLOTS), 0..400)) {
        let mut set = SlotSet::EMPTY;
        let mut model = BTreeSet::new();
        for (step, number) in steps {
            let place = index(number);
            match step {
                0 | 1 => prop_assert_eq!(set.insert(place), model.insert(place)),
                2 => prop_assert_eq!(set.remove(place), model.remove(&place)),
                _ => prop_assert_eq!(set.pop_first(), model.pop_first()),
            }
            prop_assert_eq!(set.contains(place), model.contains(&place));
            prop_assert_eq!(set.first(), model.first().copied());
            prop_assert_eq!(set.len(), model.len());
            prop_assert_eq!(set.is_empty(), model.is_empty());
            prop_assert_eq!(set.iter().collect::<Vec<_>>(), model.iter().copied().collect::<Vec<_>>());
        }
    }

    #[test]
    fn an_id_is_its_word(word in any::<u32>()) {
        match SlotId::from_u32(word) {
            Some(id) => {
                prop_assert_eq!(id.as_u32(), word);
                prop_assert_eq!(SlotId::new(id.index(), id.generation()), id);
                prop_assert_eq!(id.next().index(), id.index());
                prop_assert_eq!(id.next().generation(), id.generation().next());
            }
            None => prop_assert_eq!(word >> 10, 0),
        }
    }
}

#[test]
fn every_index_is_kept_and_none_is_beyond() {
    for number in 0..SLOTS {
        let id = SlotId::new(index(number), Generation::FIRST);
        assert_eq!(id.index().as_usize(), number);
        assert_eq!(id.to_string(), format!("{number}.1"));
    }
    assert_eq!(SlotIndex::new(SLOTS), None);
    assert_eq!(SlotId::from_u32(0), None);
    assert_eq!(SlotId::MASTER.index(), index(SLOTS - 1));
}

#[test]
fn the_last_generation_is_followed_by_the_first() {
    let last = Generation::new((1 << 22) - 1).expect("22 bits");
    assert_eq!(Generation::new(1 << 22), None);
    assert_eq!(Generation::new(0), None);
    assert_eq!(last.next(), Generation::FIRST);
    assert_eq!(Generation::FIRST.next(), Generation::new(2).expect("small"));
    assert_eq!(SlotId::new(index(1023), last).as_u32(), u32::MAX);
    let wrapped = SlotId::new(index(1023), last).next();
    assert_eq!(wrapped, SlotId::new(index(1023), Generation::FIRST));
}

#[test]
fn the_masters_rows_are_never_claimed() {
    let mut table = Box::new(Table::<SLOTS>::new());
    for number in 0..CHILDREN {
        let id = table.claim(Claim::default()).expect("a row is free");
        assert_eq!(id.index(), index(number));
    }
    assert_eq!(table.claim(Claim::default()), None);
    assert_eq!(CHILDREN, 1022);
    let first = SlotId::new(index(3), Generation::FIRST);
    table.apply(first, Change::Release).expect("starting");
    assert_eq!(table.claim(Claim::default()), Some(first.next()));
    assert_eq!(table.claim(Claim::default()), None);
    assert_eq!(table.occupied().count(), CHILDREN);
}

#[test]
fn a_claim_keeps_what_it_said_and_a_pid_is_found() {
    let mut table = Table::<4>::new();
    let claim = Claim {
        number: 5,
        role: Role::Helper,
        policy: Policy::RESTART_ON_FAILURE,
        epoch: 2,
    };
    let id = table.claim(claim).expect("empty");
    table.apply(id, Change::Spawned(pid(9))).expect("starting");
    let slot = table.slot(id).expect("present");
    assert_eq!((slot.number, slot.policy, slot.epoch), (5, claim.policy, 2));
    assert_eq!(slot.role, Role::Helper);
    assert_eq!(table.by_pid(pid(9)), Some(id));
    assert_eq!(table.by_pid(pid(10)), None);
    table
        .apply(id, Change::Exited(After::Vacate))
        .expect("has a process");
    assert_eq!(table.by_pid(pid(9)), None);
    table
        .apply(id.next(), Change::Reclaimed)
        .expect("reclaiming");
    assert!(table.is_empty());
}

#[test]
fn nginx_spawn_modes_are_policies() {
    let modes = [
        (SpawnMode::NoRespawn, -1, Policy::empty(), false),
        (SpawnMode::JustSpawn, -2, Policy::empty(), true),
        (SpawnMode::Respawn, -3, Policy::RESTART, false),
        (SpawnMode::JustRespawn, -4, Policy::RESTART, true),
        (SpawnMode::Detached, -5, Policy::DETACHED, false),
    ];
    for (mode, number, policy, new) in modes {
        assert_eq!(mode as i8, number, "{mode:?}");
        assert_eq!(mode.policy(), policy, "{mode:?}");
        assert_eq!(mode.of_new_epoch(), new, "{mode:?}");
    }
}
