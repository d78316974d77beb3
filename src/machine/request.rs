//! What an operator asks for: done at once, or kept until what is under way has an outcome.
//!
//! ```text
//!   HUP WINCH TTIN TTOU USR2 ──► kept ──while nothing is under way──► done, in this order:
//!                                       reload, count, upgrade, rest
//! ```
//!
//! A HUP while the one before waits to be loaded has it loaded at once (test
//! `a_reload_that_waits_is_hurried_by_another`).
//!
//! A request is a bit, so that one that is made twice is served once; requests that come together are
//! all served (test `requests_that_come_together_are_all_served`).

use crate::machine::master::Taken;
use crate::machine::reload::Reload;
use crate::machine::{Event, Master, Phase, Upgrade};
use crate::table::Instant;

/// What was asked for and is not done yet.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Requests {
    pub(super) reload: bool,
    pub(super) rest: bool,
    pub(super) upgrade: bool,
    /// How many workers more, or fewer.
    pub(super) more: i16,
}

/// Whether the workers of the serving epoch are to serve.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Duty {
    /// They serve.
    Serving,
    /// They were told to go, by WINCH; a reload brings them back.
    Resting,
    /// They were told to go because a successor serves. Its end brings them back, and so does HUP.
    Relieved,
}

impl Requests {
    pub(super) const NONE: Self = Self {
        reload: false,
        rest: false,
        upgrade: false,
        more: 0,
    };
}

impl<const N: usize> Master<N> {
    pub(super) fn asked(&mut self, event: Event) -> Taken {
        match event {
            Event::Reload => self.requests.reload = true,
            Event::Rest => self.requests.rest = true,
            Event::Upgrade => self.requests.upgrade = true,
            Event::More => self.requests.more = self.requests.more.saturating_add(1),
            Event::Fewer => self.requests.more = self.requests.more.saturating_sub(1),
            _ => return None,
        }
        Some(())
    }

    /// What is under way is not to be disturbed.
    fn is_busy(&self) -> bool {
        self.reload != Reload::Idle || self.upgrade.is_open()
    }

    /// Does what was asked for, as far as it can be done now.
    pub(super) fn serve_requests(&mut self, now: Instant) {
        if self.phase != Phase::Running {
            self.requests = Requests::NONE;
            return;
        }
        if self.reload.waits() && core::mem::take(&mut self.requests.reload) {
            self.due.load = true; // the same reload, and what it loads may be another by now
        }
        if !self.is_busy() && core::mem::take(&mut self.requests.reload) {
            if self.duty == Duty::Relieved {
                self.duty = Duty::Serving; // the operator goes back
                self.serving.resume();
            } else {
                self.begin_reload();
            }
        }
        while !self.is_busy() && self.requests.more != 0 {
            if self.requests.more > 0 {
                self.grow();
            } else {
                self.shrink(now);
            }
            self.requests.more -= self.requests.more.signum();
        }
        let alone = !self.predecessor.is_there;
        if !self.is_busy() && alone && core::mem::take(&mut self.requests.upgrade) {
            self.begin_upgrade();
        }
        if !self.is_busy() && core::mem::take(&mut self.requests.rest) {
            self.rest(now);
        }
    }

    /// The workers go, the master stays.
    fn rest(&mut self, now: Instant) {
        match self.upgrade {
            Upgrade::Standing(_) => self.relieve(now),
            _ if self.duty == Duty::Serving => {
                self.duty = Duty::Resting;
                self.dismiss_serving(now);
                // Nobody waits for workers who rest.
                self.start.fail();
            }
            _ => {}
        }
    }
}
