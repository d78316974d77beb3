//! Models of death in the slab: killed at every store, reaped, and recovered beside one who lives on.

use forkmesh::slab::{Heap, NotRecovered};
use forkmesh::sync::kill;
use loom::thread::JoinHandle;

use crate::memory::{FOUR_OR_PAIR, Memory, PAIR, victim};
use crate::world::{kill_at, spawn, sweep};
use crate::zone::id;

/// Reaps the victim and recovers it, while the peer goes on; returns whether it was killed.
fn bury(memory: &Memory, victim: JoinHandle<bool>, peer: JoinHandle<()>) -> bool {
    let killed = victim.join().unwrap();
    memory.master().recover(id(0)).unwrap();
    peer.join().unwrap();
    killed
}

pub(crate) fn allocating_killed_at_every_step(name: &str) {
    sweep(name, 7, 14_000, |k| {
        let memory = Memory::new(&PAIR, 1);
        memory.cut(16);
        let victim = victim(&memory, k, |memory, heap| {
            memory.round(heap, 16);
        });
        let peer = spawn(&memory, |memory| {
            // One block may be the victim's; the other is there.
            assert!(memory.round(&mut memory.heap(1), 16));
        });
        let killed = bury(&memory, victim, peer);
        memory.audit(0);
        killed
    });
}

pub(crate) fn cutting_killed_at_every_step(name: &str) {
    sweep(name, 18, 186_000, |k| {
        let memory = Memory::new(&PAIR, 1);
        let victim = victim(&memory, k, |memory, heap| {
            memory.round(heap, 16);
        });
        let peer = spawn(&memory, |memory| {
            memory.round(&mut memory.heap(1), 16);
        });
        let killed = bury(&memory, victim, peer);
        memory.audit(0);
        killed
    });
}

pub(crate) fn retiring_killed_at_every_step(name: &str) {
    sweep(name, 7, 65_000, |k| {
        let memory = Memory::new(&PAIR, 1);
        memory.cut(16);
        let victim = victim(&memory, k, |_, heap| {
            heap.trim();
        });
        let peer = spawn(&memory, |memory| {
            memory.round(&mut memory.heap(1), 16);
        });
        let killed = bury(&memory, victim, peer);
        memory.audit(0);
        killed
    });
}

/// The peer gives the page back and cuts it again, while the victim takes a block of it, and is killed
/// as soon as it has it: after the hint and the block, before whatever it does about being late.
pub(crate) fn a_late_grab_killed_at_every_step(name: &str) {
    kill_at(name, 2, 260_000, |k| {
        let memory = Memory::new(&PAIR, 1);
        memory.cut(16);
        let victim = victim(&memory, k, |memory, heap| {
            memory.take(heap, 16);
        });
        let peer = spawn(&memory, |memory| {
            memory.cut_again(&mut memory.heap(1), 16);
        });
        let killed = bury(&memory, victim, peer);
        memory.audit(0);
        killed
    });
}

pub(crate) fn a_run_killed_at_every_step(name: &str) {
    sweep(name, 17, 78_000, |k| {
        let memory = Memory::new(&PAIR, 2);
        let victim = victim(&memory, k, |memory, heap| {
            memory.round(heap, 64);
        });
        let peer = spawn(&memory, |memory| {
            memory.round(&mut memory.heap(1), 32);
        });
        let killed = bury(&memory, victim, peer);
        memory.audit(0);
        assert!(memory.round(&mut memory.master(), 64));
        killed
    });
}

pub(crate) fn publishing_killed_at_every_step(name: &str) {
    sweep(name, 6, 3600, |k| {
        let memory = Memory::new(&PAIR, 1);
        let block = memory.published();
        let victim = victim(&memory, k, move |memory, heap| {
            if let Ok(block) = heap.claim(block) {
                memory.fill(block);
                heap.publish(block).unwrap();
                let block = heap.claim(block).unwrap();
                heap.free(block).unwrap();
            }
        });
        let peer = spawn(&memory, move |memory| {
            let mut heap = memory.heap(1);
            if let Ok(block) = heap.claim(block) {
                memory.fill(block);
                heap.free(block).unwrap();
            }
        });
        let killed = bury(&memory, victim, peer);
        let left = memory.slab().published().count();
        assert!(left == 0 || (left == 1 && killed));
        memory.audit(left);
        killed
    });
}

pub(crate) fn offering_killed_at_every_step(name: &str) {
    sweep(name, 5, 2000, |k| {
        let memory = Memory::new(&PAIR, 1);
        memory.cut(16);
        let block = memory.heap(0).alloc(16, 1).unwrap();
        let victim = victim(&memory, k, move |memory, heap| {
            memory.fill(block);
            heap.offer(block).unwrap();
            if let Ok(block) = heap.accept(block) {
                heap.free(block).unwrap();
            }
        });
        let peer = spawn(&memory, move |memory| {
            let mut heap = memory.heap(1);
            if let Ok(block) = heap.accept(block) {
                memory.fill(block);
                heap.free(block).unwrap();
            }
        });
        let killed = bury(&memory, victim, peer);
        memory.audit(0);
        killed
    });
}

