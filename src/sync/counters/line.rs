//! A line of counters: seven values and a sequence that is odd while several of them change.
//!
//! The sequence is that of a seqlock, but for one thing: whoever reads gives up after a few looks, since
//! a writer that was killed stays odd until it is recovered.

use super::VALUES;
use crate::sync::atomic::{AtomicU64, Ordering, spin_hint};

/// How often a line is read before it is taken as it is.
pub const MOST_LOOKS: u32 = if cfg!(loom) { 2 } else { 64 };

/// The counters of one slot, on a cache line of their own; all zero is nothing counted.
#[derive(Debug, Default)]
#[cfg_attr(not(loom), repr(C, align(64)))]
pub struct Line {
    sequence: AtomicU64,
    values: [AtomicU64; VALUES],
}

impl Line {
    /// Nothing counted.
    #[cfg(not(loom))]
    #[must_use]
    pub const fn new() -> Self {
        Self {
            sequence: AtomicU64::new(0),
            values: [const { AtomicU64::new(0) }; VALUES],
        }
    }

    /// Nothing counted.
    #[cfg(loom)]
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds to a value; a place that is not there counts nothing.
    #[inline]
    pub(super) fn add(&self, place: usize, count: u64) {
        if let Some(value) = self.values.get(place) {
            // Relaxed: nobody else writes here. Release: pairs with the Acquire of `look`; who sees this
            // sees what was counted before it, and an update that has begun.
            let sum = value.load(Ordering::Relaxed).wrapping_add(count);
            value.store(sum, Ordering::Release);
        }
    }

    /// An update begins. The values that follow are stored with Release, and so after this.
    #[inline]
    pub(super) fn begin(&self) {
        let sequence = self.sequence.load(Ordering::Relaxed);
        self.sequence.store(sequence | 1, Ordering::Release);
    }

    /// An update is over. Release: pairs with the Acquire of `look`; and after the values.
    #[inline]
    pub(super) fn end(&self) {
        let sequence = self.sequence.load(Ordering::Relaxed) | 1;
        self.sequence
            .store(sequence.wrapping_add(1), Ordering::Release);
    }

    /// The values, and whether they are of one state.
    pub(super) fn read(&self) -> ([u64; VALUES], bool) {
        let mut looks = 1;
        loop {
            let (values, is_whole) = self.look();
            if is_whole || looks == MOST_LOOKS {
                return (values, is_whole);
            }
            looks += 1;
            spin_hint();
        }
    }

    fn look(&self) -> ([u64; VALUES], bool) {
        let before = self.sequence.load(Ordering::Acquire);
        let mut values = [0; VALUES];
        // The last ones first: Acquire pairs with the Release of `add`, so that the earlier ones, which
        // are read later, are at least as new.
        for (value, seen) in self.values.iter().zip(&mut values).rev() {
            *seen = value.load(Ordering::Acquire);
        }
        // A value that was stored in an update has brought the odd sequence with it.
        let after = self.sequence.load(Ordering::Relaxed);
        (values, before == after && before & 1 == 0)
    }

    /// The process that wrote here is dead: its gauges are 0, and its update is over.
    pub(super) fn recover(&self, monotonic: usize) {
        let gauges = self.values.get(monotonic..).unwrap_or_default();
        let is_even = self.sequence.load(Ordering::Acquire) & 1 == 0;
        if is_even
            && gauges
                .iter()
                .all(|gauge| gauge.load(Ordering::Relaxed) == 0)
        {
            return;
        }
        self.begin();
        for gauge in gauges {
            gauge.store(0, Ordering::Release);
        }
        self.end();
    }
}

#[cfg(not(loom))]
static_assertions::const_assert_eq!(size_of::<Line>(), 64);
