//! What is refused, and that refusing changes nothing.

use forkmesh::slab::{
    Handle, Heap, Layout, NotAllocated, NotJoined, NotLinked, NotRecovered, Refused, STANDARD,
    Slab, State, ZoneTag,
};
use forkmesh::table::{SlotId, SlotIndex};

use crate::zone::id;
use crate::zone_of;

const MASTER: SlotId = SlotId::MASTER;

#[test]
fn nothing_and_too_much_are_not_allocated() {
    let zone = zone_of(&STANDARD, 4, 1);
    let mut heap = zone.heap(id(0), 16);
    assert_eq!(heap.alloc(0, 1), Err(NotAllocated::Nothing));
    assert_eq!(heap.alloc(4 * 4096 + 1, 1), Err(NotAllocated::TooLarge));
    assert_eq!(heap.alloc(usize::MAX, 1), Err(NotAllocated::TooLarge));
    assert_eq!(heap.alloc(64, 3), Err(NotAllocated::TooLarge));
    assert_eq!(heap.alloc(64, 8192), Err(NotAllocated::TooLarge));
    let all = heap.alloc(4 * 4096, 1).unwrap();
    assert_eq!(heap.alloc(1, 1), Err(NotAllocated::Full));
    assert_eq!(heap.alloc(5000, 1), Err(NotAllocated::Full));
    heap.free(all).unwrap();
    assert!(heap.alloc(1, 1).is_ok());
}

#[test]
fn a_block_is_freed_once() {
    for batch in [0, 1, 16] {
        let zone = zone_of(&STANDARD, 8, 2);
        let mut heap = zone.heap(id(0), batch);
        let mut other = zone.heap(id(1), batch);
        for size in [64, 100, 2048, 4096, 9000] {
            let block = heap.alloc(size, 1).unwrap();
            heap.free(block).unwrap();
            assert_eq!(heap.free(block), Err(Refused::Stale), "{size} bytes");
            let again = heap.alloc(size, 1).unwrap();
            assert_ne!(again, block);
            assert_eq!(heap.free(block), Err(Refused::Stale));
            assert_eq!(other.free(block), Err(Refused::Stale));
            assert_eq!(zone.slab().state(again), Ok(State::Private(index(0))));
            heap.free(again).unwrap();
        }
        heap.trim();
        assert_eq!(zone.slab().census().free_pages, 8);
    }
}

fn index(slot: usize) -> SlotIndex {
    SlotIndex::new(slot).unwrap()
}

#[test]
fn what_others_hold_is_not_freed() {
    let zone = zone_of(&STANDARD, 8, 2);
    let mut heap = zone.heap(id(0), 16);
    let mut other = zone.heap(id(1), 16);
    for size in [64, 9000] {
        let block = heap.alloc(size, 1).unwrap();
        assert_eq!(other.free(block), Err(Refused::Held));
        assert_eq!(other.claim(block), Err(Refused::Held));
        assert_eq!(other.accept(block), Err(Refused::Held));
        assert_eq!(other.publish(block), Err(Refused::Held));
        assert_eq!(other.offer(block), Err(Refused::Held));
        assert_eq!(zone.slab().read(block, |_| ()), Err(Refused::Held));

        heap.offer(block).unwrap();
        assert_eq!(heap.free(block), Err(Refused::Offered));
        assert_eq!(heap.publish(block), Err(Refused::Offered));
        assert_eq!(other.claim(block), Err(Refused::Offered));
        let accepted = other.accept(block).unwrap();
        assert_eq!(heap.accept(block), Err(Refused::Stale));
        assert_eq!(heap.free(block), Err(Refused::Stale));

        other.publish(accepted).unwrap();
        assert_eq!(other.free(accepted), Err(Refused::Published));
        assert_eq!(heap.accept(accepted), Err(Refused::Published));
        let length = zone.slab().read(accepted, |extent| extent.length).unwrap();
        assert!(length >= size);
        let claimed = heap.claim(accepted).unwrap();
        assert_eq!(other.claim(accepted), Err(Refused::Stale));
        assert_eq!(zone.slab().read(accepted, |_| ()), Err(Refused::Stale));
        heap.free(claimed).unwrap();
        assert_eq!(heap.claim(accepted), Err(Refused::Stale));
    }
}

#[test]
fn an_offer_can_be_withdrawn() {
    let zone = zone_of(&STANDARD, 2, 2);
    let mut heap = zone.heap(id(0), 16);
    let mut other = zone.heap(id(1), 16);
    let block = heap.alloc(64, 1).unwrap();
    heap.offer(block).unwrap();
    let again = heap.accept(block).unwrap();
    assert_eq!(other.accept(block), Err(Refused::Stale));
    heap.free(again).unwrap();
}

