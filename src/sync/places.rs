//! The places of a reader/writer lock: who reads, behind which gates, and how all of them are closed.
//!
//! ```text
//!        31   28                      0
//!      ┌────┬─┬────────────────────────┐
//!      │GATE│ │ Owner; 0: nobody       │       each change is one compare-and-exchange or one mask
//!      └────┴─┴────────────────────────┘
//!   free ──enter──► taken ──leave──► free                     a reader
//!    │ close          │ close
//!    ▼                ▼                                       who owns `writer`
//!   GATE ◄──leave── GATE | taken                              the leaver rings the bell
//! ```

use super::atomic::{AtomicU32, CachePadded, Ordering};
use super::guard::NotLocked;
use super::held::MutexName;
use super::member::{Entry, Member};
use super::mutex::Mutex;
use super::rwguard::{Reading, Writing};
use super::sleep::{SleepWord, Waiting, Waking};
use super::word::{Owner, Word};

const GATE: u32 = 1 << 31;

/// Where one reader can be; all zero is free, with its gate open.
#[derive(Debug, Default)]
#[cfg_attr(not(loom), repr(transparent))]
pub(super) struct Place(AtomicU32);

/// What a place says.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Seen(u32);

/// Whether a reader has got in at once.
enum Entered<'a> {
    At(&'a Place),
    Gated,
    Full,
}

/// The parts of a lock, whatever its size.
#[derive(Clone, Copy, Debug)]
pub(super) struct Core<'a> {
    pub(super) writer: &'a Mutex,
    pub(super) bell: &'a SleepWord,
    pub(super) places: &'a [CachePadded<Place>],
}

impl Seen {
    pub(super) const fn owner(self) -> Option<Owner> {
        Owner::from_bits(self.0)
    }

    const fn is_gated(self) -> bool {
        self.0 & GATE != 0
    }
}

impl Place {
    #[cfg(not(loom))]
    pub(super) const fn new() -> Self {
        Self(AtomicU32::new(0))
    }

    pub(super) fn look(&self, order: Ordering) -> Seen {
        Seen(self.0.load(order))
    }

    /// Takes the place, if it is as it was seen. AcqRel: Acquire pairs with the Release of `open`, and
    /// so with all that was written before; Release keeps the name in `Held` before it.
    fn take(&self, seen: u32, reader: Owner) -> bool {
        self.0
            .compare_exchange(seen, reader.as_u32(), Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
    }

    /// Release: pairs with the Acquire of `close` or of `empty`: reading was before. Returns whether
    /// the gate was closed.
    fn leave(&self) -> bool {
        Seen(self.0.fetch_and(GATE, Ordering::AcqRel)).is_gated()
    }

    /// Acquire: pairs with the Release of `leave`; Release: `writer` was locked before.
    fn close(&self) {
        self.0.fetch_or(GATE, Ordering::AcqRel);
    }

    /// Release: pairs with the Acquire of `take`: writing was before.
    fn open(&self) {
        if self.look(Ordering::Relaxed).is_gated() {
            self.0.fetch_and(!GATE, Ordering::AcqRel);
        }
    }

    /// Turns out one who is dead; whoever has found that out comes after all that it did.
    fn evict(&self, seen: Seen) -> bool {
        let left = seen.0 & GATE;
        self.0
            .compare_exchange(seen.0, left, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
    }
}

/// How often turning out the dead is tried at one place; closing and opening can disturb it.
const MOST_TRIES: u32 = 16;

impl<'a> Core<'a> {
    #[inline]
    pub(super) fn read(
        self,
        member: &Member<'a>,
        name: MutexName,
        waiting: Waiting,
    ) -> Result<Reading<'a>, NotLocked> {
        let entry = member.claim(name).ok_or(NotLocked::TooMany)?;
        if let Entered::At(place) = self.enter(Owner::of(member.id())) {
            return Ok(Reading::clean(self, place, entry));
        }
        self.queue(member, entry, waiting).inspect_err(|_| {
            entry.clear();
        })
    }

    pub(super) fn write(
        self,
        member: &Member<'a>,
        name: MutexName,
        mut waiting: Waiting,
    ) -> Result<Writing<'a>, NotLocked> {
        let entry = member.claim(name).ok_or(NotLocked::TooMany)?;
        let is_torn = self
            .lock(member, &mut waiting)
            .and_then(|is_torn| self.shut(member, &mut waiting, is_torn))
            .inspect_err(|_| entry.clear())?;
        Ok(Writing::new(self, entry, is_torn))
    }

