//! Typed objects: boxes and links, by one process and by many.

use forkmesh::shm::{Link, Outside, ShmBox, ShmPod, ShmSync};
use forkmesh::shm_struct;
use forkmesh::slab::{Handle, NotAllocated, NotJoined, NotLinked, Refused};
use forkmesh::sync::{AtomicU32, AtomicU64, Mutex, Ordering::Relaxed};

use crate::support::{Kept, alone, in_child};
use crate::{MASTER, config, id, is_empty, zone};
use forkmesh::channel::Pair;
use forkmesh::shm::Zone;

shm_struct! {
    /// A few fields of a few sizes.
    #[derive(PartialEq, Debug)]
    struct Plain {
        a: u64,
        b: [u32; 3],
        c: u16,
        d: [u8; 2],
    }
}

shm_struct! {
    sync struct Table {
        lock: Mutex,
        count: AtomicU32,
        sum: AtomicU64,
        links: [Link<Plain>; 16],
    }
}

fn plain(seed: u64) -> Plain {
    let small = seed as u32;
    Plain {
        a: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15),
        b: [small, !small, small ^ 0x5555],
        c: seed as u16,
        d: [seed as u8, !(seed as u8)],
    }
}

/// That it is whole, whatever it is.
fn is_plain(value: &Plain) -> bool {
    let seed = u64::from(value.b[0]);
    *value == plain(seed)
}

/// The compile-fail examples of `shm_struct!` show what may not be; here is what may.
pub(crate) fn what_may_be_shared() {
    fn pod<T: ShmPod>() -> usize {
        size_of::<T>()
    }
    fn sync<T: ShmSync>() -> usize {
        size_of::<T>()
    }
    assert_eq!(pod::<Plain>(), 24);
    assert_eq!(pod::<[Plain; 3]>(), 72);
    assert_eq!(sync::<Table>(), 16 + 16 * 8);
    assert_eq!(
        Plain::ZERO,
        Plain {
            a: 0,
            b: [0; 3],
            c: 0,
            d: [0; 2]
        }
    );
}

pub(crate) fn what_is_written_is_read() {
    let zone = zone();
    let joined = zone.join(id(0)).unwrap();
    for seed in 0..40 {
        let tail = (seed * 97 + seed % 7) as usize;
        let mut block = joined.alloc_with_tail(plain(seed), tail).unwrap();
        assert!(block.tail_length() >= tail);
        let bytes: Vec<u8> = (0..tail).map(|at| (at as u64 ^ seed) as u8).collect();
        block.write_tail(0, &bytes).unwrap();
        // Every place and every length at the edges of words.
        for from in (0..tail).take(19) {
            for length in (0..=tail - from).take(19) {
                let mut read = vec![0; length];
                block.read_tail(from, &mut read).unwrap();
                assert_eq!(read, bytes[from..from + length]);
                block.write_tail(from, &read).unwrap();
            }
        }
        let mut read = vec![0; tail];
        block.read_tail(0, &mut read).unwrap();
        assert_eq!((block.read(), read), (plain(seed), bytes));
        block.write(plain(seed + 1));
        assert_eq!(block.read(), plain(seed + 1));
        let all = block.tail_length();
        assert_eq!(block.read_tail(all, &mut [0]), Err(Outside));
        assert_eq!(block.write_tail(usize::MAX, &[0]), Err(Outside));
        assert_eq!(block.write_tail(1, &vec![0; all]), Err(Outside));
    }
    let odd = joined.alloc([[1_u8, 2, 3], [4, 5, 6]]).unwrap();
    assert_eq!(odd.read(), [[1, 2, 3], [4, 5, 6]]);
    drop(odd);
    joined.trim();
    assert!(is_empty(&zone));
}

pub(crate) fn a_dropped_box_is_free() {
    let zone = zone();
    let joined = zone.join(id(0)).unwrap();
    let used = || zone.slab().holding(id(0).index()).blocks;
    let block = joined.alloc(7_u64).unwrap();
    let handle = block.handle();
    drop(block);
    assert!(zone.slab().state(handle).is_err());
    drop(joined.alloc_bytes(100_000).unwrap());
    joined.trim();
    assert_eq!(used(), 0);
    assert!(is_empty(&zone));
}

