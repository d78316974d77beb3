//! `Magazine`: blocks of one class that a heap already holds, so that allocating is taking the last.

use super::handle::Handle;

/// The largest batch: so many blocks are taken or given back at once, at most.
pub(super) const MOST_BATCH: usize = 16;
/// Two batches, and the one that makes it overflow.
const ROOM: usize = 2 * MOST_BATCH + 1;

/// A stack of blocks, in the private memory of its process. Every one is private to its slot.
#[derive(Clone, Debug)]
pub(super) struct Magazine {
    blocks: [Option<Handle>; ROOM],
    count: usize,
    /// Blocks are taken and given back in batches; 0: each at once.
    pub(super) batch: usize,
    /// Where the last blocks came from, and the next ones may.
    pub(super) current: Option<usize>,
    /// Requests and failures that the zone has not been told of.
    pub(super) requests: u32,
    pub(super) failures: u32,
}

impl Magazine {
    pub(super) const EMPTY: Self = Self {
        blocks: [None; ROOM],
        count: 0,
        batch: 0,
        current: None,
        requests: 0,
        failures: 0,
    };

    /// The block that was put in last: its memory is the likeliest to be in a cache.
    #[inline]
    pub(super) fn pop(&mut self) -> Option<Handle> {
        self.count = self.count.checked_sub(1)?;
        self.blocks[self.count].take()
    }

    /// Puts a block in; there is room, as whoever puts in takes out what is too many.
    #[inline]
    pub(super) fn push(&mut self, block: Handle) {
        self.blocks[self.count] = Some(block);
        self.count += 1;
    }

    /// Whether there are more than two batches.
    #[inline]
    pub(super) const fn is_too_full(&self) -> bool {
        self.count > 2 * self.batch
    }

    pub(super) const fn count(&self) -> usize {
        self.count
    }

    /// The blocks that were put in first, so many of them.
    pub(super) fn oldest(&self, count: usize) -> impl Iterator<Item = Handle> + '_ {
        self.blocks[..count.min(self.count)]
            .iter()
            .flatten()
            .copied()
    }

    /// Forgets the blocks that were put in first: they have been given back.
    pub(super) fn forget_oldest(&mut self, count: usize) {
        let count = count.min(self.count);
        self.blocks.copy_within(count..self.count, 0);
        self.count -= count;
    }
}
