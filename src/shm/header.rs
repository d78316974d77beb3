//! The header of a zone: read once, checked against what the kernel says, and kept as a private copy.
//!
//! ```text
//!   word   0       1         2         3      4       5       6       7         8     9        10 ..= 17
//!        ┌───────┬─────────┬─────────┬──────┬───────┬───────┬───────┬─────────┬─────┬────────┬──────────┐
//!        │ magic │ version │ layout  │ size │ length│ fixed │ slots │ number  │ tag │ length │ the name │
//!        └───────┴─────────┴─────────┴──────┴───────┴───────┴───────┴─────────┴─────┴─of name┴──────────┘
//!   then, from byte 512: the fixed part; from the next page: the slab
//! ```
//!
//! # Invariants
//!
//! - Whatever is in the words, reading them ends, and nothing that they say is used unless it fits the
//!   real length and the compiled-in sizes (test `no_header_leads_astray`).

use core::str;

use heapless::String;

use super::tag::Tag;
use crate::slab::{Layout, STANDARD};
use crate::sync::{AtomicU64, Ordering};
use crate::sys::memory::PAGE;

/// "fkmzone" and a byte that is no text.
const MAGIC: u64 = u64::from_be_bytes(*b"fkmzone\xF5");
const VERSION: u64 = 1;
/// Where the fixed part begins, in bytes.
pub(super) const FIXED: usize = 512;
/// How many words are reserved for the header.
pub(super) const WORDS: usize = FIXED / 8;
/// How many bytes a name can have.
pub(super) const LONGEST_NAME: usize = 64;
const NAME: usize = 10;
/// How many zones can be told apart.
pub(super) const NUMBERS: usize = 64;

/// What a zone says of itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Header {
    pub(super) name: String<LONGEST_NAME>,
    pub(super) tag: Tag,
    /// What was asked for, before it was rounded.
    pub(super) size: usize,
    pub(super) length: usize,
    pub(super) fixed: usize,
    pub(super) slots: usize,
    pub(super) number: usize,
}

/// Why words are no header of a zone of this length.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Misread {
    Unmade,
    Version,
    Damaged,
    Geometry,
}

impl Header {
    /// Where the slab begins; beyond the end, if the fixed part is too long.
    pub(super) const fn slab_start(fixed: usize) -> usize {
        match FIXED.saturating_add(fixed).checked_next_multiple_of(PAGE) {
            Some(start) => start,
            None => usize::MAX - PAGE + 1,
        }
    }

    /// How the slab is cut.
    pub(super) fn layout(&self) -> Result<Layout, crate::slab::NoLayout> {
        let room = self.length.saturating_sub(Self::slab_start(self.fixed));
        Layout::new(&STANDARD, room, self.slots)
    }

    /// Writes all of it; the magic last, so that who finds it finds the rest.
    pub(super) fn write(&self, words: &[AtomicU64], layout: &Layout) {
        let numbers = [
            VERSION,
            layout.fingerprint(),
            self.size as u64,
            self.length as u64,
            self.fixed as u64,
            self.slots as u64,
            self.number as u64,
            self.tag.as_u64(),
            self.name.len() as u64,
        ];
        let parts = self.name.as_bytes().chunks(8).map(|part| {
            let mut bytes = [0; 8];
            bytes[..part.len()].copy_from_slice(part);
            u64::from_ne_bytes(bytes)
        });
        for (word, value) in words.iter().skip(1).zip(numbers.into_iter().chain(parts)) {
            word.store(value, Ordering::Relaxed);
        }
        if let Some(magic) = words.first() {
            // Release: pairs with the Acquire in `read`.
            magic.store(MAGIC, Ordering::Release);
        }
    }

    /// What the words say of memory that has this length.
    pub(super) fn read(words: &[AtomicU64], length: usize) -> Result<(Self, Layout), Misread> {
        let mut said = [0_u64; NAME + LONGEST_NAME / 8];
        for (value, word) in said.iter_mut().zip(words) {
            // Acquire: pairs with the Release in `write`.
            *value = word.load(Ordering::Acquire);
        }
        let [magic, version, fingerprint, ..] = said;
        match (magic, version) {
            (MAGIC, VERSION) => {}
            (MAGIC, _) => return Err(Misread::Version),
            _ => return Err(Misread::Unmade),
        }
        let number = |word: usize| usize::try_from(said[word]).map_err(|_| Misread::Damaged);
        let header = Self {
            name: name(&said[NAME..], number(9)?).ok_or(Misread::Damaged)?,
            tag: Tag::from_u64(said[8]),
            size: number(3)?,
            length: number(4)?,
            fixed: number(5)?,
            slots: number(6)?,
            number: number(7)?,
        };
        if header.length != length || header.number >= NUMBERS {
            return Err(Misread::Damaged);
        }
        let layout = header.layout().map_err(|_| Misread::Damaged)?;
        if layout.fingerprint() != fingerprint {
            return Err(Misread::Geometry);
        }
        Ok((header, layout))
    }
}

fn name(words: &[u64], length: usize) -> Option<String<LONGEST_NAME>> {
    let mut bytes = [0; LONGEST_NAME];
    for (part, word) in bytes.chunks_mut(8).zip(words) {
        part.copy_from_slice(&word.to_ne_bytes());
    }
    let text = str::from_utf8(bytes.get(..length)?).ok()?;
    let name = String::try_from(text).ok()?;
    (!name.is_empty()).then_some(name)
}
