//! What a slot may hold: the names that a process leaves behind of the mutexes it had to do with.
//!
//! ```text
//!   claim(name) ─► lock ... unlock ─► wake ─► clear       the name stands for longer than the hold,
//!   └──────── a kill anywhere here ────────┘              at both ends
//! ```
//!
//! A name says "may": who recovers asks the mutex. It also covers the two instants at which nobody
//! owns the mutex and yet somebody must be woken: between unlock and wake, and when a sleeper is
//! killed that had just been woken.

use core::fmt;
use core::num::NonZeroU64;

use super::atomic::{AtomicU64, Ordering};
use super::mutex::Mutex;
use super::word::Owner;
use crate::table::{SlotId, SlotIndex};

/// What tells one mutex from another in every process: for example its mapping and its offset there.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(transparent)]
pub struct MutexName(NonZeroU64);

impl MutexName {
    /// The name with this number, unless it is 0, which means "none".
    #[must_use]
    pub const fn new(name: u64) -> Option<Self> {
        match NonZeroU64::new(name) {
            Some(name) => Some(Self(name)),
            None => None,
        }
    }

    /// The number.
    #[must_use]
    pub const fn as_u64(self) -> u64 {
        self.0.get()
    }
}

/// The mutexes that one slot may hold: eight names, in shared memory; all zero is none.
#[derive(Default)]
#[cfg_attr(not(loom), repr(C, align(64)))]
pub struct Held([AtomicU64; Self::MOST]);

impl Held {
    /// How many mutexes a slot can hold, or be about to lock, at once: threads included.
    pub const MOST: usize = 8;

    /// No names.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Writes a name down; `None` if there is no room.
    pub(super) fn claim(&self, name: MutexName) -> Option<&AtomicU64> {
        // Relaxed: what follows is the compare-and-exchange on the mutex, which releases, so the
        // name is there before it. Compare-and-exchange and no store: threads share the row.
        self.0.iter().find(|entry| {
            entry.load(Ordering::Relaxed) == 0
                && entry
                    .compare_exchange(0, name.as_u64(), Ordering::Relaxed, Ordering::Relaxed)
                    .is_ok()
        })
    }

    /// Forgets a name.
    pub(super) fn clear(entry: &AtomicU64) {
        // Release: not before the mutex was unlocked and a sleeper woken.
        entry.store(0, Ordering::Release);
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.0.iter().map(|entry| entry.load(Ordering::Relaxed));
        f.debug_set()
            .entries(names.filter(|name| *name != 0))
            .finish()
    }
}

/// What a mutex asks of the list of processes: who is dead, and where a slot's names are kept.
pub trait Roster {
    /// Whether this owner can never touch memory again: its process has been reaped, or its slot is
    /// already in a later life. Once true, it stays true.
    ///
    /// The answer "yes" must be read with Acquire from what the one who reaped wrote with Release:
    /// then all that the dead wrote has happened before.
    fn is_dead(&self, owner: Owner) -> bool;

    /// The names of this slot.
    fn held(&self, index: SlotIndex) -> &Held;
}

/// Frees what a dead process holds, wakes who may wait for it, and returns how many mutexes it freed:
/// fewer than the process died inside of, where a locker was quicker.
///
/// For the one who has reaped the process, before its slot is used again. Others may lock meanwhile;
/// a second call, or one that follows a call that was itself killed, does what is left to do. `find`
/// knows the mutexes by name; an unknown name is passed over, and lockers of that mutex find out by
/// themselves. Cost: eight loads, and a system call for each name.
pub fn recover<'m>(
    held: &Held,
    dead: SlotId,
    mut find: impl FnMut(MutexName) -> Option<&'m Mutex>,
) -> u32 {
    let mut freed = 0;
    for entry in &held.0 {
        // Relaxed: reaping has ordered all that the dead did before this.
        let Some(name) = MutexName::new(entry.load(Ordering::Relaxed)) else {
            continue;
        };
        if let Some(mutex) = find(name) {
            freed += u32::from(mutex.recover(dead));
        }
        Held::clear(entry);
    }
    freed
}

#[cfg(not(loom))]
static_assertions::const_assert_eq!(size_of::<Held>(), 64);
