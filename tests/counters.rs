//! Counters against a model of them, on memory that is nothing but zeros when it begins; and the text
//! that nginx prints.

use core::panic::AssertUnwindSafe;
use std::panic::{catch_unwind, resume_unwind};

use forkmesh::sync::counters::{Counters, Counting, Line, Set, Stub, VALUES};
use forkmesh::table::SlotIndex;
use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::{prop_assert, prop_assert_eq, proptest};

const SLOTS: usize = 5;

const ALL: [Stub; VALUES] = [
    Stub::Accepted,
    Stub::Handled,
    Stub::Requests,
    Stub::Active,
    Stub::Reading,
    Stub::Writing,
    Stub::Waiting,
];

#[derive(Clone, Debug)]
enum Step {
    Add(usize, usize, u64),
    Subtract(usize, usize, u64),
    Update(usize, Vec<(usize, u64)>),
    Die(usize),
    DieWithinAnUpdate(usize, Vec<(usize, u64)>),
    Recover(usize),
}

fn steps() -> impl Strategy<Value = Step> {
    let count = prop_oneof![0..9_u64, any::<u64>(), Just(u64::MAX)];
    let changes = || vec((0..VALUES, 0..9_u64), 0..4);
    prop_oneof![
        (0..SLOTS, 0..VALUES, count.clone()).prop_map(|(slot, which, n)| Step::Add(slot, which, n)),
        (0..SLOTS, Stub::MONOTONIC..VALUES, count)
            .prop_map(|(slot, which, n)| Step::Subtract(slot, which, n)),
        (0..SLOTS, changes()).prop_map(|(slot, changes)| Step::Update(slot, changes)),
        (0..SLOTS).prop_map(Step::Die),
        (0..SLOTS, changes()).prop_map(|(slot, changes)| Step::DieWithinAnUpdate(slot, changes)),
        (0..SLOTS).prop_map(Step::Recover),
    ]
}

/// What a line should hold, and whether its writer died within an update.
#[derive(Clone, Copy, Default)]
struct Expected {
    values: [u64; VALUES],
    torn: bool,
}

impl Expected {
    fn recover(&mut self) {
        self.values[Stub::MONOTONIC..].fill(0);
        self.torn = false;
    }
}

fn index(slot: usize) -> SlotIndex {
    SlotIndex::new(slot).unwrap()
}

proptest! {
    #[test]
    fn the_sums_are_those_of_a_model(steps in vec(steps(), 0..60)) {
        let lines = [const { Line::new() }; SLOTS];
        let counters = Counters::<Stub>::new(&lines);
        let mut owners = [0, 1, 2, 3, 4].map(|slot| counters.own(index(slot)));
        let mut expected = [Expected::default(); SLOTS];
        for step in steps {
            // Who counts after its slot's death is the slot's next life.
            if let Step::Add(slot, ..) | Step::Subtract(slot, ..) | Step::Update(slot, _)
                | Step::DieWithinAnUpdate(slot, _) = step
                && owners[slot].is_none()
            {
                owners[slot] = counters.own(index(slot));
                expected[slot].recover();
            }
            match step {
                Step::Add(slot, which, count) => {
                    owners[slot].as_ref().unwrap().add(ALL[which], count);
                    let value = &mut expected[slot].values[which];
                    *value = value.wrapping_add(count);
                }
                Step::Subtract(slot, which, count) => {
                    owners[slot].as_ref().unwrap().subtract(ALL[which], count);
                    let value = &mut expected[slot].values[which];
                    *value = value.wrapping_sub(count);
                }
                Step::Update(slot, changes) => {
                    owners[slot].as_ref().unwrap().update(|group| {
                        changes.iter().for_each(|(which, n)| group.add(ALL[*which], *n));
                    });
                    let values = &mut expected[slot].values;
                    changes.iter().for_each(|(which, n)| values[*which] = values[*which].wrapping_add(*n));
                }
                Step::Die(slot) => owners[slot] = None,
                Step::DieWithinAnUpdate(slot, changes) => {
                    die_within(owners[slot].take().unwrap(), &changes);
                    let Expected { values, torn } = &mut expected[slot];
                    changes.iter().for_each(|(which, n)| values[*which] = values[*which].wrapping_add(*n));
                    *torn = true;
                }
                Step::Recover(slot) if owners[slot].is_none() => {
                    counters.recover(index(slot));
                    expected[slot].recover();
                }
                Step::Recover(_) => {}
            }
            let seen = counters.snapshot();
            for which in ALL {
                let sum = expected.iter().map(|line| line.values[which.place()]);
                prop_assert_eq!(seen.of(which), sum.fold(0, u64::wrapping_add));
            }
            prop_assert_eq!(seen.is_consistent(), !expected.iter().any(|line| line.torn));
        }
        prop_assert!(counters.own(index(SLOTS)).is_none(), "there is no such line");
    }
}

