//! `Crew`: the workers and helpers that one epoch wants, by seat; how they get slots, and how they are
//! told to go together.
//!
//! ```text
//!   seat   0 … workers                1024 - helpers … 1023
//!            │ unplaced ──place──► a slot of this epoch ──Ready──► ready (workers alone)
//!            ▲                          │
//!            │ resume                   │ dismiss: a step of a reload, WINCH, a successor
//!            └────────── dismissed ◄────┘
//! ```
//!
//! Workers sit by their numbers in front, helpers by theirs at the end, so that one set has both, workers
//! first, and a helper has a slot only when no worker of its crew waits for one. Together they are 1022
//! at most: they never meet.
//!
//! A crew has its workers from the start of a reload, and its helpers once it serves. So no helper has
//! ever run for a configuration that came to nothing, two epochs' helpers overlap no longer than the
//! old one takes to quit, and nothing that a reload waits for can be a helper.
//!
//! Whatever sends the workers of the serving epoch away may be taken back: a reload can fail, an
//! upgrade too, an operator can change their mind. So who was sent away is remembered by number, and
//! one operation brings all of them back.
//!
//! # Invariants
//!
//! - A seat of a crew is unplaced, dismissed, or has one slot that was not told to go; or who had it
//!   has ended for good (test `exhaustive`).
//! - No helper of an old epoch has a slot while a new worker waits for one (tests `exhaustive` and
//!   `helpers_give_way_to_workers`).

use crate::machine::ending::Stage;
use crate::machine::governor::History;
use crate::machine::master::Place;
use crate::machine::{Config, Duty, Master};
use crate::table::{
    CHILDREN, Claim, Instant, Role, SLOTS, Slot, SlotId, SlotIndex, SlotSet, State,
};

/// The workers and helpers of one epoch.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Crew {
    pub(super) epoch: u32,
    /// How many workers there are to be: the seats below this.
    pub(super) workers: u16,
    /// How many helpers: so many seats at the end. None before the epoch serves.
    pub(super) helpers: u8,
    /// The seats that wait for a free slot.
    pub(super) unplaced: SlotSet,
    /// The seats that were told to go although the epoch wants them.
    pub(super) dismissed: SlotSet,
    /// The numbers whose worker is ready.
    pub(super) ready: SlotSet,
}

impl Crew {
    pub(super) const fn new(epoch: u32, workers: u16) -> Self {
        Self {
            epoch,
            workers,
            helpers: 0,
            unplaced: SlotSet::first_of(workers as usize),
            dismissed: SlotSet::EMPTY,
            ready: SlotSet::EMPTY,
        }
    }

    /// Whether every worker is ready.
    pub(super) fn is_complete(&self) -> bool {
        self.ready.len() >= usize::from(self.workers)
    }

    /// Whether a worker waits for a free slot.
    pub(super) fn lacks_room(&self) -> bool {
        let first = self.unplaced.first();
        first.is_some_and(|seat| seat.as_usize() < usize::from(self.workers))
    }

    /// Whoever was told to go is wanted again.
    pub(super) fn resume(&mut self) {
        self.unplaced.insert_all(&self.dismissed);
        self.dismissed = SlotSet::EMPTY;
    }

    /// Whoever waits for a slot does so no longer, until the crew is called back.
    pub(super) fn yield_slots(&mut self) {
        self.dismissed.insert_all(&self.unplaced);
        self.unplaced = SlotSet::EMPTY;
    }

    /// The whole crew is told to go, and remembered.
    pub(super) fn dismiss_all(&mut self) {
        self.unplaced = SlotSet::EMPTY;
        self.ready = SlotSet::EMPTY;
        self.dismissed = SlotSet::first_of(self.workers.into());
        self.dismissed.insert_all(&last_seats(self.helpers));
    }

