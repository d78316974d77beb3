//! What has happened: the master core's input, in the past tense.

use crate::machine::UpgradeError;
use crate::table::{Pid, SlotId};

/// Something that happened to the master.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Event {
    /// The process for [`Action::Spawn`](super::Action::Spawn) exists.
    Spawned(SlotId, Pid),
    /// The process for [`Action::Spawn`](super::Action::Spawn) could not be made.
    SpawnFailed(SlotId),
    /// A worker said READY.
    Ready(SlotId),
    /// A worker said that it cannot serve: at which step, and with which error.
    Failed(SlotId, u32, i32),
    /// A worker's process was reaped.
    Exited(SlotId, ExitStatus),
    /// What a dead worker owned is taken back: the answer to
    /// [`Action::Reclaim`](super::Action::Reclaim), with the id that it named.
    Reclaimed(SlotId),
    /// A recipient was brought up to date up to and including this version of the table.
    Announced(SlotId, u64),
    /// A recipient's socket is full; [`Event::Writable`] follows when it is not.
    Blocked(SlotId),
    /// A recipient's socket can be written to again.
    Writable(SlotId),
    /// The kernel refused a message for a reason that raises no writable event (ETOOMANYREFS,
    /// ENOBUFS, ENOMEM): it is tried again by deadline.
    Refused(SlotId),
    /// A worker missed every announcement from this version on.
    Missed(SlotId, u64),
    /// A process closed its control end before it had read all that it was sent: what it was told
    /// may be lost.
    Unheard(SlotId),
    /// A worker's mesh pair is unusable.
    MeshBroken(SlotId),
    /// A new mesh pair was made for a worker, and handed to it.
    MeshReplaced(SlotId),
    /// The operator asks for a new configuration: HUP.
    Reload,
    /// The new configuration is made, and wants this many workers: an answer to
    /// [`Action::Load`](super::Action::Load).
    Loaded(u16),
    /// There is no new configuration: another answer.
    LoadRefused,
    /// There is none yet, and it is to be asked for again after this many milliseconds: the third
    /// answer.
    LoadDeferred(u64),
    /// The operator asks for the log files to be opened again: USR1.
    Reopen,
    /// The operator asks for the workers to go, and the master to stay: WINCH.
    Rest,
    /// The operator asks for one worker more: TTIN.
    More,
    /// The operator asks for one worker less: TTOU.
    Fewer,
    /// The operator asks for a new binary: USR2.
    Upgrade,
    /// The successor runs: an answer to [`Action::Launch`](super::Action::Launch).
    Launched(Pid),
    /// There is no successor: the other answer.
    LaunchFailed(UpgradeError),
    /// The successor's workers are ready.
    SuccessorReady,
    /// The successor says that it cannot serve.
    SuccessorFailed(UpgradeError),
    /// The successor was reaped.
    SuccessorExited(ExitStatus),
    /// The master before this one is gone.
    PredecessorGone,
    /// The operator asks for a graceful end: QUIT.
    Quit,
    /// The operator asks for a fast end: TERM or INT.
    Terminate,
    /// Time has passed; the deadline may have come.
    Elapsed,
}

/// How a process ended.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ExitStatus {
    /// It exited with this code.
    Code(u8),
    /// It was killed by this signal.
    Killed {
        /// The signal's number.
        signal: u8,
        /// Whether the kernel wrote a core.
        core: bool,
    },
}

impl Event {
    /// Whether it is about who was told of whom, and about nothing else.
    pub(super) const fn is_of_the_mesh(&self) -> bool {
        matches!(
            self,
            Self::Announced(..)
                | Self::Blocked(_)
                | Self::Writable(_)
                | Self::Refused(_)
                | Self::Missed(..)
                | Self::MeshBroken(_)
                | Self::MeshReplaced(_)
        )
    }
}

impl ExitStatus {
    /// nginx's fatal code: "do not start me again".
    pub const FATAL: Self = Self::Code(2);

    /// Exit code 0.
    pub const SUCCESS: Self = Self::Code(0);
}

impl core::fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exited with code {code}"),
            Self::Killed {
                signal,
                core: false,
            } => write!(f, "killed by signal {signal}"),
            Self::Killed { signal, core: true } => {
                write!(f, "killed by signal {signal}, core dumped")
            }
        }
    }
}