#[test]
fn a_handle_of_another_zone_is_refused() {
    let (zone, elsewhere) = (zone_of(&STANDARD, 2, 1), zone_of(&STANDARD, 2, 1));
    let slab = Slab::attach(elsewhere.words(), elsewhere.layout(), ZoneTag::of(6)).unwrap();
    let mut heap = zone.heap(id(0), 16);
    let mut other = Heap::join(slab, id(0)).unwrap();
    let (block, same) = (heap.alloc(64, 1).unwrap(), other.alloc(64, 1).unwrap());
    assert_ne!(block, same);
    assert_eq!(other.free(block), Err(Refused::OtherZone));
    assert_eq!(other.claim(block), Err(Refused::OtherZone));
    assert_eq!(other.accept(block), Err(Refused::OtherZone));
    assert_eq!(slab.extent(block), Err(Refused::OtherZone));
    assert_eq!(slab.state(block), Err(Refused::OtherZone));
    other.free(same).unwrap();
    heap.free(block).unwrap();
}

/// The handle of a block, made to say that it is of another class, page, or index.
#[test]
fn a_forged_handle_is_refused() {
    let zone = zone_of(&STANDARD, 2, 1);
    let mut heap = zone.heap(id(0), 0);
    let block = heap.alloc(64, 1).unwrap();
    let slab = zone.slab();
    for (bits, expected) in [
        (1 << 58, Refused::NoSuchBlock), // class 1: there is a block with this index
        (31 << 58, Refused::NoSuchBlock), // a run: its first block has this index
        (20 << 58, Refused::NoSuchBlock), // no class at all
        (2 << 32, Refused::NoSuchBlock), // a page that is not there
        (1 << 32, Refused::Stale),       // a page that has no blocks
        (1 << 26, Refused::Stale),       // a block that is free
        (1, Refused::Stale),             // another life
    ] {
        let forged = Handle::from_u64(block.as_u64() ^ bits).unwrap();
        assert_eq!(heap.free(forged), Err(expected), "{forged}");
        assert_eq!(heap.publish(forged), Err(expected), "{forged}");
        assert!(heap.claim(forged).is_err());
    }
    heap.publish(block).unwrap();
    let class_one = Handle::from_u64(block.as_u64() ^ 1 << 58).unwrap();
    assert_eq!(heap.claim(class_one), Err(Refused::NoSuchBlock));
    assert_eq!(slab.read(class_one, |_| ()), Err(Refused::NoSuchBlock));
    assert_eq!(slab.state(block), Ok(State::Published));
    let claimed = heap.claim(block).unwrap();
    heap.free(claimed).unwrap();
}

#[test]
fn a_life_is_recovered_once() {
    let zone = zone_of(&STANDARD, 2, 2);
    let mut master = zone.heap(MASTER, 16);
    assert_eq!(master.recover(MASTER), Err(NotRecovered::Itself));
    assert_eq!(master.recover(id(0)), Err(NotRecovered::NotThere));
    assert_eq!(master.recover(id(2)), Err(NotRecovered::NotThere));
    let mut heap = zone.heap(id(0), 0);
    heap.alloc(64, 1).unwrap();
    heap.alloc(4096, 1).unwrap();

    // The next life cannot begin before the last one is recovered, nor be recovered in its place.
    let next = id(0).next();
    let joined = Heap::join(zone.slab(), next).map(drop);
    assert_eq!(joined, Err(NotJoined::NotRecovered));
    assert_eq!(master.recover(next), Err(NotRecovered::NotThere));
    assert_eq!(zone.slab().joined(index(0)), Some(id(0)));
    let recovered = master.recover(id(0)).unwrap();
    assert_eq!((recovered.blocks, recovered.runs), (1, 1));
    assert_eq!(zone.slab().joined(index(0)), None);
    assert_eq!(master.recover(id(0)), Err(NotRecovered::NotThere));

    let mut heap = zone.heap(next, 0);
    let block = heap.alloc(64, 1).unwrap();
    assert_eq!(master.recover(id(0)), Err(NotRecovered::NotThere));
    heap.free(block).unwrap();
}

#[test]
fn a_slot_without_a_row_does_not_join() {
    let zone = zone_of(&STANDARD, 2, 2);
    let refused = Heap::join(zone.slab(), id(2)).map(drop);
    assert_eq!(refused, Err(NotJoined::NoRow));
    for master in [1022, 1023] {
        assert!(Heap::join(zone.slab(), id(master)).is_ok());
    }
}

#[test]
fn threads_of_a_process_have_a_heap_each() {
    let zone = zone_of(&STANDARD, 2, 2);
    let (mut one, mut two) = (zone.heap(id(0), 16), zone.heap(id(0), 16));
    let blocks = [one.alloc(64, 1).unwrap(), two.alloc(64, 1).unwrap()];
    assert_ne!(blocks[0], blocks[1]);
    two.free(blocks[0]).unwrap();
    one.free(blocks[1]).unwrap();
    one.close();
    two.trim();
    assert_eq!(zone.slab().census().free_pages, 2);
}