    /// One number more; it waits for a slot, or for the crew to be called back.
    fn grow(&mut self, serves: bool) {
        if let Some(number) = SlotIndex::new(self.workers.into()) {
            let set = if serves {
                &mut self.unplaced
            } else {
                &mut self.dismissed
            };
            set.insert(number);
            self.workers += 1;
        }
    }

    /// One number less, the highest; which one.
    fn shrink(&mut self) -> Option<SlotIndex> {
        let number = SlotIndex::new(usize::from(self.workers.checked_sub(1)?))?;
        self.workers -= 1;
        for set in [&mut self.unplaced, &mut self.dismissed, &mut self.ready] {
            set.remove(number);
        }
        Some(number)
    }
}

impl<const N: usize> Master<N> {
    /// The epoch serves: its helpers wait for slots, too.
    pub(super) fn call_helpers(&mut self) {
        let crew = &mut self.serving;
        crew.helpers = self.config.helpers;
        crew.unplaced.insert_all(&last_seats(crew.helpers));
    }

    /// Gives slots to those who wait for one, as far as there are any: first to the epoch that serves.
    pub(super) fn place(&mut self) {
        let foreign = &self.predecessor.slots;
        let candidate = self.reload.candidate_mut().map(|next| &mut next.crew);
        for crew in core::iter::once(&mut self.serving).chain(candidate) {
            while let Some(seat) = crew.unplaced.first() {
                let claim = self.config.claim(crew, seat);
                let Some(id) = self.table.claim_outside(claim, foreign) else {
                    return;
                };
                crew.unplaced.remove(seat);
                self.places[id.index().as_usize()].begin();
                self.due.spawn.insert(id.index());
            }
        }
    }

    /// The crew that a slot belongs to, unless it was told to go.
    pub(super) fn crew_of(&mut self, epoch: u32) -> Option<&mut Crew> {
        if self.serving.epoch == epoch {
            return Some(&mut self.serving);
        }
        let candidate = self.reload.candidate_mut()?;
        (candidate.crew.epoch == epoch).then_some(&mut candidate.crew)
    }

    /// Everybody of this epoch is told to go.
    pub(super) fn dismiss_epoch(&mut self, now: Instant, epoch: u32) {
        self.dismiss_where(now, |claimed| claimed == epoch);
    }

    /// Everybody of the epochs that are meant is told to go; who has no process is gone at once.
    pub(super) fn dismiss_where(&mut self, now: Instant, meant: impl Fn(u32) -> bool) {
        for index in (0..N).filter_map(SlotIndex::new) {
            if let Some(id) = self.table.id_at(index)
                && self.table.slot(id).is_some_and(|slot| meant(slot.epoch))
            {
                self.dismiss(now, id);
            }
        }
    }

    /// The serving crew is told to go, and remembered.
    pub(super) fn dismiss_serving(&mut self, now: Instant) {
        let epoch = self.serving.epoch;
        self.serving.dismiss_all();
        self.dismiss_epoch(now, epoch);
    }

    /// One slot is told to go.
    pub(super) fn dismiss(&mut self, now: Instant, id: SlotId) {
        let Some(slot) = self.table.slot(id) else {
            return;
        };
        match slot.state() {
            State::Starting(Some(_)) | State::Live(_) | State::Retiring(_) => self.retire(now, id),
            // Polled already: its answer comes, and is dealt with then.
            State::Starting(None) if !self.due.spawn.contains(id.index()) => {
                self.due.unwanted.insert(id.index());
            }
            State::Starting(None) | State::Reclaiming(_) | State::Cooling | State::Parked => {
                self.release(id);
            }
            State::Vacant => {}
        }
    }

