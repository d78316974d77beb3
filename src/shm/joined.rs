//! `Joined` and `ShmBox`: allocating in a zone, and holding what was allocated.
//!
//! ```text
//!   Zone ──join(id)──► Joined ──alloc(value)──► ShmBox<T> ──dropped──► free
//!                                                │    ▲
//!                                  Link::insert  ▼    │ Link::take
//!                                               the zone's
//! ```
//!
//! A box is the one name of its block in this process: it cannot be freed twice, nor used when it is
//! gone. What a process held when it was killed, boxes and all, is freed by recovery; so is a box
//! that was forgotten.
//!
//! # Invariants
//!
//! - What is written is what is read, at every size and place (test `what_is_written_is_read`).
//! - Dropping a box frees its block (test `a_dropped_box_is_free`).
//! - A box that leads nowhere any more, because somebody has scribbled on the zone's words, harms
//!   nobody when it is used or dropped (test `a_box_outlives_its_block`).

use core::cell::RefCell;
use core::fmt;
use core::marker::PhantomData;

use super::plain::{ShmPod, ShmSync, bytes_of};
use super::zone::Zone;
use crate::slab::{Handle, Heap, NotAllocated, NotJoined, Refused};
use crate::table::SlotId;

/// One thread's way to a zone, in the name of its slot; about 10 KiB. To end it, and be what a process
/// is that never joined, takes recovery; [`Joined::trim`] gives back what it has in stock.
#[must_use = "the zone's blocks are allocated through it"]
pub struct Joined<'z> {
    zone: &'z Zone,
    pub(super) heap: RefCell<Heap<'z>>,
}

/// A block that this process holds: a `T`, and a tail of bytes behind it. Dropped, it is freed.
#[must_use = "dropping it frees the block"]
pub struct ShmBox<'h, 'z, T> {
    joined: &'h Joined<'z>,
    handle: Handle,
    /// From the beginning of the mapping.
    at: usize,
    length: usize,
    holds: PhantomData<fn() -> T>,
}

/// The bytes do not all lie in the block's tail; nothing was copied.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Outside;

impl<'z> Joined<'z> {
    pub(super) fn new(zone: &'z Zone, id: SlotId) -> Result<Self, NotJoined> {
        Ok(Self {
            zone,
            heap: RefCell::new(Heap::join(zone.slab(), id)?),
        })
    }

    /// The zone.
    pub const fn zone(&self) -> &'z Zone {
        self.zone
    }

    /// In whose name.
    #[must_use]
    pub fn id(&self) -> SlotId {
        self.heap.borrow().id()
    }

    /// A block with this value in it.
    ///
    /// # Errors
    ///
    /// [`NotAllocated`].
    pub fn alloc<T: ShmPod>(&self, value: T) -> Result<ShmBox<'_, 'z, T>, NotAllocated> {
        self.alloc_with_tail(value, 0)
    }

    /// A block with this value in it, and at least so many bytes behind it, which are whatever the
    /// last user left there.
    ///
    /// # Errors
    ///
    /// [`NotAllocated`].
    pub fn alloc_with_tail<T: ShmPod>(
        &self,
        value: T,
        tail: usize,
    ) -> Result<ShmBox<'_, 'z, T>, NotAllocated> {
        let mut block: ShmBox<'_, 'z, T> = self.alloc_raw(tail)?;
        block.write(value);
        Ok(block)
    }

    /// A block of at least so many bytes, which are its tail.
    ///
    /// # Errors
    ///
    /// [`NotAllocated`].
    pub fn alloc_bytes(&self, length: usize) -> Result<ShmBox<'_, 'z, ()>, NotAllocated> {
        self.alloc_raw(length)
    }

    /// A block with a new `T` in it, all zeros, to be used where it lies.
    ///
    /// # Errors
    ///
    /// [`NotAllocated`].
    pub fn alloc_shared<T: ShmSync>(&self) -> Result<ShmBox<'_, 'z, T>, NotAllocated> {
        let block: ShmBox<'_, 'z, T> = self.alloc_raw(0)?;
        let zeros = [0; 64];
        for at in (0..size_of::<T>()).step_by(zeros.len()) {
            let length = zeros.len().min(size_of::<T>() - at);
            self.zone.mapping().copy_in(block.at + at, &zeros[..length]);
        }
        Ok(block)
    }

    /// The block that another process has offered by [`ShmBox::offer`], and sent the handle of; or
    /// one that this process has offered itself, which withdraws it.
    ///
    /// # Errors
    ///
    /// [`Refused`]; [`Refused::NoSuchBlock`] also where the block is too small for a `T`, which is its
    /// sender's then.
    pub fn accept<T>(&self, handle: Handle) -> Result<ShmBox<'_, 'z, T>, Refused> {
        self.place_of::<T>(handle)?;
        let accepted = self.heap.borrow_mut().accept(handle)?;
        self.hold(accepted)
    }

    /// Gives back all that is in stock, and every page that has no block in use; returns how many
    /// pages it was. For a process that has nothing better to do.
    pub fn trim(&self) -> usize {
        self.heap.borrow_mut().trim()
    }

    fn alloc_raw<T>(&self, tail: usize) -> Result<ShmBox<'_, 'z, T>, NotAllocated> {
        let size = size_of::<T>().checked_add(tail);
        let size = size.ok_or(NotAllocated::TooLarge)?;
        let handle = self.heap.borrow_mut().alloc(size, align_of::<T>())?;
        self.hold(handle).map_err(|_| NotAllocated::Full)
    }

    /// A box around a block that this slot holds; freed, if it is none for a `T`.
    pub(super) fn hold<T>(&self, handle: Handle) -> Result<ShmBox<'_, 'z, T>, Refused> {
        match self.place_of::<T>(handle) {
            Ok((at, length)) => Ok(ShmBox {
                joined: self,
                handle,
                at,
                length,
                holds: PhantomData,
            }),
            Err(refused) => {
                let _ = self.heap.borrow_mut().free(handle);
                Err(refused)
            }
        }
    }

    /// Where a block lies, from the beginning of the mapping, if it has room for a `T`.
    pub(super) fn place_of<T>(&self, handle: Handle) -> Result<(usize, usize), Refused> {
        let extent = self.heap.borrow().slab().extent(handle)?;
        let at = self.zone.start() + extent.offset;
        if extent.length < size_of::<T>() || !at.is_multiple_of(align_of::<T>()) {
            return Err(Refused::NoSuchBlock);
        }
        Ok((at, extent.length))
    }

    pub(super) fn copy<T: ShmPod>(&self, at: usize) -> T {
        let mut value = T::ZERO;
        self.zone.mapping().copy_out(at, bytes_of(&mut value));
        value
    }
}

