//! Processes that end between two operations, at every point of what they do.

use forkmesh::slab::{Census, NotRecovered, STANDARD};
use forkmesh::table::SlotId;
use proptest::proptest;
use proptest::test_runner::Config;

use crate::model::{SLOTS, World, steps};
use crate::zone::id;
use crate::zone_of;

proptest! {
    #![proptest_config(Config::with_cases(60))]

    #[test]
    fn whatever_was_done_is_recovered(steps in steps(60), batch in 0_usize..17) {
        for done in 0..=steps.len() {
            let zone = zone_of(&STANDARD, 6, SLOTS);
            let mut world = World::new(&zone, batch);
            world.run(&steps[..done]);
            world.leave_nothing();
        }
    }
}

/// A master dies: the next one takes back what it held, and does what it had not come to.
#[test]
fn the_next_master_takes_over() {
    let zone = zone_of(&STANDARD, 6, SLOTS);
    let mut first = zone.heap(SlotId::MASTER, 4);
    let mut next = zone.heap(id(1022), 4);
    let mut worker = zone.heap(id(0), 4);
    for size in [64, 600, 5000] {
        worker.alloc(size, 1).unwrap();
        first.alloc(size, 1).unwrap();
    }
    let recovered = next.recover(SlotId::MASTER).unwrap();
    assert_eq!((recovered.runs, recovered.pages), (1, 0));
    assert!(recovered.blocks >= 2);
    assert_eq!(next.recover(SlotId::MASTER), Err(NotRecovered::NotThere));
    next.recover(id(0)).unwrap();
    next.trim();
    let empty = Census {
        free_pages: 6,
        ..Census::default()
    };
    assert_eq!(zone.slab().census(), empty);
}

/// What was published stays, whoever dies.
#[test]
fn the_published_outlives_its_process() {
    let zone = zone_of(&STANDARD, 6, SLOTS);
    let link = &zone.slab().roots()[0];
    let mut master = zone.heap(SlotId::MASTER, 4);
    let mut worker = zone.heap(id(0), 4);
    let block = worker.alloc(64, 1).unwrap();
    worker.insert(link, block).unwrap();
    master.recover(id(0)).unwrap();
    assert_eq!(link.fresh(&zone.slab()), Some(block));
    let mut heap = zone.heap(id(1), 4);
    let taken = heap.take(link).unwrap();
    heap.free(taken).unwrap();
}
