//! What a locker gets: the right to the data, with what there is to know about it, or an error.
//!
//! ```text
//!                    unlocks to
//!   Guard dropped    free               the next: Clean
//!     by a panic     free, DIED         the next: OwnerDied
//!   Torn dropped     POISON             everybody: Poisoned
//!     by a panic     free, DIED         the next: OwnerDied
//!   killed           (not at all)       who recovers, or the next: OwnerDied
//! ```
//!
//! # Why two types of guard
//!
//! Half-written data and sound data are handled by the same code only by mistake; a flag in one
//! guard would have to be remembered, and a [`Torn`] cannot be used as a [`Guard`].

use core::fmt;

use super::kill;
use super::member::Entry;
use super::mutex::Mutex;
use super::word::Word;

/// The mutex is yours.
#[derive(Debug)]
#[must_use = "dropping it unlocks"]
pub enum Locked<'a> {
    /// The data is as the last owner left it.
    Clean(Guard<'a>),
    /// The last owner died, or panicked, before it unlocked: the data may be half-written.
    OwnerDied(Torn<'a>),
}

/// The mutex is not yours.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum NotLocked {
    /// Somebody else owns it: now, or for as long as there was patience.
    Busy,
    /// An owner found the data half-written and did not repair it; see [`Mutex::clear_poison`].
    Poisoned,
    /// The slot already holds, or is about to lock, [`Held::MOST`](super::Held::MOST) locks.
    TooMany,
}

/// The right to the data; dropped, it unlocks. One that a panic drops passes on
/// [`Locked::OwnerDied`] (with the feature `std`, without which there is no telling).
#[derive(Debug)]
#[must_use = "dropping it unlocks"]
pub struct Guard<'a> {
    _hold: Hold<'a, &'a Mutex>,
}

/// The right to data that may be half-written; dropped by anything but a panic, it poisons the mutex.
#[derive(Debug)]
#[must_use = "dropping it poisons the mutex"]
pub struct Torn<'a> {
    hold: Hold<'a, &'a Mutex>,
}

/// What a hold is of: a [`Mutex`], or the writing side of an [`RwLock`](super::RwLock).
pub(super) trait Unlock: fmt::Debug {
    fn unlock(&self, leaves: Word);
}

impl Unlock for &Mutex {
    #[inline]
    fn unlock(&self, leaves: Word) {
        Mutex::unlock(self, leaves);
    }
}

/// A lock that is held, and what it is left as when the hold is dropped.
#[derive(Debug)]
pub(super) struct Hold<'a, L: Unlock> {
    lock: L,
    entry: Entry<'a>,
    leaves: Word,
    in_panic: bool,
}

impl<'a> Locked<'a> {
    #[inline]
    pub(super) fn new(mutex: &'a Mutex, entry: Entry<'a>, word: Word) -> Self {
        if word.has_died() {
            let hold = Hold::torn(mutex, entry);
            Self::OwnerDied(Torn { hold })
        } else {
            Self::clean(mutex, entry)
        }
    }

    #[inline]
    pub(super) fn clean(mutex: &'a Mutex, entry: Entry<'a>) -> Self {
        let _hold = Hold::clean(mutex, entry);
        Self::Clean(Guard { _hold })
    }
}

impl<'a, L: Unlock> Hold<'a, L> {
    /// Of data that is as it should be.
    #[inline]
    pub(super) fn clean(lock: L, entry: Entry<'a>) -> Self {
        Self::new(lock, entry, Word::FREE)
    }

    /// Of data that may be half-written: whoever does not say otherwise poisons it.
    #[inline]
    pub(super) fn torn(lock: L, entry: Entry<'a>) -> Self {
        Self::new(lock, entry, Word::POISONED)
    }

    #[inline]
    fn new(lock: L, entry: Entry<'a>, leaves: Word) -> Self {
        Self {
            lock,
            entry,
            leaves,
            in_panic: is_panicking(),
        }
    }

    /// The data has been repaired.
    pub(super) fn mend(mut self) -> Self {
        self.leaves = Word::FREE;
        self
    }
}

impl<'a> Torn<'a> {
    /// Says that the data has been repaired. If this owner is killed before it unlocks, the next one
    /// finds [`Locked::OwnerDied`] again.
    pub fn mark_consistent(self) -> Guard<'a> {
        Guard {
            _hold: self.hold.mend(),
        }
    }
}

impl<L: Unlock> Drop for Hold<'_, L> {
    #[inline]
    fn drop(&mut self) {
        if kill::is_dead() {
            return;
        }
        let leaves = match is_panicking() && !self.in_panic {
            true => Word::LEFT,
            false => self.leaves,
        };
        self.lock.unlock(leaves);
        self.entry.clear();
    }
}

/// Whether this thread unwinds.
#[inline]
fn is_panicking() -> bool {
    #[cfg(all(feature = "std", not(loom)))]
    return std::thread::panicking();
    #[cfg(not(all(feature = "std", not(loom))))]
    false
}

impl fmt::Display for NotLocked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Busy => "the lock is somebody else's",
            Self::Poisoned => "an owner left the data half-written",
            Self::TooMany => "the slot holds as many locks as it can be known to hold",
        })
    }
}

impl core::error::Error for NotLocked {}