impl<'h, 'z, T> ShmBox<'h, 'z, T> {
    /// The name of the block, as it is until the block is freed, taken or accepted.
    #[must_use]
    pub const fn handle(&self) -> Handle {
        self.handle
    }

    /// How many bytes there are behind the `T`: as many as were asked for, or more.
    #[must_use]
    pub const fn tail_length(&self) -> usize {
        self.length - size_of::<T>()
    }

    /// Copies bytes out of the tail, from this one on.
    ///
    /// # Errors
    ///
    /// [`Outside`].
    pub fn read_tail(&self, from: usize, bytes: &mut [u8]) -> Result<(), Outside> {
        let at = self.tail_at(from, bytes.len())?;
        match self.joined.zone.mapping().copy_out(at, bytes) {
            true => Ok(()),
            false => Err(Outside),
        }
    }

    /// Copies bytes into the tail, from this one on.
    ///
    /// # Errors
    ///
    /// [`Outside`].
    pub fn write_tail(&mut self, from: usize, bytes: &[u8]) -> Result<(), Outside> {
        let at = self.tail_at(from, bytes.len())?;
        match self.joined.zone.mapping().copy_in(at, bytes) {
            true => Ok(()),
            false => Err(Outside),
        }
    }

    fn tail_at(&self, from: usize, length: usize) -> Result<usize, Outside> {
        let end = from.checked_add(length).ok_or(Outside)?;
        match end <= self.tail_length() {
            true => Ok(self.at + size_of::<T>() + from),
            false => Err(Outside),
        }
    }

    /// Offers the block to whoever is sent the handle, by [`Handle::as_u64`]. Until it is accepted, it
    /// is still this slot's, and freed with it.
    ///
    /// # Errors
    ///
    /// [`Refused`], where somebody has scribbled on the block's word.
    pub fn offer(self) -> Result<Handle, Refused> {
        let handle = self.handle;
        self.joined.heap.borrow_mut().offer(handle)?;
        core::mem::forget(self); // it is freed by who accepts it
        Ok(handle)
    }

    /// Gives up the name, as the block has become the zone's.
    pub(super) fn given(self) {
        core::mem::forget(self);
    }

    pub(super) const fn joined(&self) -> &'h Joined<'z> {
        self.joined
    }
}

impl<T: ShmPod> ShmBox<'_, '_, T> {
    /// Copies the value out.
    #[must_use]
    pub fn read(&self) -> T {
        self.joined.copy(self.at)
    }

    /// Copies another value in.
    pub fn write(&mut self, mut value: T) {
        let bytes = bytes_of(&mut value);
        self.joined.zone.mapping().copy_in(self.at, bytes);
    }
}

impl<T: ShmSync> ShmBox<'_, '_, T> {
    /// The `T` where it lies.
    ///
    /// # Panics
    ///
    /// Never: that it lies within the mapping was checked when the box was made.
    #[must_use]
    pub fn get(&self) -> &T {
        let found = self.joined.zone.mapping().at(self.at);
        found.expect("the mapping has not become shorter")
    }
}

impl<T> Drop for ShmBox<'_, '_, T> {
    fn drop(&mut self) {
        // It is refused where somebody has scribbled on the block's word: it is not ours then.
        let _ = self.joined.heap.borrow_mut().free(self.handle);
    }
}

impl fmt::Debug for Joined<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Joined")
            .field("zone", &self.zone.name())
            .field("heap", &self.heap)
            .finish()
    }
}

impl<T> fmt::Debug for ShmBox<'_, '_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ShmBox").field(&self.handle).finish()
    }
}

impl fmt::Display for Outside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the bytes do not lie in the block")
    }
}

impl core::error::Error for Outside {}
