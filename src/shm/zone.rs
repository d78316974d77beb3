//! `Zone`: a mapping with a header, a fixed part, and a slab.
//!
//! ```text
//!   0        512                     a page's beginning
//!   ┌────────┬───────────────────────┬───────────────────────────────────┐
//!   │ header │ fixed: one T: ShmSync │ slab: words · roots · pages       │
//!   └────────┴───────────────────────┴───────────────────────────────────┘
//!     checked  a lock, an index,       objects, reached by links
//!     at attach tables of links
//! ```
//!
//! # Invariants
//!
//! - A header is checked at attach, and never looked at again: nobody who writes there later changes
//!   what a process does (test `a_header_is_never_trusted_again`).
//! - No bytes make attaching panic, nor lead out of the mapping (test `no_header_leads_astray`).
//!
//! # Why a fixed part
//!
//! Whatever is the same for all of a zone's life has no need of being allocated, found, and checked for
//! being there. It is zeros at first, and every type that fits there takes that for a new one.

use core::ffi::CStr;
use core::fmt;

use heapless::String;
use rustix::fd::BorrowedFd;

use super::header::{self, FIXED, Header, LONGEST_NAME, Misread, NUMBERS};
use super::joined::Joined;
use super::link::Link;
use super::mapping::{MapConfig, Mapping, NotMapped};
use super::plain::ShmSync;
use super::tag::Tag;
use crate::slab::{Layout, NoLayout, NotJoined, Section, Slab, Words, ZoneTag};
use crate::sync::{AtomicU32, AtomicU64, Mutex, MutexName, Ordering};
use crate::table::SlotId;

/// What a zone is to be: its name, its owner's tag, and its size in bytes; for 64 slots, in sealed
/// memory, with 3584 bytes of fixed part, and kept over a reload, unless it is said otherwise.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ZoneConfig<'n> {
    pub(super) name: &'n str,
    pub(super) tag: Tag,
    pub(super) size: usize,
    pub(super) slots: usize,
    pub(super) fixed: usize,
    pub(super) keep: bool,
    pub(super) map: MapConfig,
}

/// Memory that a service's processes share, by a name.
#[derive(Debug)]
#[must_use = "dropping it unmaps the memory"]
pub struct Zone {
    mapping: Mapping,
    header: Header,
    layout: Layout,
}

/// Why a zone was not made.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum NotMade {
    /// The size is 0.
    NoSize,
    /// The name has no or more than 64 bytes, or a zero among them.
    Name,
    /// There is no such number: they are 0 to 63.
    Number,
    /// It cannot be cut: too small for its fixed part and one page, too large, or for no slots.
    Layout(NoLayout),
    /// There is no memory.
    Mapped(NotMapped),
    /// The memory is not all zeros: something is there already.
    NotBlank,
}

/// Why memory is not the zone that was expected.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum NotAttached {
    /// The memory cannot be mapped.
    Mapped(NotMapped),
    /// Nobody has made a zone there.
    Unmade,
    /// Another version of this library has made it.
    Version,
    /// What it says of itself does not fit its length, or itself.
    Damaged,
    /// It was made for blocks of other sizes.
    Geometry,
    /// It is another owner's.
    Tag,
}

/// The fixed part has not so many bytes, or cannot be aligned so.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct NoRoom;

impl<'n> ZoneConfig<'n> {
    /// A zone of this name, of 1 to 64 bytes, with this owner and this size.
    #[must_use]
    pub const fn new(name: &'n str, tag: Tag, size: usize) -> Self {
        Self {
            name,
            tag,
            size,
            slots: 64,
            fixed: crate::sys::memory::PAGE - FIXED,
            keep: true,
            map: MapConfig::new(),
        }
    }

    /// For processes in the slots below this number, which is to be twice that of workers, for the
    /// time of a reload. The more there are, the fewer blocks each may have in stock.
    #[must_use]
    pub const fn slots(mut self, slots: usize) -> Self {
        self.slots = slots;
        self
    }

    /// How many bytes of fixed part there are at least.
    #[must_use]
    pub const fn fixed(mut self, bytes: usize) -> Self {
        self.fixed = if bytes > self.fixed {
            bytes
        } else {
            self.fixed
        };
        self
    }

    /// Whether a reload that asks for the same zone gets the same memory. If not, it is always new,
    /// and the old one is at hand to copy from: nginx's `noreuse`.
    #[must_use]
    pub const fn keep(mut self, keep: bool) -> Self {
        self.keep = keep;
        self
    }

    /// How its memory is made.
    #[must_use]
    pub const fn map(mut self, map: MapConfig) -> Self {
        self.map = map;
        self
    }
}

