//! Models of the reader/writer lock: nobody beside a writer, nobody asleep for ever, and death at every
//! step of a reader and of a writer.

use core::ops::RangeInclusive;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use forkmesh::sync::{
    AtomicU32, Member, NotLocked, Ordering, Reading, Roster, RwLock, Writing, kill, recover,
};
use forkmesh::table::SlotId;
use loom::cell::UnsafeCell;
use loom::sync::Arc;

use crate::world::{World, check, id, spawn, sweep};

/// One execution's lock and what it guards.
struct Shelf<const PLACES: usize> {
    slots: Arc<World>,
    lock: RwLock<PLACES>,
    /// Two numbers that are equal whenever nobody writes.
    data: UnsafeCell<(u32, u32)>,
    halfway: AtomicU32,
    /// No part of the model: written by writers alone.
    told: AtomicU64,
}

/// For one who is not woken by anybody if need be: its sleeps end by themselves.
const NAPS: u64 = 1000;

impl<const PLACES: usize> Shelf<PLACES> {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            slots: World::new(),
            lock: RwLock::new(),
            data: UnsafeCell::new((0, 0)),
            halfway: AtomicU32::new(0),
            told: AtomicU64::new(0),
        })
    }

    fn member(&self, id: SlotId) -> Member<'_> {
        self.slots.member(id)
    }

    fn read(&self, slot: usize) {
        let member = self.member(id(slot));
        self.look(self.lock.read(&member, World::name()).unwrap());
    }

    fn write(&self, slot: usize) {
        let member = self.member(id(slot));
        self.change(self.lock.write(&member, World::name()).unwrap());
    }

    fn read_in_time(&self, slot: usize) {
        let member = self.member(id(slot));
        let reading = self.lock.read_timeout(&member, World::name(), NAPS);
        self.look(reading.unwrap());
    }

    fn write_in_time(&self, slot: usize) {
        let member = self.member(id(slot));
        let writing = self.lock.write_timeout(&member, World::name(), NAPS);
        self.change(writing.unwrap());
    }

    fn look(&self, reading: Reading<'_>) {
        match reading {
            Reading::Clean(guard) => {
                let (first, second) = self.data();
                assert_eq!(first, second, "half-written, and nobody said so");
                drop(guard);
            }
            Reading::OwnerDied(torn) => {
                self.repair();
                drop(torn.mark_consistent());
            }
        }
    }

    fn change(&self, writing: Writing<'_>) {
        let guard = match writing {
            Writing::Clean(guard) => {
                let (first, second) = self.data();
                assert_eq!(first, second, "half-written, and nobody said so");
                guard
            }
            Writing::OwnerDied(torn) => {
                self.repair();
                torn.mark_consistent()
            }
        };
        self.with(|data| data.0 += 1);
        self.halfway.store(1, Ordering::Release);
        self.with(|data| data.1 += 1);
        drop(guard);
    }

    fn repair(&self) {
        self.told.fetch_add(1, Relaxed);
        self.with(|data| data.1 = data.0);
    }

    fn data(&self) -> (u32, u32) {
        self.data.with(|data| {
            // SAFETY: loom fails the model if anybody writes here, or wrote here unseen.
            unsafe { *data }
        })
    }

    fn with(&self, change: impl FnOnce(&mut (u32, u32))) {
        self.data.with_mut(|data| {
            // SAFETY: loom fails the model if anybody else is here, or was here unseen.
            change(unsafe { &mut *data });
        });
    }

    fn recover(&self, dead: SlotId) -> u32 {
        recover(self.slots.held(dead.index()), dead, |_| Some(&self.lock))
    }

    fn bury(&self, dead: SlotId) -> u32 {
        self.slots.bury(dead);
        self.recover(dead)
    }

    /// After all is done: nobody is inside, no name is left over, and so many changes and deaths were
    /// seen.
    fn audit(&self, deaths: RangeInclusive<u64>, changes: RangeInclusive<u32>) {
        assert_eq!(self.lock.readers().count(), 0);
        self.read(3);
        assert_eq!(self.lock.writer(), None);
        assert_eq!(self.lock.readers().count(), 0);
        let told = self.told.load(Relaxed);
        assert!(deaths.contains(&told), "{told} deaths told");
        self.slots.no_names_are_left();
        let (first, second) = self.data();
        assert_eq!(first, second);
        assert!(changes.contains(&first), "{first} changes");
    }
}

