//! What readers and writers get: the right to the data, with what there is to know about it.
//!
//! ```text
//!                         leaves                          the next
//!   ReadGuard dropped     a free place
//!   WriteGuard dropped    open gates, free                Clean
//!     by a panic          closed gates, free, DIED        OwnerDied: reader or writer
//!   TornWrite dropped     closed gates, POISON            everybody: Poisoned
//!     by a panic          closed gates, free, DIED        OwnerDied
//!   killed                (nothing)                       as who recovers finds the gates
//! ```

use super::guard::{Hold, Unlock};
use super::kill;
use super::member::Entry;
use super::places::{Core, Place};
use super::word::Word;

/// You may read; or must repair first.
#[derive(Debug)]
#[must_use = "dropping it unlocks"]
pub enum Reading<'a> {
    /// The data is as the last writer left it, and does not change.
    Clean(ReadGuard<'a>),
    /// The last writer died, or panicked, while it wrote: the data may be half-written. Nobody else is
    /// inside; to read, repair, drop the guard, and come again.
    OwnerDied(TornWrite<'a>),
}

/// You may write.
#[derive(Debug)]
#[must_use = "dropping it unlocks"]
pub enum Writing<'a> {
    /// The data is as the last writer left it.
    Clean(WriteGuard<'a>),
    /// The last writer died, or panicked, while it wrote: the data may be half-written.
    OwnerDied(TornWrite<'a>),
}

/// The right to read; dropped, it is given back.
#[derive(Debug)]
#[must_use = "dropping it unlocks"]
pub struct ReadGuard<'a> {
    lock: Core<'a>,
    place: &'a Place,
    entry: Entry<'a>,
}

/// The right to write; dropped, it is given back. One that a panic drops passes on
/// [`Writing::OwnerDied`] (with the feature `std`, without which there is no telling).
#[derive(Debug)]
#[must_use = "dropping it unlocks"]
pub struct WriteGuard<'a> {
    _hold: Hold<'a, Core<'a>>,
}

/// The right to write data that may be half-written; dropped by anything but a panic, it poisons the
/// lock.
#[derive(Debug)]
#[must_use = "dropping it poisons the lock"]
pub struct TornWrite<'a> {
    hold: Hold<'a, Core<'a>>,
}

impl Unlock for Core<'_> {
    #[inline]
    fn unlock(&self, leaves: Word) {
        Core::unlock(*self, leaves);
    }
}

impl<'a> Reading<'a> {
    #[inline]
    pub(super) const fn clean(lock: Core<'a>, place: &'a Place, entry: Entry<'a>) -> Self {
        Self::Clean(ReadGuard { lock, place, entry })
    }

    pub(super) fn torn(lock: Core<'a>, entry: Entry<'a>) -> Self {
        Self::OwnerDied(TornWrite {
            hold: Hold::torn(lock, entry),
        })
    }
}

impl<'a> Writing<'a> {
    pub(super) fn new(lock: Core<'a>, entry: Entry<'a>, is_torn: bool) -> Self {
        if is_torn {
            Self::OwnerDied(TornWrite {
                hold: Hold::torn(lock, entry),
            })
        } else {
            Self::Clean(WriteGuard {
                _hold: Hold::clean(lock, entry),
            })
        }
    }
}

impl<'a> TornWrite<'a> {
    /// Says that the data has been repaired. If this writer is killed before it unlocks, the next one
    /// finds `OwnerDied` again.
    pub fn mark_consistent(self) -> WriteGuard<'a> {
        WriteGuard {
            _hold: self.hold.mend(),
        }
    }
}

impl Drop for ReadGuard<'_> {
    #[inline]
    fn drop(&mut self) {
        if kill::is_dead() {
            return;
        }
        self.lock.leave(self.place);
        self.entry.clear();
    }
}
