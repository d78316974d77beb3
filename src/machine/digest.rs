//! `digest`: a master as numbers, equal for masters that will behave alike. For the tests that
//! walk through every state; a running master has no use for it.
//!
//! ```text
//!   phase, crews, transactions MAX │ slot 0 MAX │ slot 1 MAX │ … │ mesh, if there is one
//! ```

use crate::machine::crew::Crew;
use crate::machine::due::Due;
use crate::machine::ending::Stage;
use crate::machine::master::Place;
use crate::machine::predecessor::Predecessor;
use crate::machine::reload::{Candidate, Reload};
use crate::machine::report::Outcomes;
use crate::machine::request::Requests;
use crate::machine::start::Start;
use crate::machine::{Config, Master, Signal, Upgrade};
use crate::table::{After, Instant, Role, SLOTS, SlotIndex, SlotSet, State};

impl<const N: usize> Master<N> {
    /// Hands out numbers that say all that decides how this master goes on: times by their
    /// distance from `now`, versions by what they say of each other; no generations, pids or epochs,
    /// and worker numbers by how many there are of each kind.
    #[doc(hidden)]
    pub fn digest(&self, now: Instant, out: &mut dyn FnMut(u64)) {
        // Taken apart without `..`: a new field has to say here what it means.
        let Self {
            config,
            phase,
            table: _, // slot by slot
            places,
            mesh,
            due,
            ignored: _,
            serving,
            duty,
            reload,
            last_epoch: _,
            upgrade,
            upgrade_at,
            requests,
            outcomes,
            predecessor,
            start,
        } = self;
        out(*phase as u64);
        out(*duty as u64);
        serving.digest(out);
        reload.digest(now, out);
        upgrade.digest(upgrade_at.ms_since(now), out);
        requests.digest(out);
        outcomes.digest(out);
        predecessor.digest(out);
        start.digest(out);
        due.digest_own(out);
        out(u64::MAX);
        for (place, index) in places.iter().zip((0..N).filter_map(SlotIndex::new)) {
            place.digest(config, now, out);
            self.digest_slot(index, place.stage, now, out);
            due.digest(index, out);
            out(u64::MAX);
        }
        if config.mesh {
            mesh.digest(now, out);
        }
    }

    fn digest_slot(&self, index: SlotIndex, stage: Stage, now: Instant, out: &mut dyn FnMut(u64)) {
        let id = self.table.id_at(index);
        let Some(slot) = id.and_then(|id| self.table.slot(id)) else {
            return;
        };
        out(match slot.state() {
            State::Vacant => 0,
            State::Starting(None) => 1,
            State::Starting(Some(_)) => 2,
            State::Live(_) => 3,
            State::Retiring(_) => 4 + stage as u64,
            State::Cooling => 7,
            State::Parked => 8,
            State::Reclaiming(After::Cool) => 9,
            State::Reclaiming(After::Park) => 10,
            State::Reclaiming(After::Vacate) => 11,
        });
        out(match slot.epoch {
            _ if slot.state() == State::Vacant => 0,
            epoch if epoch == self.serving.epoch => 1,
            epoch if self.reload.starts(epoch) => 2,
            _ => 3,
        });
        // Workers are alike, and no two helpers are.
        if slot.state() != State::Vacant && slot.role == Role::Helper {
            out(1 + u64::from(slot.number));
        }
        if slot.state().pid().is_some() {
            out(now.ms_since(slot.since).min(self.config.backoff.reset_ms));
        }
        let timed = matches!(
            slot.state(),
            State::Cooling | State::Retiring(_) | State::Reclaiming(After::Cool)
        );
        if timed {
            out(slot.deadline.ms_since(now));
        }
    }
}

impl Place {
    fn digest(&self, config: &Config, now: Instant, out: &mut dyn FnMut(u64)) {
        let Self {
            history,
            life: _,
            pid: _,
            lived_ms: _,
            failed_stage: _,
            failed_errno: _,
            exit: _,
            marks: _,
            stage: _, // with the state
            news,
        } = self;
        out(news.bits().into());
        history.digest(now, &config.backoff, out);
    }
}

/// What only the tests look at.
impl<const N: usize> Master<N> {
    /// Of a worker or helper of an epoch, by number: whether it waits for a slot, was told to go, is
    /// ready; `None` if the epoch is neither the serving one nor a candidate.
    #[doc(hidden)]
    pub fn in_crew(&self, epoch: u32, role: Role, number: SlotIndex) -> Option<[bool; 3]> {
        let candidate = self.reload.candidate().map(|next| &next.crew);
        let mut crews = core::iter::once(&self.serving).chain(candidate);
        let crew = crews.find(|crew| crew.epoch == epoch)?;
        let seat = self.config.seat_of(role, number.as_usize())?;
        let sets = [&crew.unplaced, &crew.dismissed, &crew.ready];
        Some(sets.map(|set| set.contains(seat)))
    }

