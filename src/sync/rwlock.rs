//! The robust reader/writer lock: many may read, or one may write, and any of them may die of it.
//!
//! ```text
//!   ┌────────┬──────┬─┬───────────┬───────────┬─────┬───────────┐
//!   │ writer │ bell │ │ place 0   │ place 1   │ ... │ the last  │   a cache line each
//!   └────────┴──────┴─┴───────────┴───────────┴─────┴───────────┘
//!     Mutex    who leaves a     GATE | the reader that is here
//!              gated place      a compare-and-exchange takes a free one, whose gate is open
//!              rings it
//!
//!   write    lock `writer` ─► close every gate ─► wait until every place is empty ─► WriteGuard
//!            dropped: open every gate ─► unlock `writer`
//!   read     a free place ─► ReadGuard                         no rival: two locked operations in all
//!            a closed gate ─► lock `writer` ─► open the gates ─► a free place ─► unlock ─► ReadGuard
//! ```
//!
//! A place names its reader, so what a dead reader holds is known, and is taken back by whoever reaped it
//! ([`recover`](super::recover)) or by whoever it is in the way of. A dead writer leaves the gates as they
//! were, and `writer` to be recovered as any mutex is: all gates closed means that it may have been
//! writing, and then the next one, a reader too, gets [`Torn`](TornWrite) data and the right to write.
//!
//! # Invariants
//!
//! - Nobody is inside beside a writer (models `readers_and_a_writer`, `two_writers_and_a_reader`).
//! - Data is written only while all gates are closed, by who owns `writer`; gates change hands with it.
//!   So a death with any gate open has torn nothing, and is not told (model
//!   `a_writer_killed_at_every_step`, test `a_dead_writer_that_had_not_begun_is_not_told`).
//! - A dead reader holds nobody up for longer than its burial (model `a_reader_killed_at_every_step`),
//!   or, if nobody buries it, than a nap (model `a_dead_reader_is_asked_after`, test
//!   `a_stopped_master_is_not_waited_for`).
//! - A writer that waits is next: gates are closed before it waits, and who is then turned away queues
//!   behind it (model `a_writer_is_not_starved`, test `readers_queue_behind_a_writer`).
//! - Only who owns `writer` sleeps on the bell, and reads it before it looks at the places: who leaves a
//!   gated place rings after it has left (models above, each of which would end asleep).
//!
//! # Cost
//!
//! Reading costs what locking a [`Mutex`] does, on lines that other readers write only if there are more
//! of them than places. Writing costs two locked operations a place, and waits for the slowest reader. A
//! lock has 64 bytes, and 64 more for each reader that there is a place for.
//!
//! # Why not one word with a count
//!
//! A count does not say whose share is in it. Who dies between raising it and writing that down, or the
//! other way round, leaves a count that nobody can set right; and all readers write the one word.
//!
//! # Why not a bit a slot
//!
//! It is as clear as a name while a slot has one thread and one life. A place that names a life can be
//! given back by somebody who is late, without taking it from the next life of the slot.
//!
//! # Why readers do not sleep until they are woken all at once
//!
//! Those who are turned away pass through `writer` one by one, each for the time of a few stores. That is
//! slower than waking all of them, and has no second queue in which a wake-up could be lost.
//!
//! # Example
//!
//! ```
//! # use forkmesh::sync::{Held, Owner, Roster};
//! # use forkmesh::table::{SlotId, SlotIndex};
//! # struct Lonely(Held);
//! # impl Roster for Lonely {
//! #     fn is_dead(&self, owner: Owner) -> bool { owner != Owner::of(SlotId::MASTER) }
//! #     fn look_for(&self, owner: Owner) -> bool { self.is_dead(owner) }
//! #     fn held(&self, _: SlotIndex) -> &Held { &self.0 }
//! # }
//! use forkmesh::sync::{Member, MutexName, NotLocked, RwLock, Reading, Writing};
//!
//! # let roster = Lonely(Held::new());
//! let member = Member::new(&roster, SlotId::MASTER); // the roster is the mutex's, too
//! let lock = RwLock::<4>::new();
//! let name = MutexName::new(4096).unwrap();
//!
//! let first = lock.read(&member, name).unwrap();
//! let second = lock.read(&member, name).unwrap();
//! assert!(matches!(first, Reading::Clean(_)));
//! assert_eq!(lock.try_write(&member, name).unwrap_err(), NotLocked::Busy);
//! drop((first, second));
//!
//! let guard = match lock.write(&member, name).unwrap() {
//!     Writing::Clean(guard) => guard,
//!     Writing::OwnerDied(torn) => torn.mark_consistent(), // once the data has been repaired
//! };
//! assert!(lock.try_read(&member, name).is_err());
//! # drop(guard);
//! ```

use core::fmt;

use super::atomic::{CachePadded, Ordering};
use super::guard::NotLocked;
use super::held::{MutexName, Robust, Sealed};
use super::member::Member;
use super::mutex::Mutex;
use super::places::{Core, Place};
use super::rwguard::{Reading, Writing};
use super::sleep::{Patience, SleepWord, Waiting};
use super::word::Owner;
use crate::table::SlotId;

/// A reader/writer lock between processes, for this many readers at a time; free when it is all zeros.
/// One more waits until there is a place.
#[cfg_attr(not(loom), repr(C))]
pub struct RwLock<const READERS: usize = 32> {
    gate: CachePadded<Gatehouse>,
    places: [CachePadded<Place>; READERS],
}

