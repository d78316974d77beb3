//! Who locks: one thread of one life of one slot, and its place among the names that the slot leaves
//! behind.
//!
//! ```text
//!   an entry of Held     0 ──new──► OURS ◄──clear── OURS|name        a member's own: plain stores
//!                        ▲           └────claim────────►┘
//!                        └── dropped, even while a guard lives: then the name loses OURS, and
//!                            clearing it leaves 0
//!                        0 ──claim──► name ──clear──► 0               beside it, for more than one lock
//! ```
//!
//! # Why a member keeps an entry
//!
//! Threads share the eight entries, so taking one costs a locked operation, as much as locking itself.
//! Done once for a thread and not once for a lock, it leaves locking with the two that any mutex needs.

use core::fmt;
use core::marker::PhantomData;

use super::atomic::{AtomicU64, Ordering};
use super::held::{Held, MutexName, OURS, Roster};
use super::kill;
use super::sleep::Waiting;
use super::word::Owner;
use crate::table::SlotId;

/// Who locks: one life of one slot, and the roster that it is in. One for each thread that locks, made
/// once: it keeps one of the slot's [`Held::MOST`] entries for as long as it is there.
pub struct Member<'r> {
    roster: &'r dyn Roster,
    held: &'r Held,
    own: Option<Entry<'r>>,
    id: SlotId,
}

/// A place for a name, in the hands of one thread.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry<'r> {
    name: &'r AtomicU64,
    _one_thread: PhantomData<*const ()>,
}

impl<'r> Member<'r> {
    /// This life of a slot, as one who locks; it is the caller's own.
    #[must_use]
    pub fn new(roster: &'r dyn Roster, id: SlotId) -> Self {
        let held = roster.held(id.index());
        let own = held.take(OURS).map(Entry::new);
        Self {
            roster,
            held,
            own,
            id,
        }
    }

    /// In a model: one that found no entry to keep, and so takes and leaves one with each lock. That is
    /// fewer steps where they are not what is asked about.
    #[cfg(loom)]
    #[must_use]
    pub fn without_entry(roster: &'r dyn Roster, id: SlotId) -> Self {
        Self {
            roster,
            held: roster.held(id.index()),
            own: None,
            id,
        }
    }

    /// The life that locks.
    #[must_use]
    pub const fn id(&self) -> SlotId {
        self.id
    }

    /// Writes a name down; `None` if there is no room.
    #[inline]
    pub(super) fn claim(&self, name: MutexName) -> Option<Entry<'r>> {
        match self.own {
            Some(own) if own.is_idle() => {
                // Relaxed: what follows is the compare-and-exchange on the lock, which releases, so
                // the name is there before it.
                own.name.store(OURS | name.as_u64(), Ordering::Relaxed);
                Some(own)
            }
            _ => self.held.take(name.as_u64()).map(Entry::new),
        }
    }

    /// Whether the one that is waited for is dead: as the roster says, and, if nothing has happened
    /// for the length of a nap, as the kernel says.
    pub(super) fn finds_dead(&self, rival: Owner, waiting: &mut Waiting) -> bool {
        self.roster.is_dead(rival) || (waiting.takes_a_look() && self.roster.look_for(rival))
    }
}

impl<'r> Entry<'r> {
    const fn new(name: &'r AtomicU64) -> Self {
        Self {
            name,
            _one_thread: PhantomData,
        }
    }

    // Relaxed, here and below: none but this thread writes here while its process lives.
    fn is_idle(self) -> bool {
        self.name.load(Ordering::Relaxed) == OURS
    }

    /// Forgets the name.
    #[inline]
    pub(super) fn clear(self) {
        let keeps = self.name.load(Ordering::Relaxed) & OURS;
        // Release: not before the lock was given back and a sleeper woken.
        self.name.store(keeps, Ordering::Release);
    }

    /// Gives up the place: now, or, where a guard still needs it, with the guard.
    fn give_up(self) {
        let name = self.name.load(Ordering::Relaxed) & !OURS;
        self.name.store(name, Ordering::Release);
    }
}

impl Drop for Member<'_> {
    fn drop(&mut self) {
        if let Some(own) = self.own
            && !kill::is_dead()
        {
            own.give_up();
        }
    }
}

impl fmt::Debug for Member<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Member").field(&self.id).finish()
    }
}
