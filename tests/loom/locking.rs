//! Models of locking among the living: one owner at a time, and nobody sleeps for ever.

use forkmesh::sync::NotLocked;

use crate::world::{World, check, id, spawn};

pub(crate) fn two_threads_twice(name: &str) {
    check(name, 150, || {
        let world = World::new();
        let other = spawn(&world, |world| {
            world.round(id(1));
            world.round(id(1));
        });
        world.round(id(2));
        world.round(id(2));
        other.join().unwrap();
        world.audit(0, 4..=4);
    });
}

/// Two sleep, and unlocking wakes one: the other must be woken by the one.
pub(crate) fn three_threads(name: &str) {
    check(name, 1700, || {
        let world = World::new();
        let others = [1, 2].map(|slot| spawn(&world, move |world| world.round(id(slot))));
        world.round(id(3));
        for other in others {
            other.join().unwrap();
        }
        world.audit(0, 3..=3);
    });
}

pub(crate) fn trying_takes_or_leaves(name: &str) {
    check(name, 25, || {
        let world = World::new();
        let other = spawn(&world, |world| world.round(id(1)));
        let tried = world.mutex.try_lock(&world.member(id(2)), World::name());
        let taken = match tried {
            Ok(locked) => {
                world.visit(locked);
                1
            }
            Err(error) => {
                assert_eq!(error, NotLocked::Busy);
                0
            }
        };
        other.join().unwrap();
        world.audit(0, 1 + taken..=1 + taken);
    });
}

/// One that loses patience may have been woken for all: it leaves nobody asleep.
pub(crate) fn giving_up_passes_the_wake_on(name: &str) {
    check(name, 11_000, || {
        let world = World::new();
        let impatient = spawn(&world, |world| {
            let member = world.member(id(1));
            match world.mutex.lock_timeout(&member, World::name(), 1) {
                Ok(locked) => {
                    world.visit(locked);
                    1
                }
                Err(error) => {
                    assert_eq!(error, NotLocked::Busy);
                    0
                }
            }
        });
        let patient = spawn(&world, |world| world.round(id(2)));
        world.round(id(3));
        world.round(id(3));
        patient.join().unwrap();
        let taken = impatient.join().unwrap();
        world.audit(0, 3 + taken..=3 + taken);
    });
}
