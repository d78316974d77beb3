//! Every sequence of operations against a model that is a list of blocks. One thread plays all the
//! processes, and kills them between two operations.

use std::collections::BTreeMap;

use forkmesh::slab::{
    Census, Count, Extent, Fit, Geometry, Handle, Heap, NotAllocated, Recovered, Refused, STANDARD,
    Section, Slab, State,
};
use forkmesh::table::{SlotId, SlotIndex};
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::test_runner::Config;
use proptest::{collection, proptest};

use crate::zone::{Zone, id};
use crate::zone_of;

pub(crate) const SLOTS: usize = 3;

#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    Alloc(usize, usize),
    Free(usize, usize),
    Publish(usize, usize),
    Claim(usize, usize),
    Offer(usize, usize),
    Accept(usize, usize),
    /// What a handle says whose block has gone.
    UseStale(usize, usize),
    Trim(usize),
    Kill(usize),
}

pub(crate) fn steps(most: usize) -> impl Strategy<Value = Vec<Step>> {
    let slot = 0..SLOTS;
    let size = prop_oneof![
        8 => 1_usize..2049,
        4 => Just(64_usize),
        2 => 2049_usize..20_000
    ];
    let which = || (0..SLOTS, any::<usize>());
    let step = prop_oneof![
        12 => (slot.clone(), size).prop_map(|(slot, size)| Step::Alloc(slot, size)),
        6 => which().prop_map(|(slot, nth)| Step::Free(slot, nth)),
        2 => which().prop_map(|(slot, nth)| Step::Publish(slot, nth)),
        2 => which().prop_map(|(slot, nth)| Step::Claim(slot, nth)),
        2 => which().prop_map(|(slot, nth)| Step::Offer(slot, nth)),
        2 => which().prop_map(|(slot, nth)| Step::Accept(slot, nth)),
        1 => which().prop_map(|(slot, nth)| Step::UseStale(slot, nth)),
        1 => slot.clone().prop_map(Step::Trim),
        1 => slot.prop_map(Step::Kill),
    ];
    collection::vec(step, 0..most)
}

/// A zone, its processes, and what they must hold.
pub(crate) struct World<'z> {
    slab: Slab<'z>,
    zone: &'z Zone,
    batch: usize,
    pub(crate) heaps: Vec<Box<Heap<'z>>>,
    pub(crate) master: Box<Heap<'z>>,
    blocks: Vec<(Handle, State)>,
    stale: Vec<Handle>,
}

fn slot(index: usize) -> SlotIndex {
    SlotIndex::new(index).unwrap()
}

impl<'z> World<'z> {
    pub(crate) fn new(zone: &'z Zone, batch: usize) -> Self {
        Self {
            slab: zone.slab(),
            zone,
            batch,
            heaps: (0..SLOTS).map(|slot| zone.heap(id(slot), batch)).collect(),
            master: zone.heap(SlotId::MASTER, batch),
            blocks: Vec::new(),
            stale: Vec::new(),
        }
    }

    pub(crate) fn run(&mut self, steps: &[Step]) {
        for step in steps {
            self.step(*step);
            self.compare();
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Alloc(by, size) => self.alloc(by, size),
            Step::Free(by, nth) => {
                if let Some(at) = self.pick(State::Private(slot(by)), nth) {
                    let (block, _) = self.blocks.swap_remove(at);
                    self.heaps[by].free(block).unwrap();
                    self.stale.push(block);
                }
            }
            Step::Publish(by, nth) => {
                if let Some(at) = self.pick(State::Private(slot(by)), nth) {
                    self.heaps[by].publish(self.blocks[at].0).unwrap();
                    self.blocks[at].1 = State::Published;
                }
            }
            Step::Claim(by, nth) => {
                if let Some(at) = self.pick(State::Published, nth) {
                    let claimed = self.heaps[by].claim(self.blocks[at].0).unwrap();
                    self.replace(at, claimed, by);
                }
            }
            Step::Offer(by, nth) => {
                if let Some(at) = self.pick(State::Private(slot(by)), nth) {
                    self.heaps[by].offer(self.blocks[at].0).unwrap();
                    self.blocks[at].1 = State::Offered(slot(by));
                }
            }
            Step::Accept(by, nth) => {
                let from = slot(nth % SLOTS);
                if let Some(at) = self.pick(State::Offered(from), nth / SLOTS) {
                    let accepted = self.heaps[by].accept(self.blocks[at].0).unwrap();
                    self.replace(at, accepted, by);
                }
            }
            Step::UseStale(by, nth) => self.use_stale(by, nth),
            Step::Trim(by) => {
                self.heaps[by].trim();
            }
            Step::Kill(victim) => {
                let expected = self.held_by(slot(victim));
                let recovered = self.kill(victim);
                let found = recovered.blocks + recovered.runs;
                let exact = self.batch == 0;
                assert!(found >= expected && (!exact || found == expected));
                self.heaps[victim] = self.zone.heap(self.heaps[victim].id().next(), self.batch);
            }
        }
    }

