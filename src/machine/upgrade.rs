//! An upgrade, as a transaction: a new binary is started beside this master, gets its listeners, and
//! takes over when its workers are ready. Whatever goes wrong before, nothing happened.
//!
//! ```text
//!   None ──USR2──► Launching ──Launched──► Starting ──SuccessorReady──► Probation ──probation_ms──► Standing
//!    ▲                │                       │                             │            and this master drains
//!    │ LaunchFailed   │                       │ fails, or the deadline      │ the successor ends:
//!    ├────────────────┘                       ▼                             │ the workers are called back
//!    ├◄──────────── it ends ────────────── Failing                          │
//!    └◄─────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! With [`Upgrades::Manual`] there is no probation: both masters serve until the operator sends WINCH
//! or QUIT to this one; if the successor ends, whoever went since it was there is called back.
//!
//! # Invariants
//!
//! - A successor that is given up is told more and more firmly until it is gone (tests `exhaustive`
//!   and `a_successor_that_hangs_is_killed`).
//! - After an upgrade that failed, the master is as it was, and takes the pid file back (tests
//!   `exhaustive` and `a_failed_upgrade_changes_nothing`).
//! - Each upgrade that begins has one outcome, and it is reported; by hand it is done when the successor
//!   is ready, and if that one ends later, that is reported too (tests `exhaustive` and
//!   `a_successor_in_probation_can_fail`).

use crate::machine::master::Taken;
use crate::machine::{Duty, ExitStatus, Master, Phase, Signal, Upgrades};
use crate::table::{Instant, Pid};

/// How far an upgrade has come.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Upgrade {
    /// There is none, and no successor.
    None,
    /// The successor is being forked.
    Launching,
    /// It runs, and is not ready.
    Starting(Pid),
    /// It serves. If it ends now, this master serves again.
    Probation(Pid),
    /// It serves, and this master drains, or does what the operator wants.
    Standing(Pid),
    /// It is told to go.
    Failing(Pid, UpgradeError),
}

/// Why an upgrade came to nothing. This master serves on.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum UpgradeError {
    /// The service named no program, or a descriptor too many.
    Refused,
    /// The pid file could not be set aside.
    PidFile,
    /// No process could be made, or nothing be handed to it; the system's error, 0 where another
    /// thread runs.
    NotLaunched(i32),
    /// The program could not be executed; the system's error.
    NotExecuted(i32),
    /// It ended before it was ready.
    Died(ExitStatus),
    /// It ended in its probation.
    DiedReady(ExitStatus),
    /// Its workers did not fit in the table beside this master's.
    NoRoom,
    /// It says that its workers cannot serve.
    Unready,
    /// It was not ready in time.
    Deadline,
    /// A successor is there already.
    Standing,
    /// This master was told to end.
    Ended,
}

impl Upgrade {
    /// The successor's process, if there is one.
    #[must_use]
    pub const fn successor(self) -> Option<Pid> {
        match self {
            Self::None | Self::Launching => None,
            Self::Starting(pid)
            | Self::Probation(pid)
            | Self::Standing(pid)
            | Self::Failing(pid, _) => Some(pid),
        }
    }

    /// Whether it is not decided yet.
    pub(super) const fn is_open(self) -> bool {
        !matches!(self, Self::None | Self::Standing(_))
    }
}

impl<const N: usize> Master<N> {
    pub(super) fn begin_upgrade(&mut self) {
        if self.upgrade == Upgrade::None {
            self.upgrade = Upgrade::Launching;
            self.due.launch = true;
        } else if self.outcomes.upgrade.is_none() {
            self.outcomes.upgrade = Some(Err(UpgradeError::Standing));
        }
    }

    pub(super) fn launched(&mut self, now: Instant, pid: Pid) -> Taken {
        if self.upgrade != Upgrade::Launching || self.due.launch {
            return None;
        }
        self.upgrade = Upgrade::Starting(pid);
        self.upgrade_at = now.after_ms(self.config.upgrade_ms);
        if self.phase != Phase::Running {
            self.give_up_successor(now, UpgradeError::Ended);
        }
        Some(())
    }

    pub(super) fn launch_failed(&mut self, why: UpgradeError) -> Taken {
        if self.upgrade != Upgrade::Launching || self.due.launch {
            return None;
        }
        self.end_upgrade(why);
        Some(())
    }

    pub(super) fn successor_ready(&mut self, now: Instant) -> Taken {
        let Upgrade::Starting(pid) = self.upgrade else {
            return None;
        };
        match self.config.upgrades {
            Upgrades::Manual => {
                self.upgrade = Upgrade::Standing(pid);
                self.upgrade_at = Instant::NEVER;
                self.outcomes.upgrade = Some(Ok(pid));
            }
            Upgrades::Automatic => {
                self.upgrade = Upgrade::Probation(pid);
                self.upgrade_at = now.after_ms(self.config.probation_ms);
                self.relieve(now);
            }
        }
        Some(())
    }

