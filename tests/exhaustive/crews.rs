//! What must be so of the crews of a world: the workers of an epoch, and its helpers.

use forkmesh::machine::Duty;
use forkmesh::table::{Policy, Role, SlotId, State};

use crate::world::{World, index};

impl<const N: usize> World<N> {
    /// Nobody is forked for an epoch that neither serves nor is to.
    pub(crate) fn check_spawn(&self, id: SlotId) {
        let slot = self.master.table().slot(id).expect("a present life");
        let serves = slot.epoch == self.master.serving().0;
        let starts = Some(slot.epoch) == self.master.starting();
        assert!(serves || starts, "{id} is forked for a dead epoch");
        assert!(
            id.index().as_usize() >= self.operator.foreign,
            "{id} is not ours"
        );
    }

    /// A number of a crew is unplaced, dismissed, or has one slot that was not told to go.
    pub(crate) fn check_crews(&self) {
        let (serving, workers) = self.master.serving();
        self.check_crew(serving, workers);
        let candidate = self.master.starting();
        if let (Some(epoch), Some(workers)) = (candidate, self.master.candidate_workers()) {
            self.check_crew(epoch, workers);
            assert!(self.live(epoch) < workers, "a reload waits for a helper");
        }
        self.check_helpers();
        for (id, slot) in self.master.table().occupied() {
            let known = slot.epoch == serving || Some(slot.epoch) == candidate;
            let stays = slot.state().stays() && !self.master.is_unwanted(id.index());
            assert!(known || !stays, "{id} is of a dead epoch, and stays");
        }
        // Nobody waits for what nobody says.
        let idle = candidate.is_none() && self.operator.reload.is_none();
        let waits = self.operator.predecessor || self.operator.awaited;
        let waits = waits && !self.operator.said;
        assert!(
            !waits || self.live(serving) < workers,
            "it waits for a helper"
        );
        assert!(!waits || !idle || self.busy() || workers == 0 || self.wakes());
    }

    fn check_crew(&self, epoch: u32, workers: u16) {
        let table = self.master.table();
        let serves = epoch == self.master.serving().0;
        let steps = self.master.starting().is_some();
        let full = table.occupied().count() + self.operator.foreign >= N;
        for number in 0..N {
            let sets = self.master.in_crew(epoch, Role::Worker, index(number));
            let [unplaced, dismissed, ready] = sets.expect("an epoch that is known");
            let slots = table.occupied().filter(|(id, slot)| {
                let own = (slot.epoch, slot.role) == (epoch, Role::Worker);
                own && usize::from(slot.number) == number
                    && slot.state().stays()
                    && !self.master.is_unwanted(id.index())
            });
            let states: Vec<_> = slots.map(|(_, slot)| slot.state()).collect();
            let places = states.len() + usize::from(unplaced) + usize::from(dismissed);
            if number >= usize::from(workers) {
                assert_eq!((places, ready), (0, false), "{number} is nobody's");
                continue;
            }
            let restarts = self.menu.restarts;
            assert!(
                places == 1 || (places == 0 && !restarts),
                "{number}: {states:?}"
            );
            assert!(!unplaced || full, "{number} has no slot, and one is free");
            if restarts {
                let live = matches!(states[..], [State::Live(_)]);
                assert_eq!(ready, live, "{number}: {states:?}");
            }
            match self.master.duty() {
                Duty::Serving => assert!(!dismissed || (serves && steps), "{number} is forgotten"),
                _ => assert!(!serves || dismissed, "{number} does not rest"),
            }
        }
    }

    /// How many workers of an epoch are ready.
    fn live(&self, epoch: u32) -> u16 {
        let slots = self.master.table().occupied();
        let live = slots.filter(|(_, slot)| {
            let own = (slot.epoch, slot.role) == (epoch, Role::Worker);
            own && matches!(slot.state(), State::Live(_))
        });
        live.count() as u16
    }

    /// As with the workers; but a candidate has none, and who is in the way goes.
    fn check_helpers(&self) {
        let table = self.master.table();
        let (serving, _) = self.master.serving();
        let candidate = self.master.starting();
        let full = table.occupied().count() + self.operator.foreign >= N;
        let waits = candidate.is_some_and(|epoch| {
            (0..N).any(|number| {
                let sets = self.master.in_crew(epoch, Role::Worker, index(number));
                sets.expect("it is known")[0]
            })
        });
        for (number, policy) in self.menu.helpers.iter().enumerate() {
            let sets = self.master.in_crew(serving, Role::Helper, index(number));
            let [unplaced, dismissed, ready] = sets.expect("it serves");
            let slots = table.occupied().filter(|(id, slot)| {
                let own = slot.role == Role::Helper && usize::from(slot.number) == number;
                own && slot.state().stays() && !self.master.is_unwanted(id.index())
            });
            let epochs: Vec<_> = slots.map(|(_, slot)| slot.epoch).collect();
            assert!(epochs.iter().all(|epoch| *epoch == serving), "{epochs:?}");
            let places = epochs.len() + usize::from(unplaced) + usize::from(dismissed);
            let done = places == 0 && !policy.contains(Policy::RESTART);
            assert!(places == 1 || done, "helper {number}: {places}");
            assert!(!ready, "nobody waits for helper {number}");
            assert!(
                !unplaced || full,
                "helper {number} has no slot, and one is free"
            );
            assert!(epochs.is_empty() || !waits, "helper {number} is in the way");
            match self.master.duty() {
                Duty::Serving => assert!(!dismissed || candidate.is_some(), "it is forgotten"),
                _ => assert!(epochs.is_empty() && !unplaced, "it does not rest"),
            }
        }
    }

    fn wakes(&self) -> bool {
        self.master.deadline() != forkmesh::table::Instant::NEVER
    }
}
