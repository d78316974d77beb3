//! Recovery: takes back what a dead slot held, beside those who live on. A scan, and no log.
//!
//! ```text
//!   a page's word         what is done
//!   Class(c)              blocks: Private(dead), Offered(dead) → Free
//!   Busy(dead, c)         blocks: Unused, Private(dead) → Free;  the page → Class(c)
//!   Busy(living, c)       blocks: Private(dead) → Free           one that was won too late, see `refill`
//!   Busy(dead, run)       its tails, if it has some already, then the page → Free
//!   Run                   its block Private(dead), Offered(dead) → Private(us), and freed
//!   Freeing(dead)         what is left of its tails, then the page → Free
//!   Free, Tail            nothing, apart from the hint
//! ```
//!
//! A page that the dead were busy with becomes one with blocks, and no free one: another may hold a
//! block of it for an instant, by a late grab, and will give it back.
//!
//! # Who recovers whom
//!
//! ```text
//!   row:   0 ──join──► life ──reaped──► life, us ──the last page──► 0 ──join──► next life
//!                       ▲                  │
//!                       └── we die: whoever recovers us gives it back
//! ```
//!
//! The blocks of a slot cannot be told from those of its next life, as their words name the slot. So a
//! slot cannot be joined again before it was recovered, and not be recovered twice; and one recovers
//! at a time, since a second that was late would take from the next life.
//!
//! # Invariants
//!
//! - After recovery no word names the dead, whatever they were killed in (every model whose name
//!   ends with `killed_at_every_step`; test `whatever_was_done_is_recovered`).
//! - A recovery that was itself killed is done again by the next (model
//!   `recovering_killed_at_every_step`).
//! - Recovering twice, or one who has joined again, is refused (test `a_life_is_recovered_once`).
//!
//! # Why not a log
//!
//! A log answers "did my exchange happen before I died?". A word that names its holder answers it,
//! too, and costs nothing until somebody dies.

use core::fmt;

use super::geometry::Class;
use super::heap::Heap;
use super::page::Page;
use super::word::{BlockWord, Change, State};
use super::zone::Slab;
use crate::sync::{AtomicU32, Ordering};
use crate::table::{SLOTS, SlotId, SlotIndex};

/// What the dead held.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Recovered {
    /// Blocks of a class, in magazines or in use.
    pub blocks: usize,
    /// Runs of pages.
    pub runs: usize,
    /// Pages that the dead were at work on.
    pub pages: usize,
}

/// A recovery under way: how far it has come, and what it has found.
#[derive(Clone, Debug)]
#[must_use = "until it is over, the slot cannot be used again"]
pub struct Recovery {
    dead: SlotId,
    page: usize,
    recovered: Recovered,
}

/// Why nothing was recovered.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum NotRecovered {
    /// This life of the slot holds nothing: it never joined, or it has been recovered.
    NotThere,
    /// This slot is recovering it, or died in doing so and has to be recovered first.
    By(SlotIndex),
    /// A slot cannot recover itself.
    Itself,
}

impl<'z> Slab<'z> {
    /// Which life of a slot has joined, and is not recovered yet.
    #[must_use]
    pub fn joined(&self, slot: SlotIndex) -> Option<SlotId> {
        let row = self.row(slot)?.load(Ordering::Acquire);
        let life = SlotId::from_u32(row)?.generation();
        Some(SlotId::new(slot, life))
    }

    /// Every life that has joined, and is not recovered yet, the lowest slot first.
    pub fn lives(&self) -> impl Iterator<Item = SlotId> + '_ {
        let slots = (0..SLOTS).filter_map(SlotIndex::new);
        slots.filter_map(|slot| self.joined(slot))
    }

    pub(super) fn row(&self, slot: SlotIndex) -> Option<&'z AtomicU32> {
        self.words.rows.get(self.layout.row(slot)?)
    }
}

impl Recovery {
    /// Whose.
    #[must_use]
    pub const fn dead(&self) -> SlotId {
        self.dead
    }

    /// What has been found so far.
    #[must_use]
    pub const fn recovered(&self) -> Recovered {
        self.recovered
    }
}

/// A row while `by` recovers this life: the index says who, in the place of the slot's own.
const fn recovering(dead: SlotId, by: SlotIndex) -> u32 {
    SlotId::new(by, dead.generation()).as_u32()
}

