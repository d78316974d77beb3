//! Processes that are killed with blocks in their hands, in zones that are there, or were.

use std::time::Instant;

use forkmesh::channel::Pair;
use forkmesh::shm::{Recovering, Zone, ZoneConfig, Zones};
use forkmesh::slab::Heap;
use forkmesh::sync::{AtomicU32, Ordering::Relaxed};
use forkmesh::table::SlotId;
use rustix::process::Signal;

use crate::support::{Ended, Kept, alone, in_time};
use crate::{MASTER, TAG, config, id, is_empty};

/// A child that holds blocks of these sizes in a zone, and is killed with them.
fn killed_with(zone: &Zone, id: SlotId, sizes: &[usize]) {
    let ready: &AtomicU32 = zone.fixed().unwrap();
    ready.store(0, Relaxed);
    let forked = Pair::new().unwrap().fork(&mut alone(), |_| {
        let joined = zone.join(id).unwrap();
        for size in sizes {
            core::mem::forget(joined.alloc_bytes(*size).unwrap());
        }
        let offered = joined.alloc(1_u64).unwrap().offer().unwrap();
        assert!(offered.as_u64() != 0);
        ready.store(1, Relaxed);
        loop {
            core::hint::spin_loop();
        }
    });
    let mut child = Kept::new(forked.unwrap().1);
    in_time("blocks", || (ready.load(Relaxed) == 1).then_some(()));
    child.signal(Signal::KILL);
    assert_eq!(child.end(), Ended::Signal(libc::SIGKILL));
    assert!(zone.slab().holding(id.index()).blocks > sizes.len());
}

fn zones(config: &ZoneConfig<'_>) -> Zones {
    let mut zones = Zones::new(MASTER);
    zones.prepare(1);
    zones.declare(config, |_, _| Ok(())).unwrap();
    zones.commit();
    zones
}

fn recover(zones: &Zones, dead: SlotId) -> Recovering {
    let mut recovering = zones.recover(dead);
    while !zones.step(&mut recovering) {}
    recovering
}

/// Every page is free, once this slot has put together what is left in pieces.
fn is_clean(zone: &Zone) -> bool {
    let joined = zone.join(MASTER).unwrap();
    joined.trim();
    is_empty(zone)
}

pub(crate) fn a_killed_worker_leaves_nothing() {
    let zones = zones(&config("a"));
    let zone = zones.find("a", 1).unwrap();
    let mut dead = id(2);
    for sizes in [
        &[64, 64, 700, 2048][..],
        &[5000, 20_000, 9, 100],
        &[64; 100],
    ] {
        killed_with(zone, dead, sizes);
        let recovering = recover(&zones, dead);
        let recovered = recovering.recovered();
        assert!(recovered.blocks + recovered.runs > sizes.len());
        assert_eq!(zone.slab().holding(dead.index()).blocks, 0);
        assert!(is_clean(zone));
        // Twice is nothing, and the next life is not touched.
        assert_eq!(recover(&zones, dead).recovered(), Default::default());
        dead = dead.next();
        let joined = zone.join(dead).unwrap();
        let block = joined.alloc(5_u64).unwrap();
        assert_eq!(recover(&zones, id(2)).recovered(), Default::default());
        assert_eq!(block.read(), 5);
        drop(block);
        drop(joined);
        let _ = recover(&zones, dead);
        dead = dead.next();
    }
}

/// A reload drops a zone; a worker of before dies in it.
pub(crate) fn a_dropped_zone_is_recovered() {
    let mut zones = zones(&config("old"));
    zones.prepare(2);
    zones.declare(&config("new"), |_, _| Ok(())).unwrap();
    zones.commit();
    assert!(zones.find("old", 2).is_none());
    let old = zones.find("old", 1).unwrap();
    killed_with(old, id(0), &[64, 9000]);
    let survivor = old.join(id(1)).unwrap();
    let recovered = recover(&zones, id(0)).recovered();
    assert!(recovered.blocks >= 1 && recovered.runs == 1);
    let (_, is_retired) = zones.iter().find(|(zone, _)| zone.name() == "old").unwrap();
    assert!(is_retired);
    survivor.trim();
    assert!(is_empty(old));
    assert_eq!(zones.settle(1), 0);
    assert_eq!(zones.settle(2), 1);
    assert!(zones.find("old", 1).is_none());
}