    fn replace(&mut self, at: usize, block: Handle, by: usize) {
        self.stale.push(self.blocks[at].0);
        self.blocks[at] = (block, State::Private(slot(by)));
    }

    fn alloc(&mut self, by: usize, size: usize) {
        match self.heaps[by].alloc(size, 1) {
            Ok(block) => {
                assert!(self.slab.extent(block).unwrap().length >= size);
                assert!(!self.blocks.iter().any(|(other, _)| *other == block));
                self.blocks.push((block, State::Private(slot(by))));
            }
            Err(NotAllocated::TooLarge) => {
                let data = self.slab.layout().range(Section::Data);
                assert!(size > data.len());
            }
            Err(error) => {
                assert_eq!(error, NotAllocated::Full);
                let census = self.slab.census();
                match self.slab.layout().geometry().fit(size, 1).unwrap() {
                    Fit::Class(class) => {
                        assert_eq!(census.free_pages, 0);
                        assert_eq!(census.classes[class.as_usize()].free, 0);
                    }
                    Fit::Run(pages) => assert!(self.most_free_in_a_row() < pages),
                }
            }
        }
    }

    /// Pages in a row that have no block in use, by what the model knows.
    fn most_free_in_a_row(&self) -> usize {
        let layout = self.slab.layout();
        let data = layout.range(Section::Data);
        let page_size = layout.geometry().page_size();
        let mut used = vec![false; layout.pages()];
        for (block, _) in &self.blocks {
            let extent = self.slab.extent(*block).unwrap();
            let first = (extent.offset - data.start) / page_size;
            let last = (extent.offset + extent.length - 1 - data.start) / page_size;
            used[first..=last].fill(true);
        }
        // Magazines pin pages, too, that the model does not know of.
        if self.batch > 0 {
            return 0;
        }
        let rows = used.split(|used| *used).map(<[bool]>::len);
        rows.max().unwrap_or(0)
    }

    fn use_stale(&mut self, by: usize, nth: usize) {
        if self.stale.is_empty() {
            return;
        }
        let handle = self.stale[nth % self.stale.len()];
        let heap = &mut self.heaps[by];
        assert!(heap.free(handle).is_err());
        assert!(heap.claim(handle).is_err());
        assert!(heap.accept(handle).is_err());
        assert!(heap.publish(handle).is_err());
        assert!(self.slab.read(handle, |_| ()).is_err());
    }

    fn pick(&self, state: State, nth: usize) -> Option<usize> {
        let mut fitting = Vec::new();
        for (at, (_, is)) in self.blocks.iter().enumerate() {
            if *is == state {
                fitting.push(at);
            }
        }
        (!fitting.is_empty()).then(|| fitting[nth % fitting.len()])
    }

    fn held_by(&self, holder: SlotIndex) -> usize {
        let theirs = [State::Private(holder), State::Offered(holder)];
        let held = self.blocks.iter().filter(|(_, is)| theirs.contains(is));
        held.count()
    }

    /// The process is gone, and what it held is nobody's.
    pub(crate) fn kill(&mut self, victim: usize) -> Recovered {
        let theirs = [State::Private(slot(victim)), State::Offered(slot(victim))];
        let (gone, left) = core::mem::take(&mut self.blocks)
            .into_iter()
            .partition::<Vec<_>, _>(|(_, is)| theirs.contains(is));
        self.blocks = left;
        self.stale.extend(gone.iter().map(|(block, _)| block));
        let recovered = self.master.recover(self.heaps[victim].id()).unwrap();
        assert_eq!(self.slab.holding(slot(victim)).blocks, 0);
        recovered
    }

