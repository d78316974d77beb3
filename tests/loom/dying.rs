//! Models of death: killed at every store, reaped, and recovered beside those who live on.

use forkmesh::sync::{Locked, Member, NotLocked, Owner, kill};
use loom::sync::Arc;
use loom::thread::JoinHandle;

use crate::world::{World, check, id, spawn, sweep};

/// The step at which an undisturbed round unlocks: after the name, the word and the data's halfway.
const UNLOCKING: u32 = 3;

/// A victim that locks, changes the data and unlocks, unless it is killed before its step `k`.
fn victim(world: &Arc<World>, k: u32) -> JoinHandle<bool> {
    spawn(world, move |world| {
        kill::at(k, || world.round(id(0))).is_none()
    })
}

/// Reaps: all that the victim did has happened, and nobody knows yet that it is dead. Returns whether
/// it was killed, and how often inside.
fn reap(world: &World, victim: JoinHandle<bool>) -> (bool, u64) {
    let killed = victim.join().unwrap();
    let inside = world.mutex.owner() == Some(Owner::of(id(0)));
    assert!(killed || !inside);
    (killed, inside.into())
}

pub(crate) fn killed_at_every_step(name: &str) {
    sweep(name, 10, 400_000, |k| {
        let world = World::new();
        let victim = victim(&world, k);
        let others = [1, 2].map(|slot| spawn(&world, move |world| world.round(id(slot))));
        let (killed, deaths) = reap(&world, victim);
        world.bury(id(0));
        world.recover(id(0));
        for other in others {
            other.join().unwrap();
        }
        world.audit(deaths, 2..=3);
        killed
    });
}

/// The first owner after the death does not repair: it is the last owner, and all who sleep hear of
/// it.
pub(crate) fn unrepaired_is_poisoned(name: &str) {
    check(name, 18_000, || {
        let world = World::new();
        assert!(kill::at(UNLOCKING, || world.round(id(0))).is_none());
        world.bury(id(0));
        let others = [1, 2, 3].map(|slot| {
            spawn(&world, move |world| {
                let member = world.member(id(slot));
                match world.mutex.lock(&member, World::name()) {
                    Ok(Locked::OwnerDied(torn)) => drop(torn),
                    Ok(locked) => panic!("{locked:?}"),
                    Err(error) => {
                        assert_eq!(error, NotLocked::Poisoned);
                        return false;
                    }
                }
                true
            })
        });
        world.recover(id(0));
        let told = others.map(|other| other.join().unwrap());
        assert_eq!(told.into_iter().filter(|told| *told).count(), 1);
        assert!(world.mutex.clear_poison());
        assert!(!world.mutex.clear_poison());
        // The data was not repaired, and so there is nothing to audit.
    });
}

/// The master dies while it recovers, and the next one recovers again.
pub(crate) fn recovery_is_killed_at_every_step(name: &str) {
    sweep(name, 4, 140_000, |k| {
        let world = World::new();
        assert!(kill::at(UNLOCKING, || world.round(id(0))).is_none());
        let others = [1, 2].map(|slot| spawn(&world, move |world| world.round(id(slot))));
        let master = spawn(&world, move |world| {
            kill::at(k, || world.recover(id(0))).is_none()
        });
        let killed = master.join().unwrap();
        world.recover(id(0));
        for other in others {
            other.join().unwrap();
        }
        world.audit(1, 3..=3);
        killed
    });
}

/// For the time of an upgrade there are two masters.
pub(crate) fn two_recover_at_once(name: &str) {
    check(name, 1400, || {
        let world = World::new();
        assert!(kill::at(UNLOCKING, || world.round(id(0))).is_none());
        let other = spawn(&world, |world| world.round(id(1)));
        let master = spawn(&world, |world| world.recover(id(0)));
        let freed = world.recover(id(0)) + master.join().unwrap();
        assert_eq!(freed, 1);
        other.join().unwrap();
        world.audit(1, 2..=2);
    });
}

/// Nobody recovers: the master hangs, or is dead. Lockers know the dead and help themselves, and
/// wake those who fell asleep before.
pub(crate) fn without_a_master(name: &str) {
    check(name, 50, || {
        let world = World::new();
        assert!(kill::at(UNLOCKING, || world.round(id(0))).is_none());
        let other = spawn(&world, |world| world.round(id(1)));
        world.bury(id(0));
        world.round(id(2));
        other.join().unwrap();
        assert_eq!(world.recover(id(0)), 0);
        world.audit(1, 3..=3);
    });
}

/// A locker finds the owner dead and is then so slow that the slot lives again, and owns the mutex.
pub(crate) fn a_slot_is_used_again(name: &str) {
    check(name, 250, || {
        let world = World::new();
        assert!(kill::at(UNLOCKING, || world.round(id(0))).is_none());
        world.bury(id(0));
        let slow = spawn(&world, |world| world.round(id(1)));
        world.recover(id(0));
        let next = id(0).next();
        world.settle(next);
        world.round(next);
        world.round(next);
        slow.join().unwrap();
        world.audit(1, 4..=4);
    });
}

/// The one who was told of a death dies in turn, at any instant of its repair: the next is told.
pub(crate) fn a_repairer_is_killed_at_every_step(name: &str) {
    sweep(name, 8, 2200, |k| {
        let world = World::new();
        assert!(kill::at(UNLOCKING, || world.round(id(2))).is_none());
        world.bury(id(2));
        world.recover(id(2));
        let repairer = victim(&world, k);
        let other = spawn(&world, |world| world.round(id(1)));
        let (killed, deaths) = reap(&world, repairer);
        world.bury(id(0));
        world.recover(id(0));
        other.join().unwrap();
        world.audit(1 + deaths, 2..=3);
        killed
    });
}

/// A victim that keeps an entry for its names.
pub(crate) fn keeping_an_entry_killed_at_every_step(name: &str) {
    sweep(name, 15, 9500, |k| {
        let world = World::new();
        let victim = spawn(&world, move |world| {
            let killed = kill::at(k, || {
                let member = Member::new(world, id(0));
                world.visit(world.mutex.lock(&member, World::name()).unwrap());
                world.visit(world.mutex.lock(&member, World::name()).unwrap());
            });
            killed.is_none()
        });
        let other = spawn(&world, |world| world.round(id(1)));
        let (killed, deaths) = reap(&world, victim);
        world.bury(id(0));
        world.recover(id(0));
        other.join().unwrap();
        world.audit(deaths, 1..=3);
        killed
    });
}

/// The master never comes, and nobody reaps: who has waited asks the kernel, and takes the mutex.
pub(crate) fn waiters_ask_for_themselves(name: &str) {
    sweep(name, 8, 6500, |k| {
        let world = World::new();
        let victim = spawn(&world, move |world| {
            let killed = kill::at(k, || world.round(id(0))).is_none();
            if killed {
                world.die(id(0));
            }
            killed
        });
        let other = spawn(&world, |world| world.patient_round(id(1)));
        let killed = victim.join().unwrap();
        world.patient_round(id(2));
        other.join().unwrap();
        let inside = world.told() > 0;
        assert!(killed || !inside);
        world.bury(id(0));
        assert_eq!(world.recover(id(0)), 0, "nothing was left to free");
        world.audit(u64::from(inside), 2..=3);
        killed
    });
}