pub(crate) fn readers_and_a_writer(name: &str) {
    check(name, 40_000, || {
        let shelf = Shelf::<2>::new();
        let readers = [0, 1].map(|slot| spawn(&shelf, move |shelf| shelf.read(slot)));
        shelf.write(2);
        for reader in readers {
            reader.join().unwrap();
        }
        shelf.audit(0..=0, 1..=1);
    });
}

pub(crate) fn two_writers_and_a_reader(name: &str) {
    check(name, 25_000, || {
        let shelf = Shelf::<2>::new();
        let writer = spawn(&shelf, |shelf| shelf.write(0));
        let reader = spawn(&shelf, |shelf| shelf.read(1));
        shelf.write(2);
        writer.join().unwrap();
        reader.join().unwrap();
        shelf.audit(0..=0, 2..=2);
    });
}

/// There is one place, and two come to read.
pub(crate) fn readers_wait_for_a_place(name: &str) {
    check(name, 60, || {
        let shelf = Shelf::<1>::new();
        let reader = spawn(&shelf, |shelf| {
            shelf.read(0);
            shelf.read(0);
        });
        shelf.read(1);
        reader.join().unwrap();
        shelf.audit(0..=0, 0..=0);
    });
}

/// While one reads, a writer comes: no other reader gets in any more, however often it tries.
pub(crate) fn a_writer_is_not_starved(name: &str) {
    check(name, 230, || {
        let shelf = Shelf::<2>::new();
        let member = shelf.member(id(1));
        let guard = shelf.lock.read(&member, World::name()).unwrap();
        let writer = spawn(&shelf, |shelf| shelf.write(0));
        let second = shelf.member(id(2));
        let refused = loop {
            match shelf.lock.try_read(&second, World::name()) {
                Ok(reading) => shelf.look(reading),
                Err(error) => break error,
            }
            loom::thread::yield_now();
        };
        assert_eq!(refused, NotLocked::Busy);
        shelf.look(guard);
        writer.join().unwrap();
        shelf.audit(0..=0, 1..=1);
    });
}

/// One that loses patience leaves the lock as it was, and nobody asleep.
pub(crate) fn giving_up_to_write(name: &str) {
    check(name, 27_000, || {
        let shelf = Shelf::<2>::new();
        let impatient = spawn(&shelf, |shelf| {
            let member = shelf.member(id(0));
            match shelf.lock.write_timeout(&member, World::name(), 1) {
                Ok(writing) => {
                    shelf.change(writing);
                    1
                }
                Err(error) => {
                    assert_eq!(error, NotLocked::Busy);
                    0
                }
            }
        });
        let reader = spawn(&shelf, |shelf| shelf.read(1));
        shelf.write(2);
        reader.join().unwrap();
        let written = 1 + impatient.join().unwrap();
        shelf.audit(0..=0, written..=written);
    });
}

pub(crate) fn a_reader_killed_at_every_step(name: &str) {
    sweep(name, 11, 15_000, |k| {
        let shelf = Shelf::<2>::new();
        let victim = spawn(&shelf, move |shelf| kill::at(k, || shelf.read(0)).is_none());
        let writer = spawn(&shelf, |shelf| shelf.write(1));
        let killed = victim.join().unwrap();
        shelf.bury(id(0));
        writer.join().unwrap();
        // In a writer's turn, with the gates that a writer has left, a reader looks like one.
        shelf.audit(0..=killed.into(), 1..=1);
        killed
    });
}

pub(crate) fn a_writer_killed_at_every_step(name: &str) {
    sweep(name, 10, 7000, |k| {
        let shelf = Shelf::<2>::new();
        let victim = spawn(&shelf, move |shelf| {
            kill::at(k, || shelf.write(0)).is_none()
        });
        let reader = spawn(&shelf, |shelf| shelf.read(1));
        let killed = victim.join().unwrap();
        shelf.bury(id(0));
        reader.join().unwrap();
        shelf.audit(0..=killed.into(), 0..=1);
        killed
    });
}

