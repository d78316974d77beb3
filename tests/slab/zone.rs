//! A zone's words, in memory of the test's own. A model of loom's needs them as objects; so there is no
//! memory behind them, and what is in the blocks is not there at all.

use forkmesh::slab::{Heap, Layout, Link, Section, Slab, Words, ZoneTag};
use forkmesh::sync::{AtomicU32, AtomicU64};
use forkmesh::table::{Generation, SlotId, SlotIndex};

/// Owns the words of a zone.
pub(crate) struct Zone {
    layout: Layout,
    header: Vec<AtomicU64>,
    roots: Vec<Link>,
    rows: Vec<AtomicU32>,
    statistics: Vec<AtomicU32>,
    pages: Vec<AtomicU64>,
    blocks: Vec<AtomicU32>,
    free_hints: Vec<AtomicU64>,
    part_hints: Vec<AtomicU64>,
}

pub(crate) const TAG: ZoneTag = ZoneTag::of(5);

/// The first life of a slot.
pub(crate) fn id(slot: usize) -> SlotId {
    SlotId::new(SlotIndex::new(slot).unwrap(), Generation::FIRST)
}

impl Zone {
    /// The words of a zone that nobody has made yet: all zero.
    pub(crate) fn blank(layout: Layout) -> Self {
        let longs = |section| (0..layout.count(section)).map(|_| AtomicU64::new(0));
        let words = |section| (0..layout.count(section)).map(|_| AtomicU32::new(0));
        let roots = (0..layout.count(Section::Roots)).map(|_| Link::new());
        Self {
            header: longs(Section::Header).collect(),
            roots: roots.collect(),
            rows: words(Section::Rows).collect(),
            statistics: words(Section::Statistics).collect(),
            pages: longs(Section::Pages).collect(),
            blocks: words(Section::Blocks).collect(),
            free_hints: longs(Section::FreeHints).collect(),
            part_hints: longs(Section::PartHints).collect(),
            layout,
        }
    }

    /// An empty zone.
    pub(crate) fn new(layout: Layout) -> Self {
        let zone = Self::blank(layout);
        Slab::create(zone.words(), layout, TAG).unwrap();
        zone
    }

    pub(crate) fn layout(&self) -> Layout {
        self.layout
    }

    pub(crate) fn words(&self) -> Words<'_> {
        Words {
            header: &self.header,
            roots: &self.roots,
            rows: &self.rows,
            statistics: &self.statistics,
            pages: &self.pages,
            blocks: &self.blocks,
            free_hints: &self.free_hints,
            part_hints: &self.part_hints,
        }
    }

    pub(crate) fn slab(&self) -> Slab<'_> {
        Slab::attach(self.words(), self.layout, TAG).unwrap()
    }

    /// A heap that takes and gives back so many blocks at once. It lies apart: a model's stack is
    /// small.
    #[inline(never)]
    pub(crate) fn heap(&self, id: SlotId, batch: usize) -> Box<Heap<'_>> {
        Box::new(Heap::join_with_batch(self.slab(), id, batch).unwrap())
    }
}
