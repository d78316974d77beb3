//! `digest`: a master as numbers, equal for masters that will behave alike. For the tests that
//! walk through every state; a running master has no use for it.
//!
//! ```text
//!   phase MAX │ slot 0 MAX │ slot 1 MAX │ … │ mesh, if there is one
//! ```

use crate::machine::Master;
use crate::machine::master::{Due, Place};
use crate::table::{After, Instant, SlotIndex, SlotSet, State};

impl<const N: usize> Master<N> {
    /// Hands out numbers that say all that decides how this master goes on: times by their
    /// distance from `now`, versions by what they say of each other; no generations, pids or worker numbers.
    #[doc(hidden)]
    pub fn digest(&self, now: Instant, out: &mut dyn FnMut(u64)) {
        // Taken apart without `..`: a new field has to say here what it means.
        let Self {
            config,
            phase,
            table,
            places,
            mesh,
            due,
            ignored: _,
        } = self;
        out(*phase as u64);
        out(u64::MAX);
        for (place, index) in places.iter().zip((0..N).filter_map(SlotIndex::new)) {
            let Some(slot) = table.id_at(index).and_then(|id| table.slot(id)) else {
                continue;
            };
            let Place {
                history,
                life: _,
                pid: _,
                exit: _,
                stage,
                news,
            } = place;
            out(match slot.state() {
                State::Vacant => 0,
                State::Starting(None) => 1,
                State::Starting(Some(_)) => 2,
                State::Live(_) => 3,
                State::Retiring(_) => 4 + *stage as u64,
                State::Cooling => 7,
                State::Parked => 8,
                State::Reclaiming(After::Cool) => 9,
                State::Reclaiming(After::Park) => 10,
                State::Reclaiming(After::Vacate) => 11,
            });
            if slot.state().pid().is_some() {
                out(now.ms_since(slot.since).min(config.backoff.reset_ms));
            }
            if matches!(
                slot.state(),
                State::Cooling | State::Retiring(_) | State::Reclaiming(After::Cool)
            ) {
                out(slot.deadline.ms_since(now));
            }
            out(news.bits().into());
            out(due.digest(index));
            history.digest(now, &config.backoff, out);
            out(u64::MAX);
        }
        if config.mesh {
            mesh.digest(now, out);
        }
    }
}

impl Due {
    /// In which of the sets a slot is.
    fn digest(&self, index: SlotIndex) -> u64 {
        let Self {
            reclaim,
            kill,
            signal_terminate,
            order_terminate,
            order_quit,
            report,
            spawn,
            timed,
        } = self;
        let sets: [&SlotSet; 8] = [
            reclaim,
            kill,
            signal_terminate,
            order_terminate,
            order_quit,
            report,
            spawn,
            timed,
        ];
        sets.iter()
            .fold(0, |bits, set| bits << 1 | u64::from(set.contains(index)))
    }
}
