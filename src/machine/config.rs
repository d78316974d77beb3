//! What the master core can be told beforehand. Every value has a default; setters are `const`, so
//! a configuration can be a constant.

use crate::table::{CHILDREN, Policy};

/// How many helpers there can be.
pub(crate) const MOST_HELPERS: usize = 8;

/// How many workers, and how they are restarted and ended.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Config {
    pub(crate) workers: u16,
    pub(crate) mesh: bool,
    pub(crate) credentials: bool,
    pub(crate) policy: Policy,
    /// How many of the policies below are meant.
    pub(crate) helpers: u8,
    pub(crate) helper_policies: [Policy; MOST_HELPERS],
    pub(crate) backoff: Backoff,
    pub(crate) quit_ms: u64,
    pub(crate) terminate_ms: u64,
    pub(crate) reload_ms: u64,
    pub(crate) most_draining: u16,
    pub(crate) upgrades: Upgrades,
    pub(crate) upgrade_ms: u64,
    pub(crate) probation_ms: u64,
    pub(crate) orphans: Orphans,
}

/// What workers do when their master is dead.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Orphans {
    /// They finish what they began, and go: the next master finds nobody.
    Drain,
    /// They serve on, until somebody tells them to go by a signal. Those that were not ready end.
    Serve,
}

/// Who decides that a successor takes over.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Upgrades {
    /// The master: once the successor's workers are ready, its own go; if the successor outlives its
    /// probation, so does the master itself.
    Automatic,
    /// The operator, as with nginx: both serve, until one of them is told to go. WINCH or QUIT to the
    /// old one goes on; HUP to the old one and QUIT to the new one goes back.
    Manual,
}

/// When a slot whose process died has to wait, and for how long.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Backoff {
    pub(crate) burst: Option<u8>,
    pub(crate) period_ms: u64,
    pub(crate) first_ms: u64,
    pub(crate) cap_ms: u64,
    pub(crate) park_after: u8,
    pub(crate) reset_ms: u64,
    pub(crate) jitter_percent: u8,
}

impl Config {
    /// One worker; meshed; restarted whatever it died of, with the default [`Backoff`]; 30 s for a
    /// graceful end, 3 s for a fast one; 30 s for a reload without progress, 8 epochs may drain; 60 s
    /// for a successor to be ready, and 1 s of probation.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            workers: 1,
            mesh: true,
            credentials: true,
            policy: Policy::RESTART,
            helpers: 0,
            helper_policies: [Policy::empty(); MOST_HELPERS],
            backoff: Backoff::new(),
            quit_ms: 30_000,
            terminate_ms: 3_000,
            reload_ms: 30_000,
            most_draining: 8,
            upgrades: Upgrades::Automatic,
            upgrade_ms: 60_000,
            probation_ms: 1_000,
            orphans: Orphans::Drain,
        }
    }

    /// How many workers: 0 to 1022, less the helpers.
    ///
    /// # Panics
    ///
    /// If there are more than the table has rows for.
    #[must_use]
    pub const fn workers(mut self, workers: usize) -> Self {
        assert!(
            workers + self.helpers as usize <= CHILDREN,
            "the table has 1022 rows for workers and helpers"
        );
        self.workers = workers as u16;
        self
    }

    /// Adds a helper: a process beside the workers, with a function of its own
    /// ([`Service::help`](crate::run::Service::help)). The first has number 0, and there can be 8.
    /// The policy says which of its deaths are followed by a restart: [`Policy::RESTART`] for
    /// one that stays, as nginx's cache manager does; none, [`Policy::empty`], for one that does
    /// its work once in every epoch, as the cache loader does.
    ///
    /// It belongs to the epoch that serves as its workers do, and is told what they are told. But
    /// nobody waits for it: it is started when its epoch serves, and whatever becomes of it, a reload
    /// or an upgrade is as good as without it.
    ///
    /// # Panics
    ///
    /// If there are 8, if it is to be detached, or if the table has no row for it beside the workers.
    #[must_use]
    pub const fn helper(mut self, policy: Policy) -> Self {
        let number = self.helpers as usize;
        assert!(number < MOST_HELPERS, "there are 8 helpers at most");
        assert!(!policy.contains(Policy::DETACHED), "a helper has a master");
        assert!(
            self.workers as usize + number < CHILDREN,
            "the table has 1022 rows for workers and helpers"
        );
        self.helper_policies[number] = policy;
        self.helpers += 1;
        self
    }

    /// Whether workers can send to each other. Without a mesh, a worker has one socket pair, and
    /// nothing is announced.
    #[must_use]
    pub const fn mesh(mut self, mesh: bool) -> Self {
        self.mesh = mesh;
        self
    }

    /// Whether the kernel names the sender of each message between workers. It costs a sender up to
    /// a sixth of a single message, and nothing in a batch; without it a worker takes the sender's
    /// word for who it is.
    #[must_use]
    pub const fn credentials(mut self, credentials: bool) -> Self {
        self.credentials = credentials;
        self
    }

    /// Which deaths of a worker are followed by a restart.
    ///
    /// # Panics
    ///
    /// If workers are to be detached, which they cannot be: that is a successor.
    #[must_use]
    pub const fn restart(mut self, policy: Policy) -> Self {
        assert!(!policy.contains(Policy::DETACHED), "a worker has a master");
        self.policy = policy;
        self
    }

    /// How restarts are slowed down.
    #[must_use]
    pub const fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    /// How long a worker may take to end gracefully; then it is terminated.
    #[must_use]
    pub const fn quit_ms(mut self, ms: u64) -> Self {
        self.quit_ms = ms;
        self
    }

    /// How long a worker may take to end when terminated; then it is killed, and again after as
    /// long, until it is gone.
    #[must_use]
    pub const fn terminate_ms(mut self, ms: u64) -> Self {
        self.terminate_ms = if ms == 0 { 1 } else { ms };
        self
    }
}

