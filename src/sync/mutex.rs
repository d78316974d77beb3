//! The robust mutex: one word that processes lock, and that tells the next owner when one died.
//!
//! ```text
//!             ┌──────────────────────── Guard dropped ───────────────────────┐
//!             ▼                                                              │
//!   lock ─► Clean(Guard) ─────────────────────────────────────────────────► free
//!    │        │ killed                                                       ▲
//!    │        ▼                                                              │
//!    ├────► OwnerDied(Torn) ── repair, mark_consistent() ─► Guard ───────────┘
//!    │        │ dropped
//!    │        ▼
//!    └────► Err(Poisoned), for everybody, until clear_poison()
//! ```
//!
//! Locking and unlocking without a rival costs two locked operations, five plain ones, and no system
//! call. Who waits spins for a microsecond, then sleeps on the word. After a death, whoever reaped the
//! process calls [`recover`](super::recover). If nobody does, because the master is stopped or dead
//! itself, waiters help themselves: one that has slept for 100 ms, or for all of its patience, has the
//! roster ask the kernel after the owner ([`Roster::look_for`](super::Roster::look_for)), and takes the
//! mutex from it if that is dead.
//!
//! # Invariants
//!
//! - The name is written down before the word can name the owner (model `killed_at_every_step`).
//! - Sleepers are known to the word, or one of them is awake and will make them known: unlocking
//!   forgets them and wakes one, who has slept, and says so (model `three_threads`); who gives up
//!   says so first (model `giving_up_passes_the_wake_on`).
//! - Recovering wakes one sleeper whatever the word says (model `killed_at_every_step`).
//! - Without a master a death delays whoever waits by 100 ms (model `waiters_ask_for_themselves`, test
//!   `a_stopped_master_is_not_waited_for`).
//!
//! # Why the data is not inside
//!
//! A `&mut T` into memory that another process can write at any moment is a promise nobody can keep.
//! What the mutex guards is made of atomics, or is copied in and out; a guard is the proof that one
//! may, and a mutex is four bytes that can lie anywhere.
//!
//! # Why not the kernel's robust futexes
//!
//! There is one list of them for each thread and libc owns it; and the word must hold a thread id,
//! which says nothing in another pid namespace.
//!
//! # Example
//!
//! ```
//! use forkmesh::sync::{Held, Locked, Member, Mutex, MutexName, Owner, Roster};
//! use forkmesh::table::{SlotId, SlotIndex};
//!
//! /// One slot that never dies. A real one lies in shared memory, one row a slot.
//! struct Lonely(Held);
//!
//! impl Roster for Lonely {
//!     fn is_dead(&self, owner: Owner) -> bool {
//!         owner != Owner::of(SlotId::MASTER)
//!     }
//!
//!     fn look_for(&self, owner: Owner) -> bool {
//!         self.is_dead(owner)
//!     }
//!
//!     fn held(&self, _: SlotIndex) -> &Held {
//!         &self.0
//!     }
//! }
//!
//! let roster = Lonely(Held::new());
//! let member = Member::new(&roster, SlotId::MASTER);
//! let mutex = Mutex::new();
//! let name = MutexName::new(4096).unwrap();
//!
//! let guard = match mutex.lock(&member, name).unwrap() {
//!     Locked::Clean(guard) => guard,
//!     Locked::OwnerDied(torn) => torn.mark_consistent(), // once the data has been repaired
//! };
//! assert!(mutex.try_lock(&member, name).is_err());
//! drop(guard);
//! assert!(mutex.try_lock(&member, name).is_ok());
//! ```

use core::fmt;

use super::atomic::Ordering;
use super::guard::{Locked, NotLocked};
use super::held::{MutexName, Robust};
use super::member::Member;
use super::sleep::{Patience, SleepWord, Waiting, Waking};
use super::word::{Owner, Word};
use crate::table::SlotId;

/// A mutex between processes: four bytes, and free when they are zero.
#[derive(Default)]
#[cfg_attr(not(loom), repr(transparent))]
pub struct Mutex {
    word: SleepWord,
}

/// How often freeing a dead owner's mutex is tried; two can be disturbed by honest processes.
const MOST_TRIES: u32 = 16;

impl Mutex {
    /// A free mutex.
    #[cfg(not(loom))]
    #[must_use]
    pub const fn new() -> Self {
        Self {
            word: SleepWord::new(),
        }
    }

