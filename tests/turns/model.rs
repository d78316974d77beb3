//! The pure parts: timers as a sorted list would be, posted events, the count of what lives.

use forkmesh::run::{Load, NoRoom, NoTimer, NotPosted, Posted, Stale, TimerId, Timers};
use forkmesh::table::Instant;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use rustix::event::{EventfdFlags, eventfd};
use rustix::fd::{AsFd, AsRawFd, OwnedFd};

use crate::support::lowest_free;

const ROOM: usize = 9;

#[derive(Clone, Copy, Debug)]
enum Step {
    Arm(u64),
    /// Of the names ever given, this one.
    Rearm(usize, u64),
    Cancel(usize),
    Pop(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let due = 0..12_u64;
    prop_oneof![
        4 => due.clone().prop_map(Step::Arm),
        2 => (any::<usize>(), due.clone()).prop_map(|(which, due)| Step::Rearm(which, due)),
        2 => any::<usize>().prop_map(Step::Cancel),
        3 => due.prop_map(Step::Pop),
    ]
}

/// What timers are: a list, sorted when it is read.
#[derive(Default)]
struct Model {
    armed: Vec<(u64, u64, u32)>,
    serial: u64,
}

impl Model {
    fn arm(&mut self, due: u64, token: u32) {
        self.serial += 1;
        self.armed.push((due, self.serial, token));
    }

    fn remove(&mut self, token: u32) -> bool {
        let before = self.armed.len();
        self.armed.retain(|entry| entry.2 != token);
        self.armed.len() != before
    }

    fn pop(&mut self, now: u64) -> Option<u32> {
        let (due, _, token) = self.armed.iter().min().copied()?;
        (due <= now).then(|| {
            self.remove(token);
            token
        })
    }
}

fn agree(steps: &[Step]) -> Result<(), TestCaseError> {
    let mut timers = Timers::<ROOM>::new();
    let mut model = Model::default();
    let mut names: Vec<(TimerId, u32)> = Vec::new();
    for (token, step) in (0..).zip(steps) {
        let named = |which: usize| names.get(which % names.len().max(1)).copied();
        match *step {
            Step::Arm(due) => match timers.arm(Instant::from_ms(due), token) {
                Ok(id) => {
                    model.arm(due, token);
                    names.push((id, token));
                }
                Err(error) => {
                    prop_assert_eq!(error, NoTimer(token));
                    prop_assert_eq!(model.armed.len(), ROOM);
                }
            },
            Step::Rearm(which, due) => {
                if let Some((id, token)) = named(which) {
                    let lives = model.remove(token);
                    prop_assert_eq!(timers.rearm(id, Instant::from_ms(due)).is_ok(), lives);
                    if lives {
                        model.arm(due, token);
                    }
                }
            }
            Step::Cancel(which) => {
                if let Some((id, token)) = named(which) {
                    let cancelled = match model.remove(token) {
                        true => Ok(token),
                        false => Err(Stale),
                    };
                    prop_assert_eq!(timers.cancel(id), cancelled);
                }
            }
            Step::Pop(now) => prop_assert_eq!(timers.pop(Instant::from_ms(now)), model.pop(now)),
        }
        prop_assert_eq!(timers.len(), model.armed.len());
        let first = model.armed.iter().min().map(|entry| entry.0);
        prop_assert_eq!(timers.next_due().map(Instant::as_ms), first);
    }
    Ok(())
}

pub(crate) fn timers_agree_with_a_model() {
    let config = Config {
        cases: 2_000,
        failure_persistence: None,
        ..Config::default()
    };
    let mut runner = TestRunner::new(config);
    let steps = prop::collection::vec(step(), 0..120);
    runner.run(&steps, |steps| agree(&steps)).expect("alike");
}

pub(crate) fn equal_deadlines_come_in_order() {
    let mut timers = Timers::<64>::new();
    let due = Instant::from_ms(5);
    let ids: Vec<_> = (0..64).map(|token| timers.arm(due, token)).collect();
    timers.rearm(ids[3].expect("room"), due).expect("armed");
    let order: Vec<u32> = core::iter::from_fn(|| timers.pop(due)).collect();
    let expected: Vec<u32> = (0..64).filter(|token| *token != 3).chain([3]).collect();
    assert_eq!(order, expected, "armed anew, it is the last");
}

pub(crate) fn a_stale_name_reaches_nothing() {
    let mut timers = Timers::<1>::new();
    let old = timers.arm(Instant::ORIGIN, 1).expect("room");
    assert_eq!(timers.arm(Instant::ORIGIN, 2), Err(NoTimer(2)));
    assert_eq!(timers.pop(Instant::ORIGIN), Some(1));
    let new = timers.arm(Instant::ORIGIN, 3).expect("room");
    assert_eq!(timers.cancel(old), Err(Stale));
    assert_eq!(timers.rearm(old, Instant::NEVER), Err(Stale));
    assert_eq!(timers.cancel(new), Ok(3));
    assert_eq!(timers.cancel(new), Err(Stale));
}

pub(crate) fn posted_events_have_fixed_room() {
    let mut posted = Posted::<3>::new();
    for token in 0..3 {
        posted.post(token).expect("room");
    }
    assert_eq!(posted.post(3), Err(NotPosted(3)));
    assert_eq!(posted.take(), Some(0));
    posted.post(4).expect("room again");
    let rest: Vec<u32> = core::iter::from_fn(|| posted.take()).collect();
    assert_eq!(rest, [1, 2, 4]);
}

fn descriptor() -> OwnedFd {
    eventfd(0, EventfdFlags::CLOEXEC).expect("a descriptor")
}

pub(crate) fn a_load_counts_what_lives() {
    let load = Load::new(2);
    let free = lowest_free();
    let first = load.open(descriptor()).expect("room");
    let second = load.open(descriptor()).expect("room");
    let refused = load.open(descriptor());
    assert!(matches!(refused, Err(NoRoom(_))), "two at the most");
    drop(refused);
    let (socket, place) = second.into_parts();
    assert_eq!((load.connections(), load.free()), (2, 0));
    drop(socket);
    assert_eq!(load.connections(), 2, "its place counts");
    drop(place);
    assert_eq!(load.connections(), 1);
    let work = load.begin();
    assert_eq!(first.as_fd().as_raw_fd(), free);
    drop(first);
    assert_eq!(lowest_free(), free, "and it is closed");
    assert!(!load.is_idle(), "there is work");
    drop(work);
    assert!(load.is_idle());
}
