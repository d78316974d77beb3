//! Models of the slab among the living: no block has two holders, and no page is lost.

use forkmesh::slab::{Handle, Refused};
use loom::sync::Arc;

use crate::memory::{FOUR_OR_PAIR, Memory, PAIR};
use crate::world::{check, spawn};

pub(crate) fn two_allocate(name: &str) {
    check(name, 2500, || {
        let memory = Memory::new(&PAIR, 1);
        memory.cut(16);
        let twice = |memory: &Memory, slot| {
            let mut heap = memory.heap(slot);
            // Who looks at one block after the other may find that each was in use then.
            memory.round(&mut heap, 16);
            memory.round(&mut heap, 16);
        };
        let other = spawn(&memory, move |memory| twice(memory, 0));
        twice(&memory, 1);
        other.join().unwrap();
        memory.assert_nothing_held();
        memory.audit(0);
    });
}

/// Both find the page free. One of them may find nothing, while the other is at work on it.
pub(crate) fn two_cut(name: &str) {
    check(name, 500, || {
        let memory = Memory::new(&PAIR, 1);
        let other = spawn(&memory, |memory| memory.round(&mut memory.heap(0), 16));
        let got = memory.round(&mut memory.heap(1), 16);
        assert!(other.join().unwrap() || got);
        memory.assert_nothing_held();
        memory.audit(0);
    });
}

pub(crate) fn three_allocate(name: &str) {
    check(name, 60_000, || {
        let memory = Memory::new(&PAIR, 1);
        memory.cut(16);
        let others = [0, 1].map(|slot| {
            spawn(&memory, move |memory| {
                memory.round(&mut memory.heap(slot), 16)
            })
        });
        let mut got = usize::from(memory.round(&mut memory.heap(2), 16));
        for other in others {
            got += usize::from(other.join().unwrap());
        }
        assert!(got >= 1);
        memory.assert_nothing_held();
        memory.audit(0);
    });
}

/// With magazines, what one has freed is still its own.
pub(crate) fn two_with_magazines(name: &str) {
    check(name, 1300, || {
        let memory = Memory::new(&PAIR, 2);
        let work = |memory: &Memory, slot| {
            let mut heap = memory.heap_with_magazines(slot);
            for size in [16, 16] {
                memory.round(&mut heap, size);
            }
            heap.close();
        };
        let other = spawn(&memory, move |memory| work(memory, 0));
        work(&memory, 1);
        other.join().unwrap();
        memory.assert_hinted();
        memory.assert_nothing_held();
        memory.audit(0);
    });
}

/// One gives the page back while another allocates from it.
pub(crate) fn retiring_beside_an_allocation(name: &str) {
    check(name, 3200, || {
        let memory = Memory::new(&PAIR, 1);
        memory.cut(16);
        let other = spawn(&memory, |memory| memory.round(&mut memory.heap(0), 16));
        memory.heap(2).trim();
        other.join().unwrap();
        memory.assert_nothing_held();
        memory.audit(0);
    });
}

/// One gives the page back and cuts it otherwise, while another takes a block of it. Of the new blocks
/// the first is taken at once; it is the second that can be won too late.
pub(crate) fn a_page_changes_its_class_at_every_step(name: &str) {
    check(name, 470_000, || {
        let memory = Memory::new(&FOUR_OR_PAIR, 1);
        memory.cut(16);
        let small = spawn(&memory, |memory| memory.take(&mut memory.heap(0), 16));
        memory.cut_again(&mut memory.heap(1), 32);
        if let Some(block) = small.join().unwrap() {
            memory.heap(0).free(block).unwrap();
        }
        memory.audit(0);
    });
}

/// One takes the first page and gives it back; the other finds it taken, and then takes the second.
pub(crate) fn free_hints_are_exact(name: &str) {
    check(name, 2400, || {
        let memory = Memory::new(&PAIR, 2);
        let other = spawn(&memory, |memory| {
            let mut heap = memory.heap_with_magazines(0);
            let block = memory.take(&mut heap, 16);
            heap.close();
            block.is_some()
        });
        let mut heap = memory.heap(1);
        memory.round(&mut heap, 16);
        heap.trim();
        assert!(other.join().unwrap());
        memory.assert_hinted();
        memory.audit(0);
    });
}

