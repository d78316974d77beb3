//! `Timers`: what is to happen at its time, in a heap of fixed room.
//!
//! ```text
//!   order    0   1   2   3 │ 4   5          a heap of places, earliest first │ free places
//!            │             └ armed
//!   places   ▼
//!            { due, serial, token, generation, at }     `at` is where in `order` its number stands
//! ```
//!
//! `order` holds every place exactly once, and so the free ones need no list of their own.
//!
//! # Invariants
//!
//! - It does what a sorted list would, whatever is asked of it in whatever order (test
//!   `timers_agree_with_a_model`).
//! - Of those that are due at once, the one that was armed first comes first: one that is armed
//!   again and again holds up no other (test `equal_deadlines_come_in_order`).
//! - A timer that was cancelled, or has been, is not reached by its old name (test
//!   `a_stale_name_reaches_nothing`; after 2^32 uses of one place a name comes again).
//!
//! # Why not a wheel
//!
//! A wheel has to be turned, which wakes an idle worker, or to be searched for what comes next; and its
//! coarse rings are late. A heap answers that at once, and 1000 timers are ten steps.

use core::fmt;

use crate::table::Instant;

/// Up to `N` timers, 65,535 at the most; 32 bytes each, and two more for the heap.
///
/// It reads no clock: the time comes in. Arming, changing and cancelling cost O(log N), looking is
/// free, and nothing makes a system call.
///
/// ```
/// use forkmesh::run::Timers;
/// use forkmesh::table::Instant;
///
/// let mut timers = Timers::<8>::new();
/// let noon = Instant::from_ms(1_000);
/// let _lunch = timers.arm(noon, 1).unwrap();
/// let call = timers.arm(noon.after_ms(5), 2).unwrap();
/// assert_eq!(timers.next_due(), Some(noon));
/// assert_eq!(timers.cancel(call), Ok(2));
/// assert_eq!(timers.pop(noon), Some(1));
/// assert_eq!(timers.pop(noon), None);
/// assert!(timers.cancel(call).is_err());
/// ```
#[derive(Clone, Debug)]
pub struct Timers<const N: usize> {
    places: [Place; N],
    order: [u16; N],
    armed: usize,
    serial: u64,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    due: Instant,
    /// Raised with each arming.
    serial: u64,
    token: u32,
    generation: u32,
    at: u16,
}

/// The name of one timer from when it is armed until it has come or is cancelled.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct TimerId {
    place: u16,
    generation: u32,
}

/// Every timer is in use; with the token of the one that found no room.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NoTimer(pub u32);

/// This timer has come, or was cancelled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stale;

impl<const N: usize> Timers<N> {
    /// None is armed.
    #[must_use]
    pub const fn new() -> Self {
        const { assert!(N <= u16::MAX as usize) };
        let place = Place {
            due: Instant::NEVER,
            serial: 0,
            token: 0,
            generation: 0,
            at: 0,
        };
        let mut timers = Self {
            places: [place; N],
            order: [0; N],
            armed: 0,
            serial: 0,
        };
        let mut at = 0;
        while at < N {
            timers.places[at].at = at as u16;
            timers.order[at] = at as u16;
            at += 1;
        }
        timers
    }

    /// From now on [`Timers::pop`] gives this token, once, when it is `due`.
    ///
    /// # Errors
    ///
    /// [`NoTimer`] where `N` are armed.
    pub fn arm(&mut self, due: Instant, token: u32) -> Result<TimerId, NoTimer> {
        if self.armed == N {
            return Err(NoTimer(token));
        }
        let at = self.armed;
        let place = self.order[at];
        self.armed += 1;
        let entry = &mut self.places[usize::from(place)];
        entry.token = token;
        let id = TimerId {
            place,
            generation: entry.generation,
        };
        self.set(at, due);
        Ok(id)
    }

    /// Changes when it is due: it keeps its name and its token.
    ///
    /// # Errors
    ///
    /// [`Stale`].
    pub fn rearm(&mut self, id: TimerId, due: Instant) -> Result<(), Stale> {
        let at = self.find(id)?;
        self.set(at, due);
        Ok(())
    }

    /// It does not come; its token.
    ///
    /// # Errors
    ///
    /// [`Stale`].
    pub fn cancel(&mut self, id: TimerId) -> Result<u32, Stale> {
        let at = self.find(id)?;
        Ok(self.remove(at))
    }

    /// When the earliest is due.
    #[must_use]
    pub fn next_due(&self) -> Option<Instant> {
        let first = *self.order[..self.armed].first()?;
        Some(self.places[usize::from(first)].due)
    }

    /// The token of the earliest that is due `now`; it is armed no longer.
    #[must_use = "the timer has come, and will not come again"]
    pub fn pop(&mut self, now: Instant) -> Option<u32> {
        let due = self.next_due()?;
        (due <= now).then(|| self.remove(0))
    }

    /// How many are armed.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.armed
    }

    /// Whether none is armed.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.armed == 0
    }

    fn find(&self, id: TimerId) -> Result<usize, Stale> {
        let place = self.places.get(usize::from(id.place)).ok_or(Stale)?;
        let at = usize::from(place.at);
        let is_it = place.generation == id.generation && at < self.armed;
        is_it.then_some(at).ok_or(Stale)
    }

    /// Gives what stands here a new time, and puts it where it belongs.
    fn set(&mut self, at: usize, due: Instant) {
        self.serial += 1;
        let place = &mut self.places[usize::from(self.order[at])];
        place.due = due;
        place.serial = self.serial;
        self.settle(at);
    }

    fn remove(&mut self, at: usize) -> u32 {
        let place = &mut self.places[usize::from(self.order[at])];
        place.generation = place.generation.wrapping_add(1);
        let token = place.token;
        self.armed -= 1;
        self.swap(at, self.armed);
        if at < self.armed {
            self.settle(at);
        }
        token
    }

    /// Up while it is earlier than what is above it; then down while something below is earlier.
    fn settle(&mut self, mut at: usize) {
        while at > 0 && self.is_before(at, (at - 1) / 2) {
            self.swap(at, (at - 1) / 2);
            at = (at - 1) / 2;
        }
        loop {
            let mut first = at;
            for below in [2 * at + 1, 2 * at + 2] {
                if below < self.armed && self.is_before(below, first) {
                    first = below;
                }
            }
            if first == at {
                return;
            }
            self.swap(at, first);
            at = first;
        }
    }

    fn is_before(&self, one: usize, other: usize) -> bool {
        let key = |at: usize| {
            let place = &self.places[usize::from(self.order[at])];
            (place.due, place.serial)
        };
        key(one) < key(other)
    }

    fn swap(&mut self, one: usize, other: usize) {
        self.order.swap(one, other);
        for at in [one, other] {
            self.places[usize::from(self.order[at])].at = at as u16;
        }
    }
}

impl<const N: usize> Default for Timers<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for NoTimer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "every timer is in use; token {} has none", self.0)
    }
}

impl core::error::Error for NoTimer {}

impl fmt::Display for Stale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the timer has come, or was cancelled")
    }
}

impl core::error::Error for Stale {}