    /// One of the serving crew makes room; one that does not serve anyway, if there is such.
    pub(super) fn dismiss_one(&mut self, now: Instant) -> bool {
        let crew = &self.serving;
        let due = &self.due;
        let staying = self.table.occupied().filter(|(id, slot)| {
            let number = SlotIndex::new(slot.number.into());
            slot.epoch == crew.epoch
                && slot.role == Role::Worker
                && !due.unwanted.contains(id.index())
                && slot.state().stays()
                && number.is_some_and(|number| !crew.dismissed.contains(number))
        });
        let least = staying.min_by_key(|(_, slot)| matches!(slot.state(), State::Live(_)));
        let Some((id, slot)) = least else {
            return false;
        };
        if let Some(number) = SlotIndex::new(slot.number.into()) {
            self.serving.ready.remove(number);
            self.serving.dismissed.insert(number);
        }
        self.dismiss(now, id);
        true
    }

    /// The serving crew's helpers make room.
    pub(super) fn dismiss_helpers(&mut self, now: Instant) {
        for index in (0..N).filter_map(SlotIndex::new) {
            let Some(id) = self.table.id_at(index) else {
                return;
            };
            let helper = self.table.slot(id).filter(|slot| {
                let own = slot.epoch == self.serving.epoch && slot.role == Role::Helper;
                own && slot.state().stays() && !self.due.unwanted.contains(index)
            });
            if let Some(seat) = helper.and_then(|slot| self.config.seat(slot)) {
                self.serving.dismissed.insert(seat);
                self.dismiss(now, id);
            }
        }
    }

    /// One worker more is wanted: TTIN.
    pub(super) fn grow(&mut self) {
        if self.serving.workers < self.config.most_workers(N) {
            let serves = self.duty == Duty::Serving;
            self.serving.grow(serves);
        }
    }

    /// One worker less is wanted, never less than one: TTOU.
    pub(super) fn shrink(&mut self, now: Instant) {
        if self.serving.workers < 2 {
            return;
        }
        let Some(number) = self.serving.shrink() else {
            return;
        };
        let epoch = self.serving.epoch;
        let its = self.table.occupied().find(|(id, slot)| {
            let own = slot.epoch == epoch && self.config.seat(slot) == Some(number);
            own && slot.state().stays() && !self.due.unwanted.contains(id.index())
        });
        if let Some(id) = its.map(|(id, _)| id) {
            self.dismiss(now, id);
        }
    }
}

impl Config {
    /// How many workers fit in a table beside the helpers.
    pub(super) fn most_workers(&self, slots: usize) -> u16 {
        let most = slots.min(CHILDREN);
        most.saturating_sub(self.helpers.into()) as u16
    }

    /// Whose the slot will be that a seat of a crew gets.
    fn claim(&self, crew: &Crew, seat: SlotIndex) -> Claim {
        let place = seat.as_usize();
        let helper = place.checked_sub(SLOTS - usize::from(crew.helpers));
        let policy = helper.and_then(|number| self.helper_policies.get(number));
        let (role, number, policy) = match (helper, policy) {
            (Some(number), Some(policy)) => (Role::Helper, number, *policy),
            _ => (Role::Worker, place, self.policy),
        };
        Claim {
            role,
            number: number as u16,
            policy,
            epoch: crew.epoch,
        }
    }

    /// The seat of whoever has a slot.
    fn seat(&self, slot: &Slot) -> Option<SlotIndex> {
        self.seat_of(slot.role, slot.number.into())
    }

    /// The seat of a worker or helper.
    pub(super) fn seat_of(&self, role: Role, number: usize) -> Option<SlotIndex> {
        match role {
            Role::Worker => SlotIndex::new(number),
            Role::Helper => SlotIndex::new(SLOTS - usize::from(self.helpers) + number),
        }
    }
}

/// So many seats at the end.
fn last_seats(count: u8) -> SlotSet {
    let mut seats = SlotSet::EMPTY;
    for seat in (SLOTS - usize::from(count)..SLOTS).filter_map(SlotIndex::new) {
        seats.insert(seat);
    }
    seats
}

impl Place {
    /// A process is to have this place. What is yet to be said of the one before is kept.
    fn begin(&mut self) {
        *self = Self {
            history: History::NEW,
            stage: Stage::Asked,
            ..*self
        };
    }
}
