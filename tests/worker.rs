//! The worker core: what it knows of its siblings after whatever its master said, and what it owes.

use forkmesh::machine::{Effect, Keep, Life, Owing, Roster, Worker};
use forkmesh::table::{Change, Claim, Generation, Instant, Pid, SlotId, SlotIndex, Table};
use forkmesh::wire::{Attached, Command, Message, Resync, Subject};
use proptest::prelude::*;

fn id(index: usize, generation: u32) -> SlotId {
    let index = SlotIndex::new(index).expect("a place");
    SlotId::new(index, Generation::new(generation).expect("a life"))
}

fn pid(number: i32) -> Pid {
    Pid::new(number).expect("a pid")
}

fn subject(index: usize, generation: u32) -> Subject {
    Subject::new(
        id(index, generation),
        Some(pid(100 + index as i32 * 10 + generation as i32)),
    )
}

fn at(ms: u64) -> Instant {
    Instant::from_ms(ms)
}

/// A worker in place 0 of a table of eight, whose siblings 1 and 2 run and 3 is about to.
fn roster() -> Roster<8> {
    let mut table = Table::<8>::new();
    for index in 0..4 {
        let slot = table.claim(Claim::default()).expect("a place");
        if index < 3 {
            let process = pid(100 + index * 10 + 1);
            table
                .apply(slot, Change::Spawned(process))
                .expect("spawned");
        }
    }
    let mut roster = Roster::inherit(id(0, 1), &table);
    for index in 1..4 {
        roster.inherited(id(index, 1));
    }
    roster
}

fn known(roster: &Roster<8>) -> Vec<SlotId> {
    roster.siblings().map(|(id, _)| id).collect()
}

fn held(roster: &Roster<8>, index: usize) -> bool {
    let index = SlotIndex::new(index).expect("a place");
    roster.sibling(index).is_some_and(|(_, _, held)| held)
}

#[test]
fn what_is_inherited_is_known() {
    let roster = roster();
    assert_eq!(
        known(&roster),
        [id(1, 1), id(2, 1)],
        "those that have a process"
    );
    assert!(
        held(&roster, 3),
        "the end of one that will be is held already"
    );
    assert!(roster.knows(id(1, 1), Some(pid(111))));
    assert!(
        !roster.knows(id(1, 1), Some(pid(112))),
        "not by another process"
    );
    assert!(
        !roster.knows(id(1, 2), Some(pid(111))),
        "not in another life"
    );
    assert_eq!(roster.deadline(), Instant::NEVER);
}

#[test]
fn the_last_word_on_a_place_counts() {
    let mut roster = roster();
    assert_eq!(
        roster.open(subject(3, 1), 1, Attached::Held, false),
        Keep::Nothing
    );
    assert_eq!(
        roster.open(subject(1, 5), 2, Attached::Here, true),
        Keep::Sibling(id(1, 5))
    );
    assert_eq!(known(&roster), [id(1, 5), id(2, 1), id(3, 1)]);
    let place = SlotIndex::new(2).expect("a place");
    assert_eq!(roster.close(place), Keep::Drop(place));
    assert_eq!(
        roster.close(place),
        Keep::Nothing,
        "said again, it changes nothing"
    );
    assert_eq!(known(&roster), [id(1, 5), id(3, 1)]);
    assert_eq!(roster.deadline(), Instant::NEVER, "and nothing was missed");
}

#[test]
fn a_descriptor_that_did_not_come_is_asked_for() {
    let mut roster = roster();
    let place = SlotIndex::new(1).expect("a place");
    assert_eq!(
        roster.open(subject(1, 2), 7, Attached::Here, false),
        Keep::Drop(place)
    );
    assert!(!held(&roster, 1));
    assert_eq!(roster.resync(at(0)), Some(7));
    roster.open(subject(4, 1), 8, Attached::Held, false);
    assert_eq!(
        roster.resync(at(0)),
        Some(7),
        "from the first that was missed"
    );
    roster.asked(at(0));
    assert_eq!(roster.resync(at(0)), None, "it was asked for");
    // It does not come this time either, nor the next: asked for ever more rarely.
    let mut waits = Vec::new();
    let mut now = 0;
    for _ in 0..9 {
        roster.open(subject(1, 2), 7, Attached::Here, false);
        let due = roster.deadline().as_ms();
        waits.push(due - now);
        now = due;
        assert_eq!(roster.resync(at(now)), Some(7));
        roster.asked(at(now));
    }
    assert_eq!(waits, [10, 20, 40, 80, 160, 320, 640, 1000, 1000]);
    roster.open(subject(1, 2), 7, Attached::Here, true);
    roster.open(subject(4, 1), 8, Attached::Here, true);
    assert_eq!(roster.deadline(), Instant::NEVER);
    assert!(held(&roster, 1) && held(&roster, 4));
}