impl Heap<'_> {
    /// Takes back all that this life of a slot holds, and lets its next life join. For whoever has
    /// reaped the process, of which nothing runs any more; others go on meanwhile. Cost: a load for
    /// each page that is free, and one for each block of the others.
    ///
    /// If this process is killed in the middle, the next master recovers it, and then the dead one
    /// again.
    ///
    /// # Errors
    ///
    /// [`NotRecovered`], and nothing was changed.
    pub fn recover(&mut self, dead: SlotId) -> Result<Recovered, NotRecovered> {
        let mut recovery = self.begin_recovery(dead)?;
        while !self.recover_pages(&mut recovery, usize::MAX) {}
        Ok(recovery.recovered())
    }

    /// The same, a part at a time: the one who may not be held up takes a few pages, and does
    /// something else. The slot stays as it is until the last page.
    ///
    /// # Errors
    ///
    /// [`NotRecovered`], and nothing was changed.
    pub fn begin_recovery(&mut self, dead: SlotId) -> Result<Recovery, NotRecovered> {
        let (me, slot) = (self.me(), dead.index());
        if slot == me {
            return Err(NotRecovered::Itself);
        }
        let row = self.slab.row(slot).ok_or(NotRecovered::NotThere)?;
        let ours = recovering(dead, me);
        // AcqRel: Acquire pairs with the Release of `join`; Release keeps it before the recovery.
        let begun = row.compare_exchange(dead.as_u32(), ours, Ordering::AcqRel, Ordering::Acquire);
        match begun {
            Ok(_) => {}
            Err(seen) if seen == ours => {}
            Err(seen) => return Err(who_recovers(seen, dead)),
        }
        Ok(Recovery {
            dead,
            page: 0,
            recovered: Recovered::default(),
        })
    }

    /// Looks at so many pages more, and says whether those were the last; then the slot's next life
    /// can join. A recovery that this slot has not begun, or that is over, changes nothing.
    pub fn recover_pages(&mut self, recovery: &mut Recovery, pages: usize) -> bool {
        let slot = recovery.dead.index();
        let ours = recovering(recovery.dead, self.me());
        // Relaxed: `begin_recovery`, by this slot, has ordered what is read here.
        let row = self.slab.row(slot);
        let Some(row) = row.filter(|row| row.load(Ordering::Relaxed) == ours) else {
            return true;
        };
        let count = self.slab.layout.pages();
        let end = count.min(recovery.page.saturating_add(pages.max(1)));
        for page in recovery.page..end {
            self.recover_page(page, slot, &mut recovery.recovered);
        }
        recovery.page = end;
        if end < count {
            return false;
        }
        self.disinherit(slot);
        // Release: pairs with the Acquire of `join`. Nobody else writes a row that says "ours".
        row.store(0, Ordering::Release);
        true
    }

    fn recover_page(&mut self, page: usize, dead: SlotIndex, recovered: &mut Recovered) {
        let slab = self.slab;
        match slab.page(page) {
            Some(Page::Free) => slab.hint_free(page),
            Some(Page::Class(class)) => {
                let (freed, any_free) = slab.recover_blocks(page, class, dead);
                recovered.blocks += freed;
                if any_free {
                    slab.hint_part(class, page);
                }
            }
            Some(Page::Busy(by, Some(class))) if by == dead => {
                recovered.pages += 1;
                slab.lay_out_again(page, class, dead);
            }
            Some(Page::Busy(_, Some(class))) => {
                recovered.blocks += slab.recover_blocks(page, class, dead).0;
            }
            Some(was @ Page::Busy(by, None)) if by == dead => {
                recovered.pages += 1;
                slab.free_tails(page, slab.tails(page) + 1);
                slab.free_head(page, was);
            }
            Some(Page::Run(_)) => recovered.runs += usize::from(self.recover_run(page, dead)),
            Some(was @ Page::Freeing(by, pages)) if by == dead => {
                recovered.runs += 1;
                let pages = slab.checked_run(page, pages).unwrap_or(1);
                slab.free_tails(page, pages);
                slab.free_head(page, was);
            }
            _ => {}
        }
    }

    /// A run that the dead held becomes ours first, so that it stays somebody's if we are killed.
    fn recover_run(&mut self, head: usize, dead: SlotIndex) -> bool {
        let word = self.slab.block(head, 0);
        let seen = BlockWord::from_u32(word.load(Ordering::Relaxed));
        if seen.holder() != Some(dead) {
            return false;
        }
        let ours = BlockWord::new(State::Private(self.me()), seen.generation());
        // AcqRel: Acquire, for a block on offer may have been accepted, and be the dead's own no more;
        // Release keeps it before the next step.
        word.compare_exchange(
            seen.as_u32(),
            ours.as_u32(),
            Ordering::AcqRel,
            Ordering::Relaxed,
        )
        .is_ok_and(|_| self.free_run(self.slab.handle(None, head, 0, ours)).is_ok())
    }

    /// What the dead were recovering is to be recovered by somebody else.
    fn disinherit(&self, dead: SlotIndex) {
        for slot in (0..SLOTS).filter_map(SlotIndex::new) {
            let Some(row) = self.slab.row(slot) else {
                continue;
            };
            let seen = row.load(Ordering::Relaxed);
            let Some(word) = SlotId::from_u32(seen) else {
                continue;
            };
            if slot != dead && word.index() == dead {
                let life = SlotId::new(slot, word.generation()).as_u32();
                // AcqRel: Release pairs with the Acquire of who recovers it next.
                let _ = row.compare_exchange(seen, life, Ordering::AcqRel, Ordering::Relaxed);
            }
        }
    }
}