    /// How many helpers the serving epoch wants.
    #[doc(hidden)]
    pub fn helpers(&self) -> u8 {
        self.serving.helpers
    }

    /// How many workers the epoch wants that is to serve.
    #[doc(hidden)]
    pub fn candidate_workers(&self) -> Option<u16> {
        self.reload.candidate().map(|next| next.crew.workers)
    }

    /// Whether the process of this slot is to go as soon as there is one.
    #[doc(hidden)]
    pub fn is_unwanted(&self, index: SlotIndex) -> bool {
        self.due.unwanted.contains(index)
    }
}

impl Due {
    /// In which of the sets a slot is.
    fn digest(&self, index: SlotIndex, out: &mut dyn FnMut(u64)) {
        let Self {
            reclaim,
            kill,
            signal_terminate,
            order_terminate,
            order_quit,
            order_reopen,
            report,
            spawn,
            timed,
            unwanted,
            reopen: _,
            load: _,
            launch: _,
            withdraw: _,
            successor: _,
        } = self;
        let is_in = |set: &SlotSet| set.contains(index);
        out(bits([
            is_in(reclaim),
            is_in(kill),
            is_in(signal_terminate),
            is_in(order_terminate),
            is_in(order_quit),
        ]));
        out(bits([
            is_in(order_reopen),
            is_in(report),
            is_in(spawn),
            is_in(timed),
            is_in(unwanted),
        ]));
    }

    /// What the master itself is to do.
    fn digest_own(&self, out: &mut dyn FnMut(u64)) {
        out(bits([
            self.reopen,
            self.load,
            self.launch,
            self.withdraw,
            self.successor == Some(Signal::Terminate),
            self.successor == Some(Signal::Kill),
        ]));
    }
}

impl Crew {
    fn digest(&self, out: &mut dyn FnMut(u64)) {
        let Self {
            epoch: _,
            workers,
            helpers,
            unplaced,
            dismissed,
            ready,
        } = self;
        out((*workers).into());
        out((*helpers).into());
        for set in [unplaced, dismissed, ready] {
            out(self.workers_in(set) as u64);
        }
        for set in [unplaced, dismissed] {
            out(self.helpers_in(set));
        }
    }
}

impl Crew {
    fn workers_in(&self, set: &SlotSet) -> usize {
        let workers = usize::from(self.workers);
        set.iter().filter(|seat| seat.as_usize() < workers).count()
    }

    /// Which helpers, as bits.
    fn helpers_in(&self, set: &SlotSet) -> u64 {
        let helpers = (0..usize::from(self.helpers)).rev();
        let seats = helpers.filter_map(|number| SlotIndex::new(SLOTS - 1 - number));
        seats.fold(0, |bits, seat| bits << 1 | u64::from(set.contains(seat)))
    }
}

impl Reload {
    fn digest(&self, now: Instant, out: &mut dyn FnMut(u64)) {
        match self {
            Self::Idle => out(0),
            Self::Loading(_) => out(1),
            Self::Waiting(_, at) => {
                out(3);
                out(at.ms_since(now));
            }
            Self::Starting(Candidate {
                crew,
                deadline,
                steps,
            }) => {
                out(2);
                out(deadline.ms_since(now));
                out((*steps).into());
                crew.digest(out);
            }
        }
    }
}

impl Upgrade {
    fn digest(self, due_ms: u64, out: &mut dyn FnMut(u64)) {
        let (kind, timed) = match self {
            Self::None => (0, false),
            Self::Launching => (1, false),
            Self::Starting(_) => (2, true),
            Self::Probation(_) => (3, true),
            Self::Standing(_) => (4, false),
            Self::Failing(..) => (5, true),
        };
        out(kind);
        if timed {
            out(due_ms);
        }
    }
}

impl Requests {
    fn digest(&self, out: &mut dyn FnMut(u64)) {
        let Self {
            reload,
            rest,
            upgrade,
            more,
        } = self;
        out(bits([*reload, *rest, *upgrade]));
        out((128 + more) as u64);
    }
}

impl Outcomes {
    fn digest(&self, out: &mut dyn FnMut(u64)) {
        out(bits([self.reload.is_some(), self.upgrade.is_some()]));
    }
}

impl Predecessor {
    fn digest(&self, out: &mut dyn FnMut(u64)) {
        out(bits([self.is_there]));
    }
}

impl Start {
    fn digest(self, out: &mut dyn FnMut(u64)) {
        out(match self {
            Self::Told => 0,
            Self::Awaited => 1,
            Self::Fails(_) => 2,
        });
    }
}

fn bits<const COUNT: usize>(flags: [bool; COUNT]) -> u64 {
    flags
        .iter()
        .fold(0, |bits, flag| bits << 1 | u64::from(*flag))
}