    /// The successor says that it cannot serve, or it is known that it cannot.
    pub(super) fn successor_failed(&mut self, now: Instant, why: UpgradeError) -> Taken {
        if !matches!(self.upgrade, Upgrade::Starting(_)) {
            return None;
        }
        self.give_up_successor(now, why);
        Some(())
    }

    pub(super) fn successor_exited(&mut self, status: ExitStatus) -> Taken {
        match self.upgrade {
            Upgrade::None | Upgrade::Launching => return None,
            Upgrade::Starting(_) => self.end_upgrade(UpgradeError::Died(status)),
            Upgrade::Failing(_, why) => self.end_upgrade(why),
            Upgrade::Probation(_) => self.end_upgrade(UpgradeError::DiedReady(status)),
            Upgrade::Standing(_) if self.phase == Phase::Running => {
                self.end_upgrade(UpgradeError::DiedReady(status));
            }
            // This master is on its way out: there is nothing to go back to.
            Upgrade::Standing(_) => {
                self.upgrade = Upgrade::None;
                self.outcomes.upgrade = Some(Err(UpgradeError::DiedReady(status)));
            }
        }
        Some(())
    }

    /// Time is up for what the upgrade waits for.
    pub(super) fn upgrade_elapsed(&mut self, now: Instant) {
        if self.upgrade_at > now {
            return;
        }
        match self.upgrade {
            Upgrade::Starting(_) => self.give_up_successor(now, UpgradeError::Deadline),
            Upgrade::Failing(..) => {
                // Never without a warning, however late that is polled.
                self.due.successor.get_or_insert(Signal::Kill);
                self.upgrade_at = now.after_ms(self.config.terminate_ms);
            }
            Upgrade::Probation(_) => self.pass_on(now),
            Upgrade::None | Upgrade::Launching | Upgrade::Standing(_) => {
                self.upgrade_at = Instant::NEVER;
            }
        }
    }

    /// This master is told to end while an upgrade is under way: a successor that is ready stays.
    pub(super) fn end_amid_upgrade(&mut self, now: Instant) {
        match self.upgrade {
            Upgrade::Launching if self.due.launch => {
                self.due.launch = false; // nobody was told: it never began
                self.upgrade = Upgrade::None;
            }
            Upgrade::Starting(_) => self.give_up_successor(now, UpgradeError::Ended),
            Upgrade::Probation(_) => self.pass_on(now),
            _ => {}
        }
    }

    /// The probation is passed: the successor stands, and this master drains.
    fn pass_on(&mut self, now: Instant) {
        if let Upgrade::Probation(pid) = self.upgrade {
            self.upgrade = Upgrade::Standing(pid);
            self.upgrade_at = Instant::NEVER;
            self.outcomes.upgrade = Some(Ok(pid));
            self.quit(now);
        }
    }

    fn give_up_successor(&mut self, now: Instant, why: UpgradeError) {
        if let Upgrade::Starting(pid) = self.upgrade {
            self.upgrade = Upgrade::Failing(pid, why);
            // As long as its own workers may take, and as long again: killed before them, it would
            // leave them behind.
            self.upgrade_at = now.after_ms(self.config.terminate_ms.saturating_mul(2));
            self.due.successor = Some(Signal::Terminate);
        }
    }

    /// Nobody is there any more who could take over.
    fn end_upgrade(&mut self, why: UpgradeError) {
        self.upgrade = Upgrade::None;
        self.upgrade_at = Instant::NEVER;
        self.due.successor = None;
        self.due.withdraw = true;
        self.outcomes.upgrade = Some(Err(why));
        if self.duty == Duty::Relieved && self.phase == Phase::Running {
            self.duty = Duty::Serving;
            self.serving.resume();
        }
    }

    /// The workers go because a successor serves; its end calls them back. Who rested before that
    /// rests on.
    pub(super) fn relieve(&mut self, now: Instant) {
        if self.duty == Duty::Serving {
            self.duty = Duty::Relieved;
            self.dismiss_serving(now);
        }
    }
}

impl core::fmt::Display for UpgradeError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Refused => f.write_str("the service offers nothing to execute"),
            Self::PidFile => f.write_str("the pid file could not be set aside"),
            Self::NotLaunched(errno) => write!(f, "no process could be made: error {errno}"),
            Self::NotExecuted(errno) => write!(f, "the program cannot be executed: error {errno}"),
            Self::Died(status) => write!(f, "the new master {status} before it was ready"),
            Self::DiedReady(status) => write!(f, "the new master {status} after it was ready"),
            Self::NoRoom => f.write_str("the workers of both masters do not fit in the table"),
            Self::Unready => f.write_str("the workers of the new master cannot serve"),
            Self::Deadline => f.write_str("the new master was not ready in time"),
            Self::Standing => f.write_str("a new master is there already"),
            Self::Ended => f.write_str("this master was told to end"),
        }
    }
}

impl core::error::Error for UpgradeError {}
