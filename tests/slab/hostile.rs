//! Memory in which somebody has scribbled: wrong answers, but an answer each time, and none that leads
//! out of the zone.

use forkmesh::slab::{
    BlockWord, Geometry, Handle, Heap, Page, PageWord, STANDARD, Section, State, ZoneTag,
};
use forkmesh::sync::Ordering::Relaxed;
use forkmesh::table::{SlotId, SlotIndex};
use proptest::prelude::{any, prop_assert, proptest};
use proptest::test_runner::Config;

use crate::zone::{Zone, id};
use crate::zone_of;

static SMALL: Geometry = Geometry::new(256, &[64, 96, 128, 256]);

/// Random numbers that are the same every time (xorshift).
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.roll() % bound as u64) as usize
    }
}

/// Any bits, or bits that could have been meant.
fn scribble(zone: &Zone, dice: &mut Dice) {
    let words = zone.words();
    let slot = |dice: &mut Dice| SlotIndex::new(dice.below(3)).unwrap();
    for word in words.pages {
        let class = SMALL.classes().nth(dice.below(4)).unwrap();
        let count = dice.roll() as u32 % 9;
        let page = match dice.below(8) {
            0 => Page::Free,
            1 => Page::Busy(slot(dice), Some(class)),
            2 => Page::Busy(slot(dice), None),
            3 => Page::Run(count),
            4 => Page::Tail(count),
            5 => Page::Freeing(slot(dice), count),
            6 => {
                word.store(dice.roll(), Relaxed);
                continue;
            }
            _ => Page::Class(class),
        };
        word.store(PageWord::new(page).as_u64(), Relaxed);
    }
    for word in words.blocks {
        let state = match dice.below(6) {
            0 => State::Unused,
            1 => State::Free,
            2 => State::Private(slot(dice)),
            3 => State::Offered(slot(dice)),
            4 => State::Published,
            _ => {
                word.store(dice.roll() as u32, Relaxed);
                continue;
            }
        };
        word.store(
            BlockWord::new(state, dice.below(4) as u32).as_u32(),
            Relaxed,
        );
    }
    for word in words.free_hints.iter().chain(words.part_hints) {
        word.store(dice.roll(), Relaxed);
    }
}

fn anything(dice: &mut Dice, pages: usize) -> Handle {
    let class = [0, 1, 2, 3, 9, 30, 31][dice.below(7)];
    let page = dice.below(pages + 1) as u64;
    let (index, generation) = (dice.below(5) as u64, dice.below(4) as u64);
    let zone = 5 << 20; // the zone's own tag
    let word = 1 << 63 | class << 58 | page << 32 | index << 26 | zone | generation;
    Handle::from_u64(word).unwrap()
}

fn within(zone: &Zone, handle: Handle) {
    let data = zone.layout().range(Section::Data);
    if let Ok(extent) = zone.slab().extent(handle) {
        assert!(extent.offset >= data.start && extent.offset + extent.length <= data.end);
    }
}

fn operate(zone: &Zone, heap: &mut Heap<'_>, dice: &mut Dice) {
    let pages = zone.layout().pages();
    let handle = anything(dice, pages);
    within(zone, handle);
    let result = match dice.below(9) {
        0 => heap.alloc(1 + dice.below(256), 1).ok(),
        1 => heap.alloc(256 * (1 + dice.below(4)), 1).ok(),
        2 => heap.free(handle).ok().map(|()| handle),
        3 => heap.claim(handle).ok(),
        4 => heap.accept(handle).ok(),
        5 => heap.publish(handle).ok().map(|()| handle),
        6 => heap.offer(handle).ok().map(|()| handle),
        7 => {
            heap.trim();
            None
        }
        _ => heap.take(&zone.slab().roots()[dice.below(8)]),
    };
    if let Some(handle) = result {
        within(zone, handle);
        let _ = heap.insert(&zone.slab().roots()[dice.below(8)], handle);
    }
}

#[test]
fn scribbled_words_harm_nobody() {
    let mut dice = Dice(0x9E37_79B9_7F4A_7C15);
    for round in 0..400 {
        let zone = zone_of(&SMALL, 1 + round % 9, 3);
        let mut master = zone.heap(SlotId::MASTER, 2);
        let mut heaps = [0, 1].map(|slot| zone.heap(id(slot), round % 4));
        for _ in 0..4 {
            scribble(&zone, &mut dice);
            for _ in 0..30 {
                operate(&zone, &mut heaps[dice.below(2)], &mut dice);
            }
            let slab = zone.slab();
            assert!(slab.census().free_pages <= zone.layout().pages());
            assert!(slab.holding(SlotIndex::new(0).unwrap()).pages <= zone.layout().pages());
            slab.published().for_each(|handle| within(&zone, handle));
        }
        master.recover(id(0)).unwrap();
        master.recover(id(1)).unwrap();
    }
}

proptest! {
    #![proptest_config(Config::with_cases(2000))]

    #[test]
    fn no_handle_leads_astray(word in any::<u64>(), tag in any::<bool>()) {
        let zone = zone_of(&STANDARD, 3, 1);
        let mut heap = zone.heap(id(0), 4);
        let block = heap.alloc(64, 1).unwrap();
        // With the zone's own tag, and a page that may be there.
        let near = word & !(0x3F << 20 | (0x3FF_FFF8 << 32)) | 5 << 20;
        let word = 1 << 63 | if tag { near } else { word };
        let Some(handle) = Handle::from_u64(word) else {
            return Ok(());
        };
        prop_assert!(tag || handle.zone() == ZoneTag::of(5) || heap.free(handle).is_err());
        within(&zone, handle);
        if handle != block {
            prop_assert!(heap.free(handle).is_err());
            prop_assert!(heap.claim(handle).is_err());
            prop_assert!(heap.accept(handle).is_err());
            prop_assert!(heap.publish(handle).is_err());
        }
        heap.free(block).unwrap();
    }
}