impl Zone {
    /// A new zone. The number, 0 to 63, tells its handles from those of other zones.
    ///
    /// # Errors
    ///
    /// [`NotMade`].
    pub fn create(config: &ZoneConfig<'_>, number: usize) -> Result<Self, NotMade> {
        if config.size == 0 {
            return Err(NotMade::NoSize);
        }
        let name: String<LONGEST_NAME> = config.name.try_into().map_err(|_| NotMade::Name)?;
        let mut title: String<{ LONGEST_NAME + 16 }> = String::new();
        let titled = ["forkmesh-", &name, "\0"].map(|part| title.push_str(part));
        let title = CStr::from_bytes_with_nul(title.as_bytes()).map_err(|_| NotMade::Name)?;
        if titled.iter().any(Result::is_err) || name.is_empty() {
            return Err(NotMade::Name);
        }
        let mapping = Mapping::create(title, config.size, config.map).map_err(NotMade::Mapped)?;
        Self::create_in(mapping, config, number)
    }

    /// A new zone in memory that is there, and is all zeros, such as a new file's; it is as large as
    /// the memory.
    ///
    /// # Errors
    ///
    /// [`NotMade`]; the mapping is dropped then.
    pub fn create_in(
        mapping: Mapping,
        config: &ZoneConfig<'_>,
        number: usize,
    ) -> Result<Self, NotMade> {
        if number >= NUMBERS {
            return Err(NotMade::Number);
        }
        let name: String<LONGEST_NAME> = config.name.try_into().map_err(|_| NotMade::Name)?;
        if name.is_empty() || name.contains('\0') {
            return Err(NotMade::Name);
        }
        let header = Header {
            name,
            tag: config.tag,
            size: config.size,
            length: mapping.length(),
            fixed: config.fixed,
            slots: config.slots,
            number,
        };
        let layout = header.layout().map_err(NotMade::Layout)?;
        let zone = Self {
            mapping,
            header,
            layout,
        };
        let too_small = NotMade::Layout(NoLayout::TooSmall);
        let words = zone.mapping.slice(0, header::WORDS).ok_or(too_small)?;
        let slab_words = zone.words().ok_or(too_small)?;
        if !(is_blank(words) && is_blank_slab(&slab_words)) {
            return Err(NotMade::NotBlank);
        }
        Slab::create(slab_words, layout, zone.number()).map_err(|_| too_small)?;
        zone.header.write(words, &layout);
        Ok(zone)
    }

    /// The zone that another process has made in this memory, if it is this owner's; `None` for any
    /// owner's.
    ///
    /// # Errors
    ///
    /// [`NotAttached`]; the mapping is dropped then.
    pub fn attach(mapping: Mapping, tag: Option<Tag>) -> Result<Self, NotAttached> {
        let words = mapping.slice(0, header::WORDS).ok_or(NotAttached::Unmade)?;
        let (header, layout) = Header::read(words, mapping.length()).map_err(|why| match why {
            Misread::Unmade => NotAttached::Unmade,
            Misread::Version => NotAttached::Version,
            Misread::Damaged => NotAttached::Damaged,
            Misread::Geometry => NotAttached::Geometry,
        })?;
        if tag.is_some_and(|tag| tag != header.tag) {
            return Err(NotAttached::Tag);
        }
        let zone = Self {
            mapping,
            header,
            layout,
        };
        let words = zone.words().ok_or(NotAttached::Damaged)?;
        Slab::attach(words, layout, zone.number()).map_err(|_| NotAttached::Damaged)?;
        Ok(zone)
    }

