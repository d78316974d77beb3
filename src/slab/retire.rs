//! Giving a page back: whoever takes every block of it may make of it what they want.
//!
//! ```text
//!   Class(c)   words: Free → Private(me), every one, or all of them back again
//!      ▼
//!   Busy(me)   words: Private(me) → Unused
//!      ▼
//!   Free       hint
//! ```
//!
//! # Invariants
//!
//! - A page is given back by one alone, and only while it has no block in use (models
//!   `retiring_beside_an_allocation`, `retiring_killed_at_every_step`).
//!
//! # Why not a count of blocks in use
//!
//! It would cost two more read-modify-write operations for each block, and a kill between the block
//! and the count leaves it wrong for ever.

use super::geometry::Class;
use super::heap::Heap;
use super::page::Page;
use super::word::{BlockWord, Change, State};
use super::zone::Slab;
use crate::sync::Ordering;

impl Slab<'_> {
    /// Gives a page back that one was busy with, and whose words are all unused.
    pub(super) fn put_page(&self, page: usize) {
        self.set_page(page, Page::Free);
        self.hint_free(page);
    }

    /// Makes every private block of the first `count` of a page what `change` makes of it. For a
    /// holder of all of them.
    fn change_blocks(&self, page: usize, count: usize, change: Change) {
        for index in 0..count {
            let word = self.block(page, index);
            // Relaxed: we have taken it, and nobody else changes it.
            let seen = BlockWord::from_u32(word.load(Ordering::Relaxed));
            if let Some(next) = seen.after(change) {
                // Release: pairs with the Acquire of `grab`, or through the page's word with that of
                // `turn_page`; and it keeps its place before the next store.
                word.store(next.as_u32(), Ordering::Release);
            }
        }
    }

    /// Whether no block of the page seems to be in use. A look and no more: relaxed.
    fn seems_empty(&self, page: usize, class: Class) -> bool {
        (0..self.blocks(Some(class))).all(|index| {
            let word = self.block(page, index).load(Ordering::Relaxed);
            BlockWord::from_u32(word).state() == Some(State::Free)
        })
    }
}

impl Heap<'_> {
    /// Gives every page back that is empty, and returns how many it was.
    pub(super) fn retire_pages(&mut self) -> usize {
        let pages = 0..self.slab.layout.pages();
        pages.filter(|page| self.retire(*page)).count()
    }

    /// Gives a page back if it is empty.
    fn retire(&self, page: usize) -> bool {
        let Some(Page::Class(class)) = self.slab.page(page) else {
            return false;
        };
        if !self.slab.seems_empty(page, class) {
            return false;
        }
        let count = self.slab.blocks(Some(class));
        let taken = self.take_all(page, class);
        if taken < count {
            if taken > 0 {
                self.slab.change_blocks(page, taken, Change::Release);
                self.slab.hint_part(class, page);
            }
            return false;
        }
        self.slab.set_page(page, Page::Busy(self.me(), Some(class)));
        self.slab.change_blocks(page, count, Change::Retire);
        self.slab.put_page(page);
        self.slab.count_retired(self.me(), class);
        true
    }

    /// Takes the blocks of a page one after another, until one is not free; returns how many it has.
    fn take_all(&self, page: usize, class: Class) -> usize {
        let count = self.slab.blocks(Some(class));
        for index in 0..count {
            let word = self.slab.block(page, index);
            let seen = BlockWord::from_u32(word.load(Ordering::Relaxed));
            let Some(mine) = seen.after(Change::Take(self.me())) else {
                return index;
            };
            // Acquire: pairs with the Release of whoever freed the block: they are done with it.
            let (was, is) = (seen.as_u32(), mine.as_u32());
            let taking = word.compare_exchange(was, is, Ordering::Acquire, Ordering::Relaxed);
            if taking.is_err() {
                return index;
            }
            // As in `grab`: a page that has been cut otherwise is left alone.
            if index == 0 && self.slab.page(page) != Some(Page::Class(class)) {
                word.store(was, Ordering::Release);
                return 0;
            }
        }
        count
    }
}