impl Slab<'_> {
    /// Frees what the dead hold of a page; how many blocks that was, and whether the page has a free
    /// block now.
    fn recover_blocks(&self, page: usize, class: Class, dead: SlotIndex) -> (usize, bool) {
        let (mut freed, mut any_free) = (0, false);
        for index in 0..self.blocks(Some(class)) {
            let word = self.block(page, index);
            // Relaxed: reaping has ordered all that the dead did before this.
            let seen = BlockWord::from_u32(word.load(Ordering::Relaxed));
            any_free |= seen.state() == Some(State::Free);
            if seen.holder() == Some(dead) {
                let is_freed = exchange(word, seen, seen.after(Change::Recover));
                freed += usize::from(is_freed);
                any_free |= is_freed;
            }
        }
        (freed, any_free)
    }

    /// Makes a page with free blocks of what the dead were cutting, or putting together.
    fn lay_out_again(&self, page: usize, class: Class, dead: SlotIndex) {
        for index in 0..self.blocks(Some(class)) {
            let word = self.block(page, index);
            let seen = BlockWord::from_u32(word.load(Ordering::Relaxed));
            match seen.state() {
                Some(State::Unused) => {
                    exchange(word, seen, seen.after(Change::LayOut));
                }
                Some(State::Private(by) | State::Offered(by)) if by == dead => {
                    exchange(word, seen, seen.after(Change::Recover));
                }
                _ => {}
            }
        }
        if self.turn_page(page, Page::Busy(dead, Some(class)), Page::Class(class)) {
            self.hint_part(class, page);
        }
    }

    /// How many pages are tied to this head already.
    fn tails(&self, head: usize) -> usize {
        let after = head + 1..self.layout.pages();
        let tied = after
            .zip(1..)
            .take_while(|(page, distance)| self.page(*page) == Some(Page::Tail(*distance)));
        tied.count()
    }
}

/// AcqRel: Release pairs with the Acquire of who takes the block next: what the dead did to it is over,
/// which reaping has ordered before this, and it keeps its place before the next store. Acquire, for an
/// offer may have been accepted meanwhile.
fn exchange(word: &AtomicU32, was: BlockWord, is: Option<BlockWord>) -> bool {
    is.is_some_and(|is| {
        word.compare_exchange(
            was.as_u32(),
            is.as_u32(),
            Ordering::AcqRel,
            Ordering::Relaxed,
        )
        .is_ok()
    })
}

/// Why a row that says this cannot be recovered as this life.
fn who_recovers(row: u32, dead: SlotId) -> NotRecovered {
    match SlotId::from_u32(row) {
        Some(word) if word.generation() == dead.generation() && word.index() != dead.index() => {
            NotRecovered::By(word.index())
        }
        _ => NotRecovered::NotThere,
    }
}

impl fmt::Display for NotRecovered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotThere => f.write_str("this life of the slot holds nothing"),
            Self::By(slot) => write!(f, "slot {} recovers it", slot.as_usize()),
            Self::Itself => f.write_str("a slot cannot recover itself"),
        }
    }
}

impl core::error::Error for NotRecovered {}
