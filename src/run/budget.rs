//! How many descriptors may be on their way at once.
//!
//! The kernel refuses to send more once as many are unreceived, over all of a user's sockets, as the
//! sender's limit on open descriptors. A worker that does not read must not use that up for all, so
//! announcements stay under a quarter of it, and one recipient under an eighth of that. Whoever has
//! nothing on its way is always sent one, so that nobody waits for somebody else to read.

use rustix::fd::AsFd;

use crate::sys::socket;
use crate::table::{SLOTS, SlotIndex};

/// How many recipients can be slow at once without any of them being slowed down further.
const SHARES: usize = 8;

/// What was sent and may not have been received yet.
#[derive(Debug)]
pub(super) struct Budget {
    most: usize,
    in_flight: usize,
    to: [u32; SLOTS],
}

impl Budget {
    pub(super) fn new(descriptor_limit: u64) -> Self {
        let most = usize::try_from(descriptor_limit / 4).unwrap_or(usize::MAX);
        Self {
            most,
            in_flight: 0,
            to: [0; SLOTS],
        }
    }

    /// How many may be sent to a recipient now. What it was sent before is on its way until its
    /// socket is empty. Cost: one system call while something is.
    pub(super) fn room(&mut self, to: SlotIndex, end: impl AsFd) -> usize {
        if self.to[to.as_usize()] > 0 && socket::unread(end) == Ok(0) {
            self.arrived(to);
        }
        let own = self.to[to.as_usize()] as usize;
        let left = self.most.saturating_sub(self.in_flight);
        let share = (self.most / SHARES).saturating_sub(own);
        left.min(share).max(usize::from(own == 0))
    }

    pub(super) fn sent(&mut self, to: SlotIndex, descriptors: usize) {
        self.to[to.as_usize()] += descriptors as u32;
        self.in_flight += descriptors;
    }

    /// Everything that was sent to a recipient was received, or is gone with it.
    pub(super) fn arrived(&mut self, to: SlotIndex) {
        let were = core::mem::take(&mut self.to[to.as_usize()]);
        self.in_flight -= were as usize;
    }

    /// Who has something on its way.
    pub(super) fn recipients(&self) -> impl Iterator<Item = SlotIndex> + '_ {
        let sent = self
            .to
            .iter()
            .enumerate()
            .filter(|(_, descriptors)| **descriptors > 0);
        sent.filter_map(|(index, _)| SlotIndex::new(index))
    }

    pub(super) fn is_used_up(&self) -> bool {
        self.in_flight >= self.most
    }
}
