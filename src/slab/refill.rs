//! Where a magazine's blocks come from and go to: pages that are cut into blocks of a class.
//!
//! ```text
//!   refill    1 the current page   2 pages said to have a free block   3 pages said to be free: cut one
//!             4 every page, whatever is said of it   5 give empty pages back, and 4 again   else: full
//!
//!   grab      word: Free → Private(me)            a compare-and-exchange each
//!             after the first: is the page still of this class?   no: word → Free, and away
//! ```
//!
//! The look after the first word is what makes a late grab harmless: between reading the page and
//! winning a block, the page may have been given back and cut otherwise. Once a block of it is held,
//! it cannot be.
//!
//! # Invariants
//!
//! - No block is held by two (models `two_allocate`, `three_allocate`).
//! - A page that is cut otherwise meanwhile gives no block of the old class (model
//!   `a_page_changes_its_class_at_every_step`).
//! - Killed anywhere in here, a process leaves words that name it, and nothing else (models
//!   `allocating_killed_at_every_step`, `cutting_killed_at_every_step`).

use super::geometry::Class;
use super::heap::Heap;
use super::page::Page;
use super::word::{BlockWord, Change, State};
use crate::sync::Ordering;

impl Heap<'_> {
    /// Puts a block into the magazine of this class, or a batch; whether there was one.
    pub(super) fn refill(&mut self, class: Class) -> bool {
        let current = self.magazines[class.as_usize()].current;
        current.is_some_and(|page| self.grab(class, page))
            || self.grab_hinted(class)
            || self.cut_hinted(class)
            || self.search(class)
            || (self.trim() > 0 && self.search(class))
    }

    /// Blocks of a page that is said to have some.
    fn grab_hinted(&mut self, class: Class) -> bool {
        let (slab, from) = (self.slab, self.me().as_usize());
        slab.hinted_part(class, from)
            .any(|page| slab.take_part_hint(class, page) && self.grab(class, page))
    }

    /// Blocks of a page that is said to be free.
    fn cut_hinted(&mut self, class: Class) -> bool {
        let slab = self.slab;
        slab.hinted_free().any(|page| {
            let taken = self.cut(class, page);
            slab.unhint_free(page);
            taken
        })
    }

    /// Blocks of any page: hints can be lost to a kill, and the current pages of others have none.
    fn search(&mut self, class: Class) -> bool {
        (0..self.slab.layout.pages()).any(|page| match self.slab.page(page) {
            Some(Page::Free) => {
                let taken = self.cut(class, page);
                if taken {
                    self.slab.unhint_free(page);
                }
                taken
            }
            _ => self.grab(class, page),
        })
    }

    /// Takes up to a batch of free blocks of a page, which becomes the current one if it has any.
    fn grab(&mut self, class: Class, page: usize) -> bool {
        let cut = Some(Page::Class(class));
        if self.slab.page(page) != cut {
            return false;
        }
        let wanted = self.magazines[class.as_usize()].batch.max(1);
        let mut taken = 0;
        for index in 0..self.slab.blocks(Some(class)) {
            if taken == wanted {
                break;
            }
            let word = self.slab.block(page, index);
            let seen = BlockWord::from_u32(word.load(Ordering::Relaxed));
            let Some(mine) = seen.after(Change::Take(self.me())) else {
                continue;
            };
            // Acquire: pairs with the Release of whoever freed the block, or cut the page.
            let (was, is) = (seen.as_u32(), mine.as_u32());
            let taking = word.compare_exchange(was, is, Ordering::Acquire, Ordering::Relaxed);
            if taking.is_err() {
                continue;
            }
            if taken == 0 && self.slab.page(page) != cut {
                // Release: pairs with the Acquire above; for the next one, what came before us.
                word.store(was, Ordering::Release);
                return false;
            }
            let block = self.slab.handle(Some(class), page, index, mine);
            self.magazines[class.as_usize()].push(block);
            taken += 1;
        }
        if taken > 0 {
            self.settle(class, page);
        }
        taken > 0
    }

    /// The page that blocks came from stays this heap's to look at first, and others are not told of
    /// what is left. Without magazines the zone is small, and room counts for more than quiet.
    fn settle(&mut self, class: Class, page: usize) {
        let magazine = &mut self.magazines[class.as_usize()];
        if magazine.batch > 0 {
            magazine.current = Some(page);
        } else {
            self.slab.hint_part(class, page);
        }
    }

    /// Takes a free page and cuts it; a batch of its blocks is ours, the others are free.
    fn cut(&mut self, class: Class, page: usize) -> bool {
        let busy = Page::Busy(self.me(), Some(class));
        if !self.slab.turn_page(page, Page::Free, busy) {
            return false;
        }
        let wanted = self.magazines[class.as_usize()].batch.max(1);
        for index in 0..self.slab.blocks(Some(class)) {
            let word = self.slab.block(page, index);
            // Relaxed: unused words change only under whoever is busy with their page, and the
            // exchange that made us busy has acquired what the last one did.
            let seen = BlockWord::from_u32(word.load(Ordering::Relaxed));
            let Some(free) = seen.after(Change::LayOut) else {
                continue; // somebody has scribbled here: one block less
            };
            let mine = match free.after(Change::Take(self.me())) {
                Some(mine) if index < wanted => mine,
                _ => free,
            };
            // Release: pairs with the Acquire in `grab`, and keeps its place before the next store.
            word.store(mine.as_u32(), Ordering::Release);
            if index < wanted {
                let block = self.slab.handle(Some(class), page, index, mine);
                self.magazines[class.as_usize()].push(block);
            }
        }
        self.slab.set_page(page, Page::Class(class));
        self.settle(class, page);
        self.slab.count_cut(self.me(), class);
        true
    }

    /// Gives the oldest blocks of a magazine to everybody.
    pub(super) fn give_back(&mut self, class: Class, count: usize) {
        let slab = self.slab;
        let magazine = &mut self.magazines[class.as_usize()];
        for block in magazine.oldest(count) {
            let free = BlockWord::new(State::Free, block.generation());
            let word = slab.block(block.page(), block.index());
            // Release: pairs with the Acquire in `grab`: what we did to the block is over by then.
            word.store(free.as_u32(), Ordering::Release);
        }
        let mut hinted = None;
        for block in magazine.oldest(count) {
            if hinted.replace(block.page()) != Some(block.page()) {
                slab.hint_part(class, block.page());
            }
        }
        magazine.forget_oldest(count);
        self.tell(class);
    }

    /// Gives all blocks of all magazines to everybody, and lets others know of the current pages.
    pub(super) fn empty_magazines(&mut self) {
        for class in self.slab.layout.geometry().classes() {
            let magazine = &mut self.magazines[class.as_usize()];
            let (count, current) = (magazine.count(), magazine.current.take());
            if count > 0 {
                self.give_back(class, count);
            }
            if let Some(page) = current {
                self.slab.hint_part(class, page);
            }
        }
    }
}
