//! Memory in which somebody has scribbled: errors, and nothing worse.

use forkmesh::shm::{MapConfig, Mapping, ShmBox, Zone};
use forkmesh::sync::{AtomicU64, Ordering::Relaxed};
use proptest::collection::vec;
use proptest::prelude::{any, prop_oneof};
use proptest::strategy::{Just, Strategy};
use proptest::test_runner::{Config, TestRunner};

use crate::{TAG, config, id};

fn attach(mapping: &Mapping) -> Result<Zone, forkmesh::shm::NotAttached> {
    let memory = rustix::io::dup(mapping.descriptor().unwrap()).unwrap();
    Zone::attach(Mapping::attach(memory).unwrap(), Some(TAG))
}

fn header(mapping: &Mapping) -> &[AtomicU64] {
    mapping.slice(0, 64).unwrap()
}

/// Words that could have been meant, and words that nobody would write.
fn anything() -> impl Strategy<Value = u64> {
    prop_oneof![
        any::<u64>(),
        0..70_u64,
        (0..64_u32).prop_map(|bit| 1 << bit),
        (0..300_u64).prop_map(|pages| pages * 4096),
        (0..5000_u64).prop_map(|less| u64::MAX - less),
        Just(256 << 10),
    ]
}

pub(crate) fn no_header_leads_astray() {
    let made = Zone::create(&config("zone"), 3).unwrap();
    let words = header(made.mapping());
    let before: Vec<u64> = words.iter().map(|word| word.load(Relaxed)).collect();
    let start = Mapping::create(c"wild", 256 << 10, MapConfig::new()).unwrap();
    // Of each run some words are wild: in a sound header, or in one of nothing but zeros.
    let wild = vec((0..20_usize, anything()), 0..6);
    let mut runner = TestRunner::new(Config {
        failure_persistence: None,
        ..Config::with_cases(4000)
    });
    let (mut taken, mut refused) = (0, 0);
    let ran = runner.run(&(wild, any::<bool>()), |(wild, is_sound)| {
        let mapping = if is_sound { made.mapping() } else { &start };
        for (word, value) in header(mapping).iter().zip(&before) {
            word.store(if is_sound { *value } else { 0 }, Relaxed);
        }
        for (at, value) in wild {
            header(mapping)[at].store(value, Relaxed);
        }
        match attach(mapping) {
            Ok(zone) => {
                let slab = zone.slab();
                assert!(slab.layout().length() <= zone.mapping().length());
                assert!(slab.census().free_pages <= slab.layout().pages());
                assert!(!zone.name().is_empty() && zone.tag() == TAG);
            }
            Err(_) => return Ok(()),
        }
        Ok(())
    });
    ran.unwrap();
    for (at, bits) in (0..18).flat_map(|at| [1, 1 << 40, u64::MAX].map(|bits| (at, bits))) {
        for (word, value) in words.iter().zip(&before) {
            word.store(*value, Relaxed);
        }
        assert!(attach(made.mapping()).is_ok());
        words[at].store(before[at] ^ bits, Relaxed);
        match attach(made.mapping()) {
            Ok(_) => taken += 1, // the size that was asked for, the number, and the name
            Err(_) => refused += 1,
        }
    }
    assert!(
        refused >= 20 && taken < 30,
        "{refused} refused, {taken} taken"
    );
}

pub(crate) fn a_header_is_never_trusted_again() {
    let zone = Zone::create(&config("zone"), 3).unwrap();
    let joined = zone.join(id(0)).unwrap();
    let block = joined.alloc(5_u64).unwrap();
    let slab_header = zone.mapping().slice::<AtomicU64>(4096, 8).unwrap();
    for value in [0, u64::MAX, 4096] {
        for word in header(zone.mapping()).iter().chain(slab_header) {
            word.store(value, Relaxed);
        }
        assert_eq!(
            (zone.name(), zone.tag(), zone.size()),
            ("zone", TAG, 256 << 10)
        );
        assert_eq!(block.read(), 5);
        drop(joined.alloc(6_u64).unwrap());
        assert!(zone.join(id(1)).is_ok());
        assert!(attach(zone.mapping()).is_err());
    }
}

/// Somebody writes over all words of the slab while boxes are held.
pub(crate) fn a_box_outlives_its_block() {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut roll = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for round in 0..60_u64 {
        let zone = Zone::create(&config("zone"), 3).unwrap();
        let joined = zone.join(id(0)).unwrap();
        let link = zone.root::<[u64; 4]>(0).unwrap();
        let mut boxes: Vec<ShmBox<'_, '_, [u64; 4]>> = (0..20)
            .map(|at| joined.alloc_with_tail([at; 4], 300 * at as usize).unwrap())
            .collect();
        link.insert(boxes.pop().unwrap()).unwrap();
        let shared = joined.alloc_shared::<[AtomicU64; 8]>().unwrap();
        let all: &[AtomicU64] = zone
            .mapping()
            .slice(0, zone.mapping().length() / 8)
            .unwrap();
        for word in all {
            if roll() % 8 < round % 8 {
                word.store(roll(), Relaxed);
            }
        }
        for block in &mut boxes {
            let value = block.read();
            block.write(value);
            let mut tail = vec![0; block.tail_length()];
            block.read_tail(0, &mut tail).unwrap();
            block.write_tail(0, &tail).unwrap();
        }
        shared.get()[7].fetch_add(1, Relaxed);
        let _ = (link.read(&joined), link.is_empty(&joined));
        drop(link.take(&joined));
        for block in boxes.drain(..) {
            match roll() % 3 {
                0 => drop(link.replace(block).map_err(drop)),
                1 => drop(link.insert(block).map_err(drop)),
                _ => drop(block),
            }
        }
        joined.trim();
    }
}
