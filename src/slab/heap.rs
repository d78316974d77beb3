//! `Heap`: one thread's way to a zone. It allocates and frees without asking anybody.
//!
//! ```text
//!                         magazine of a class, private                the zone, shared
//!
//!   alloc ◄── pop ──┐   ┌───┬───┬───┬───┬───┬─ ─ ─┐
//!                   └── │ b │ b │ b │ b │   │     │ ◄── empty: take a batch ── words: Free → Private(me)
//!   free ─── push ────► └───┴───┴───┴───┴───┴─ ─ ─┘ ──── too full: give back ─► words: Private(me) → Free
//! ```
//!
//! A block in a magazine is private to the slot, as one in use is; so a kill loses neither.
//!
//! # Invariants
//!
//! - Freeing what is not held is refused and changes nothing (tests `a_block_is_freed_once`,
//!   `what_others_hold_is_not_freed`).
//! - All magazines of all slots together hold at most a sixteenth of the zone (test
//!   `magazines_take_little_of_a_zone`).
//!
//! # Why freeing writes the block's word
//!
//! The block stays the slot's, and so the word could stay as it is. But then its handle would stay
//! good, and freeing twice would put a block into the magazine twice, for two to have. A load and a
//! store of a word that is this slot's own make every copy of the handle stale. The line that the word
//! lies on may be shared with the words of fifteen other blocks; a batch of the smallest fills one.
//!
//! # Why dropping a heap does nothing
//!
//! A fork copies the heap, and the copy must not give away what the original holds. A process that
//! ends is recovered anyway; a thread that ends while its process lives says [`Heap::close`].

use core::fmt;

use super::geometry::{Class, Fit};
use super::handle::Handle;
use super::magazine::{MOST_BATCH, Magazine};
use super::word::{BlockWord, Change, State};
use super::zone::{Refused, Slab, refusal};
use crate::sync::{AtomicU32, Ordering};
use crate::table::{SlotId, SlotIndex};

/// The part of a zone that may lie in magazines: one of so many.
const PART: usize = 16;

/// One thread's way to a zone, about 6 KiB. Threads of one process have a heap each, with the same id.
#[must_use = "the zone's blocks are allocated through it"]
pub struct Heap<'z> {
    pub(super) slab: Slab<'z>,
    pub(super) id: SlotId,
    pub(super) magazines: [Magazine; Class::MOST],
}

/// Why a slot cannot use a zone.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum NotJoined {
    /// The zone was laid out for fewer slots.
    NoRow,
    /// An earlier life of the slot used the zone, and what it left has not been recovered. The new
    /// one could not be told from it.
    NotRecovered,
}

/// Why there is no block.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum NotAllocated {
    /// Nothing was asked for: 0 bytes.
    Nothing,
    /// The zone has not so many pages, not even when it is empty; or the alignment is no power of
    /// two, or larger than a page.
    TooLarge,
    /// The zone is full, for this size. Others may hold free blocks in their magazines.
    Full,
}

impl<'z> Heap<'z> {
    /// A heap for this life of a slot, which is the caller's own.
    ///
    /// # Errors
    ///
    /// [`NotJoined`].
    pub fn join(slab: Slab<'z>, id: SlotId) -> Result<Self, NotJoined> {
        Self::join_with_batch(slab, id, MOST_BATCH)
    }

    /// The same, with magazines that take and give back so many blocks at once at most; 0 switches
    /// them off.
    ///
    /// # Errors
    ///
    /// [`NotJoined`].
    pub fn join_with_batch(slab: Slab<'z>, id: SlotId, most: usize) -> Result<Self, NotJoined> {
        let row = slab.row(id.index()).ok_or(NotJoined::NoRow)?;
        // AcqRel: Acquire pairs with the Release by which recovery gave the row back: the blocks of
        // the last life are nobody's before one of this life is somebody's. Release: the row is there
        // before any word names its slot.
        let joined = row.compare_exchange(0, id.as_u32(), Ordering::AcqRel, Ordering::Acquire);
        if joined.is_err_and(|other| other != id.as_u32()) {
            return Err(NotJoined::NotRecovered);
        }
        let most = most_batch(&slab).min(most);
        let mut heap = Self {
            slab,
            id,
            magazines: [Magazine::EMPTY; Class::MOST],
        };
        for class in slab.layout.geometry().classes() {
            heap.magazines[class.as_usize()].batch = batch(&slab, class).min(most);
        }
        Ok(heap)
    }

