//! `Ends`: what is kept for each slot beside the table, because a table is plain data.

use crate::table::{SLOTS, SlotIndex};

/// One thing a slot, or none.
#[derive(Debug)]
pub(super) struct Ends<T>([Option<T>; SLOTS]);

impl<T> Ends<T> {
    pub(super) const fn new() -> Self {
        Self([const { None }; SLOTS])
    }

    pub(super) fn at(&self, index: SlotIndex) -> Option<&T> {
        self.0[index.as_usize()].as_ref()
    }

    /// Puts a thing there; what was there is dropped.
    pub(super) fn put(&mut self, index: SlotIndex, thing: T) {
        self.0[index.as_usize()] = Some(thing);
    }

    pub(super) fn take(&mut self, index: SlotIndex) -> Option<T> {
        self.0[index.as_usize()].take()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> + Clone {
        self.0.iter().flatten()
    }

    /// Takes out everything, lowest slot first.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = (SlotIndex, T)> + '_ {
        self.0.iter_mut().enumerate().filter_map(|(index, thing)| {
            let index = SlotIndex::new(index)?;
            thing.take().map(|thing| (index, thing))
        })
    }
}
