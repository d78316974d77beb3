//! `SlotSet`: which of the 1024 slots, as 16 words.

use core::fmt;

use crate::table::id::{SLOTS, SlotIndex};

const WORD_BITS: usize = u64::BITS as usize;

/// A set of slots: 128 bytes, no allocation; insert, remove and contains take constant time.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct SlotSet {
    words: [u64; SLOTS / WORD_BITS],
}

impl SlotSet {
    /// No slot.
    pub const EMPTY: Self = Self {
        words: [0; SLOTS / WORD_BITS],
    };

    /// The first `count` slots, or all of them.
    #[must_use]
    pub const fn first_of(count: usize) -> Self {
        let mut set = Self::EMPTY;
        let mut at = 0;
        while at < count
            && let Some(index) = SlotIndex::new(at)
        {
            set.insert(index);
            at += 1;
        }
        set
    }

    /// Adds every slot of another set.
    pub const fn insert_all(&mut self, other: &Self) {
        let mut word = 0;
        while word < self.words.len() {
            self.words[word] |= other.words[word];
            word += 1;
        }
    }

    /// The set that these words stand for: bit n of word w is slot 64 w + n.
    #[must_use]
    pub const fn from_words(words: [u64; SLOTS / WORD_BITS]) -> Self {
        Self { words }
    }

    /// The words that stand for this set.
    #[must_use]
    pub const fn to_words(&self) -> [u64; SLOTS / WORD_BITS] {
        self.words
    }

    /// Adds a slot; whether it is new here.
    pub const fn insert(&mut self, index: SlotIndex) -> bool {
        let (word, bit) = Self::place(index);
        let new = self.words[word] & bit == 0;
        self.words[word] |= bit;
        new
    }

    /// Takes a slot out; whether it was in.
    pub const fn remove(&mut self, index: SlotIndex) -> bool {
        let (word, bit) = Self::place(index);
        let was_in = self.words[word] & bit != 0;
        self.words[word] &= !bit;
        was_in
    }

    /// The slots of this set that are not in the other.
    #[must_use]
    pub fn without(&self, other: &Self) -> Self {
        let mut words = self.words;
        for (word, taken) in words.iter_mut().zip(other.words) {
            *word &= !taken;
        }
        Self { words }
    }

    /// Whether a slot is in.
    #[must_use]
    pub const fn contains(&self, index: SlotIndex) -> bool {
        let (word, bit) = Self::place(index);
        self.words[word] & bit != 0
    }

    /// Whether no slot is in.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.words.iter().all(|word| *word == 0)
    }

    /// How many slots are in.
    #[must_use]
    pub fn len(&self) -> usize {
        self.words
            .iter()
            .map(|word| word.count_ones() as usize)
            .sum()
    }

    /// The lowest slot.
    #[must_use]
    pub fn first(&self) -> Option<SlotIndex> {
        self.iter().next()
    }

    /// The lowest slot above this one or, where there is none, the lowest: so that taking turns
    /// begins again from the start.
    #[must_use]
    pub fn next_after(&self, index: SlotIndex) -> Option<SlotIndex> {
        let above = self.iter().find(|slot| *slot > index);
        above.or_else(|| self.first())
    }

    /// Takes out the lowest slot.
    pub fn pop_first(&mut self) -> Option<SlotIndex> {
        let first = self.first()?;
        self.remove(first);
        Some(first)
    }

    /// The slots, lowest first.
    pub fn iter(&self) -> impl Iterator<Item = SlotIndex> + '_ {
        self.words.iter().enumerate().flat_map(|(word, bits)| {
            let mut rest = *bits;
            core::iter::from_fn(move || {
                let bit = rest.trailing_zeros() as usize;
                rest &= rest.wrapping_sub(1);
                SlotIndex::new(word * WORD_BITS + bit).filter(|_| bit < WORD_BITS)
            })
        })
    }

    const fn place(index: SlotIndex) -> (usize, u64) {
        (
            index.as_usize() / WORD_BITS,
            1 << (index.as_usize() % WORD_BITS),
        )
    }
}

impl Default for SlotSet {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl fmt::Debug for SlotSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set()
            .entries(self.iter().map(SlotIndex::as_usize))
            .finish()
    }
}
