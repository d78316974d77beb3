//! The governor: whether a slot whose process ended is filled again, and when.
//!
//! ```text
//!   lived for reset_ms or longer ──► the counts start anew, then:
//!
//!   never ready ──► unready += 1 ──┬─ unready = park_after ──► parked
//!                                  └─ else ──► delayed
//!   was ready ──► unready = 0 ──┬─ eager ──► at once
//!                               ├─ more than `burst` deaths within the period ──► delayed
//!                               ├─ was delayed before ──► delayed
//!                               └─ else ──► at once
//!
//!   delayed: first_ms, twice that, … cap_ms; each shortened by a share of up to jitter_percent
//! ```
//!
//! # Invariants
//!
//! - The window slides: it is the last deaths that count, not those since some tick (tests
//!   `a_burst_backs_off_10_20_40_to_1000` and `the_window_slides`).
//! - A process that could not be made is tried again for as long as it takes, ever more rarely and
//!   never at once: the fault is the machine's, and passes (test `failed_spawns_are_tried_for_ever`).
//!
//! - Slots that die together come back apart (test `jitter_spreads_the_delays`).
//!
//! # Why not a random number
//!
//! The core has none: the share follows from the slot's name, so that every walk through it can be
//! walked again.
//!
//! # Why not a token bucket
//!
//! It needs no times, but lets through up to twice the burst in one period. Seven gaps of four
//! bytes make it exact.

use crate::machine::Backoff;
use crate::table::Instant;

/// How many deaths are remembered besides the newest.
const GAPS: usize = Backoff::MOST_BURST as usize - 1;

/// What a slot died of so far, in all its lives.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct History {
    /// When the last death was.
    newest: Instant,
    /// Milliseconds between that death and the one before it, and so on back; 49 days stand for
    /// anything longer.
    gaps: [u32; GAPS],
    /// How many deaths the times above are of.
    known: u8,
    /// Deaths in a row, none of them ready.
    unready: u8,
    /// Which delay it has come to; 0: none yet.
    step: u8,
}

/// One death.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Death {
    /// The process could not be made.
    Unmade,
    /// It ended.
    Ended {
        /// Whether it had said READY.
        ready: bool,
        /// How long it had lived.
        lived_ms: u64,
    },
}

/// What follows from a death.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Verdict {
    /// Fill the slot again, after this many milliseconds.
    Again(u64),
    /// Give it up.
    Park,
}

impl History {
    /// Nothing happened yet.
    pub(super) const NEW: Self = Self {
        newest: Instant::ORIGIN,
        gaps: [0; GAPS],
        known: 0,
        unready: 0,
        step: 0,
    };

    /// Counts a death, and decides. `salt` is another number for every life of every slot.
    pub(super) fn decide(
        &mut self,
        now: Instant,
        death: Death,
        backoff: &Backoff,
        salt: u32,
    ) -> Verdict {
        let Death::Ended { ready, lived_ms } = death else {
            return Verdict::Again(self.back_off(backoff, salt));
        };
        if lived_ms >= backoff.reset_ms {
            *self = Self::NEW;
        }
        let before = self.within(now, backoff.period_ms);
        self.remember(now);
        if ready {
            self.unready = 0;
            let delayed = match backoff.burst {
                Some(burst) => before >= burst || self.step > 0,
                None => false,
            };
            if !delayed {
                return Verdict::Again(0);
            }
        } else {
            self.unready = self.unready.saturating_add(1);
            if self.unready >= backoff.park_after {
                return Verdict::Park;
            }
        }
        Verdict::Again(self.back_off(backoff, salt))
    }

    /// The next delay: the first, or twice the one before; less a share that is the salt's.
    fn back_off(&mut self, backoff: &Backoff, salt: u32) -> u64 {
        if self.step == 0 || self.whole_ms(backoff) < backoff.cap_ms {
            self.step = (self.step + 1).min(64);
        }
        self.delay_ms(backoff, salt)
    }

    /// The delay that was decided last, at least 1; 0 if none was.
    pub(super) fn delay_ms(&self, backoff: &Backoff, salt: u32) -> u64 {
        let whole = self.whole_ms(backoff);
        let most = whole / 100 * u64::from(backoff.jitter_percent)
            + whole % 100 * u64::from(backoff.jitter_percent) / 100;
        // The golden ratio spreads neighbouring numbers evenly over all of them.
        let share = salt.wrapping_mul(0x9e37_79b9);
        let less = (u128::from(most) * u128::from(share)) >> u32::BITS;
        (whole - less as u64).max(whole.min(1))
    }

    /// That delay before the jitter.
    fn whole_ms(&self, backoff: &Backoff) -> u64 {
        match self.step.checked_sub(1) {
            Some(doublings) => {
                let factor = 1u64.checked_shl(doublings.into()).unwrap_or(u64::MAX);
                backoff.first_ms.saturating_mul(factor).min(backoff.cap_ms)
            }
            None => 0,
        }
    }

    /// How many of the deaths that are remembered are younger than a period.
    fn within(&self, now: Instant, period_ms: u64) -> u8 {
        let mut age_ms = now.ms_since(self.newest);
        let mut count = 0;
        while count < self.known && age_ms < period_ms {
            if let Some(gap) = self.gaps.get(usize::from(count)) {
                age_ms = age_ms.saturating_add((*gap).into());
            }
            count += 1;
        }
        count
    }

    fn remember(&mut self, now: Instant) {
        if self.known > 0 {
            self.gaps.rotate_right(1);
            let gap_ms = now.ms_since(self.newest);
            self.gaps[0] = u32::try_from(gap_ms).unwrap_or(u32::MAX);
        }
        self.newest = now;
        self.known = (self.known + 1).min(Backoff::MOST_BURST);
    }

    /// What decides how this history goes on, in numbers that do not depend on when `now` is.
    pub(super) fn digest(&self, now: Instant, backoff: &Backoff, out: &mut dyn FnMut(u64)) {
        out(self.unready.into());
        out(self.step.into());
        let Some(burst) = backoff.burst else { return };
        let counted = self.within(now, backoff.period_ms).min(burst);
        out(counted.into());
        let mut age_ms = now.ms_since(self.newest);
        for place in 0..counted {
            out(age_ms);
            age_ms += u64::from(self.gaps.get(usize::from(place)).copied().unwrap_or(0));
        }
    }
}

static_assertions::const_assert_eq!(size_of::<History>(), 40);
