//! Runs: blocks of whole pages, for what is larger than any class.
//!
//! ```text
//!   pages        p          p+1       p+2
//!   seize      Busy(me)   Busy(me)  Busy(me)     in this order; at the first that is not free, all back
//!   tie        Run(3)  ◄─ Tail(2) ◄─ Tail(1)     tails first: a head is one only when all is tied
//!   free       Freeing ─► Free    ◄─ Free        from the last to the head, which is freed when it is alone
//!                └──────► Free
//! ```
//!
//! Runs are looked for from the top of the zone down and single pages from the bottom up, which keeps
//! room for runs. The word of a run's first block is what says who holds it.
//!
//! # Invariants
//!
//! - Two that want overlapping runs get runs that do not overlap (model `runs_overlap`).
//! - Killed anywhere, a process leaves pages that recovery gives back, every one and once (model
//!   `a_run_killed_at_every_step`).

use super::handle::Handle;
use super::heap::{Heap, NotAllocated};
use super::page::Page;
use super::word::{BlockWord, Change, State};
use super::zone::{Refused, Slab};
use crate::sync::Ordering;

/// How often the zone is searched: those who get in each other's way may both find nothing.
const PASSES: usize = 3;

impl Heap<'_> {
    /// A run of so many pages.
    pub(super) fn alloc_run(&mut self, pages: usize) -> Result<Handle, NotAllocated> {
        let found = self.find_run(pages).or_else(|| {
            let some = self.trim() > 0;
            some.then(|| self.find_run(pages)).flatten()
        });
        let head = found.ok_or(NotAllocated::Full)?;
        Ok(self.tie(head, pages))
    }

    /// Seizes so many pages in a row, the highest that are free.
    fn find_run(&self, pages: usize) -> Option<usize> {
        for _ in 0..PASSES {
            let mut raced = false;
            let mut top = self.slab.layout.pages();
            while let Some(head) = top.checked_sub(pages) {
                let taken = (head..top).rfind(|page| self.slab.page(*page) != Some(Page::Free));
                if let Some(obstacle) = taken {
                    top = obstacle;
                    continue;
                }
                match self.seize(head, pages) {
                    Ok(()) => return Some(head),
                    Err(obstacle) => top = obstacle,
                }
                raced = true;
            }
            if !raced {
                break;
            }
        }
        None
    }

    /// Makes all of these pages ours, or none.
    fn seize(&self, head: usize, pages: usize) -> Result<(), usize> {
        let busy = Page::Busy(self.me(), None);
        for page in head..head + pages {
            if !self.slab.turn_page(page, Page::Free, busy) {
                for page in (head..page).rev() {
                    self.slab.put_page(page);
                }
                return Err(page);
            }
        }
        for page in head..head + pages {
            self.slab.unhint_free(page);
        }
        Ok(())
    }

    /// Makes one block of the pages that were seized.
    fn tie(&self, head: usize, pages: usize) -> Handle {
        for distance in 1..pages {
            self.slab
                .set_page(head + distance, Page::Tail(distance as u32));
        }
        let word = self.slab.block(head, 0);
        // Relaxed: the page is ours, see `cut`.
        let seen = BlockWord::from_u32(word.load(Ordering::Relaxed));
        let laid_out = seen.after(Change::LayOut);
        let mine = laid_out.and_then(|free| free.after(Change::Take(self.me())));
        // Where somebody has scribbled, a new word is made: the run would be lost else.
        let mine = mine.unwrap_or(BlockWord::new(
            State::Private(self.me()),
            seen.generation() + 1,
        ));
        // Release: keeps its place between the tails and the head.
        word.store(mine.as_u32(), Ordering::Release);
        self.slab.set_page(head, Page::Run(pages as u32));
        self.slab.handle(None, head, 0, mine)
    }

    /// Gives back a run that this slot holds.
    pub(super) fn free_run(&mut self, handle: Handle) -> Result<(), Refused> {
        let head = handle.page();
        let pages = self.slab.run_length(head).ok_or(Refused::NoSuchBlock)?;
        let freeing = Page::Freeing(self.me(), pages as u32);
        self.slab.set_page(head, freeing);
        self.slab.free_tails(head, pages);
        self.slab.free_head(head, freeing);
        Ok(())
    }
}

impl Slab<'_> {
    /// Gives the tails of a head back, the last first; for whoever has its head, or recovers it. Those
    /// that are free already, and maybe somebody else's, are no tails of it any more.
    pub(super) fn free_tails(&self, head: usize, pages: usize) {
        for distance in (1..pages).rev() {
            let page = head + distance;
            if self.turn_page(page, Page::Tail(distance as u32), Page::Free) {
                self.hint_free(page);
            }
        }
    }

    /// Gives back a page that was the head of a run, or was to be, and whose tails are gone.
    pub(super) fn free_head(&self, head: usize, was: Page) {
        let word = self.block(head, 0);
        // Relaxed: the page is ours, or that of a dead one who has been reaped.
        let seen = BlockWord::from_u32(word.load(Ordering::Relaxed));
        let freed = seen.after(Change::Recover);
        let unused = freed.map(|free| BlockWord::new(State::Unused, free.generation()));
        if let Some(unused) = unused {
            // Release: the block is no block before the page is free.
            word.store(unused.as_u32(), Ordering::Release);
        }
        if self.turn_page(head, was, Page::Free) {
            self.hint_free(head);
        }
    }
}