    /// What it is called.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.header.name
    }

    /// Whose it is.
    #[must_use]
    pub const fn tag(&self) -> Tag {
        self.header.tag
    }

    /// What tells its handles from those of other zones.
    #[must_use]
    pub const fn number(&self) -> ZoneTag {
        ZoneTag::of(self.header.number)
    }

    pub(super) const fn place(&self) -> usize {
        self.header.number
    }

    /// Whether this is what the configuration asks for, so that the same memory will do.
    pub(super) fn suits(&self, config: &ZoneConfig<'_>) -> bool {
        let Header {
            tag,
            size,
            fixed,
            slots,
            ..
        } = self.header;
        (tag, size, fixed, slots) == (config.tag, config.size, config.fixed, config.slots)
    }

    /// How many bytes were asked for.
    #[must_use]
    pub const fn size(&self) -> usize {
        self.header.size
    }

    /// The memory behind it.
    pub const fn mapping(&self) -> &Mapping {
        &self.mapping
    }

    /// What it can be handed over by; `None` for memory that is reached by fork alone.
    #[must_use]
    pub fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.mapping.descriptor()
    }

    /// The fixed part: one `T`, zeros when the zone is new. Everybody is to ask for the same `T`.
    ///
    /// # Errors
    ///
    /// [`NoRoom`]: see [`ZoneConfig::fixed`].
    pub fn fixed<T: ShmSync>(&self) -> Result<&T, NoRoom> {
        if size_of::<T>() > self.header.fixed {
            return Err(NoRoom);
        }
        self.mapping.at(FIXED).ok_or(NoRoom)
    }

    /// One of the eight links that every zone has; `None` for a ninth.
    #[must_use]
    pub fn root<T>(&self, number: usize) -> Option<&Link<T>> {
        let roots = self.layout.range(Section::Roots);
        let links = self.layout.count(Section::Roots);
        let links = self.mapping.slice(self.start() + roots.start, links)?;
        links.get(number)
    }

    /// The words of the slab: for censuses, statistics, and whoever wants handles without types.
    ///
    /// # Panics
    ///
    /// Never: that the words are there was checked when the zone was made or attached to.
    #[must_use]
    pub fn slab(&self) -> Slab<'_> {
        let words = self.words();
        let slab = words.and_then(|words| Slab::over(words, self.layout, self.number()).ok());
        slab.expect("the mapping has not become shorter")
    }

    /// This process's way to what is in the zone, in the name of its slot.
    ///
    /// # Errors
    ///
    /// [`NotJoined`].
    pub fn join(&self, id: SlotId) -> Result<Joined<'_>, NotJoined> {
        Joined::new(self, id)
    }

    /// The name of a mutex that lies in this zone; `None` if it does not.
    #[must_use]
    pub fn name_of(&self, mutex: &Mutex) -> Option<MutexName> {
        let offset = self.mapping.offset_of(mutex)? as u64;
        MutexName::new((self.header.number as u64 + 1) << NUMBER_SHIFT | offset)
    }

    /// The mutex that has this name, if it is in this zone; `None` for any other.
    #[must_use]
    pub fn mutex(&self, name: MutexName) -> Option<&Mutex> {
        let (number, offset) = (name.as_u64() >> NUMBER_SHIFT, name.as_u64() & OFFSET);
        if number != self.header.number as u64 + 1 {
            return None;
        }
        self.mapping.at(usize::try_from(offset).ok()?)
    }

    /// Where the slab begins.
    pub(super) const fn start(&self) -> usize {
        Header::slab_start(self.header.fixed)
    }

    fn words(&self) -> Option<Words<'_>> {
        let longs = |section| self.section::<AtomicU64>(section);
        let words = |section| self.section::<AtomicU32>(section);
        Some(Words {
            header: longs(Section::Header)?,
            roots: self.section(Section::Roots)?,
            rows: words(Section::Rows)?,
            statistics: words(Section::Statistics)?,
            pages: longs(Section::Pages)?,
            blocks: words(Section::Blocks)?,
            free_hints: longs(Section::FreeHints)?,
            part_hints: longs(Section::PartHints)?,
        })
    }

    fn section<T: ShmSync>(&self, section: Section) -> Option<&[T]> {
        let at = self.start() + self.layout.range(section).start;
        self.mapping.slice(at, self.layout.count(section))
    }
}

const NUMBER_SHIFT: u32 = 48;
const OFFSET: u64 = (1 << NUMBER_SHIFT) - 1;

fn is_blank(words: &[AtomicU64]) -> bool {
    words.iter().all(|word| word.load(Ordering::Relaxed) == 0)
}

fn is_blank_slab(words: &Words<'_>) -> bool {
    let longs = [
        words.header,
        words.pages,
        words.free_hints,
        words.part_hints,
    ];
    let short = |words: &[AtomicU32]| words.iter().all(|word| word.load(Ordering::Relaxed) == 0);
    longs.into_iter().all(is_blank)
        && [words.rows, words.statistics, words.blocks]
            .into_iter()
            .all(short)
        && words.roots.iter().all(|root| root.handle().is_none())
}

impl fmt::Display for NotMade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSize => f.write_str("a zone of no size"),
            Self::Name => f.write_str("a zone's name has 1 to 64 bytes, and no zero"),
            Self::Number => f.write_str("zones are numbered from 0 to 63"),
            Self::Layout(why) => why.fmt(f),
            Self::Mapped(why) => why.fmt(f),
            Self::NotBlank => f.write_str("there is something in the memory already"),
        }
    }
}

impl fmt::Display for NotAttached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Mapped(why) => return why.fmt(f),
            Self::Unmade => "nobody has made a zone there",
            Self::Version => "another version has made the zone",
            Self::Damaged => "the zone's header is damaged",
            Self::Geometry => "the zone was made for other sizes",
            Self::Tag => "the zone is another owner's",
        })
    }
}

impl fmt::Display for NoRoom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the zone's fixed part is too short for it")
    }
}

impl core::error::Error for NotMade {}
impl core::error::Error for NotAttached {}
impl core::error::Error for NoRoom {}
