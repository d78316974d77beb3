//! Block words, page words, handles, classes and the layout.

use std::collections::BTreeSet;

use forkmesh::slab::{
    BlockWord, Change, Class, Fit, Geometry, Handle, Heap, Layout, NoLayout, NoZone, Page,
    PageWord, STANDARD, Section, Slab, State, ZoneTag,
};
use forkmesh::table::SlotIndex;
use proptest::prelude::{prop_assert, prop_assert_eq, proptest};

use crate::zone::{TAG, Zone, id};
use crate::zone_of;

fn slot(index: usize) -> SlotIndex {
    SlotIndex::new(index).unwrap()
}

fn states() -> Vec<State> {
    let mut states = vec![State::Unused, State::Free, State::Published];
    for index in [0, 1, 2, 511, 1022, 1023] {
        states.extend([State::Private(slot(index)), State::Offered(slot(index))]);
    }
    states
}

#[test]
fn every_change_of_a_block_is_decided() {
    let by = slot(9);
    let changes = [
        Change::LayOut,
        Change::Take(by),
        Change::Free,
        Change::Release,
        Change::Publish,
        Change::Claim(by),
        Change::Offer,
        Change::Accept(by),
        Change::Recover,
        Change::Retire,
    ];
    let mut allowed = 0;
    for state in states() {
        for change in changes {
            let last = BlockWord::GENERATIONS - 1;
            for generation in [0, 1, last] {
                let word = BlockWord::new(state, generation);
                assert_eq!(word.state(), Some(state));
                assert_eq!(word.generation(), generation);
                let Some(next) = word.after(change) else {
                    continue;
                };
                allowed += 1;
                let ends_handles = matches!(
                    change,
                    Change::Free | Change::Claim(_) | Change::Accept(_) | Change::Recover
                );
                let raised = (generation + 1) & last;
                let expected = if ends_handles { raised } else { generation };
                assert_eq!(next.generation(), expected, "{word:?} {change:?}");
                // Only a holder's own block, or what is there for all, becomes somebody's.
                if next.holder() != word.holder() && next.holder().is_some() {
                    let open = [State::Free, State::Published];
                    let is_open = open.contains(&state) || matches!(state, State::Offered(_));
                    assert!(is_open, "{word:?} {change:?}");
                    assert_eq!(next.state(), Some(State::Private(by)));
                }
            }
        }
    }
    // Unused: 1. Free: 1. Published: 1. Private: 6 of 6 slots. Offered: 2 of 6 slots.
    assert_eq!(allowed, 3 * (3 + 6 * 6 + 2 * 6));
}

#[test]
fn a_word_that_nobody_wrote_changes_into_nothing() {
    for junk in [3 << 30, u32::MAX, 3 << 20, 1023 << 20] {
        let word = BlockWord::from_u32(junk);
        assert_eq!(word.state(), None);
        assert_eq!(word.holder(), None);
        assert_eq!(word.after(Change::LayOut), None);
        assert_eq!(word.after(Change::Recover), None);
    }
}

#[test]
fn a_page_word_is_what_was_put_in() {
    let class = Class::new(17).unwrap();
    let pages = [
        Page::Free,
        Page::Busy(slot(1023), Some(class)),
        Page::Busy(slot(0), None),
        Page::Class(Class::new(0).unwrap()),
        Page::Class(class),
        Page::Run(u32::MAX),
        Page::Tail(7),
        Page::Freeing(slot(3), 9),
    ];
    let words: BTreeSet<u64> = pages
        .iter()
        .map(|page| PageWord::new(*page).as_u64())
        .collect();
    assert_eq!(words.len(), pages.len());
    for page in pages {
        let word = PageWord::new(page);
        assert_eq!(word.page(), Some(page));
        assert!(word.is(page));
    }
}

proptest! {
    #[test]
    fn a_page_word_is_decoded_or_refused(word: u64) {
        let word = PageWord::from_u64(word);
        if let Some(page) = word.page() {
            prop_assert_eq!(PageWord::new(page), word);
        }
    }

    #[test]
    fn a_block_word_is_decoded_or_refused(word: u32) {
        let word = BlockWord::from_u32(word);
        if let Some(state) = word.state() {
            prop_assert_eq!(BlockWord::new(state, word.generation()), word);
        }
    }

    #[test]
    fn a_request_fits(size in 1_usize..9000, power in 0_u32..13) {
        let align = 1 << power;
        match STANDARD.fit(size, align).unwrap() {
            Fit::Class(class) => {
                prop_assert!(STANDARD.size(class) >= size);
                prop_assert!(STANDARD.size(class).is_multiple_of(align));
                let better = STANDARD.classes().find(|other| {
                    let other = STANDARD.size(*other);
                    other >= size && other.is_multiple_of(align)
                });
                prop_assert_eq!(better, Some(class));
            }
            Fit::Run(pages) => {
                prop_assert!(pages * 4096 >= size && (pages - 1) * 4096 < size);
                prop_assert!(size > 2048 || align > 2048);
            }
        }
        prop_assert_eq!(STANDARD.fit(size, 3), None);
        prop_assert_eq!(STANDARD.fit(size, 8192), None);
    }

    #[test]
    fn sections_lie_apart(length in 0_usize..(16 << 20), slots in 1_usize..1023) {
        let Ok(layout) = Layout::new(&STANDARD, length, slots) else {
            prop_assert!(length < 16 * 1024);
            return Ok(());
        };
        let mut end = 0;
        for section in Section::ALL {
            let range = layout.range(section);
            prop_assert!(range.start >= end && range.start.is_multiple_of(64), "{section:?}");
            end = range.end;
        }
        prop_assert!(end <= length);
        prop_assert!(layout.range(Section::Data).start.is_multiple_of(4096));
        // One page more would not fit in.
        let larger = Layout::with_pages(&STANDARD, layout.pages() + 1, slots).unwrap();
        let same_shards = larger.count(Section::Statistics) == layout.count(Section::Statistics);
        prop_assert!(!same_shards || larger.length() > length);
    }
}

