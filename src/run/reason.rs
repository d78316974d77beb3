//! `Reason`: why a reload or an upgrade failed: its numbers on the board, and its words.
//!
//! | | reload | upgrade | what belongs to it |
//! |---|---|---|---|
//! | 1 | refused by the service | refused by the service | |
//! | 2 | no process | the pid file stays | |
//! | 3 | a worker ended | not launched | how it ended; the error |
//! | 4 | not ready in time | not executed | the error |
//! | 5 | the master ends | it ended early | how it ended |
//! | 6 | | it ended when it was ready | how it ended |
//! | 7 | | no room in the table | |
//! | 8 | | its workers cannot serve | |
//! | 9 | | not ready in time | |
//! | 10 | | there is one already | |
//! | 11 | | the master ends | |
//!
//! How a process ended is its exit code, or a signal's number below zero.
//!
//! # Invariants
//!
//! - The numbers are those above, and no two failures have the same words (test
//!   `every_failure_has_a_number_and_words`).
//! - No number panics (the same test).

use core::fmt;

use rustix::io::Errno;

use crate::machine::{ExitStatus, ReloadError, UpgradeError};

/// Why a reload or an upgrade failed, to be printed. It is made of the error itself, or of what the
/// board has of it.
///
/// ```
/// use forkmesh::machine::UpgradeError;
/// use forkmesh::run::Reason;
///
/// let reason = Reason::from(UpgradeError::NotExecuted(2));
/// assert_eq!(reason, Reason::upgrade(4, 2));
/// assert!(reason.to_string().starts_with("the program cannot be executed: "));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Reason {
    of: Of,
    number: u8,
    detail: i32,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Of {
    Reload,
    Upgrade,
}

impl Reason {
    /// Why a reload failed, by what the board has of it.
    #[must_use]
    pub const fn reload(number: u8, detail: i32) -> Self {
        let of = Of::Reload;
        Self { of, number, detail }
    }

    /// Why an upgrade failed, by what the board has of it.
    #[must_use]
    pub const fn upgrade(number: u8, detail: i32) -> Self {
        let of = Of::Upgrade;
        Self { of, number, detail }
    }

    /// Its number, as in the table above.
    #[must_use]
    pub const fn number(self) -> u8 {
        self.number
    }

    /// The error, the end of a process, or 0.
    #[must_use]
    pub const fn detail(self) -> i32 {
        self.detail
    }
}

impl From<ReloadError> for Reason {
    fn from(why: ReloadError) -> Self {
        let (number, detail) = match why {
            ReloadError::Refused => (1, 0),
            ReloadError::SpawnFailed(_) => (2, 0),
            ReloadError::Died(_, status) => (3, detail(status)),
            ReloadError::Deadline => (4, 0),
            ReloadError::Ended => (5, 0),
        };
        Self::reload(number, detail)
    }
}

impl From<UpgradeError> for Reason {
    fn from(why: UpgradeError) -> Self {
        let (number, detail) = match why {
            UpgradeError::Refused => (1, 0),
            UpgradeError::PidFile => (2, 0),
            UpgradeError::NotLaunched(errno) => (3, errno),
            UpgradeError::NotExecuted(errno) => (4, errno),
            UpgradeError::Died(status) => (5, detail(status)),
            UpgradeError::DiedReady(status) => (6, detail(status)),
            UpgradeError::NoRoom => (7, 0),
            UpgradeError::Unready => (8, 0),
            UpgradeError::Deadline => (9, 0),
            UpgradeError::Standing => (10, 0),
            UpgradeError::Ended => (11, 0),
        };
        Self::upgrade(number, detail)
    }
}

fn detail(status: ExitStatus) -> i32 {
    match status {
        ExitStatus::Code(code) => code.into(),
        ExitStatus::Killed { signal, .. } => -i32::from(signal),
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let detail = self.detail;
        match (self.of, self.number) {
            (Of::Reload, 1) => f.write_str("the service refused the configuration"),
            (Of::Reload, 2) => f.write_str("no process could be made for a worker"),
            (Of::Reload, 3) => write!(f, "a new worker {}", Ended(detail)),
            (Of::Reload, 4) => f.write_str("the new workers were not ready in time"),
            (Of::Upgrade, 1) => f.write_str("the service offers no program"),
            (Of::Upgrade, 2) => f.write_str("the pid file cannot be set aside"),
            (Of::Upgrade, 3) if detail == 0 => {
                f.write_str("no process could be made: another thread runs")
            }
            (Of::Upgrade, 3) => write!(f, "no process could be made: {}", Error(detail)),
            (Of::Upgrade, 4) => write!(f, "the program cannot be executed: {}", Error(detail)),
            (Of::Upgrade, 5) => write!(f, "the new master {} before it was ready", Ended(detail)),
            (Of::Upgrade, 6) => write!(f, "the new master {} when it was ready", Ended(detail)),
            (Of::Upgrade, 7) => f.write_str("the table has no room for the new workers"),
            (Of::Upgrade, 8) => f.write_str("the new workers cannot serve"),
            (Of::Upgrade, 9) => f.write_str("the new master was not ready in time"),
            (Of::Upgrade, 10) => f.write_str("there is a new master already"),
            (Of::Reload, 5) | (Of::Upgrade, 11) => f.write_str("this master was told to end"),
            (_, number) => write!(f, "reason {number}, {detail}"),
        }
    }
}

/// How a process ended.
struct Ended(i32);

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            code @ 0.. => write!(f, "ended with code {code}"),
            signal => write!(f, "was killed by signal {}", signal.unsigned_abs()),
        }
    }
}

/// An error of the system; what is none on this one is a number.
struct Error(i32);

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            errno @ 1..4096 => Errno::from_raw_os_error(errno).fmt(f),
            number => write!(f, "error {number}"),
        }
    }
}