/// One frees into the first page; the other has looked there, found nothing, and takes the second.
pub(crate) fn part_hints_are_exact(name: &str) {
    check(name, 30, || {
        let memory = Memory::new(&PAIR, 2);
        let mut heap = memory.heap(1);
        let blocks = [16, 16].map(|size| memory.take(&mut heap, size).unwrap());
        let other = spawn(&memory, |memory| {
            let mut heap = memory.heap_with_magazines(0);
            let block = memory.take(&mut heap, 16);
            heap.close();
            block.is_some()
        });
        heap.free(blocks[0]).unwrap();
        assert!(other.join().unwrap());
        memory.assert_hinted();
        memory.audit(0);
    });
}

/// Both want two of three pages.
pub(crate) fn runs_overlap(name: &str) {
    check(name, 1500, || {
        let memory = Memory::new(&PAIR, 3);
        let work = |memory: &Memory, slot, size| {
            let mut heap = memory.heap(slot);
            memory.round(&mut heap, size)
        };
        let other = spawn(&memory, move |memory| work(memory, 0, 64));
        work(&memory, 1, 64);
        other.join().unwrap();
        memory.assert_nothing_held();
        memory.audit(0);
        assert!(work(&memory, 1, 96));
    });
}

fn claim(memory: &Memory, slot: usize, block: Handle) -> bool {
    let mut heap = memory.heap(slot);
    match heap.claim(block) {
        Ok(block) => {
            memory.fill(block);
            heap.free(block).unwrap();
            true
        }
        Err(error) => {
            assert_eq!(error, Refused::Stale);
            false
        }
    }
}

pub(crate) fn a_claim_has_one_winner(name: &str) {
    check(name, 700, || {
        let memory = Memory::new(&PAIR, 1);
        let block = memory.published();
        let others = [0, 1].map(|slot| spawn(&memory, move |memory| claim(memory, slot, block)));
        let mut won = usize::from(claim(&memory, 2, block));
        for other in others {
            won += usize::from(other.join().unwrap());
        }
        assert_eq!(won, 1);
        memory.assert_nothing_held();
        memory.audit(0);
    });
}

/// One claims a block, frees it, and publishes what it is given next; the other has the old handle.
pub(crate) fn a_claimed_block_is_used_again(name: &str) {
    check(name, 70, || {
        let memory = Memory::new(&PAIR, 1);
        let block = memory.published();
        let late = spawn(&memory, move |memory| claim(memory, 0, block));
        let mut heap = memory.heap(1);
        let claimed = heap.claim(block);
        if let Ok(block) = claimed {
            heap.free(block).unwrap();
        }
        let next = heap.alloc(16, 1).unwrap();
        memory.fill(next);
        heap.publish(next).unwrap();
        assert_ne!(late.join().unwrap(), claimed.is_ok());
        memory.audit(1);
    });
}

/// The sender withdraws what the receiver accepts, and the message came twice.
pub(crate) fn an_offer_has_one_winner(name: &str) {
    check(name, 2100, || {
        let memory = Memory::new(&PAIR, 1);
        let mut sender = memory.heap(2);
        let block = sender.alloc(16, 1).unwrap();
        memory.fill(block);
        sender.offer(block).unwrap();
        let accept = move |memory: &Memory, slot| {
            let mut heap = memory.heap(slot);
            let accepted = heap.accept(block);
            if let Ok(block) = accepted {
                memory.fill(block);
                heap.free(block).unwrap();
            }
            accepted.is_ok()
        };
        let others = [0, 1].map(|slot| spawn(&memory, move |memory| accept(memory, slot)));
        let mut won = usize::from(accept(&memory, 2));
        for other in others {
            won += usize::from(other.join().unwrap());
        }
        assert_eq!(won, 1);
        memory.assert_nothing_held();
        memory.audit(0);
    });
}

/// A reader copies two words that a claimer changes: it has both of one time, or knows that it has not.
pub(crate) fn reading_beside_a_claim(name: &str) {
    use forkmesh::sync::{AtomicU32, Ordering::Relaxed};
    check(name, 40, || {
        let memory = Memory::new(&PAIR, 1);
        let block = memory.published();
        let words = Arc::new([AtomicU32::new(0), AtomicU32::new(0)]);
        let written = Arc::clone(&words);
        let writer = spawn(&memory, move |memory| {
            let mut heap = memory.heap(0);
            let block = heap.claim(block).unwrap();
            written.iter().for_each(|word| word.store(1, Relaxed));
            heap.publish(block).unwrap();
            written
                .iter()
                .for_each(|word| assert_eq!(word.load(Relaxed), 1));
        });
        let copied = memory.slab().read(block, |_| {
            [0, 1].map(|word: usize| words[word].load(Relaxed))
        });
        if let Ok(copied) = copied {
            assert_eq!(copied, [0, 0]);
        }
        writer.join().unwrap();
        memory.audit(1);
    });
}