pub(crate) fn one_takes_it() {
    let zone = zone();
    let (joined, other) = (zone.join(id(0)).unwrap(), zone.join(id(1)).unwrap());
    let link = zone.root::<Plain>(2).unwrap();
    assert!(link.is_empty(&joined) && link.read(&joined).is_none());
    link.insert(joined.alloc(plain(1)).unwrap()).unwrap();
    let refused = link.insert(other.alloc(plain(2)).unwrap()).unwrap_err();
    assert_eq!(refused.why, NotLinked::Occupied);
    assert_eq!(refused.block.read(), plain(2));
    assert_eq!(link.read(&other), Some(plain(1)));
    let taken = link.take(&other).unwrap();
    assert!(link.take(&joined).is_none() && link.read(&joined).is_none());
    assert_eq!(taken.read(), plain(1));
    drop((taken, refused));

    // Of many processes, each object goes to one.
    let sum = &zone.fixed::<Table>().unwrap().sum;
    for round in 0..20 {
        link.insert(joined.alloc(plain(round)).unwrap()).unwrap();
        let takers: Vec<Kept> = (1..4)
            .map(|slot| {
                let forked = Pair::new().unwrap().fork(&mut alone(), |_| {
                    let joined = zone.join(id(slot)).unwrap();
                    if let Some(taken) = link.take(&joined) {
                        assert_eq!(taken.read(), plain(round));
                        sum.fetch_add(1, Relaxed);
                    }
                    joined.trim();
                    0
                });
                Kept::new(forked.unwrap().1)
            })
            .collect();
        takers.into_iter().for_each(|mut taker| taker.ends_well());
        assert_eq!(sum.load(Relaxed), round + 1);
    }
    for heap in [&joined, &other] {
        heap.trim();
    }
    assert!(is_empty(&zone));
}

/// One process replaces an object all the time, and this one never sees a part of it.
pub(crate) fn a_copy_is_whole() {
    let zone = zone();
    let joined = zone.join(id(0)).unwrap();
    let link = zone.root::<Plain>(0).unwrap();
    let stop = &zone.fixed::<Table>().unwrap().count;
    link.insert(joined.alloc_with_tail(plain(0), 200).unwrap())
        .unwrap();
    let forked = Pair::new().unwrap().fork(&mut alone(), |_| {
        let joined = zone.join(id(1)).unwrap();
        for seed in 1.. {
            let mut block = joined.alloc_with_tail(plain(seed), 200).unwrap();
            block.write_tail(0, &[seed as u8; 200]).unwrap();
            drop(link.replace(block).unwrap());
            if stop.load(Relaxed) != 0 {
                break;
            }
        }
        0
    });
    let mut child = Kept::new(forked.unwrap().1);
    let (mut seen, mut different, mut last) = (0, 0, 0);
    let start = std::time::Instant::now();
    while seen < 20_000 || different < 100 {
        assert!(
            start.elapsed().as_secs() < 30,
            "{seen} seen, {different} different"
        );
        let mut tail = [0; 200];
        if let Some(value) = link.read_with_tail(&joined, &mut tail) {
            assert!(is_plain(&value), "{value:?}");
            assert!(tail.iter().all(|byte| *byte == value.b[0] as u8));
            seen += 1;
            different += u32::from(value.b[0] != last);
            last = value.b[0];
        }
    }
    stop.store(1, Relaxed);
    child.ends_well();
}

pub(crate) fn a_replaced_object_is_a_box() {
    let zone = zone();
    let joined = zone.join(id(0)).unwrap();
    let link = zone.root::<u64>(0).unwrap();
    assert!(link.replace(joined.alloc(1).unwrap()).unwrap().is_none());
    let before = link.replace(joined.alloc(2).unwrap()).unwrap().unwrap();
    assert_eq!((before.read(), link.read(&joined)), (1, Some(2)));
    assert!(link.take(&joined).is_some());
}