    /// The zone is what the model says: nothing overlaps, and everything is counted.
    fn compare(&self) {
        let mut extents: BTreeMap<usize, Extent> = BTreeMap::new();
        for (block, state) in &self.blocks {
            assert_eq!(self.slab.state(*block), Ok(*state), "{block}");
            let extent = self.slab.extent(*block).unwrap();
            assert!(extents.insert(extent.offset, extent).is_none());
        }
        let data = self.slab.layout().range(Section::Data);
        let mut end = data.start;
        for extent in extents.values() {
            assert!(extent.offset >= end, "blocks overlap");
            end = extent.offset + extent.length;
        }
        assert!(end <= data.end);
        let census = self.slab.census();
        let published = sum(&census, |count| count.published);
        let is_published = |(_, state): &&(Handle, State)| *state == State::Published;
        assert_eq!(published, self.blocks.iter().filter(is_published).count());
        assert_eq!(self.slab.published().count(), published);
        if self.batch == 0 {
            let used = sum(&census, |count| {
                count.private + count.offered + count.published
            });
            assert_eq!(used, self.blocks.len());
        }
        let pages: usize = census.classes.iter().map(|count| count.pages).sum();
        let all = census.free_pages + census.busy_pages + census.runs.pages + pages;
        assert_eq!(all, self.slab.layout().pages());
        assert_eq!(census.busy_pages, 0);
    }

    /// Everything is given back: the zone is as it was made.
    pub(crate) fn leave_nothing(mut self) {
        for victim in 0..SLOTS {
            self.kill(victim);
        }
        for (block, state) in core::mem::take(&mut self.blocks) {
            assert_eq!(state, State::Published);
            let claimed = self.master.claim(block).unwrap();
            self.master.free(claimed).unwrap();
        }
        self.master.trim();
        let empty = Census {
            free_pages: self.slab.layout().pages(),
            ..Census::default()
        };
        assert_eq!(self.slab.census(), empty);
        assert_eq!(self.slab.published().count(), 0);
        // And it is of use: one run of all of it.
        let all = self.slab.layout().range(Section::Data).len();
        let block = self.master.alloc(all, 1).unwrap();
        assert_eq!(self.master.free(block), Ok(()));
        assert_eq!(self.master.free(block), Err(Refused::Stale));
    }
}

fn sum(census: &Census, number: impl Fn(&Count) -> usize) -> usize {
    census.classes.iter().map(&number).sum::<usize>() + number(&census.runs)
}

/// Few classes on small pages: soon full, and often cut otherwise.
static SMALL: Geometry = Geometry::new(256, &[64, 96, 128, 256]);

proptest! {
    #![proptest_config(Config::with_cases(150))]

    #[test]
    fn a_zone_does_what_a_list_does(steps in steps(120), batch in 0_usize..4, pages in 1_usize..9) {
        let zone = zone_of(&STANDARD, pages, SLOTS);
        let mut world = World::new(&zone, batch);
        world.run(&steps);
        world.leave_nothing();
    }

    #[test]
    fn a_zone_of_small_pages_does_what_a_list_does(
        steps in steps(200),
        batch in 0_usize..4,
        pages in 1_usize..80,
    ) {
        let zone = zone_of(&SMALL, pages, SLOTS);
        let mut world = World::new(&zone, batch);
        world.run(&steps);
        world.leave_nothing();
    }
}

/// Every class fills the zone to the last block, and gives it back to the last page.
#[test]
fn each_class_fills_the_zone() {
    let zone = zone_of(&STANDARD, 5, 2);
    let mut heap = zone.heap(id(0), 16);
    for class in STANDARD.classes() {
        let blocks: Vec<Handle> = core::iter::from_fn(|| heap.alloc_class(class).ok()).collect();
        assert_eq!(blocks.len(), 5 * STANDARD.blocks(class));
        let count = zone.slab().census().classes[class.as_usize()];
        assert_eq!(
            (count.pages, count.private, count.free),
            (5, blocks.len(), 0)
        );
        assert_eq!(heap.alloc(STANDARD.size(class), 1), Err(NotAllocated::Full));
        for block in blocks {
            heap.free(block).unwrap();
        }
        // The next class finds pages of this one and has to take them back first.
        let told = zone.slab().statistics(class);
        assert_eq!((told.cut, told.failures), (5, 2));
        assert_eq!(told.requests as usize, 5 * STANDARD.blocks(class) + 2);
    }
    heap.trim();
    assert_eq!(zone.slab().census().free_pages, 5);
    for class in STANDARD.classes() {
        let told = zone.slab().statistics(class);
        assert_eq!(told.cut, told.retired, "{class:?}");
    }
}

/// What one process has put into its magazines does not keep another from whole pages for ever.
#[test]
fn trimming_gives_everything_back() {
    let zone = zone_of(&STANDARD, 1000, 2);
    let (mut heap, mut other) = (zone.heap(id(0), 16), zone.heap(id(1), 16));
    for class in STANDARD.classes() {
        if let Ok(block) = heap.alloc_class(class) {
            heap.free(block).unwrap();
        }
    }
    let all = zone.layout().range(Section::Data).len();
    assert_eq!(other.alloc(all, 1), Err(NotAllocated::Full));
    heap.trim();
    other.alloc(all, 1).unwrap();
}
