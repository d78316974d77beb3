//! `Recovering`: taking back what a dead process held in every zone, a few pages at a time.
//!
//! ```text
//!   reaped ─► recover(dead) ─► step ─► step ─► … ─► true: its next life can join
//!                                  └─ events, other workers, another recovery
//! ```
//!
//! # Invariants
//!
//! - A step looks at [`Zones::PAGES_A_STEP`] pages at most, which takes some tenths of a millisecond if
//!   the dead held all of them. A run of pages, however long, is given back at once: about 30 ns a
//!   page (test `recovery_goes_in_steps`).
//! - What was begun and not ended is done by the next master (test
//!   `the_next_master_recovers_the_last`).
//!
//! # Why not a thread
//!
//! A master with a second thread could not fork.

use heapless::Vec;

use super::header::NUMBERS;
use super::zones::Zones;
use crate::slab::{Heap, NotRecovered, Recovered, Recovery};
use crate::table::{SlotId, SlotIndex};

/// The recovery of one life of one slot in every zone: how far it has come.
#[derive(Clone, Debug)]
#[must_use = "the slot cannot be used again before it is over"]
pub struct Recovering {
    dead: SlotId,
    /// The number of the zone that is next, or under way.
    number: usize,
    under_way: Option<Recovery>,
    recovered: Recovered,
    elsewhere: Option<SlotIndex>,
}

impl Zones {
    /// How many pages a step of a recovery looks at.
    pub const PAGES_A_STEP: usize = 512;

    /// Begins to take back what a life of a slot holds, in every zone. For whoever has reaped the
    /// process. Others go on meanwhile.
    pub const fn recover(&self, dead: SlotId) -> Recovering {
        Recovering {
            dead,
            number: 0,
            under_way: None,
            recovered: Recovered {
                blocks: 0,
                runs: 0,
                pages: 0,
            },
            elsewhere: None,
        }
    }

    /// Looks at some pages more, and says whether those were the last. A zone that the dead never
    /// joined, or that it was recovered in before, costs a few loads.
    pub fn step(&self, recovering: &mut Recovering) -> bool {
        while recovering.number < NUMBERS {
            if self.step_in_zone(recovering) {
                return false;
            }
            recovering.number += 1;
        }
        true
    }

    /// Whether there was something to look at in the zone that is next.
    fn step_in_zone(&self, recovering: &mut Recovering) -> bool {
        let number = recovering.number;
        let zone = self.all().find(|zone| zone.place() == number);
        let heap = zone.and_then(|zone| Heap::join(zone.slab(), self.me).ok());
        let Some(mut heap) = heap else {
            return false;
        };
        let mut under_way = match recovering.under_way.take() {
            Some(under_way) => under_way,
            None => match heap.begin_recovery(recovering.dead) {
                Ok(begun) => begun,
                Err(NotRecovered::By(slot)) => {
                    recovering.elsewhere = Some(slot);
                    return false;
                }
                Err(NotRecovered::NotThere | NotRecovered::Itself) => return false,
            },
        };
        if heap.recover_pages(&mut under_way, Self::PAGES_A_STEP) {
            let Recovered {
                blocks,
                runs,
                pages,
            } = under_way.recovered();
            recovering.recovered.blocks += blocks;
            recovering.recovered.runs += runs;
            recovering.recovered.pages += pages;
            recovering.number += 1;
        } else {
            recovering.under_way = Some(under_way);
        }
        true
    }

    /// The lives that have joined a zone and are not recovered, and of which this says that they are
    /// over: what a predecessor has left, or the last service that used a file. Each may come up once
    /// for each zone.
    pub fn left_behind(&self, is_over: impl Fn(SlotId) -> bool) -> Vec<SlotId, 1024> {
        let mut found: Vec<SlotId, 1024> = Vec::new();
        for zone in self.all() {
            for life in zone.slab().lives() {
                if life != self.me && is_over(life) && !found.contains(&life) {
                    let _ = found.push(life);
                }
            }
        }
        found
    }
}

impl Recovering {
    /// Whose.
    #[must_use]
    pub const fn dead(&self) -> SlotId {
        self.dead
    }

    /// What was found in the zones that are done.
    #[must_use]
    pub const fn recovered(&self) -> Recovered {
        self.recovered
    }

    /// Which slot was found at work on the same recovery, in some zone: another master, that has to end
    /// it, or to be recovered first.
    #[must_use]
    pub const fn elsewhere(&self) -> Option<SlotIndex> {
        self.elsewhere
    }
}
