//! What a slot may hold: the names that a process leaves behind of the locks it had to do with.
//!
//! ```text
//!   claim(name) ─► lock ... unlock ─► wake ─► clear       the name stands for longer than the hold,
//!   └──────── a kill anywhere here ────────┘              at both ends
//! ```
//!
//! A name says "may": who recovers asks the lock. It also covers the two instants at which nobody
//! owns the lock and yet somebody must be woken: between unlock and wake, and when a sleeper is
//! killed that had just been woken.

use core::fmt;
use core::num::NonZeroU64;

use super::atomic::{AtomicU64, Ordering};
use super::word::Owner;
use crate::table::{SlotId, SlotIndex};

/// What tells one lock from another in every process, a mutex or a reader/writer lock: for example its
/// mapping and its offset there.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(transparent)]
pub struct MutexName(NonZeroU64);

impl MutexName {
    /// The name with this number: any below 2^63 but 0, which means "none".
    #[must_use]
    pub const fn new(name: u64) -> Option<Self> {
        match NonZeroU64::new(name) {
            Some(name) if name.get() & OURS == 0 => Some(Self(name)),
            _ => None,
        }
    }

    /// The number.
    #[must_use]
    pub const fn as_u64(self) -> u64 {
        self.0.get()
    }
}

/// In an entry: it is kept by a member, whether or not there is a name in it.
pub(super) const OURS: u64 = 1 << 63;

/// The locks that one slot may hold: eight names, in shared memory; all zero is none.
#[derive(Default)]
#[cfg_attr(not(loom), repr(C, align(64)))]
pub struct Held([AtomicU64; Self::MOST]);

impl Held {
    /// How many locks a slot can hold, or be about to take, at once. Each thread's [`Member`](super::Member)
    /// keeps room for one, so there can be no more threads than this that lock.
    pub const MOST: usize = 8;

    /// No names.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes an entry, with this in it; `None` if there is no room.
    pub(super) fn take(&self, value: u64) -> Option<&AtomicU64> {
        // Relaxed: what follows is the compare-and-exchange on the mutex, which releases, so the
        // name is there before it. Compare-and-exchange and no store: threads share the row.
        self.0.iter().find(|entry| {
            entry.load(Ordering::Relaxed) == 0
                && entry
                    .compare_exchange(0, value, Ordering::Relaxed, Ordering::Relaxed)
                    .is_ok()
        })
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.0.iter().filter_map(name_in);
        f.debug_set().entries(names.map(MutexName::as_u64)).finish()
    }
}

fn name_in(entry: &AtomicU64) -> Option<MutexName> {
    MutexName::new(entry.load(Ordering::Relaxed) & !OURS)
}

/// What a lock asks of the list of processes: who is dead, and where a slot's names are kept.
pub trait Roster {
    /// Whether this owner can never touch memory again: its process has been reaped, or its slot is
    /// already in a later life. Once true, it stays true.
    ///
    /// The answer "yes" must be read with Acquire from what the one who reaped wrote with Release:
    /// then all that the dead wrote has happened before.
    fn is_dead(&self, owner: Owner) -> bool;

    /// Asks the kernel after this owner, and returns whether it is known to be dead, as `is_dead` does
    /// from then on. For one who has waited for long, and whom nobody has told anything: it may cost
    /// some system calls, and whoever cannot find out says no.
    ///
    /// A pid alone says nothing, as it may be another process's by now: what was looked at must have
    /// been started when the owner was. A process that nobody has reaped yet is dead, too, once none
    /// of its threads runs: a pidfd that can be read says so.
    fn look_for(&self, owner: Owner) -> bool;

    /// The names of this slot.
    fn held(&self, index: SlotIndex) -> &Held;
}

/// A lock that can be taken from the dead: a [`Mutex`](super::Mutex) or an [`RwLock`](super::RwLock).
pub trait Robust: Sealed {
    /// Takes from this life of a slot, which is over, what it holds of this lock, and wakes who may
    /// wait for it. Returns whether it held anything.
    fn recover(&self, dead: SlotId) -> bool;
}

/// Only the locks of this room are known to be recoverable at every instant.
pub trait Sealed {}

/// Frees what a dead process holds, wakes who may wait for it, and returns how many locks it freed:
/// fewer than the process died inside of, where another was quicker.
///
/// For the one who has reaped the process, before its slot is used again. Others may lock meanwhile;
/// a second call, or one that follows a call that was itself killed, does what is left to do. `find`
/// knows the locks by name (as `&dyn Robust`, where there are both kinds); an unknown name is passed
/// over, and whoever waits for that lock finds out by itself. Cost: eight loads, and one or two system
/// calls for each name.
pub fn recover<'m, L: Robust + ?Sized + 'm>(
    held: &Held,
    dead: SlotId,
    mut find: impl FnMut(MutexName) -> Option<&'m L>,
) -> u32 {
    let mut freed = 0;
    for entry in &held.0 {
        // Relaxed, here and in `name_in`: reaping has ordered all that the dead did before this.
        if entry.load(Ordering::Relaxed) == 0 {
            continue;
        }
        if let Some(lock) = name_in(entry).and_then(&mut find) {
            freed += u32::from(lock.recover(dead));
        }
        // Release: not before the lock was freed and a sleeper woken.
        entry.store(0, Ordering::Release);
    }
    freed
}

#[cfg(not(loom))]
static_assertions::const_assert_eq!(size_of::<Held>(), 64);