/// What was asked for may be missed again when it comes; what was missed meanwhile lies behind it.
#[test]
fn the_earliest_miss_is_asked_for() {
    for start in [10_u32, u32::MAX - 4] {
        let mut roster = roster();
        let later = start.wrapping_add(10);
        roster.open(subject(4, 1), start, Attached::Here, false);
        roster.asked(at(0));
        roster.open(subject(5, 1), later, Attached::Here, false);
        // The answer: both again, and again without their descriptors.
        roster.open(subject(4, 1), start, Attached::Follows, false);
        roster.open(subject(5, 1), later, Attached::Follows, false);
        roster.descriptors(2, 0);
        assert_eq!(roster.resync(at(1_000)), Some(start));
        roster.descriptors(3, 3);
        assert_eq!(
            roster.resync(at(1_000)),
            Some(0),
            "everything is earlier still"
        );
    }
}

fn assigned(roster: &mut Roster<8>) -> Vec<Keep> {
    core::iter::from_fn(|| roster.next_waiting()).collect()
}

#[test]
fn what_follows_goes_to_those_who_wait_in_order() {
    let mut roster = roster();
    for index in 4..7 {
        roster.open(subject(index, 1), index as u32, Attached::Follows, false);
    }
    roster.descriptors(3, 3);
    let all = (4..7).map(|index| Keep::Sibling(id(index, 1)));
    assert_eq!(assigned(&mut roster), all.collect::<Vec<_>>());
    assert!((4..7).all(|index| held(&roster, index)));
    assert_eq!(roster.deadline(), Instant::NEVER);
}

#[test]
fn some_of_what_follows_is_better_than_none() {
    let mut roster = roster();
    for index in 4..7 {
        roster.open(subject(index, 1), index as u32, Attached::Follows, false);
    }
    roster.descriptors(3, 1);
    assert_eq!(assigned(&mut roster), [Keep::Sibling(id(4, 1))]);
    assert_eq!(
        roster.resync(at(0)),
        Some(5),
        "from the first that did not come"
    );
    assert!(!held(&roster, 5) && !held(&roster, 6));
}

#[test]
fn a_batch_that_was_cut_short_is_told_again() {
    let mut roster = roster();
    for index in 4..6 {
        roster.open(subject(index, 1), index as u32, Attached::Follows, false);
    }
    // Its descriptors never came; meanwhile 4 died and 6 was born.
    roster.close(SlotIndex::new(4).expect("a place"));
    for index in 5..7 {
        roster.open(subject(index, 1), index as u32, Attached::Follows, false);
    }
    roster.descriptors(2, 2);
    let both = [Keep::Sibling(id(5, 1)), Keep::Sibling(id(6, 1))];
    assert_eq!(assigned(&mut roster), both);
    // One that dies between its OPEN and its descriptor gets none.
    roster.open(subject(7, 1), 9, Attached::Follows, false);
    roster.close(SlotIndex::new(7).expect("a place"));
    roster.descriptors(1, 1);
    assert_eq!(assigned(&mut roster), [Keep::Nothing]);
}

#[test]
fn who_is_not_told_again_is_asked_for() {
    let mut roster = roster();
    for index in 4..7 {
        roster.open(subject(index, 1), index as u32, Attached::Follows, false);
    }
    // Cut short; and told anew is only the last.
    roster.open(subject(6, 1), 6, Attached::Follows, false);
    roster.descriptors(1, 1);
    assert_eq!(assigned(&mut roster), [Keep::Sibling(id(6, 1))]);
    assert_eq!(roster.resync(at(0)), Some(4));
}

#[test]
fn descriptors_that_nobody_waits_for_are_a_reason_to_ask() {
    let mut roster = roster();
    roster.descriptors(2, 2);
    assert_eq!(assigned(&mut roster), []);
    assert_eq!(roster.resync(at(0)), Some(0), "for everything");
}

#[test]
fn places_that_the_table_has_not_are_nobody() {
    let mut roster = roster();
    assert_eq!(
        roster.open(subject(8, 1), 1, Attached::Here, true),
        Keep::Nothing
    );
    assert_eq!(
        roster.close(SlotIndex::new(1_023).expect("a place")),
        Keep::Nothing
    );
    assert!(!roster.knows(id(9, 1), None));
    let nameless = Subject {
        generation: None,
        ..subject(1, 1)
    };
    assert_eq!(
        roster.open(nameless, 1, Attached::Here, true),
        Keep::Nothing,
        "nginx names no life"
    );
}

#[test]
fn a_life_goes_one_way() {
    let table = Table::<8>::new();
    let mut worker = Worker::<8>::new(id(0, 1), &table);
    assert_eq!(
        worker.heard(Command::Quit, 0),
        Effect::Turned(Life::Draining)
    );
    assert_eq!(
        worker.heard(Command::Quit, 0),
        Effect::Keep(Keep::Nothing),
        "once"
    );
    assert_eq!(
        worker.heard(Command::Terminate, 0),
        Effect::Turned(Life::Ending)
    );
    assert_eq!(
        worker.heard(Command::Quit, 0),
        Effect::Keep(Keep::Nothing),
        "no way back"
    );
    assert_eq!(worker.life(), Life::Ending);
    let message = Message::new(3, [1; 16]);
    assert_eq!(
        worker.heard(Command::User(message), 0),
        Effect::Message(message)
    );
    assert_eq!(worker.heard(Command::Reopen, 0), Effect::Reopen);
    assert_eq!(
        worker.heard(Command::Ready, 0),
        Effect::Refused,
        "a master says no such thing"
    );
}