/// What is published is what a link leads to.
pub(crate) fn linking_killed_at_every_step(name: &str) {
    sweep(name, 8, 14_000, |k| {
        let memory = Memory::new(&PAIR, 1);
        memory.cut(16);
        let blocks = [0, 1].map(|slot| memory.heap(slot).alloc(16, 1).unwrap());
        let work = |memory: &Memory, heap: &mut Heap<'_>, block| {
            let link = &memory.slab().roots()[0];
            memory.fill(block);
            if heap.insert(link, block).is_ok()
                && let Some(taken) = heap.take(link)
            {
                memory.fill(taken);
                heap.free(taken).unwrap();
            }
        };
        let victim = victim(&memory, k, move |memory, heap| {
            work(memory, heap, blocks[0])
        });
        let peer = spawn(&memory, move |memory| {
            work(memory, &mut memory.heap(1), blocks[1]);
        });
        let killed = bury(&memory, victim, peer);
        let slab = memory.slab();
        let linked = slab.roots()[0].fresh(&slab);
        let published: Vec<_> = slab.published().collect();
        assert_eq!(linked.as_slice(), published);
        memory.audit(published.len());
        killed
    });
}

/// One object in the place of another, beside one who takes it, or looks where it leads.
pub(crate) fn replacing_killed_at_every_step(name: &str) {
    sweep(name, 7, 11_000, |k| {
        let memory = Memory::new(&FOUR_OR_PAIR, 1);
        memory.cut(16);
        let mut first = memory.heap(3);
        let old = memory.take(&mut first, 16).unwrap();
        first.insert(&memory.slab().roots()[0], old).unwrap();
        let new = memory.take(&mut memory.heap(0), 16).unwrap();
        let victim = victim(&memory, k, move |memory, heap| {
            let link = &memory.slab().roots()[0];
            match heap.replace(link, new) {
                Ok(Some(before)) => {
                    memory.fill(before);
                    heap.free(before).unwrap();
                }
                Ok(None) => {}
                Err(_) => heap.free(new).unwrap(),
            }
        });
        let peer = spawn(&memory, |memory| {
            let mut heap = memory.heap(1);
            let link = &memory.slab().roots()[0];
            if let Some(taken) = heap.take(link) {
                memory.fill(taken);
                heap.free(taken).unwrap();
            }
        });
        let killed = bury(&memory, victim, peer);
        let slab = memory.slab();
        let linked = slab.roots()[0].fresh(&slab);
        let published: Vec<_> = slab.published().collect();
        assert_eq!(linked.as_slice(), published);
        memory.audit(published.len());
        killed
    });
}

/// The master dies while it recovers one who died with a block, a run, and a page half cut.
pub(crate) fn recovering_killed_at_every_step(name: &str) {
    sweep(name, 15, 19_000, |k| {
        let memory = Memory::new(&FOUR_OR_PAIR, 4);
        let mut dead = memory.heap(0);
        dead.alloc(128, 1).unwrap();
        dead.alloc(16, 1).unwrap();
        // Killed before its third step: the page is taken, and one block of it cut.
        assert!(kill::at(3, || dead.alloc(32, 1)).is_none());
        let peer = spawn(&memory, |memory| {
            memory.round(&mut memory.heap(1), 16);
        });
        let master = spawn(&memory, move |memory| {
            let mut master = memory.heap(2);
            kill::at(k, || master.recover(id(0)).unwrap()).is_none()
        });
        let killed = master.join().unwrap();
        let mut next = memory.master();
        if killed {
            let first = next.recover(id(0));
            assert!(first.is_ok() || first == Err(NotRecovered::By(id(2).index())));
            next.recover(id(2)).unwrap();
            let again = next.recover(id(0));
            assert_eq!(again.is_ok(), first.is_err());
        } else {
            assert_eq!(next.recover(id(0)), Err(NotRecovered::NotThere));
        }
        peer.join().unwrap();
        memory.audit(0);
        killed
    });
}

/// The master dies while it recovers one who died before its run was tied together: the head has its
/// tails, and is no head yet.
pub(crate) fn recovering_a_run_killed_at_every_step(name: &str) {
    sweep(name, 11, 26_000, |k| {
        let memory = Memory::new(&PAIR, 3);
        let mut dead = memory.heap(0);
        // Three pages are taken, three hints cleared, two tails and a block are made.
        assert!(kill::at(9, || dead.alloc(96, 1)).is_none());
        let peer = spawn(&memory, |memory| {
            memory.round(&mut memory.heap(1), 32);
        });
        let master = spawn(&memory, move |memory| {
            let mut master = memory.heap(2);
            kill::at(k, || master.recover(id(0)).unwrap()).is_none()
        });
        let killed = master.join().unwrap();
        let mut next = memory.master();
        if killed {
            next.recover(id(2)).unwrap();
            let _ = next.recover(id(0));
        }
        peer.join().unwrap();
        memory.audit(0);
        killed
    });
}
