//! `Slab`: the words of a zone, and the questions that are answered by looking at them.
//!
//! Every operation here is a load, apart from making the zone. Whatever index reaches a word was
//! computed from the private [`Layout`], and never from what the shared memory says.

use core::fmt;

use super::geometry::Class;
use super::handle::{Handle, ZoneTag};
use super::layout::{HEADER_WORDS, Layout, Section};
use super::link::Link;
use super::page::{Page, PageWord};
use super::word::{BlockWord, State};
use crate::sync::{AtomicU32, AtomicU64, Ordering, fence};

/// "forkmesh" and the version of the layout.
const MAGIC: u64 = u64::from_be_bytes(*b"fkmslab\x01");

/// The words of a zone, as somebody has cast them: each slice is a section of the [`Layout`].
#[derive(Clone, Copy, Debug)]
pub struct Words<'z> {
    /// [`Section::Header`].
    pub header: &'z [AtomicU64],
    /// [`Section::Roots`].
    pub roots: &'z [Link],
    /// [`Section::Rows`].
    pub rows: &'z [AtomicU32],
    /// [`Section::Statistics`].
    pub statistics: &'z [AtomicU32],
    /// [`Section::Pages`].
    pub pages: &'z [AtomicU64],
    /// [`Section::Blocks`].
    pub blocks: &'z [AtomicU32],
    /// [`Section::FreeHints`].
    pub free_hints: &'z [AtomicU64],
    /// [`Section::PartHints`].
    pub part_hints: &'z [AtomicU64],
}

/// A zone, as one process sees it: the words to agree by, and nothing of what is in the blocks.
#[derive(Clone, Copy)]
pub struct Slab<'z> {
    pub(super) words: Words<'z>,
    pub(super) layout: Layout,
    tag: ZoneTag,
}

/// Where a block lies, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Extent {
    /// From the beginning of the zone.
    pub offset: usize,
    /// How many bytes there are: as many as were asked for, or more.
    pub length: usize,
}

/// Why words are no zone.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum NoZone {
    /// A slice does not have as many words as the layout says.
    Words,
    /// Nobody has made a zone here, or it is not ready yet.
    Unmade,
    /// The zone was made for other sizes, or for other slots: by another version of the program.
    Geometry,
}

/// Why a handle was refused; nothing was changed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Refused {
    /// It is a handle of another zone.
    OtherZone,
    /// There is no such block, or none of this class: the handle is forged, or was damaged.
    NoSuchBlock,
    /// The life of the block that it names is over: the block was freed, claimed or accepted since. So
    /// is the handle of a block that is freed twice.
    Stale,
    /// The block is held: by another slot, or (if it was to be claimed or accepted) by this one.
    Held,
    /// The block is on offer, which was not expected.
    Offered,
    /// The block is published, which was not expected.
    Published,
}

impl<'z> Slab<'z> {
    /// Makes a zone of words that are all zero, and that nobody else uses yet.
    ///
    /// # Errors
    ///
    /// [`NoZone::Words`].
    pub fn create(words: Words<'z>, layout: Layout, tag: ZoneTag) -> Result<Self, NoZone> {
        let slab = Self::over(words, layout, tag)?;
        for (number, hint) in words.free_hints.iter().enumerate() {
            let pages = (layout.pages() - 64 * number).min(64);
            hint.store(u64::MAX >> (64 - pages), Ordering::Relaxed);
        }
        words.header[1].store(layout.fingerprint(), Ordering::Relaxed);
        words.header[2].store(layout.length() as u64, Ordering::Relaxed);
        // Release: pairs with the Acquire in `attach`.
        words.header[0].store(MAGIC, Ordering::Release);
        Ok(slab)
    }

    /// A zone that another process has made, or an earlier program in this one.
    ///
    /// # Errors
    ///
    /// [`NoZone`].
    pub fn attach(words: Words<'z>, layout: Layout, tag: ZoneTag) -> Result<Self, NoZone> {
        let slab = Self::over(words, layout, tag)?;
        // Acquire: pairs with the Release in `create`.
        if words.header[0].load(Ordering::Acquire) != MAGIC {
            return Err(NoZone::Unmade);
        }
        let said = [1, 2].map(|word| words.header[word].load(Ordering::Relaxed));
        if said != [layout.fingerprint(), layout.length() as u64] {
            return Err(NoZone::Geometry);
        }
        Ok(slab)
    }

