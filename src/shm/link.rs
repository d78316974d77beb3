//! `Link`: a word in shared memory that leads to an object that is the zone's.
//!
//! ```text
//!   insert   a box becomes the zone's          take      it becomes a box again, of one who takes it
//!   read     a copy, without a lock            replace   another in its place; the old one is a box
//! ```
//!
//! The order of its operations is [`slab::Link`](crate::slab::Link)'s: whatever instant a process is
//! killed at, an object has its link, or it is freed by recovery. An object cannot be written while it
//! is linked; who wants to change it takes it, or replaces it.
//!
//! # Invariants
//!
//! - A copy is of one object, whole, or there is none (test `a_copy_is_whole`).
//! - One of those who take an object has it (test `one_takes_it`).

use core::fmt;
use core::marker::PhantomData;

use super::joined::{Joined, ShmBox};
use super::plain::{ShmPod, ShmSync};
use crate::slab::{self, NotLinked};

/// A place for an object in shared memory: it leads nowhere at first. It is found in a zone's fixed part,
/// among its roots, or in an object; there are none elsewhere.
#[repr(transparent)]
pub struct Link<T> {
    link: slab::Link,
    leads_to: PhantomData<fn() -> T>,
}

/// The box was not inserted, and comes back.
#[must_use = "dropping it frees the block"]
pub struct NotInserted<'h, 'z, T> {
    /// What was to be inserted.
    pub block: ShmBox<'h, 'z, T>,
    /// Why it was not.
    pub why: NotLinked,
}

impl<T> Link<T> {
    /// Whether it leads nowhere, at this instant. A link that has become stale is cleared.
    #[must_use]
    pub fn is_empty(&self, joined: &Joined<'_>) -> bool {
        let heap = joined.heap.borrow();
        self.link.fresh(heap.slab()).is_none()
    }

    /// Leaves a block to the zone, by a link that leads nowhere yet.
    ///
    /// # Errors
    ///
    /// [`NotInserted`], with the box: most often as the link leads to another block.
    pub fn insert<'h, 'z>(&self, block: ShmBox<'h, 'z, T>) -> Result<(), NotInserted<'h, 'z, T>> {
        let heap = &block.joined().heap;
        let inserted = heap.borrow_mut().insert(&self.link, block.handle());
        match inserted {
            Ok(()) => {
                block.given();
                Ok(())
            }
            Err(why) => Err(NotInserted { block, why }),
        }
    }

    /// Takes the object out of the zone: it is this slot's. `None` if there is none, or another was
    /// quicker.
    #[must_use = "dropping it frees the block"]
    pub fn take<'h, 'z>(&self, joined: &'h Joined<'z>) -> Option<ShmBox<'h, 'z, T>> {
        let taken = joined.heap.borrow_mut().take(&self.link)?;
        joined.hold(taken).ok()
    }

    /// Leaves a block to the zone in the place of the one that the link leads to, which is this slot's
    /// then; `None` if there was none.
    ///
    /// # Errors
    ///
    /// [`NotInserted`], with the new box: another has taken or replaced the object at this instant.
    pub fn replace<'h, 'z>(
        &self,
        block: ShmBox<'h, 'z, T>,
    ) -> Result<Option<ShmBox<'h, 'z, T>>, NotInserted<'h, 'z, T>> {
        let joined = block.joined();
        let replaced = joined.heap.borrow_mut().replace(&self.link, block.handle());
        match replaced {
            Ok(before) => {
                block.given();
                Ok(before.and_then(|before| joined.hold(before).ok()))
            }
            Err(why) => Err(NotInserted { block, why }),
        }
    }
}

impl<T: ShmPod> Link<T> {
    /// Copies the object out, without a lock; `None` if there is none, or it was taken meanwhile.
    #[must_use]
    pub fn read(&self, joined: &Joined<'_>) -> Option<T> {
        self.read_with_tail(joined, &mut [])
    }

    /// The same, and as much of its tail as there is and as fits in here. How much of it means
    /// something is for the `T` to say.
    #[must_use]
    pub fn read_with_tail(&self, joined: &Joined<'_>, tail: &mut [u8]) -> Option<T> {
        let slab = *joined.heap.borrow().slab();
        let handle = self.link.fresh(&slab)?;
        let copied = slab.read(handle, |_| {
            let (at, length) = joined.place_of::<T>(handle).ok()?;
            let size = size_of::<T>();
            let fits = tail.len().min(length - size);
            let mapping = joined.zone().mapping();
            let is_there = mapping.copy_out(at + size, &mut tail[..fits]);
            is_there.then(|| joined.copy(at))
        });
        copied.ok().flatten()
    }
}

impl<T: ShmSync> Link<T> {
    /// The object where it lies; `None` if there is none. It stays memory that may be looked at, whoever
    /// takes the object; but once somebody has taken it, what is there is not this object any more.
    #[must_use]
    pub fn get<'z>(&self, joined: &Joined<'z>) -> Option<&'z T> {
        let slab = *joined.heap.borrow().slab();
        let handle = self.link.fresh(&slab)?;
        let place = slab.read(handle, |_| joined.place_of::<T>(handle));
        let (at, _) = place.ok()?.ok()?;
        joined.zone().mapping().at(at)
    }
}

impl<T> fmt::Debug for Link<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Link").field(&self.link.handle()).finish()
    }
}

impl<T> fmt::Debug for NotInserted<'_, '_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NotInserted")
            .field("block", &self.block)
            .field("why", &self.why)
            .finish()
    }
}

impl<T> fmt::Display for NotInserted<'_, '_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.why.fmt(f)
    }
}

impl<T> core::error::Error for NotInserted<'_, '_, T> {}