#[test]
fn what_is_owed_is_said_when_there_is_room() {
    let table = Table::<8>::new();
    let mut worker = Worker::<8>::new(id(0, 1), &table);
    assert_eq!(worker.owed(at(0)), None);
    worker.ready(at(5));
    assert_eq!(worker.owed(at(5)), Some(Owing::Ready));
    worker.told(Owing::Ready, false, at(5));
    assert_eq!(
        (worker.owed(at(5)), worker.deadline()),
        (None, at(15)),
        "full: again later"
    );
    assert_eq!(worker.owed(at(15)), Some(Owing::Ready));
    worker.told(Owing::Ready, true, at(15));
    assert_eq!(
        (worker.owed(at(15)), worker.deadline()),
        (None, Instant::NEVER)
    );
    // A broken mesh pair is reported until there is another.
    worker.mesh_broke(at(20));
    assert_eq!(worker.owed(at(20)), Some(Owing::Resync(Resync::Mesh)));
    worker.told(Owing::Resync(Resync::Mesh), true, at(20));
    assert_eq!(worker.owed(at(1_020)), Some(Owing::Resync(Resync::Mesh)));
    let open = Command::Open {
        subject: subject(0, 1),
        version: 9,
        attached: Attached::Here,
    };
    assert_eq!(worker.heard(open, 1), Effect::Keep(Keep::OwnMesh));
    assert_eq!(worker.owed(at(9_999)), None);
}

#[derive(Clone, Copy, Debug)]
enum Said {
    Open(usize, u32, Attached, bool),
    Close(usize),
    Descriptors(usize, usize),
}

fn said() -> impl Strategy<Value = Said> {
    let attached = prop_oneof![
        Just((Attached::Here, true)),
        Just((Attached::Here, false)),
        Just((Attached::Held, false)),
        Just((Attached::Follows, false)),
    ];
    prop_oneof![
        4 => (1..8_usize, 1..4_u32, attached).prop_map(|(index, life, (attached, came))| {
            Said::Open(index, life, attached, came)
        }),
        2 => (1..8_usize).prop_map(Said::Close),
        1 => (1..5_usize, 0..5_usize).prop_map(|(count, came)| {
            Said::Descriptors(count, came.min(count))
        }),
    ]
}

proptest! {
    /// Whatever is said, the roster names what was said last of each place, and a sibling whose
    /// descriptor is not held is one that is asked for.
    #[test]
    fn nothing_is_held_that_did_not_come(script in prop::collection::vec(said(), 1..60)) {
        let mut roster = roster();
        let mut last: [Option<SlotId>; 8] = [None; 8];
        for (index, place) in last.iter_mut().enumerate().take(4).skip(1) {
            *place = Some(id(index, 1));
        }
        // Which life's descriptor lies in each place, as the shell would have it.
        let mut peers = last;
        let mut waits = false;
        for (said, version) in script.into_iter().zip(1..) {
            let keep = match said {
                Said::Open(index, life, attached, came) => {
                    waits |= attached == Attached::Follows;
                    last[index] = Some(id(index, life));
                    roster.open(subject(index, life), version, attached, came)
                }
                Said::Close(index) => {
                    last[index] = None;
                    roster.close(SlotIndex::new(index).expect("a place"))
                }
                Said::Descriptors(count, came) => {
                    roster.descriptors(count, came);
                    for keep in assigned(&mut roster) {
                        if let Keep::Sibling(id) = keep {
                            peers[id.index().as_usize()] = Some(id);
                        }
                    }
                    waits = false;
                    Keep::Nothing
                }
            };
            match keep {
                Keep::Sibling(id) => peers[id.index().as_usize()] = Some(id),
                Keep::Drop(index) => peers[index.as_usize()] = None,
                Keep::Nothing | Keep::OwnMesh => {}
            }
        }
        for index in 1..8 {
            let place = SlotIndex::new(index).expect("a place");
            let sibling = roster.sibling(place);
            prop_assert_eq!(sibling.map(|(id, ..)| id), last[index]);
            let held = sibling.is_some_and(|(.., held)| held);
            prop_assert_eq!(held, peers[index].is_some(), "what is held lies there");
            if held {
                prop_assert_eq!(peers[index], last[index], "and is that life's");
            }
            let missing = sibling.is_some() && !held;
            prop_assert!(!missing || waits || roster.resync(at(u64::MAX - 1)).is_some());
        }
    }
}
