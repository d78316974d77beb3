//! Models of the slab among the living: no block has two holders, and no page is lost.

use forkmesh::slab::{Handle, Refused};
use loom::sync::Arc;

use crate::memory::{Memory, PAIR, PAIR_OR_ONE};
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
        memory.audit(0);
    });
}

/// One gives the page back and cuts it otherwise, while another takes a block of it.
pub(crate) fn a_page_changes_its_class(name: &str) {
    check(name, 30_000, || {
        let memory = Memory::new(&PAIR_OR_ONE, 1);
        memory.cut(16);
        let small = spawn(&memory, |memory| memory.take(&mut memory.heap(0), 16));
        memory.cut_otherwise(&mut memory.heap(1));
        small.join().unwrap();
        memory.audit(0);
    });
}

/// One page that is taken and given back by two.
pub(crate) fn free_hints_are_exact(name: &str) {
    check(name, 80_000, || {
        let memory = Memory::new(&PAIR, 1);
        let work = |memory: &Memory, slot| {
            let mut heap = memory.heap(slot);
            let run = heap.alloc(32, 1);
            if let Ok(run) = run {
                memory.fill(run);
                heap.free(run).unwrap();
            }
        };
        let other = spawn(&memory, move |memory| work(memory, 0));
        let third = spawn(&memory, move |memory| memory.round(&mut memory.heap(2), 16));
        work(&memory, 1);
        other.join().unwrap();
        third.join().unwrap();
        memory.assert_hinted();
        memory.audit(0);
    });
}

/// One frees into a page while another looks for a free block there, and leaves.
pub(crate) fn part_hints_are_exact(name: &str) {
    check(name, 200, || {
        let memory = Memory::new(&PAIR, 1);
        let mut heap = memory.heap(1);
        let blocks = [16, 16].map(|size| heap.alloc(size, 1).unwrap());
        let other = spawn(&memory, |memory| {
            let mut heap = memory.heap_with_magazines(0);
            if let Ok(block) = heap.alloc(16, 1) {
                memory.fill(block);
                heap.free(block).unwrap();
            }
            heap.close();
        });
        for block in blocks {
            memory.fill(block);
            heap.free(block).unwrap();
        }
        other.join().unwrap();
        memory.assert_hinted();
        memory.audit(0);
    });
}

/// Both want two of three pages.
pub(crate) fn runs_overlap(name: &str) {
    check(name, 160_000, || {
        let memory = Memory::new(&PAIR, 3);
        let work = |memory: &Memory, slot, size| {
            let mut heap = memory.heap(slot);
            memory.round(&mut heap, size)
        };
        let other = spawn(&memory, move |memory| work(memory, 0, 64));
        let small = spawn(&memory, move |memory| work(memory, 2, 16));
        work(&memory, 1, 64);
        other.join().unwrap();
        small.join().unwrap();
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
