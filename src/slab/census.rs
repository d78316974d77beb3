//! The census: counts every page and every block, by looking at them. Exact while nobody changes
//! anything; beside others, each number was true at some instant.

use super::geometry::Class;
use super::page::Page;
use super::word::{BlockWord, State};
use super::zone::Slab;
use crate::sync::Ordering;
use crate::table::SlotIndex;

/// How many blocks are whose.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Count {
    /// Pages of this class; of runs, all their pages.
    pub pages: usize,
    /// Blocks that can be allocated.
    pub free: usize,
    /// Blocks that a slot holds, those in magazines included.
    pub private: usize,
    /// Blocks that a slot holds and has offered.
    pub offered: usize,
    /// Blocks that the zone holds.
    pub published: usize,
}

/// What a zone is made of.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Census {
    /// Pages that are free.
    pub free_pages: usize,
    /// Pages that somebody is at work on, and those that nothing can be made of.
    pub busy_pages: usize,
    /// The blocks of each class.
    pub classes: [Count; Class::MOST],
    /// The runs.
    pub runs: Count,
}

/// What one slot holds.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Holding {
    /// Blocks and runs.
    pub blocks: usize,
    /// The bytes in them.
    pub bytes: usize,
    /// Pages that it is at work on.
    pub pages: usize,
}

impl Slab<'_> {
    /// Counts everything. Cost: a load for each page, and one for each block of those that are cut.
    #[must_use]
    pub fn census(&self) -> Census {
        let mut census = Census::default();
        for page in 0..self.layout.pages() {
            match self.page(page) {
                Some(Page::Free) => census.free_pages += 1,
                Some(Page::Class(class)) => {
                    let count = &mut census.classes[class.as_usize()];
                    count.pages += 1;
                    for index in 0..self.blocks(Some(class)) {
                        count.add(self.look(page, index));
                    }
                }
                Some(Page::Run(pages)) => {
                    census.runs.pages += self.checked_run(page, pages).unwrap_or(1);
                    census.runs.add(self.look(page, 0));
                }
                Some(Page::Tail(_)) => {}
                Some(Page::Busy(..) | Page::Freeing(..)) | None => census.busy_pages += 1,
            }
        }
        census
    }

    /// What one slot holds, dead or alive.
    #[must_use]
    pub fn holding(&self, slot: SlotIndex) -> Holding {
        let mut holding = Holding::default();
        for page in 0..self.layout.pages() {
            let (class, size) = match self.page(page) {
                Some(Page::Class(class)) => (Some(class), self.layout.geometry().size(class)),
                Some(Page::Run(pages)) => {
                    let pages = self.checked_run(page, pages).unwrap_or(1);
                    (None, pages * self.layout.geometry().page_size())
                }
                Some(Page::Busy(by, _) | Page::Freeing(by, _)) if by == slot => {
                    holding.pages += 1;
                    continue;
                }
                _ => continue,
            };
            let indices = 0..self.blocks(class);
            let held = indices.filter(|index| self.look(page, *index).holder() == Some(slot));
            let held = held.count();
            holding.blocks += held;
            holding.bytes += held * size;
        }
        holding
    }

    fn look(&self, page: usize, index: usize) -> BlockWord {
        // Relaxed: a number for a report; the page before it was read with Acquire.
        BlockWord::from_u32(self.block(page, index).load(Ordering::Relaxed))
    }
}

impl Count {
    fn add(&mut self, block: BlockWord) {
        match block.state() {
            Some(State::Free) => self.free += 1,
            Some(State::Private(_)) => self.private += 1,
            Some(State::Offered(_)) => self.offered += 1,
            Some(State::Published) => self.published += 1,
            Some(State::Unused) | None => {}
        }
    }

    /// How many blocks are in use: held by a slot, or by the zone.
    #[must_use]
    pub const fn used(&self) -> usize {
        self.private + self.offered + self.published
    }
}