#[test]
fn a_link_leads_to_one_block() {
    let zone = zone_of(&STANDARD, 2, 2);
    let link = &zone.slab().roots()[3];
    let mut heap = zone.heap(id(0), 0);
    let mut other = zone.heap(id(1), 0);
    assert_eq!(heap.take(link), None);
    let (block, rival) = (heap.alloc(64, 1).unwrap(), other.alloc(64, 1).unwrap());
    let not_ours = heap.insert(link, rival);
    assert_eq!(not_ours, Err(NotLinked::Refused(Refused::Held)));
    heap.insert(link, block).unwrap();
    assert_eq!(other.insert(link, rival), Err(NotLinked::Occupied));
    assert_eq!(link.fresh(&zone.slab()), Some(block));
    let taken = other.take(link).unwrap();
    assert_eq!(heap.take(link), None);
    other.insert(link, rival).unwrap();

    // Behind the link's back: then it is stale, and cleared by who comes next.
    let claimed = heap.claim(rival).unwrap();
    assert_eq!(link.handle(), Some(rival));
    assert_eq!(link.fresh(&zone.slab()), None);
    assert_eq!(link.handle(), None);
    heap.free(claimed).unwrap();
    other.free(taken).unwrap();
}

#[test]
fn a_link_is_swung_from_one_block_to_another() {
    let zone = zone_of(&STANDARD, 2, 2);
    let link = &zone.slab().roots()[0];
    let mut heap = zone.heap(id(0), 0);
    let mut other = zone.heap(id(1), 0);
    let [first, second, third] = [0; 3].map(|_| heap.alloc(64, 1).unwrap());
    assert_eq!(heap.replace(link, first), Ok(None));
    let before = heap.replace(link, second).unwrap().unwrap();
    assert_eq!(
        (before.page(), before.index()),
        (first.page(), first.index())
    );
    assert_eq!(link.fresh(&zone.slab()), Some(second));
    let not_ours = other.replace(link, third);
    assert_eq!(not_ours, Err(NotLinked::Refused(Refused::Held)));
    let published = heap.replace(link, second);
    assert_eq!(published, Err(NotLinked::Refused(Refused::Published)));
    // One that is about to be put in is not taken from who puts it in.
    let claimed = other.take(link).unwrap();
    other.free(claimed).unwrap();
    assert_eq!(heap.replace(link, third), Ok(None));
    assert_eq!(zone.slab().lives().collect::<Vec<_>>(), [id(0), id(1)]);
    heap.free(before).unwrap();
}

#[test]
fn a_recovery_can_be_done_in_parts() {
    let zone = zone_of(&STANDARD, 5, 2);
    let mut heap = zone.heap(id(0), 0);
    for _ in 0..4 {
        heap.alloc(2048, 1).unwrap();
        heap.alloc(2048, 1).unwrap();
    }
    let mut master = zone.heap(MASTER, 0);
    let mut recovery = master.begin_recovery(id(0)).unwrap();
    assert_eq!(recovery.dead(), id(0));
    for pages in [0, 1, 2] {
        assert!(!master.recover_pages(&mut recovery, pages));
        let joined = Heap::join(zone.slab(), id(0).next()).map(drop);
        assert_eq!(joined, Err(NotJoined::NotRecovered));
    }
    assert!(recovery.recovered().blocks > 0);
    // Begun anew, it is the same one; another master is kept out.
    let mut again = master.begin_recovery(id(0)).unwrap();
    let mut other = zone.heap(id(1022), 0);
    let by = NotRecovered::By(MASTER.index());
    assert_eq!(other.begin_recovery(id(0)).map(drop), Err(by));
    assert!(other.recover_pages(&mut recovery.clone(), 99));
    assert!(master.recover_pages(&mut recovery, usize::MAX));
    assert_eq!(recovery.recovered().blocks, 8);
    let mut next = zone.heap(id(0).next(), 0);
    let block = next.alloc(64, 1).unwrap();
    assert!(master.recover_pages(&mut again, usize::MAX));
    assert!(master.recover_pages(&mut recovery, usize::MAX));
    next.free(block).unwrap();
}

#[test]
fn errors_say_what_they_are() {
    let said = [
        NotAllocated::Full.to_string(),
        NotJoined::NoRow.to_string(),
        NotRecovered::By(index(3)).to_string(),
        Refused::Stale.to_string(),
        NotLinked::Refused(Refused::Stale).to_string(),
        Layout::new(&STANDARD, 0, 1).unwrap_err().to_string(),
    ];
    assert!(said.iter().all(|text| text.len() > 15), "{said:?}");
}