    /// Takes whichever place is free: the first to be tried is a matter of the slot, so that readers
    /// come to places of their own.
    #[inline]
    fn enter(self, reader: Owner) -> Entered<'a> {
        let (before, after) = self.places.split_at(self.first(reader));
        for place in after.iter().chain(before) {
            let seen = place.look(Ordering::Relaxed);
            if seen.is_gated() {
                return Entered::Gated;
            }
            if seen.owner().is_none() && place.take(seen.0, reader) {
                return Entered::At(place);
            }
        }
        Entered::Full
    }

    fn first(self, reader: Owner) -> usize {
        reader.index().as_usize() % self.places.len()
    }

    /// Reads after those who came before: in the turn of a writer, and then as a reader.
    #[cold]
    fn queue(
        self,
        member: &Member<'a>,
        entry: Entry<'a>,
        mut waiting: Waiting,
    ) -> Result<Reading<'a>, NotLocked> {
        if self.lock(member, &mut waiting)? {
            self.shut(member, &mut waiting, true)?;
            return Ok(Reading::torn(self, entry));
        }
        // No writer is there, and none comes: what is closed was left so.
        self.open();
        let reader = Owner::of(member.id());
        let place = match self.enter(reader) {
            Entered::At(place) => Ok(place),
            Entered::Gated | Entered::Full => self.wait_for_a_place(member, &mut waiting),
        };
        self.writer.unlock(Word::FREE);
        Ok(Reading::clean(self, place?, entry))
    }

    /// As many read as can: closes one place, and takes it when its reader has left.
    fn wait_for_a_place(
        self,
        member: &Member<'a>,
        waiting: &mut Waiting,
    ) -> Result<&'a Place, NotLocked> {
        let reader = Owner::of(member.id());
        let place = &self.places[self.first(reader)];
        place.close();
        let emptied = self.empty(place, member, waiting);
        if emptied.is_ok() && place.take(GATE, reader) {
            return Ok(place);
        }
        place.open();
        Err(NotLocked::Busy)
    }

    /// Owns `writer`, and returns whether the last one may have died while it wrote. If a gate is open
    /// it had not begun, or was done.
    fn lock(self, member: &Member<'a>, waiting: &mut Waiting) -> Result<bool, NotLocked> {
        let word = self.writer.take(member, waiting)?;
        // Acquire: who sees an open gate that was closed sees what was written before it was opened.
        let is_gated = |place: &CachePadded<Place>| place.look(Ordering::Acquire).is_gated();
        Ok(word.has_died() && self.places.iter().all(is_gated))
    }

    /// Closes the gates, and waits until nobody is inside; if that takes too long, all is as before.
    fn shut(
        self,
        member: &Member<'a>,
        waiting: &mut Waiting,
        is_torn: bool,
    ) -> Result<bool, NotLocked> {
        self.places.iter().for_each(|place| place.close());
        for place in self.places {
            if let Err(error) = self.empty(place, member, waiting) {
                if is_torn {
                    self.writer.unlock(Word::LEFT);
                } else {
                    self.open();
                    self.writer.unlock(Word::FREE);
                }
                return Err(error);
            }
        }
        Ok(is_torn)
    }

    /// Waits until nobody is at a place that is closed.
    fn empty(
        self,
        place: &Place,
        member: &Member<'a>,
        waiting: &mut Waiting,
    ) -> Result<(), NotLocked> {
        loop {
            // Acquire: pairs with the Release of the ring, which comes after leaving: what has been
            // rung for is seen below.
            let rung = self.bell.word().load(Ordering::Acquire);
            let seen = place.look(Ordering::Acquire);
            let Some(reader) = seen.owner() else {
                return Ok(());
            };
            if waiting.spins() {
                continue;
            }
            if member.finds_dead(reader, waiting) {
                place.evict(seen);
                continue;
            }
            if !waiting.is_patient() || waiting.is_over() {
                return Err(NotLocked::Busy);
            }
            waiting.sleep(self.bell, rung);
        }
    }

    /// Opens all gates: done, or not begun.
    fn open(self) {
        self.places.iter().for_each(|place| place.open());
    }

    /// Turns out one who is dead wherever it reads, and rings in any case: it may have died between
    /// leaving and ringing.
    pub(super) fn evict(self, dead: Owner) -> bool {
        let mut was_there = false;
        for place in self.places {
            for _ in 0..MOST_TRIES {
                let seen = place.look(Ordering::Relaxed);
                if seen.owner() != Some(dead) {
                    break;
                }
                if place.evict(seen) {
                    was_there = true;
                    break;
                }
            }
        }
        self.ring();
        was_there
    }

    pub(super) fn leave(self, place: &Place) {
        if place.leave() {
            self.ring();
        }
    }

    fn ring(self) {
        // Release: pairs with the Acquire in `empty`.
        self.bell.word().fetch_add(1, Ordering::AcqRel);
        self.bell.wake(Waking::One);
    }

    /// The end of writing: with sound data the gates are opened first, and else they stay closed.
    pub(super) fn unlock(self, leaves: Word) {
        if leaves == Word::FREE {
            self.open();
        }
        self.writer.unlock(leaves);
    }
}