#[test]
fn a_large_zone_is_mostly_data() {
    let length = 32 << 20;
    let layout = Layout::new(&STANDARD, length, 64).unwrap();
    let data = layout.range(Section::Data).len();
    assert!(data * 1000 / length >= 938, "{data} of {length}");
}

#[test]
fn what_cannot_be_laid_out_is_refused() {
    let too_small = Layout::new(&STANDARD, 4096, 1).unwrap_err();
    assert_eq!(too_small, NoLayout::TooSmall);
    assert_eq!(
        Layout::with_pages(&STANDARD, 0, 1).unwrap_err(),
        NoLayout::TooSmall
    );
    let too_large = Layout::new(&STANDARD, 1 << 39, 1).unwrap_err();
    assert_eq!(too_large, NoLayout::TooLarge);
    assert_eq!(
        Layout::with_pages(&STANDARD, (1 << 26) + 1, 1).unwrap_err(),
        NoLayout::TooLarge
    );
    for slots in [0, 1023] {
        let refused = Layout::new(&STANDARD, 1 << 20, slots).unwrap_err();
        assert_eq!(refused, NoLayout::Slots);
    }
}

#[test]
fn zeros_are_no_zone_until_one_is_made() {
    let layout = Layout::with_pages(&STANDARD, 70, 4).unwrap();
    let zone = Zone::blank(layout);
    let attach = |layout| Slab::attach(zone.words(), layout, TAG).map(drop);
    assert_eq!(attach(layout), Err(NoZone::Unmade));
    Slab::create(zone.words(), layout, TAG).unwrap();
    assert_eq!(attach(layout), Ok(()));
    assert_eq!(zone.slab().census().free_pages, 70);

    static OTHER: Geometry = Geometry::new(4096, &[64, 96, 2048]);
    let other = Layout::with_pages(&OTHER, 70, 4).unwrap();
    assert_eq!(attach(other), Err(NoZone::Words));
    let longer = Layout::new(&STANDARD, layout.length() + 64, 4).unwrap();
    assert_eq!(longer.pages(), layout.pages());
    assert_eq!(attach(longer), Err(NoZone::Geometry));
}

#[test]
fn a_handle_is_what_was_put_in() {
    let zone = zone_of(&STANDARD, 3, 2);
    let mut heap = zone.heap(id(0), 16);
    let block = heap.alloc(64, 1).unwrap();
    assert_eq!(Handle::from_u64(block.as_u64()), Some(block));
    assert_eq!(block.class(), Class::new(0));
    assert_eq!((block.page(), block.is_run()), (0, false));
    assert_eq!(block.zone(), TAG);
    let run = heap.alloc(5000, 1).unwrap();
    assert_eq!((run.class(), run.page(), run.is_run()), (None, 1, true));
    assert_eq!(Handle::from_u64(0), None);
    assert_eq!(Handle::from_u64(u64::MAX >> 1), None);
    assert_eq!(ZoneTag::of(69), TAG);
}

#[test]
fn magazines_take_little_of_a_zone() {
    for (pages, slots) in [(8, 1), (64, 2), (2000, 4), (2000, 64), (40_000, 16)] {
        let zone = zone_of(&STANDARD, pages, slots);
        let mut held = 0;
        for slot in 0..slots {
            let mut heap = Heap::join(zone.slab(), id(slot)).unwrap();
            for class in STANDARD.classes() {
                // More than two batches, and all of them back.
                let blocks: Vec<Handle> = (0..40)
                    .map_while(|_| heap.alloc_class(class).ok())
                    .collect();
                for block in blocks {
                    heap.free(block).unwrap();
                }
            }
            held += zone.slab().holding(slot_of(slot)).bytes;
        }
        let most = zone.layout().length() / 16;
        assert!(held <= most, "{held} of {most} bytes with {pages} pages");
        // A small zone has none; a large one has them all: 16 heaps with two batches of 18 classes.
        assert!(pages != 8 || held == 0);
        assert!(
            pages != 40_000 || held > 16 * 18 * 3000,
            "{held} of {most} bytes"
        );
    }
}

fn slot_of(index: usize) -> SlotIndex {
    slot(index)
}
