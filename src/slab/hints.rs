//! Hints: a bit a page that says where to look first. They are never the truth.
//!
//! ```text
//!   take a page     page: Free → Busy, clear the bit, look again: Free? set it again
//!   give it back    page: → Free,      set the bit
//!   grab blocks     clear the bit, then look at every word
//!   give them back  words: → Free,     set the bit
//! ```
//!
//! Whoever clears looks afterwards, whoever sets has stored before; both changes of the bit are
//! read-modify-write, so the second of two sees what the first one saw. A bit is thus lost only to a
//! kill, and then recovery sets it, or a search without hints finds the page.
//!
//! # Invariants
//!
//! - Without kills, a page that is free has its hint; and one with a free block has its hint or is
//!   some heap's current page (models `free_hints_are_exact`, `part_hints_are_exact`).

use super::geometry::Class;
use super::page::Page;
use super::zone::Slab;
use crate::sync::{AtomicU64, Ordering};

const BITS: usize = 64;

impl<'z> Slab<'z> {
    /// The hint of a free page: its word, and its bit.
    fn free_hint(&self, page: usize) -> (&'z AtomicU64, u64) {
        (&self.words.free_hints[page / BITS], 1 << (page % BITS))
    }

    fn part_hint(&self, class: Class, page: usize) -> (&'z AtomicU64, u64) {
        let word = class.as_usize() * self.layout.hint_words() + page / BITS;
        (&self.words.part_hints[word], 1 << (page % BITS))
    }

    /// This page is free.
    pub(super) fn hint_free(&self, page: usize) {
        let (word, bit) = self.free_hint(page);
        // AcqRel: Release pairs with the Acquire of `unhint_free`, which then sees the page free.
        word.fetch_or(bit, Ordering::AcqRel);
    }

    /// This page was found to be taken; if it is free by now, that stays known.
    pub(super) fn unhint_free(&self, page: usize) {
        let (word, bit) = self.free_hint(page);
        word.fetch_and(!bit, Ordering::AcqRel);
        if self.page(page) == Some(Page::Free) {
            word.fetch_or(bit, Ordering::AcqRel);
        }
    }

    /// This page has a free block of this class.
    pub(super) fn hint_part(&self, class: Class, page: usize) {
        let (word, bit) = self.part_hint(class, page);
        // AcqRel: Release pairs with the Acquire of `take_part_hint`, which then sees the block free.
        word.fetch_or(bit, Ordering::AcqRel);
    }

    /// Clears a hint, for one who will look at every block of the page; whether it was there.
    pub(super) fn take_part_hint(&self, class: Class, page: usize) -> bool {
        let (word, bit) = self.part_hint(class, page);
        word.fetch_and(!bit, Ordering::AcqRel) & bit != 0
    }

    /// Pages that are said to be free, lowest first.
    pub(super) fn hinted_free(self) -> impl Iterator<Item = usize> + use<'z> {
        self.hinted(self.words.free_hints, 0)
    }

    /// Pages that are said to have a free block of this class, from some word of the hints on: slots
    /// that begin at different words seldom meet.
    pub(super) fn hinted_part(
        self,
        class: Class,
        from: usize,
    ) -> impl Iterator<Item = usize> + use<'z> {
        let count = self.layout.hint_words();
        let first = class.as_usize() * count;
        self.hinted(&self.words.part_hints[first..first + count], from % count)
    }

    /// The pages whose bits are set, each word being read when its turn comes.
    fn hinted(self, hints: &'z [AtomicU64], from: usize) -> impl Iterator<Item = usize> + use<'z> {
        let count = hints.len();
        let words = (0..count).map(move |nth| (from + nth) % count);
        let pages = self.layout.pages();
        words
            .flat_map(move |number| {
                // Relaxed: it is a hint; what follows looks at the page itself.
                let mut left = hints[number].load(Ordering::Relaxed);
                core::iter::from_fn(move || {
                    let bit = left.trailing_zeros() as usize;
                    left &= left.wrapping_sub(1);
                    (bit < BITS).then_some(number * BITS + bit)
                })
            })
            .filter(move |page| *page < pages)
    }
}
