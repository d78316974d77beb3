//! The atomics of everything shared: core's own, or loom's when a model runs.
//!
//! ```text
//!                      │ load │ store, swap, compare_exchange, fetch_* │
//!   as built           │ core │ core                                   │   same layout, same code
//!   under cfg(loom)    │ loom │ a step of the kill, then loom          │   a model owns its structs
//! ```
//!
//! # Why not re-export core's types
//!
//! A model must be able to end a process before any store of its: that needs a place where the
//! store passes through. And a type of our own can be told from one that a model does not see.
#![allow(clippy::disallowed_types)] // here, and in `sys::futex`, the plain ones are wrapped

use core::ops::Deref;
#[cfg(not(loom))]
use core::sync::atomic as raw;
#[cfg(loom)]
use loom::sync::atomic as raw;

pub use core::sync::atomic::Ordering;
pub use raw::fence;

use super::kill;

/// How often a locker looks again before it sleeps: about a microsecond. A model tries every order
/// anyway.
pub(super) const SPINS: u32 = if cfg!(loom) { 0 } else { 100 };

macro_rules! atomic {
    ($name:ident, $value:ident, $bits:literal) => {
        #[doc = concat!("A word of ", $bits, " bits that processes share; all zero is 0.")]
        ///
        /// The methods are those of core's type of this name.
        #[cfg_attr(not(loom), repr(transparent))]
        #[derive(Debug, Default)]
        pub struct $name(pub(super) raw::$name);

        impl $name {
            /// A word with this value.
            #[cfg(not(loom))]
            #[must_use]
            pub const fn new(value: $value) -> Self {
                Self(raw::$name::new(value))
            }

            /// A word with this value.
            #[cfg(loom)]
            #[must_use]
            pub fn new(value: $value) -> Self {
                Self(raw::$name::new(value))
            }

            /// Reads the word.
            #[inline]
            #[must_use]
            pub fn load(&self, order: Ordering) -> $value {
                self.0.load(order)
            }

            /// Writes the word.
            #[inline]
            pub fn store(&self, value: $value, order: Ordering) {
                kill::step();
                self.0.store(value, order);
            }

            /// Writes the word, and returns what it was.
            #[inline]
            pub fn swap(&self, value: $value, order: Ordering) -> $value {
                kill::step();
                self.0.swap(value, order)
            }

            /// Writes `new` if the word is `current`, and returns what it was.
            ///
            /// # Errors
            ///
            /// What the word is, where that is something else; nothing was written.
            #[inline]
            pub fn compare_exchange(
                &self,
                current: $value,
                new: $value,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$value, $value> {
                kill::step();
                self.0.compare_exchange(current, new, success, failure)
            }

            /// Adds, wrapping, and returns what the word was.
            #[inline]
            pub fn fetch_add(&self, value: $value, order: Ordering) -> $value {
                kill::step();
                self.0.fetch_add(value, order)
            }

            /// Sets bits, and returns what the word was.
            #[inline]
            pub fn fetch_or(&self, value: $value, order: Ordering) -> $value {
                kill::step();
                self.0.fetch_or(value, order)
            }

            /// Keeps the bits that are set here, and returns what the word was.
            #[inline]
            pub fn fetch_and(&self, value: $value, order: Ordering) -> $value {
                kill::step();
                self.0.fetch_and(value, order)
            }
        }
    };
}

atomic!(AtomicU32, u32, "32");
atomic!(AtomicU64, u64, "64");

/// Tells the processor that this is a loop of waiting; lets another thread of a model run.
#[inline]
pub fn spin_hint() {
    #[cfg(not(loom))]
    core::hint::spin_loop();
    #[cfg(loom)]
    loom::thread::yield_now();
}

/// A value on a cache line of its own (64 bytes), so that writing it disturbs no neighbour.
///
/// # Why not 128 bytes
///
/// The prefetcher of many processors fetches lines in pairs, and 128 would keep it away, too; it
/// would also double what a row a slot costs, 1024 times.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[repr(C, align(64))]
pub struct CachePadded<T>(T);

impl<T> CachePadded<T> {
    /// Puts the value on a line of its own.
    #[must_use]
    pub const fn new(value: T) -> Self {
        Self(value)
    }

    /// The value, alone.
    #[must_use]
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T> Deref for CachePadded<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

#[cfg(not(loom))]
mod layout {
    use super::{AtomicU32, AtomicU64, CachePadded};
    use static_assertions::{assert_eq_align, assert_eq_size, const_assert_eq};

    assert_eq_size!(AtomicU32, u32);
    assert_eq_size!(AtomicU64, u64);
    assert_eq_align!(AtomicU32, core::sync::atomic::AtomicU32);
    assert_eq_align!(AtomicU64, core::sync::atomic::AtomicU64);
    const_assert_eq!(size_of::<CachePadded<AtomicU64>>(), 64);
    const_assert_eq!(align_of::<CachePadded<AtomicU64>>(), 64);
}
