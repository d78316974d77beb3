//! Counters of each class, for reports. They are added to a batch at a time, and nothing depends on
//! them.

use super::geometry::Class;
use super::heap::Heap;
use super::layout::COUNTERS;
use super::zone::Slab;
use crate::sync::{AtomicU32, Ordering};
use crate::table::SlotIndex;

const CUT: usize = 0;
const RETIRED: usize = 1;
const REQUESTS: usize = 2;
const FAILURES: usize = 3;

/// What has happened to one class since the zone was made. Every number wraps at 2^32, and lacks what
/// heaps have not told yet, and for ever what the dead had not told.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Statistics {
    /// Pages that were cut into blocks of this class.
    pub cut: u32,
    /// Of those, pages that were given back.
    pub retired: u32,
    /// Blocks that were asked for.
    pub requests: u32,
    /// Requests that found the zone full.
    pub failures: u32,
}

impl<'z> Slab<'z> {
    /// What has happened to one class.
    #[must_use]
    pub fn statistics(&self, class: Class) -> Statistics {
        let sum = |counter: usize| {
            let shards = 0..self.layout.shards();
            shards.fold(0, |sum: u32, shard| {
                let value = self.counter(shard, class, counter);
                sum.wrapping_add(value.map_or(0, |value| value.load(Ordering::Relaxed)))
            })
        };
        Statistics {
            cut: sum(CUT),
            retired: sum(RETIRED),
            requests: sum(REQUESTS),
            failures: sum(FAILURES),
        }
    }

    fn counter(&self, shard: usize, class: Class, counter: usize) -> Option<&'z AtomicU32> {
        let classes = self.layout.geometry().class_count();
        let row = shard * classes + class.as_usize();
        self.words.statistics.get(row * COUNTERS + counter)
    }

    fn count(&self, slot: SlotIndex, class: Class, counter: usize, by: u32) {
        let shard = slot.as_usize().checked_rem(self.layout.shards());
        let counter = shard.and_then(|shard| self.counter(shard, class, counter));
        if let Some(counter) = counter {
            // Relaxed: nothing is decided by it.
            counter.fetch_add(by, Ordering::Relaxed);
        }
    }

    pub(super) fn count_cut(&self, slot: SlotIndex, class: Class) {
        self.count(slot, class, CUT, 1);
    }

    pub(super) fn count_retired(&self, slot: SlotIndex, class: Class) {
        self.count(slot, class, RETIRED, 1);
    }
}

impl Heap<'_> {
    /// Tells the zone how many requests and failures there have been in this class.
    pub(super) fn tell(&mut self, class: Class) {
        let me = self.me();
        let magazine = &mut self.magazines[class.as_usize()];
        let requests = core::mem::take(&mut magazine.requests);
        let failures = core::mem::take(&mut magazine.failures);
        for (counter, by) in [(REQUESTS, requests), (FAILURES, failures)] {
            if by > 0 {
                self.slab.count(me, class, counter, by);
            }
        }
    }
}