/// Each step is short, whatever was held, and others are at work in between.
pub(crate) fn recovery_goes_in_steps() {
    let size = 32 << 20;
    let zones = zones(&ZoneConfig::new("large", TAG, size).slots(4));
    let zone = zones.find("large", 1).unwrap();
    let mut heap = Heap::join_with_batch(zone.slab(), id(0), 0).unwrap();
    while heap.alloc(64, 16).is_ok() {}
    let held = zone.slab().holding(id(0).index());
    assert!(held.bytes > size * 9 / 10, "{held:?}");
    let other = zone.join(id(1)).unwrap();
    let mut recovering = zones.recover(id(0));
    let (mut steps, mut longest, mut total) = (0, 0, 0);
    loop {
        let start = Instant::now();
        let is_over = zones.step(&mut recovering);
        let took = start.elapsed().as_micros();
        (steps, longest, total) = (steps + 1, longest.max(took), total + took);
        if is_over {
            break;
        }
        // The slot is not to be used before the end; everybody else goes on.
        if recovering.recovered().blocks == 0 {
            assert!(zone.join(id(0).next()).is_err());
            drop(other.alloc(3_u64).unwrap());
        }
    }
    println!(
        "32 MiB, all of it held: {steps} steps, the longest {longest} us, together {total} us"
    );
    let pages = zone.slab().layout().pages();
    assert_eq!(steps, pages.div_ceil(Zones::PAGES_A_STEP) + 1);
    assert_eq!(recovering.recovered().blocks, held.blocks);
    other.trim();
    assert!(is_clean(zone));
    // A run of pages goes at once.
    let next = zone.join(id(0).next()).unwrap();
    let mut pages = zone.slab().layout().pages();
    let run = loop {
        match next.alloc_bytes(pages << 12) {
            Ok(run) => break run,
            Err(_) => pages -= 1,
        }
    };
    core::mem::forget(run);
    let start = Instant::now();
    let recovered = recover(&zones, id(0).next()).recovered();
    let took = start.elapsed().as_micros();
    println!("a run of {pages} pages: {took} us");
    assert_eq!(recovered.runs, 1);
    assert!(is_clean(zone));
}

/// Two recoveries of one life: of the same master they are one, of another they exclude each other.
pub(crate) fn two_recover_one() {
    let config = ZoneConfig::new("a", TAG, 8 << 20).slots(4);
    let zones = zones(&config);
    let zone = zones.find("a", 1).unwrap();
    killed_with(zone, id(0), &[64, 2000, 8000]);
    let (mut first, mut second) = (zones.recover(id(0)), zones.recover(id(0)));
    assert!(!zones.step(&mut first));
    let mut heir = Zones::new(id(1022));
    let memory = rustix::io::dup(zone.descriptor().unwrap()).unwrap();
    heir.inherit("a", memory).unwrap();
    let mut elsewhere = heir.recover(id(0));
    assert!(heir.step(&mut elsewhere));
    assert_eq!(elsewhere.elsewhere(), Some(MASTER.index()));
    while !zones.step(&mut first) {}
    while !zones.step(&mut second) {}
    assert_eq!(second.recovered(), Default::default());
    assert!(is_clean(zone));
}

/// A master dies in the middle of a recovery.
pub(crate) fn the_next_master_recovers_the_last() {
    let config = ZoneConfig::new("a", TAG, 8 << 20).slots(4);
    let zones = zones(&config);
    let zone = zones.find("a", 1).unwrap();
    killed_with(zone, id(0), &[64, 2000, 8000]);
    let mut begun = zones.recover(id(0));
    assert!(!zones.step(&mut begun));
    core::mem::forget(zone.join(MASTER).unwrap().alloc(1_u64).unwrap());
    let mut heir = Zones::new(id(1022));
    let memory = rustix::io::dup(zone.descriptor().unwrap()).unwrap();
    heir.inherit("a", memory).unwrap();
    let left = heir.left_behind(|life| life != id(1022));
    assert_eq!(left.as_slice(), [id(0), MASTER]);
    let blocked = recover(&heir, id(0));
    assert_eq!(blocked.elsewhere(), Some(MASTER.index()));
    assert!(recover(&heir, MASTER).recovered().blocks > 0);
    assert!(recover(&heir, id(0)).elsewhere().is_none());
    let zone = heir.find("a", 0).unwrap();
    zone.join(id(1022)).unwrap().trim();
    assert!(is_empty(zone));
    assert!(heir.left_behind(|_| true).is_empty());
}