/// What writers share.
#[derive(Debug, Default)]
#[cfg_attr(not(loom), repr(C))]
struct Gatehouse {
    writer: Mutex,
    bell: SleepWord,
}

impl<const READERS: usize> RwLock<READERS> {
    /// A free lock.
    #[cfg(not(loom))]
    #[must_use]
    pub const fn new() -> Self {
        const { assert!(READERS > 0, "somebody reads") };
        Self {
            gate: CachePadded::new(Gatehouse {
                writer: Mutex::new(),
                bell: SleepWord::new(),
            }),
            places: [const { CachePadded::new(Place::new()) }; READERS],
        }
    }

    /// A free lock.
    #[cfg(loom)]
    #[must_use]
    pub fn new() -> Self {
        Self {
            gate: CachePadded::new(Gatehouse::default()),
            places: core::array::from_fn(|_| CachePadded::new(Place::default())),
        }
    }

    /// Waits until there is no writer, for ever if need be, and reads. A thread that reads may read
    /// again only if no writer can come in between, which would wait for the first and be waited for
    /// by the second.
    ///
    /// # Errors
    ///
    /// [`NotLocked::Poisoned`] and [`NotLocked::TooMany`].
    pub fn read<'a>(
        &'a self,
        member: &Member<'a>,
        name: MutexName,
    ) -> Result<Reading<'a>, NotLocked> {
        self.core()
            .read(member, name, Waiting::new(Patience::Endless))
    }

    /// Waits for this many milliseconds at most, and reads.
    ///
    /// # Errors
    ///
    /// Any [`NotLocked`].
    pub fn read_timeout<'a>(
        &'a self,
        member: &Member<'a>,
        name: MutexName,
        timeout_ms: u64,
    ) -> Result<Reading<'a>, NotLocked> {
        let waiting = Waiting::new(Patience::Ms(timeout_ms));
        self.core().read(member, name, waiting)
    }

    /// Reads, if that needs no waiting.
    ///
    /// # Errors
    ///
    /// Any [`NotLocked`].
    pub fn try_read<'a>(
        &'a self,
        member: &Member<'a>,
        name: MutexName,
    ) -> Result<Reading<'a>, NotLocked> {
        self.core().read(member, name, Waiting::new(Patience::None))
    }

    /// Waits until nobody else is there, for ever if need be, and writes. No new reader comes in
    /// between.
    ///
    /// # Errors
    ///
    /// [`NotLocked::Poisoned`] and [`NotLocked::TooMany`].
    pub fn write<'a>(
        &'a self,
        member: &Member<'a>,
        name: MutexName,
    ) -> Result<Writing<'a>, NotLocked> {
        self.core()
            .write(member, name, Waiting::new(Patience::Endless))
    }

    /// Waits for this many milliseconds at most, and writes.
    ///
    /// # Errors
    ///
    /// Any [`NotLocked`].
    pub fn write_timeout<'a>(
        &'a self,
        member: &Member<'a>,
        name: MutexName,
        timeout_ms: u64,
    ) -> Result<Writing<'a>, NotLocked> {
        let waiting = Waiting::new(Patience::Ms(timeout_ms));
        self.core().write(member, name, waiting)
    }

    /// Writes, if that needs no waiting. Those who come to read meanwhile are turned away as by any
    /// writer.
    ///
    /// # Errors
    ///
    /// Any [`NotLocked`].
    pub fn try_write<'a>(
        &'a self,
        member: &Member<'a>,
        name: MutexName,
    ) -> Result<Writing<'a>, NotLocked> {
        self.core()
            .write(member, name, Waiting::new(Patience::None))
    }

    /// Who writes, or lets a reader in, dead or alive; for reports and not for decisions.
    #[must_use]
    pub fn writer(&self) -> Option<Owner> {
        self.gate.writer.owner()
    }

    /// Who reads, dead or alive; for reports and not for decisions.
    pub fn readers(&self) -> impl Iterator<Item = Owner> {
        self.places
            .iter()
            .filter_map(|place| place.look(Ordering::Relaxed).owner())
    }

    /// Makes a poisoned lock a free one, for whoever has made the data anew; returns whether it was
    /// poisoned.
    pub fn clear_poison(&self) -> bool {
        // The gates stay closed, and the next one who comes opens them.
        self.gate.writer.clear_poison()
    }

    fn core(&self) -> Core<'_> {
        Core {
            writer: &self.gate.writer,
            bell: &self.gate.bell,
            places: &self.places,
        }
    }
}

impl<const READERS: usize> Robust for RwLock<READERS> {
    /// Cost: two system calls.
    fn recover(&self, dead: SlotId) -> bool {
        let read = self.core().evict(Owner::of(dead));
        let wrote = self.gate.writer.recover(dead);
        read || wrote
    }
}

impl<const READERS: usize> Sealed for RwLock<READERS> {}

impl<const READERS: usize> Default for RwLock<READERS> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const READERS: usize> fmt::Debug for RwLock<READERS> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let readers = self.readers().count();
        f.debug_struct("RwLock")
            .field("writer", &self.gate.writer)
            .field("readers", &readers)
            .finish()
    }
}

#[cfg(not(loom))]
static_assertions::const_assert_eq!(size_of::<RwLock<4>>(), 5 * 64);