    /// A free mutex.
    #[cfg(loom)]
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Waits until the mutex is free, for ever if need be: a living owner may keep it, and so may
    /// one that is stopped. A thread that already owns it waits for itself. There is no queue: who
    /// unlocks and locks again at once is likely to be first.
    ///
    /// # Errors
    ///
    /// [`NotLocked::Poisoned`] and [`NotLocked::TooMany`].
    pub fn lock<'a>(
        &'a self,
        member: &Member<'a>,
        name: MutexName,
    ) -> Result<Locked<'a>, NotLocked> {
        self.acquire(member, name, Patience::Endless)
    }

    /// Waits for this many milliseconds at most.
    ///
    /// # Errors
    ///
    /// Any [`NotLocked`].
    pub fn lock_timeout<'a>(
        &'a self,
        member: &Member<'a>,
        name: MutexName,
        timeout_ms: u64,
    ) -> Result<Locked<'a>, NotLocked> {
        self.acquire(member, name, Patience::Ms(timeout_ms))
    }

    /// Does not wait.
    ///
    /// # Errors
    ///
    /// Any [`NotLocked`].
    pub fn try_lock<'a>(
        &'a self,
        member: &Member<'a>,
        name: MutexName,
    ) -> Result<Locked<'a>, NotLocked> {
        self.acquire(member, name, Patience::None)
    }

    /// Who owns the mutex, dead or alive; for reports and not for decisions, as it may be over by
    /// the time that it is read.
    #[must_use]
    pub fn owner(&self) -> Option<Owner> {
        self.look().owner()
    }

    /// Makes a poisoned mutex a free one, for whoever has made the data anew; returns whether it was
    /// poisoned.
    pub fn clear_poison(&self) -> bool {
        let (poisoned, free) = (Word::POISONED.0, Word::FREE.0);
        let word = self.word.word();
        // Release: pairs with the Acquire in `take`, which so sees the data that was made.
        word.compare_exchange(poisoned, free, Ordering::Release, Ordering::Relaxed)
            .is_ok()
    }

    fn acquire<'a>(
        &'a self,
        member: &Member<'a>,
        name: MutexName,
        patience: Patience,
    ) -> Result<Locked<'a>, NotLocked> {
        let entry = member.claim(name).ok_or(NotLocked::TooMany)?;
        match self.take(member, &mut Waiting::new(patience)) {
            Ok(word) => Ok(Locked::new(self, entry, word)),
            Err(error) => {
                entry.clear();
                Err(error)
            }
        }
    }

    /// Makes the word ours, and returns what it is then.
    #[inline]
    pub(super) fn take(
        &self,
        member: &Member<'_>,
        waiting: &mut Waiting,
    ) -> Result<Word, NotLocked> {
        let seen = self.look();
        if seen.owner().is_none() && !seen.is_poisoned() {
            let taken = seen.taken_by(Owner::of(member.id()), waiting.has_slept());
            if self.exchange(seen, taken) {
                return Ok(taken);
            }
        }
        self.take_from_another(member, waiting)
    }

    #[cold]
    fn take_from_another(
        &self,
        member: &Member<'_>,
        waiting: &mut Waiting,
    ) -> Result<Word, NotLocked> {
        let owner = Owner::of(member.id());
        loop {
            let seen = self.look();
            if seen.is_poisoned() {
                return Err(NotLocked::Poisoned);
            }
            let free = match seen.owner() {
                None => seen,
                Some(_) if waiting.spins() => continue,
                Some(rival) if member.finds_dead(rival, waiting) => seen.vacated(),
                Some(_) => {
                    self.wait(seen, waiting)?;
                    continue;
                }
            };
            let taken = free.taken_by(owner, waiting.has_slept());
            if self.exchange(seen, taken) {
                return Ok(taken);
            }
        }
    }

    /// Sleeps once while the word is `seen`, which names an owner that lives.
    fn wait(&self, seen: Word, waiting: &mut Waiting) -> Result<(), NotLocked> {
        if !waiting.is_patient() {
            return Err(NotLocked::Busy);
        }
        // Before giving up, too: the wake-up that ended the last sleep may have been meant for all
        // who sleep, and the owner that came in between does not know of them.
        if !seen.has_waiters() && !self.exchange(seen, seen.with_waiters()) {
            return Ok(());
        }
        if waiting.is_over() {
            return Err(NotLocked::Busy);
        }
        waiting.sleep(&self.word, seen.with_waiters().0);
        Ok(())
    }

    /// Acquire: pairs with the Release of the exchange that made the owner one. A process that owns
    /// the mutex was in the roster before, so whoever sees it here and then asks the roster does not
    /// get an older answer, about the life that the slot had before.
    fn look(&self) -> Word {
        Word(self.word.word().load(Ordering::Acquire))
    }

    /// Acquire: pairs with the Release of `unlock`, of `recover` and of `clear_poison`, and orders
    /// the data. Release: the name in [`Held`] stays before the word that names its owner.
    fn exchange(&self, seen: Word, new: Word) -> bool {
        let word = self.word.word();
        word.compare_exchange(seen.0, new.0, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
    }

    pub(super) fn unlock(&self, leaves: Word) {
        // Release: pairs with the Acquire of `exchange` in the next owner.
        let before = Word(self.word.word().swap(leaves.0, Ordering::Release));
        if before.has_waiters() {
            self.word.wake(match leaves {
                Word::POISONED => Waking::All,
                _ => Waking::One,
            });
        }
    }
}

impl Robust for Mutex {
    /// Wakes one sleeper in any case: the dead may have died between unlocking and waking.
    fn recover(&self, dead: SlotId) -> bool {
        let mut freed = false;
        for _ in 0..MOST_TRIES {
            let seen = self.look();
            if seen.owner() != Some(Owner::of(dead)) {
                break;
            }
            // AcqRel: releases what the dead wrote, which reaping has ordered before this, to the
            // next owner's Acquire. It fails where a sleeper makes itself known, or a locker takes
            // over; a process that scribbles on the word could make it fail for ever.
            freed = self.exchange(seen, seen.vacated());
            if freed {
                break;
            }
        }
        self.word.wake(Waking::One);
        freed
    }
}

impl super::held::Sealed for Mutex {}

impl fmt::Debug for Mutex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.look().fmt(f)
    }
}

#[cfg(not(loom))]
static_assertions::assert_eq_size!(Mutex, u32);