pub(crate) fn atomics_are_used_where_they_lie() {
    let zone = zone();
    let joined = zone.join(id(0)).unwrap();
    let mut dirty = joined.alloc_bytes(640).unwrap();
    let handle = dirty.handle();
    let all = dirty.tail_length();
    dirty.write_tail(0, &vec![0xFF; all]).unwrap();
    drop(dirty);
    let table: ShmBox<'_, '_, [AtomicU64; 80]> = joined.alloc_shared().unwrap();
    let place = |handle: Handle| (handle.page(), handle.index());
    assert_eq!(place(table.handle()), place(handle));
    assert!(table.get().iter().all(|word| word.load(Relaxed) == 0));
    let link = zone.root::<[AtomicU64; 80]>(1).unwrap();
    link.insert(table).unwrap();
    in_child(|| {
        let joined = zone.join(id(1)).unwrap();
        let table = link.get(&joined).unwrap();
        table[79].fetch_add(3, Relaxed);
    });
    assert_eq!(link.get(&joined).unwrap()[79].load(Relaxed), 3);
    assert!(link.take(&joined).is_some());
    assert!(link.get(&joined).is_none());
}

pub(crate) fn an_offer_is_accepted() {
    let zone = zone();
    let (joined, other) = (zone.join(id(0)).unwrap(), zone.join(id(1)).unwrap());
    let handle = joined.alloc(plain(5)).unwrap().offer().unwrap();
    let too_large = other.accept::<[u64; 100]>(handle).map(drop);
    assert_eq!(too_large, Err(Refused::NoSuchBlock));
    let accepted = other.accept::<Plain>(handle).unwrap();
    assert_eq!(accepted.read(), plain(5));
    assert_eq!(
        joined.accept::<Plain>(handle).map(drop),
        Err(Refused::Stale)
    );
    drop(accepted);
    let handle = joined.alloc(plain(6)).unwrap().offer().unwrap();
    drop(joined.accept::<Plain>(handle).unwrap());
    assert_eq!(other.accept::<Plain>(handle).map(drop), Err(Refused::Stale));
}

/// Bad input: an error of its type each, and nothing is lost.
pub(crate) fn what_cannot_be_had() {
    let zone = zone();
    let joined = zone.join(id(0)).unwrap();
    let refused = |size| joined.alloc_bytes(size).map(drop).unwrap_err();
    assert_eq!(refused(0), NotAllocated::Nothing);
    assert_eq!(refused(1 << 20), NotAllocated::TooLarge);
    assert_eq!(refused(usize::MAX), NotAllocated::TooLarge);
    let mut all = Vec::new();
    let full = loop {
        match joined.alloc_with_tail(1_u64, 2000) {
            Ok(block) => all.push(block),
            Err(why) => break why,
        }
    };
    assert_eq!(full, NotAllocated::Full);
    assert!(all.iter().all(|block| block.read() == 1) && all.len() > 100);
    drop(all);
    joined.trim();
    assert!(is_empty(&zone));

    assert_eq!(zone.join(id(4)).map(drop).unwrap_err(), NotJoined::NoRow);
    let next = zone.join(id(0).next()).map(drop).unwrap_err();
    assert_eq!(next, NotJoined::NotRecovered);
    assert!(zone.fixed::<[AtomicU64; 449]>().is_err());
    assert!(zone.fixed::<[AtomicU64; 448]>().is_ok());
    assert!(zone.root::<u64>(8).is_none());

    // A box of one zone cannot be taken by another, wherever its link lies.
    let elsewhere = Zone::create(&config("elsewhere"), 4).unwrap();
    let other = elsewhere.join(MASTER).unwrap();
    let link = elsewhere.root::<u64>(0).unwrap();
    let foreign = joined.alloc(9_u64).unwrap();
    let handle = foreign.handle();
    assert_eq!(
        other.accept::<u64>(handle).map(drop),
        Err(Refused::OtherZone)
    );
    link.insert(foreign).unwrap();
    assert!(link.read(&other).is_none() && link.take(&other).is_none());
    let stale = handle;
    assert_eq!(
        joined.accept::<u64>(stale).map(drop),
        Err(Refused::Published)
    );
}
