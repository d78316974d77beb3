//! What may live in shared memory: [`ShmPod`] is copied in and out, [`ShmSync`] is used where it lies.
//!
//! ```text
//!                    in shared memory                     in this process
//!   ShmPod     words, read and written one by one   ◄──►  a value of its own          no reference into the memory
//!   ShmSync    atomics                               ◄──   &T                          whoever writes, it stays valid
//! ```
//!
//! Another process may write anything at any instant. So there is never a `&T` to plain data there, and
//! never a `&mut T` to anything: a copy is of this process alone, and its bits are whatever they were.
//!
//! # Invariants
//!
//! - A type with padding, with a field that not every bit pattern suits, or with an address, cannot be
//!   declared by [`shm_struct!`](crate::shm_struct) (tests `what_may_be_shared`).
//!
//! # What is not known
//!
//! A reader that is late copies words of 64 bits from a block that is something else by now, perhaps
//! atomics of 32 bits that another writes at that instant. What it has read is thrown away; that the
//! two may overlap is what every processor that Linux runs on says, and the language does not.

use crate::sync::{AtomicU32, AtomicU64, CachePadded, Held, Mutex};

/// Plain data: any bits are a value, and every byte belongs to a field.
///
/// # Safety
///
/// Every bit pattern is a valid value, there is no padding, and nothing in it is an address, or means
/// something in one process alone.
pub unsafe trait ShmPod: Copy + 'static {
    /// All bits zero.
    const ZERO: Self;
}

/// What processes may use where it lies: made of atomics alone.
///
/// # Safety
///
/// Every byte lies in an atomic, or is never looked at; every bit pattern is a valid value, and so is
/// what other processes change it to; all zero is a new one; it can be dropped without a trace.
pub unsafe trait ShmSync: Sync {}

macro_rules! plain {
    ($($zero:literal: $($type:ty),*;)*) => { $($(
        // SAFETY: any bits are a number, and it has no padding.
        unsafe impl ShmPod for $type {
            const ZERO: Self = $zero;
        }
    )*)* };
}
plain!(0: u8, u16, u32, u64, u128, i8, i16, i32, i64, i128; 0.0: f32, f64;);

// SAFETY: an array has what its elements have, and nothing between them.
unsafe impl<T: ShmPod, const N: usize> ShmPod for [T; N] {
    const ZERO: Self = [T::ZERO; N];
}

// SAFETY: there is no byte.
unsafe impl ShmPod for () {
    const ZERO: Self = ();
}

macro_rules! shared {
    ($([$($generics:tt)*] $type:ty),* $(,)?) => { $(
        // SAFETY: it is made of atomics, or is an array, or has a line, of what is; zero is a new one.
        unsafe impl<$($generics)*> ShmSync for $type {}
    )* };
}
shared!(
    [] AtomicU32,
    [] AtomicU64,
    [] Mutex,
    [] Held,
    [] crate::slab::Link,
    [T] super::Link<T>,
    [T: ShmSync, const N: usize] [T; N],
    [T: ShmSync] CachePadded<T>,
);

/// The bytes of a value of this process's own.
pub(super) fn bytes_of<T: ShmPod>(value: &mut T) -> &mut [u8] {
    let start = core::ptr::from_mut(value).cast();
    // SAFETY: the bytes are those of `value`, which is borrowed for as long; all of them belong to
    // fields, and any of them make a value, as `ShmPod` says.
    unsafe { core::slice::from_raw_parts_mut(start, size_of::<T>()) }
}

/// Declares a struct that may live in shared memory, as plain data, or, with `sync`, as atomics; every
/// field is checked.
///
/// ```
/// use forkmesh::sync::{AtomicU64, Mutex};
/// use forkmesh::{shm::Link, shm_struct};
///
/// shm_struct! {
///     /// One visitor: copied in and out.
///     pub struct Visitor {
///         pub address: [u8; 16],
///         pub count: u32,
///         pub last_seen: u32,
///     }
/// }
///
/// shm_struct! {
///     /// Where they are found: used where it lies.
///     pub sync struct Visitors {
///         pub lock: Mutex,
///         pub spare: [forkmesh::sync::AtomicU32; 1],
///         pub total: AtomicU64,
///         pub buckets: [Link<Visitor>; 256],
///     }
/// }
/// ```
///
/// A field that may not be there, and a gap, is an error:
///
/// ```compile_fail
/// forkmesh::shm_struct! { struct WithAGap { a: u8, b: u64 } }
/// ```
///
/// ```compile_fail
/// forkmesh::shm_struct! { struct WithABool { a: bool } }
/// ```
///
/// ```compile_fail
/// forkmesh::shm_struct! { sync struct WithPlainData { a: u64 } }
/// ```
#[macro_export]
macro_rules! shm_struct {
    ($(#[$attribute:meta])* $visibility:vis sync struct $name:ident {
        $($(#[$about:meta])* $access:vis $field:ident: $type:ty),* $(,)?
    }) => {
        $(#[$attribute])*
        #[repr(C)]
        $visibility struct $name { $($(#[$about])* $access $field: $type),* }
        const _: () = {
            const fn check<T: $crate::shm::ShmSync>() {}
            $(check::<$type>();)*
            assert!(!::core::mem::needs_drop::<$name>());
        };
        $crate::shm_struct!(@vouch ShmSync $name {});
    };
    ($(#[$attribute:meta])* $visibility:vis struct $name:ident {
        $($(#[$about:meta])* $access:vis $field:ident: $type:ty),* $(,)?
    }) => {
        $(#[$attribute])*
        #[derive(Clone, Copy)]
        #[repr(C)]
        $visibility struct $name { $($(#[$about])* $access $field: $type),* }
        const _: () = assert!(
            ::core::mem::size_of::<$name>() == 0 $(+ ::core::mem::size_of::<$type>())*,
            "there is a gap between the fields, or behind them",
        );
        $crate::shm_struct!(@vouch ShmPod $name {
            const ZERO: Self = Self { $($field: <$type as $crate::shm::ShmPod>::ZERO),* };
        });
    };
    (@vouch $trait:ident $name:ident { $($body:tt)* }) => {
        // SAFETY: the struct has the layout of its fields, each of which is such a type, as the
        // checks above have said; it is declared here, so that nothing else is in it.
        unsafe impl $crate::shm::$trait for $name { $($body)* }
    };
}
