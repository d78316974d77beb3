//! The one place where shared memory becomes references: to atomics, within bounds, at their alignment.
//!
//! ```text
//!   Mapping ──words_at, sync_at──► &T, &[T]      T: ShmSync, for as long as the mapping is borrowed
//!           ──copy_out──► bytes                   relaxed loads of whole words
//!           ◄──copy_in─── bytes                   relaxed stores of whole words
//! ```
//!
//! # Invariants
//!
//! - No offset and no length leads out of the mapping, and none to a place that is not aligned (test
//!   `no_reference_leads_out_of_a_mapping`).
//!
//! # Why not `&[u8]`
//!
//! Two processes that write a byte at once are a data race, for which a reference is a promise that
//! there is none. Atomic words cost the same, when nobody asks for an order.

use core::ptr;
use core::slice;

use super::mapping::Mapping;
use super::plain::ShmSync;
use crate::sync::{AtomicU64, Ordering};

const WORD: usize = size_of::<u64>();

impl Mapping {
    /// So many `T` from this byte on; `None` if they are not all within the mapping, or the place is
    /// not a multiple of their alignment.
    #[must_use]
    pub fn slice<T: ShmSync>(&self, offset: usize, count: usize) -> Option<&[T]> {
        let length = size_of::<T>().checked_mul(count)?;
        let end = offset.checked_add(length)?;
        let start = self.start() + offset.min(self.length());
        if end > self.length() || !start.is_multiple_of(align_of::<T>()) {
            return None;
        }
        let start: *const T = ptr::with_exposed_provenance(start);
        // SAFETY: the range lies within the mapping, which stays as long as `self` is borrowed, and is
        // aligned; `T` is made of atomics and takes any bits, so that others may write meanwhile.
        Some(unsafe { slice::from_raw_parts(start, count) })
    }

    /// The `T` that lies at this byte, as [`Mapping::slice`] finds it.
    #[must_use]
    pub fn at<T: ShmSync>(&self, offset: usize) -> Option<&T> {
        self.slice(offset, 1)?.first()
    }

    /// Where in the mapping this lies; `None` if it lies elsewhere.
    #[must_use]
    pub fn offset_of<T: ShmSync>(&self, shared: &T) -> Option<usize> {
        let offset = ptr::from_ref(shared).addr().checked_sub(self.start())?;
        (offset < self.length()).then_some(offset)
    }

    /// Copies so many bytes out, from any place: what others write meanwhile is copied in part. Copies
    /// nothing, and says so, if they are not all within the mapping.
    pub(super) fn copy_out(&self, offset: usize, bytes: &mut [u8]) -> bool {
        let Some((words, skipped)) = self.words_around(offset, bytes.len()) else {
            return false;
        };
        // Relaxed: whoever copies orders the copying as a whole.
        let mut next = words.iter().map(|word| word.load(Ordering::Relaxed));
        let (head, rest) = bytes.split_at_mut(lead(skipped, bytes.len()));
        if !head.is_empty() {
            let word = next.next().unwrap_or(0).to_ne_bytes();
            head.copy_from_slice(&word[skipped..skipped + head.len()]);
        }
        for (part, word) in rest.chunks_mut(WORD).zip(next) {
            part.copy_from_slice(&word.to_ne_bytes()[..part.len()]);
        }
        true
    }

    /// Copies so many bytes in, to a place that is this process's for the time. The words at both
    /// ends are written whole: what is beside the bytes there stays as it was, if nobody else
    /// writes it. Copies nothing, and says so, if they are not all within the mapping.
    pub(super) fn copy_in(&self, offset: usize, bytes: &[u8]) -> bool {
        let Some((words, skipped)) = self.words_around(offset, bytes.len()) else {
            return false;
        };
        let (head, rest) = bytes.split_at(lead(skipped, bytes.len()));
        let whole = if head.is_empty() {
            words
        } else {
            put(&words[0], skipped, head);
            &words[1..]
        };
        for (part, word) in rest.chunks(WORD).zip(whole) {
            match <[u8; WORD]>::try_from(part) {
                Ok(part) => word.store(u64::from_ne_bytes(part), Ordering::Relaxed),
                Err(_) => put(word, 0, part),
            }
        }
        true
    }

    /// The words that these bytes lie in, and how many bytes of the first come before them.
    fn words_around(&self, offset: usize, length: usize) -> Option<(&[AtomicU64], usize)> {
        let skipped = offset % WORD;
        let count = length.checked_add(skipped)?.div_ceil(WORD);
        Some((self.slice(offset - skipped, count)?, skipped))
    }
}

/// How many bytes lie in a first word of which so many are skipped.
fn lead(skipped: usize, length: usize) -> usize {
    if skipped == 0 {
        0
    } else {
        length.min(WORD - skipped)
    }
}

fn put(word: &AtomicU64, at: usize, part: &[u8]) {
    let mut bytes = word.load(Ordering::Relaxed).to_ne_bytes();
    bytes[at..at + part.len()].copy_from_slice(part);
    word.store(u64::from_ne_bytes(bytes), Ordering::Relaxed);
}