impl Config {
    /// How long a reload may go on without another worker becoming ready; then it is given up, and
    /// the old workers serve on.
    #[must_use]
    pub const fn reload_ms(mut self, ms: u64) -> Self {
        self.reload_ms = ms;
        self
    }

    /// How many epochs may drain at once, not counting the one that serves. Workers of an epoch that
    /// lies further back are terminated, whatever time they have left.
    #[must_use]
    pub const fn most_draining(mut self, epochs: u16) -> Self {
        self.most_draining = epochs;
        self
    }

    /// What workers do when their master is dead.
    #[must_use]
    pub const fn orphans(mut self, orphans: Orphans) -> Self {
        self.orphans = orphans;
        self
    }

    /// Who decides that a successor takes over.
    #[must_use]
    pub const fn upgrades(mut self, upgrades: Upgrades) -> Self {
        self.upgrades = upgrades;
        self
    }

    /// How long a successor may take until its workers are ready; then it is terminated, and killed.
    #[must_use]
    pub const fn upgrade_ms(mut self, ms: u64) -> Self {
        self.upgrade_ms = ms;
        self
    }

    /// How long a master stays beside a successor that is ready, with its listeners open, so that it
    /// can go on if the successor ends.
    #[must_use]
    pub const fn probation_ms(mut self, ms: u64) -> Self {
        self.probation_ms = ms;
        self
    }
}

impl Backoff {
    /// The most deaths in a period that can be asked for.
    pub const MOST_BURST: u8 = 8;

    /// A worker that was ready is replaced at once. Back-off, 10 ms doubling to 1 s, starts when a
    /// slot dies more than 5 times in a second, or before it was ready; a delay is shortened by up to
    /// 20 %; a slot is parked after 10 deaths in a row before it was ready; its counts start anew after
    /// it has lived 10 s.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            burst: Some(5),
            period_ms: 1_000,
            first_ms: 10,
            cap_ms: 1_000,
            park_after: 10,
            reset_ms: 10_000,
            jitter_percent: 20,
        }
    }

    /// Replaces a worker that was ready at once, however often it dies.
    #[must_use]
    pub const fn eager(mut self) -> Self {
        self.burst = None;
        self
    }

    /// How many deaths in how many milliseconds are taken without a delay: 0 to 8 deaths.
    ///
    /// # Panics
    ///
    /// If there are more than [`Backoff::MOST_BURST`] deaths.
    #[must_use]
    pub const fn burst(mut self, deaths: u8, period_ms: u64) -> Self {
        assert!(deaths <= Self::MOST_BURST, "a burst is 0 to 8 deaths");
        self.burst = Some(deaths);
        self.period_ms = period_ms;
        self
    }

    /// The first delay, at least 1, and the longest, at least as long: what cannot be is never tried
    /// again at once.
    #[must_use]
    pub const fn delay_ms(mut self, first: u64, cap: u64) -> Self {
        self.first_ms = if first == 0 { 1 } else { first };
        self.cap_ms = if cap < self.first_ms {
            self.first_ms
        } else {
            cap
        };
        self
    }

    /// After how many deaths in a row, none of them ready, a slot is parked: at least 1.
    #[must_use]
    pub const fn park_after(mut self, deaths: u8) -> Self {
        self.park_after = if deaths == 0 { 1 } else { deaths };
        self
    }

    /// By how much a delay may be shortened, 0 to 100 %: by another share for every slot and every
    /// death, so that those who died together do not come back together.
    ///
    /// # Panics
    ///
    /// If it is more than all of it.
    #[must_use]
    pub const fn jitter_percent(mut self, percent: u8) -> Self {
        assert!(percent <= 100, "a share is 0 to 100 percent");
        self.jitter_percent = percent;
        self
    }

    /// How long a process must live for the counts of its slot to start anew.
    #[must_use]
    pub const fn reset_ms(mut self, ms: u64) -> Self {
        self.reset_ms = ms;
        self
    }
}

impl Default for Config {
    fn default() -> Self {
        Self::new()
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self::new()
    }
}