    /// A zone that this process has made or attached to before: its header is not looked at again,
    /// whatever has been written there since.
    ///
    /// # Errors
    ///
    /// [`NoZone::Words`].
    pub fn over(words: Words<'z>, layout: Layout, tag: ZoneTag) -> Result<Self, NoZone> {
        let counts = [
            (words.header.len(), Section::Header),
            (words.roots.len(), Section::Roots),
            (words.rows.len(), Section::Rows),
            (words.statistics.len(), Section::Statistics),
            (words.pages.len(), Section::Pages),
            (words.blocks.len(), Section::Blocks),
            (words.free_hints.len(), Section::FreeHints),
            (words.part_hints.len(), Section::PartHints),
        ];
        match counts
            .iter()
            .all(|(count, section)| *count == layout.count(*section))
        {
            true => Ok(Self { words, layout, tag }),
            false => Err(NoZone::Words),
        }
    }

    /// What lies where.
    #[must_use]
    pub const fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The links by which users find what is in the zone, eight of them.
    #[must_use]
    pub const fn roots(&self) -> &'z [Link] {
        self.words.roots
    }

    /// Where the block of a handle lies: always within [`Section::Data`].
    ///
    /// # Errors
    ///
    /// [`Refused::OtherZone`] and [`Refused::NoSuchBlock`]. That the handle is not stale is no part of
    /// the question.
    pub fn extent(&self, handle: Handle) -> Result<Extent, Refused> {
        self.word_of(handle)?;
        let (page, geometry) = (handle.page(), self.layout.geometry());
        Ok(match handle.class() {
            Some(class) => Extent {
                offset: self.layout.block_at(page, class, handle.index()),
                length: geometry.size(class),
            },
            None => Extent {
                offset: self.layout.page_at(page),
                length: self.run_length(page).ok_or(Refused::NoSuchBlock)? * geometry.page_size(),
            },
        })
    }

    /// Reads what is in a published block: `copy` copies it out with relaxed atomic loads, and what it
    /// returns counts only if the block was published all the time. No lock, no store.
    ///
    /// # Errors
    ///
    /// [`Refused`], where the block is not or was no longer published.
    pub fn read<T>(&self, handle: Handle, copy: impl FnOnce(Extent) -> T) -> Result<T, Refused> {
        let published = BlockWord::new(State::Published, handle.generation());
        let word = self.word_of(handle)?;
        // Acquire: pairs with the Release of `publish`, and orders the copying behind it.
        let seen = BlockWord::from_u32(word.load(Ordering::Acquire));
        if seen != published {
            return Err(refusal(seen, handle));
        }
        let extent = self.extent(handle)?;
        self.require_class(handle)?;
        let copied = copy(extent);
        // Acquire: the copying stays before the load below, and pairs with the Release fence of
        // `claim`: whoever has read what a claimer wrote sees that it has claimed.
        fence(Ordering::Acquire);
        let seen = BlockWord::from_u32(word.load(Ordering::Relaxed));
        match seen == published {
            true => Ok(copied),
            false => Err(Refused::Stale),
        }
    }

    /// Who has the block of a handle, if the handle is not stale; for reports, as it may be over by
    /// the time that it is read.
    ///
    /// # Errors
    ///
    /// [`Refused::OtherZone`], [`Refused::NoSuchBlock`] and [`Refused::Stale`].
    pub fn state(&self, handle: Handle) -> Result<State, Refused> {
        let seen = BlockWord::from_u32(self.word_of(handle)?.load(Ordering::Acquire));
        match seen.state() {
            Some(state) if seen.generation() == handle.generation() => Ok(state),
            _ => Err(Refused::Stale),
        }
    }

    /// Every published block, in the order in which they lie: what an index can be made anew from.
    /// Others may publish and claim meanwhile; each use of a handle is checked again.
    pub fn published(self) -> impl Iterator<Item = Handle> + use<'z> {
        let blocks = (0..self.layout.pages()).flat_map(move |page| {
            let class = match self.page(page) {
                Some(Page::Class(class)) => Some(Some(class)),
                Some(Page::Run(_)) => Some(None),
                _ => None,
            };
            let count = class.map_or(0, |class| self.blocks(class));
            (0..count).map(move |index| (page, class.flatten(), index))
        });
        blocks.filter_map(move |(page, class, index)| {
            let word = self.block(page, index).load(Ordering::Acquire);
            let word = BlockWord::from_u32(word);
            let is_published = word.state() == Some(State::Published);
            is_published.then(|| self.handle(class, page, index, word))
        })
    }

    pub(super) fn handle(
        &self,
        class: Option<Class>,
        page: usize,
        index: usize,
        word: BlockWord,
    ) -> Handle {
        Handle::new(self.tag, class, page, index, word.generation())
    }

    /// How many blocks a page of this class has, and one if it is the head of a run.
    pub(super) const fn blocks(&self, class: Option<Class>) -> usize {
        match class {
            Some(class) => self.layout.geometry().blocks(class),
            None => 1,
        }
    }

    /// The word of a block. Page and index lie within the layout: every caller counts up to it, or
    /// has asked [`Slab::word_of`].
    #[inline]
    pub(super) fn block(&self, page: usize, index: usize) -> &'z AtomicU32 {
        &self.words.blocks[page * self.layout.geometry().words() + index]
    }

    /// The word of a handle's block, if there can be such a block.
    #[inline]
    pub(super) fn word_of(&self, handle: Handle) -> Result<&'z AtomicU32, Refused> {
        if handle.zone() != self.tag {
            return Err(Refused::OtherZone);
        }
        let blocks = match handle.class() {
            None if !handle.is_run() => 0,
            class => self.blocks(class),
        };
        if handle.page() >= self.layout.pages() || handle.index() >= blocks {
            return Err(Refused::NoSuchBlock);
        }
        Ok(self.block(handle.page(), handle.index()))
    }

    /// What a page is. Acquire: pairs with the Release of whoever made it so, and of those who gave
    /// its blocks back.
    #[inline]
    pub(super) fn page(&self, page: usize) -> Option<Page> {
        PageWord::from_u64(self.words.pages[page].load(Ordering::Acquire)).page()
    }

    /// Writes what a page is; for whoever is busy with it. Release: what was done to the page and
    /// its words is seen by those who find it so, and is done before it if we are killed here.
    pub(super) fn set_page(&self, page: usize, is: Page) {
        self.words.pages[page].store(PageWord::new(is).as_u64(), Ordering::Release);
    }

    /// From what it was to what it is to be, if it still is what it was. AcqRel: Acquire pairs with
    /// the Release of who gave the page back, Release with the Acquire of `page`.
    pub(super) fn turn_page(&self, page: usize, was: Page, is: Page) -> bool {
        let (was, is) = (PageWord::new(was).as_u64(), PageWord::new(is).as_u64());
        let word = &self.words.pages[page];
        word.compare_exchange(was, is, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
    }

    /// Whether the handle's page is cut as the handle says. While its block is private, offered or
    /// published, the page cannot be cut otherwise.
    #[inline]
    pub(super) fn require_class(&self, handle: Handle) -> Result<(), Refused> {
        let fits = match (handle.class(), self.page(handle.page())) {
            (Some(class), Some(Page::Class(cut))) => class == cut,
            (None, Some(Page::Run(_))) => true,
            _ => false,
        };
        if fits {
            Ok(())
        } else {
            Err(Refused::NoSuchBlock)
        }
    }

    /// How many pages the run has that begins here.
    pub(super) fn run_length(&self, head: usize) -> Option<usize> {
        match self.page(head) {
            Some(Page::Run(pages)) => self.checked_run(head, pages),
            _ => None,
        }
    }

    /// The length of a run, if the zone has so many pages behind its head.
    pub(super) fn checked_run(&self, head: usize, pages: u32) -> Option<usize> {
        let most = self.layout.pages() - head;
        let pages = pages as usize;
        (1..=most).contains(&pages).then_some(pages)
    }
}

/// Why a word is not what the handle needs it to be.
pub(super) fn refusal(seen: BlockWord, handle: Handle) -> Refused {
    if seen.generation() != handle.generation() {
        return Refused::Stale;
    }
    match seen.state() {
        Some(State::Private(_)) => Refused::Held,
        Some(State::Offered(_)) => Refused::Offered,
        Some(State::Published) => Refused::Published,
        Some(State::Unused | State::Free) | None => Refused::Stale,
    }
}

impl fmt::Debug for Slab<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slab")
            .field("layout", &self.layout)
            .field("tag", &self.tag)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for NoZone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Words => "the words are not as many as the layout says",
            Self::Unmade => "there is no zone here, or it is not ready yet",
            Self::Geometry => "the zone was made for other sizes",
        })
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OtherZone => "the handle is another zone's",
            Self::NoSuchBlock => "there is no such block",
            Self::Stale => "the block has been freed or taken since",
            Self::Held => "the block is held",
            Self::Offered => "the block is on offer",
            Self::Published => "the block is published",
        })
    }
}

impl core::error::Error for NoZone {}

impl core::error::Error for Refused {}

static_assertions::const_assert!(HEADER_WORDS >= 3);
