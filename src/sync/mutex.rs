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
//! Locking and unlocking without a rival costs four atomic operations and no system call. Who waits
//! spins for a microsecond, then sleeps on the word. After a death, whoever reaped the process calls
//! [`recover`](super::recover); if nobody does, a locker that finds the owner dead takes the mutex from it.
//!
//! # Invariants
//!
//! - The name is written down before the word can name the owner (model `killed_at_every_step`).
//! - Sleepers are known to the word, or one of them is awake and will make them known: unlocking
//!   forgets them and wakes one, who has slept, and says so (model `three_threads`); who gives up
//!   says so first (model `giving_up_passes_the_wake_on`).
//! - Recovering wakes one sleeper whatever the word says (model `killed_at_every_step`).
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

use super::atomic::{Ordering, SPINS, spin_hint};
use super::guard::{Locked, NotLocked};
use super::held::{Held, MutexName, Roster};
use super::sleep::{Deadline, SleepWord, Waking};
use super::word::{Owner, Word};
use crate::table::SlotId;

/// A mutex between processes: four bytes, and free when they are zero.
#[derive(Default)]
#[cfg_attr(not(loom), repr(transparent))]
pub struct Mutex {
    word: SleepWord,
}

/// Who locks: one life of one slot, and the roster that it is in. One for each thread.
#[derive(Clone, Copy)]
pub struct Member<'r> {
    roster: &'r dyn Roster,
    held: &'r Held,
    id: SlotId,
}

/// How often freeing a dead owner's mutex is tried; two can be disturbed by honest processes.
const MOST_TRIES: u32 = 16;

/// For how long a locker waits.
#[derive(Clone, Copy)]
enum Patience {
    None,
    Ms(u64),
    Endless,
}

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

    /// Frees the mutex if the dead hold it still, and returns whether they did; wakes one sleeper in any
    /// case, for they may have died between unlocking and waking.
    pub(super) fn recover(&self, dead: SlotId) -> bool {
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

    fn acquire<'a>(
        &'a self,
        member: &Member<'a>,
        name: MutexName,
        patience: Patience,
    ) -> Result<Locked<'a>, NotLocked> {
        let entry = member.held.claim(name).ok_or(NotLocked::TooMany)?;
        match self.take(member, patience) {
            Ok(word) => Ok(Locked::new(self, entry, word)),
            Err(error) => {
                Held::clear(entry);
                Err(error)
            }
        }
    }

    /// Makes the word ours, and returns what it is then.
    fn take(&self, member: &Member<'_>, patience: Patience) -> Result<Word, NotLocked> {
        let owner = Owner::of(member.id);
        let mut spins = match patience {
            Patience::None => 0,
            Patience::Ms(_) | Patience::Endless => SPINS,
        };
        let mut deadline = None;
        let mut has_slept = false;
        loop {
            let seen = self.look();
            if seen.is_poisoned() {
                return Err(NotLocked::Poisoned);
            }
            if let Some(rival) = seen.owner() {
                if spins > 0 {
                    spins -= 1;
                    spin_hint();
                    continue;
                }
                if !member.roster.is_dead(rival) {
                    self.wait(seen, patience, &mut deadline, &mut has_slept)?;
                    continue;
                }
            }
            let free = match seen.owner() {
                Some(_dead) => seen.vacated(),
                None => seen,
            };
            let taken = free.taken_by(owner, has_slept);
            if self.exchange(seen, taken) {
                return Ok(taken);
            }
        }
    }

    /// Sleeps once while the word is `seen`, which names an owner that lives.
    fn wait(
        &self,
        seen: Word,
        patience: Patience,
        deadline: &mut Option<Deadline>,
        has_slept: &mut bool,
    ) -> Result<(), NotLocked> {
        let deadline = match patience {
            Patience::None => return Err(NotLocked::Busy),
            Patience::Ms(ms) => deadline.get_or_insert_with(|| Deadline::after_ms(Some(ms))),
            Patience::Endless => deadline.get_or_insert_with(|| Deadline::after_ms(None)),
        };
        // Before giving up, too: the wake-up that ended the last sleep may have been meant for all
        // who sleep, and the owner that came in between does not know of them.
        if !seen.has_waiters() && !self.exchange(seen, seen.with_waiters()) {
            return Ok(());
        }
        if deadline.is_over() {
            return Err(NotLocked::Busy);
        }
        self.word.sleep(seen.with_waiters().0, deadline);
        *has_slept = true;
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

impl<'r> Member<'r> {
    /// This life of a slot, as one who locks; it is the caller's own.
    #[must_use]
    pub fn new(roster: &'r dyn Roster, id: SlotId) -> Self {
        let held = roster.held(id.index());
        Self { roster, held, id }
    }

    /// The life that locks.
    #[must_use]
    pub const fn id(&self) -> SlotId {
        self.id
    }
}

impl fmt::Debug for Mutex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.look().fmt(f)
    }
}

impl fmt::Debug for Member<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Member").field(&self.id).finish()
    }
}

#[cfg(not(loom))]
static_assertions::assert_eq_size!(Mutex, u32);
