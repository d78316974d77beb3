//! What the models of the slab share: a small zone, whose blocks notice two holders at once, and the
//! look at what is left in the end.

use forkmesh::slab::{
    BlockWord, Census, Extent, Geometry, Handle, Heap, Layout, Page, PageWord, Section, Slab, State,
};
use forkmesh::sync::{AtomicU64, Ordering::Relaxed, kill};
use forkmesh::table::SlotId;
use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread::JoinHandle;

use crate::world::spawn;
use crate::zone::{Zone, id};

/// Pages of two blocks.
pub(crate) static PAIR: Geometry = Geometry::new(32, &[16]);
/// Pages of four small blocks, or of two large ones.
pub(crate) static FOUR_OR_PAIR: Geometry = Geometry::new(64, &[16, 32]);

const GRAIN: usize = 16;
const SLOTS: usize = 4;

/// One execution's zone.
pub(crate) struct Memory {
    zone: Zone,
    /// What is in the blocks, by sixteen bytes.
    grains: Vec<UnsafeCell<u32>>,
}

impl Memory {
    pub(crate) fn new(geometry: &'static Geometry, pages: usize) -> Arc<Self> {
        let layout = Layout::with_pages(geometry, pages, SLOTS).unwrap();
        let grains = layout.range(Section::Data).len() / GRAIN;
        Arc::new(Self {
            zone: Zone::new(layout.without_statistics()),
            grains: (0..grains).map(|_| UnsafeCell::new(0)).collect(),
        })
    }

    pub(crate) fn slab(&self) -> Slab<'_> {
        self.zone.slab()
    }

    /// A heap without magazines: every operation reaches the words.
    pub(crate) fn heap(&self, slot: usize) -> Box<Heap<'_>> {
        self.zone.heap(id(slot), 0)
    }

    /// A heap whose magazines hold two blocks.
    pub(crate) fn heap_with_magazines(&self, slot: usize) -> Box<Heap<'_>> {
        self.zone.heap(id(slot), 1)
    }

    pub(crate) fn master(&self) -> Box<Heap<'_>> {
        self.zone.heap(SlotId::MASTER, 0)
    }

    /// Writes all of a block, as its holder.
    pub(crate) fn fill(&self, block: Handle) {
        let Extent { offset, length } = self.slab().extent(block).unwrap();
        let first = (offset - self.zone.layout().range(Section::Data).start) / GRAIN;
        for grain in &self.grains[first..first + length / GRAIN] {
            grain.with_mut(|grain| {
                // SAFETY: loom fails the model if anybody else is here, or was here unseen.
                unsafe { *grain += 1 };
            });
        }
    }

    /// Allocates a block, writes it, and frees it; whether there was one.
    pub(crate) fn round(&self, heap: &mut Heap<'_>, size: usize) -> bool {
        let block = heap.alloc(size, 1);
        if let Ok(block) = block {
            self.fill(block);
            heap.free(block).unwrap();
        }
        block.is_ok()
    }

    /// Allocates a block and writes it; it stays the slot's.
    pub(crate) fn take(&self, heap: &mut Heap<'_>, size: usize) -> Option<Handle> {
        let block = heap.alloc(size, 1).ok()?;
        self.fill(block);
        Some(block)
    }

    /// Gives the page back, if it is empty, and takes it again for blocks of this size.
    pub(crate) fn cut_again(&self, heap: &mut Heap<'_>, size: usize) {
        if heap.trim() > 0 {
            let _ = self.take(heap, size);
        }
    }

    /// The page is cut into blocks of this size, all of them free.
    pub(crate) fn cut(&self, size: usize) {
        let mut heap = self.heap(3);
        assert!(self.round(&mut heap, size));
    }

    /// A published block.
    pub(crate) fn published(&self) -> Handle {
        let mut heap = self.heap(3);
        let block = heap.alloc(16, 1).unwrap();
        self.fill(block);
        heap.publish(block).unwrap();
        block
    }

    /// Every page that is free has its hint, and so has every one with a free block; for when nobody
    /// has a current page.
    pub(crate) fn assert_hinted(&self) {
        let words = self.zone.words();
        let is_set = |hints: &AtomicU64, page: usize| hints.load(Relaxed) >> page & 1 != 0;
        for (number, word) in words.pages.iter().enumerate() {
            match PageWord::from_u64(word.load(Relaxed)).page() {
                Some(Page::Free) => {
                    assert!(
                        is_set(&words.free_hints[0], number),
                        "a free page has no hint"
                    );
                }
                Some(Page::Class(class)) => {
                    let hints = &words.part_hints[class.as_usize()];
                    let any_free = self.states(number).any(|state| state == State::Free);
                    let is_hinted = is_set(hints, number);
                    assert!(is_hinted || !any_free, "a free block has no hint");
                }
                _ => {}
            }
        }
    }

    /// The states of a page's blocks.
    fn states(&self, page: usize) -> impl Iterator<Item = State> + '_ {
        let words = self.zone.layout().geometry().words();
        let blocks = &self.zone.words().blocks[page * words..(page + 1) * words];
        blocks.iter().map(|word| {
            let word = BlockWord::from_u32(word.load(Relaxed));
            word.state().expect("written by us")
        })
    }

    /// Nobody holds anything, though nobody died.
    pub(crate) fn assert_nothing_held(&self) {
        for slot in 0..SLOTS {
            let held = self.slab().holding(id(slot).index());
            assert_eq!((held.blocks, held.pages), (0, 0), "slot {slot}");
        }
    }

    /// After all is done: what the threads hold is recovered, each is a process that has ended. Then so
    /// many blocks are published, and when they are claimed, too, the zone is empty.
    pub(crate) fn audit(&self, published: usize) {
        let mut master = self.master();
        for slot in 0..SLOTS {
            let _ = master.recover(id(slot));
        }
        let left: Vec<Handle> = self.slab().published().collect();
        assert_eq!(left.len(), published, "published");
        for block in left {
            let claimed = master.claim(block).unwrap();
            self.fill(claimed);
            master.free(claimed).unwrap();
        }
        self.assert_pages_are_sound();
        master.trim();
        let empty = Census {
            free_pages: self.zone.layout().pages(),
            ..Census::default()
        };
        assert_eq!(self.slab().census(), empty);
        self.assert_hinted();
        self.assert_pages_are_sound();
    }

    /// A page that is free has no block, and nobody has any that is not counted.
    fn assert_pages_are_sound(&self) {
        let census = self.slab().census();
        let counts = census.classes.iter().chain([&census.runs]);
        let counted: usize = counts.map(|count| count.free + count.used()).sum();
        let pages = 0..self.zone.layout().pages();
        let states = pages.flat_map(|page| self.states(page));
        let blocks = states.filter(|state| *state != State::Unused);
        assert_eq!(blocks.count(), counted);
    }
}

/// A process that works with a heap until it is killed before its step `k`; the handle returns whether
/// it was.
pub(crate) fn victim(
    memory: &Arc<Memory>,
    k: u32,
    work: impl FnOnce(&Memory, &mut Heap<'_>) + 'static,
) -> JoinHandle<bool> {
    spawn(memory, move |memory| {
        let mut heap = memory.heap(0);
        kill::at(k, || work(memory, &mut heap)).is_none()
    })
}