    /// The zone.
    #[must_use]
    pub const fn slab(&self) -> &Slab<'z> {
        &self.slab
    }

    /// Whose heap it is.
    #[must_use]
    pub const fn id(&self) -> SlotId {
        self.id
    }

    pub(super) const fn me(&self) -> SlotIndex {
        self.id.index()
    }

    /// A block of at least `size` bytes at a multiple of `align`; what is in it is whatever the last
    /// user left. Usually costs no atomic operation and no cache line that others write; when a
    /// magazine is empty, one compare-and-exchange for each block of a batch.
    ///
    /// # Errors
    ///
    /// [`NotAllocated`]; being full costs a look at every page of the zone.
    pub fn alloc(&mut self, size: usize, align: usize) -> Result<Handle, NotAllocated> {
        if size == 0 {
            return Err(NotAllocated::Nothing);
        }
        match self.slab.layout.geometry().fit(size, align) {
            Some(Fit::Class(class)) => self.alloc_class(class),
            Some(Fit::Run(pages)) if pages <= self.slab.layout.pages() => self.alloc_run(pages),
            Some(Fit::Run(_)) | None => Err(NotAllocated::TooLarge),
        }
    }

    /// A block of a class that is known beforehand, as [`Geometry::fit`](super::Geometry::fit) finds
    /// it.
    ///
    /// # Errors
    ///
    /// [`NotAllocated`]; a class that the geometry does not have is too large.
    #[inline]
    pub fn alloc_class(&mut self, class: Class) -> Result<Handle, NotAllocated> {
        let magazine = &mut self.magazines[class.as_usize()];
        magazine.requests = magazine.requests.wrapping_add(1);
        match magazine.pop() {
            Some(block) => Ok(block),
            None => self.alloc_slowly(class),
        }
    }

    #[cold]
    fn alloc_slowly(&mut self, class: Class) -> Result<Handle, NotAllocated> {
        if self.slab.layout.geometry().blocks(class) == 0 {
            return Err(NotAllocated::TooLarge);
        }
        let found = self.refill(class);
        let magazine = &mut self.magazines[class.as_usize()];
        if !found {
            magazine.failures = magazine.failures.wrapping_add(1);
        }
        let block = magazine.pop();
        self.tell(class);
        block.ok_or(NotAllocated::Full)
    }

    /// Gives a block back that this slot holds: into the magazine, and from there, a batch at a time,
    /// to everybody. Every copy of the handle is stale from now on.
    ///
    /// # Errors
    ///
    /// [`Refused`]. A block that is freed twice is [`Refused::Stale`] the second time, unless two
    /// threads of one process do it at the very same instant.
    #[inline]
    pub fn free(&mut self, handle: Handle) -> Result<(), Refused> {
        let (word, held) = self.held(handle)?;
        self.slab.require_class(handle)?;
        let Some(class) = handle.class() else {
            return self.free_run(handle);
        };
        let Some(freed) = held.after(Change::Free) else {
            return Err(Refused::Stale); // it was found to be private
        };
        // Relaxed: the word stays this slot's own; whoever gets the block pairs with `give_back`.
        word.store(freed.as_u32(), Ordering::Relaxed);
        let magazine = &mut self.magazines[class.as_usize()];
        magazine.push(handle.in_life(freed.generation()));
        if magazine.is_too_full() {
            self.give_back(class, self.magazines[class.as_usize()].batch.max(1));
        }
        Ok(())
    }

    /// Empties the magazines, and gives every page back that has no block in use: for a process that
    /// has nothing better to do, and after a zone was full elsewhere. Returns how many pages it was.
    pub fn trim(&mut self) -> usize {
        self.empty_magazines();
        self.retire_pages()
    }

    /// Empties the magazines. The slot stays joined until it is recovered, as its other heaps do.
    pub fn close(mut self) {
        self.empty_magazines();
    }

    /// The word of a block that this slot holds, and what it says.
    #[inline]
    pub(super) fn held(&self, handle: Handle) -> Result<(&'z AtomicU32, BlockWord), Refused> {
        let word = self.slab.word_of(handle)?;
        // Relaxed: if the block is ours then we have written the word, or taken it with Acquire.
        let seen = BlockWord::from_u32(word.load(Ordering::Relaxed));
        match seen == BlockWord::new(State::Private(self.me()), handle.generation()) {
            true => Ok((word, seen)),
            false => Err(refusal(seen, handle)),
        }
    }
}

/// How many blocks of a class are worth taking at once.
fn batch(slab: &Slab<'_>, class: Class) -> usize {
    (2048 / slab.layout.geometry().size(class)).clamp(1, MOST_BATCH)
}

/// The largest batch with which the magazines of all slots hold no more than their part of the zone;
/// 0 if even batches of one are too much.
fn most_batch(slab: &Slab<'_>) -> usize {
    let geometry = slab.layout.geometry();
    let magazines = |most: usize| -> usize {
        let sizes = geometry.classes();
        sizes
            .map(|class| 2 * batch(slab, class).min(most) * geometry.size(class))
            .sum()
    };
    let part = slab.layout.length() / PART / slab.layout.slots();
    let mut most = MOST_BATCH;
    while most > 0 && magazines(most) > part {
        most /= 2;
    }
    most
}

impl fmt::Debug for Heap<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let in_magazines: usize = self.magazines.iter().map(Magazine::count).sum();
        f.debug_struct("Heap")
            .field("id", &self.id)
            .field("in_magazines", &in_magazines)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for NotJoined {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoRow => "the zone was laid out for fewer slots",
            Self::NotRecovered => "the slot's last life has not been recovered",
        })
    }
}

impl fmt::Display for NotAllocated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nothing => "a block of no bytes",
            Self::TooLarge => "larger than the zone, or aligned to more than a page",
            Self::Full => "the zone is full",
        })
    }
}

impl core::error::Error for NotJoined {}

impl core::error::Error for NotAllocated {}
