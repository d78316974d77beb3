//! What the models of the slab share: a small zone, whose blocks notice two holders at once, and the
//! look at what is left in the end.

use forkmesh::slab::{Census, Extent, Geometry, Handle, Heap, Layout, Section, Slab, State};
use forkmesh::sync::{Ordering, kill};
use forkmesh::table::SlotId;
use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread::JoinHandle;

use crate::world::spawn;
use crate::zone::{Zone, id};

/// Pages of two blocks.
pub(crate) static PAIR: Geometry = Geometry::new(32, &[16]);
/// Pages of two small blocks, or of one large one.
pub(crate) static PAIR_OR_ONE: Geometry = Geometry::new(32, &[16, 32]);
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
    pub(crate) fn take(&self, heap: &mut Heap<'_>, size: usize) {
        if let Ok(block) = heap.alloc(size, 1) {
            self.fill(block);
        }
    }

    /// Gives the page back, if it is empty, and makes one large block of it.
    pub(crate) fn cut_otherwise(&self, heap: &mut Heap<'_>) {
        if heap.trim() > 0 {
            self.take(heap, 32);
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

    /// Every page that is free is hinted, and every one with a free block; while nobody has a
    /// current page.
    pub(crate) fn assert_hinted(&self) {
        let census = self.slab().census();
        let (words, geometry) = (self.zone.words(), self.zone.layout().geometry());
        let bits = |words: &[forkmesh::sync::AtomicU64]| -> usize {
            let set = words
                .iter()
                .map(|word| word.load(Ordering::Relaxed).count_ones());
            set.sum::<u32>() as usize
        };
        // The models of hints have one page.
        assert!(
            bits(words.free_hints) >= census.free_pages,
            "a free page has no hint"
        );
        for class in geometry.classes() {
            let count = census.classes[class.as_usize()];
            let hints = bits(&words.part_hints[class.as_usize()..=class.as_usize()]);
            assert!(count.free == 0 || hints > 0, "a free block has no hint");
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
        let is_block = |word: &forkmesh::sync::AtomicU32| {
            let word = forkmesh::slab::BlockWord::from_u32(word.load(Ordering::Relaxed));
            word.state().expect("written by us") != State::Unused
        };
        let blocks = self
            .zone
            .words()
            .blocks
            .iter()
            .filter(|word| is_block(word));
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