/// As a kill does it: nothing comes after the changes.
fn die_within(owner: Counting<'_, Stub>, changes: &[(usize, u64)]) {
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        owner.update(|group| {
            changes
                .iter()
                .for_each(|(which, n)| group.add(ALL[*which], *n));
            resume_unwind(Box::new("killed"))
        })
    }));
    assert!(panicked.is_err());
}

#[test]
fn a_dead_writers_line_is_read() {
    let lines = [const { Line::new() }; 2];
    let counters = Counters::<Stub>::new(&lines);
    die_within(counters.own(index(0)).unwrap(), &[(1, 3), (4, 2)]);
    let seen = counters.snapshot();
    assert!(!seen.is_consistent());
    assert_eq!((seen.of(Stub::Handled), seen.of(Stub::Reading)), (3, 2));
    counters.recover(index(0));
    counters.recover(index(0));
    counters.recover(index(7)); // no line, nothing to do
    let seen = counters.snapshot();
    assert!(seen.is_consistent());
    assert_eq!((seen.of(Stub::Handled), seen.of(Stub::Reading)), (3, 0));
}

/// Threads count, each in its line, while snapshots are taken: every one is consistent, and shows of
/// each update all or nothing.
#[test]
fn snapshots_beside_writers() {
    const ROUNDS: u64 = 50_000;
    let lines = [const { Line::new() }; 2];
    let counters = Counters::<Stub>::new(&lines);
    std::thread::scope(|scope| {
        let writers = [0, 1].map(|slot| {
            scope.spawn(move || {
                let own = counters.own(index(slot)).unwrap();
                for _ in 0..ROUNDS {
                    own.update(|group| {
                        group.add(Stub::Handled, 1);
                        group.add(Stub::Active, 1);
                    });
                    own.add(Stub::Requests, 1);
                }
            })
        });
        while !writers.iter().all(|writer| writer.is_finished()) {
            let seen = counters.snapshot();
            if seen.is_consistent() {
                assert_eq!(seen.of(Stub::Handled), seen.of(Stub::Active));
            }
            assert!(seen.of(Stub::Requests) <= seen.of(Stub::Handled));
        }
    });
    let seen = counters.snapshot();
    assert_eq!(seen.of(Stub::Requests), 2 * ROUNDS);
    assert_eq!(seen.of(Stub::Handled), 2 * ROUNDS);
}

/// nginx 1.22.1 said this, byte for byte, but for the numbers.
#[test]
fn the_text_is_nginxs() {
    let lines = [const { Line::new() }; 1];
    let counters = Counters::<Stub>::new(&lines);
    let own = counters.own(index(0)).unwrap();
    for (which, count) in ALL
        .into_iter()
        .zip([16_630_948, 16_630_946, 31_070_465, 291, 6, 179, 106])
    {
        own.add(which, count);
    }
    let expected = "Active connections: 291 \nserver accepts handled requests\n \
                    16630948 16630946 31070465 \nReading: 6 Writing: 179 Waiting: 106 \n";
    assert_eq!(counters.snapshot().status().to_string(), expected);
}