/// Readers sleep behind a writer that is killed.
pub(crate) fn a_writer_killed_beside_two(name: &str) {
    check(name, 15_000, || {
        let shelf = Shelf::<2>::new();
        // The name, the word, both gates, and halfway: before it opens a gate.
        assert!(kill::at(HALFWAY, || shelf.write(0)).is_none());
        let others = [1, 2].map(|slot| spawn(&shelf, move |shelf| shelf.read(slot)));
        shelf.bury(id(0));
        for other in others {
            other.join().unwrap();
        }
        shelf.audit(1..=1, 1..=1);
    });
}

/// A writer dies behind closed gates while somebody still reads: who comes to repair waits for that.
pub(crate) fn a_repairer_waits_for_readers(name: &str) {
    check(name, 10, || {
        let shelf = Shelf::<2>::new();
        let member = shelf.member(id(1));
        let guard = shelf.lock.read(&member, World::name()).unwrap();
        // It has lost its patience, and is about to open the gates.
        let died = kill::at(HALFWAY, || {
            let member = shelf.member(id(0));
            let _ = shelf.lock.write_timeout(&member, World::name(), 1);
        });
        assert!(died.is_none());
        shelf.bury(id(0));
        let other = spawn(&shelf, |shelf| shelf.read(2));
        shelf.look(guard);
        other.join().unwrap();
        shelf.audit(1..=1, 0..=0);
    });
}

/// Where an undisturbed writer with two places has written one of two numbers.
const HALFWAY: u32 = 4;

/// Where an undisturbed reader is inside.
const INSIDE: u32 = 2;

/// The master never comes, and nobody reaps: who has waited asks the kernel.
pub(crate) fn a_dead_reader_is_asked_after(name: &str) {
    sweep(name, 11, 1400, |k| {
        let shelf = Shelf::<2>::new();
        let victim = spawn(&shelf, move |shelf| {
            let killed = kill::at(k, || shelf.read(0)).is_none();
            if killed {
                shelf.slots.die(id(0));
            }
            killed
        });
        shelf.write_in_time(1);
        let killed = victim.join().unwrap();
        shelf.write_in_time(1);
        assert_eq!(shelf.bury(id(0)), 0, "nothing was left to free");
        shelf.audit(0..=killed.into(), 2..=2);
        killed
    });
}

pub(crate) fn a_dead_writer_is_asked_after(name: &str) {
    sweep(name, 10, 400, |k| {
        let shelf = Shelf::<2>::new();
        let victim = spawn(&shelf, move |shelf| {
            let killed = kill::at(k, || shelf.write(0)).is_none();
            if killed {
                shelf.slots.die(id(0));
            }
            killed
        });
        shelf.read_in_time(1);
        let killed = victim.join().unwrap();
        shelf.write_in_time(1);
        assert_eq!(shelf.bury(id(0)), 0, "nothing was left to free");
        shelf.audit(0..=killed.into(), 1..=2);
        killed
    });
}

/// The master dies while it recovers a reader that a writer waits for, and the next one recovers again.
pub(crate) fn turning_out_killed_at_every_step(name: &str) {
    sweep(name, 6, 10_000, |k| {
        let shelf = Shelf::<2>::new();
        assert!(kill::at(INSIDE, || shelf.read(0)).is_none());
        shelf.slots.bury(id(0));
        let writer = spawn(&shelf, |shelf| shelf.write(1));
        let killed = kill::at(k, || shelf.recover(id(0))).is_none();
        shelf.recover(id(0));
        writer.join().unwrap();
        shelf.audit(0..=0, 1..=1);
        killed
    });
}

/// A writer finds a reader dead and is then so slow that the slot lives again, and reads.
pub(crate) fn a_place_is_used_again(name: &str) {
    check(name, 900, || {
        let shelf = Shelf::<2>::new();
        assert!(kill::at(INSIDE, || shelf.read(0)).is_none());
        shelf.slots.bury(id(0));
        let slow = spawn(&shelf, |shelf| shelf.write(1));
        shelf.recover(id(0));
        let next = id(0).next();
        shelf.slots.settle(next);
        let member = shelf.member(next);
        shelf.look(shelf.lock.read(&member, World::name()).unwrap());
        slow.join().unwrap();
        shelf.audit(0..=0, 1..=1);
    });
}
