//! What is to be done: the master core's output, in the imperative.

use crate::machine::{ExitStatus, ReloadError, UpgradeError};
use crate::table::{Pid, SlotId};

/// Something that the shell must do now. What comes of it is said back as an
/// [`Event`](super::Event).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[must_use = "an action that is not performed leaves the table and the processes in disagreement"]
#[non_exhaustive]
pub enum Action {
    /// Take back what a dead worker owned: its channel ends and its pidfd. Answer: `Reclaimed`.
    Reclaim(SlotId),
    /// Signal a process, through its pidfd. No answer: `Exited` follows, one day.
    Signal(SlotId, Pid, Signal),
    /// Tell a worker to go, on its control channel; where the channel will not take it, by the
    /// signal with the same meaning. No answer: `Exited` follows, one day.
    Order(SlotId, Pid, Order),
    /// Open the master's own log files again; each worker is told by an `Order`. No answer.
    Reopen,
    /// Make the configuration of this epoch, beside the one that is in force. So many workers are
    /// wanted now. Answer: `Loaded`, `LoadRefused` or `LoadDeferred`: then it is said once more.
    Load(u32, u16),
    /// Set the pid file aside, and execute the successor. Answer: `Launched` or `LaunchFailed`.
    Launch,
    /// Signal the successor. No answer: `SuccessorExited` follows, one day.
    SignalSuccessor(Signal),
    /// An upgrade came to nothing: take the pid file back. No answer.
    Withdraw,
    /// Tell whoever started this master that the workers are ready. No answer.
    SayReady,
    /// Tell whoever started this master that it cannot serve: for want of slots, or because a worker
    /// was given up. Without a predecessor the master ends. No answer.
    SayFailed(UpgradeError),
    /// Fork a process for this slot. Answer: `Spawned` or `SpawnFailed`.
    Spawn(SlotId),
    /// Make a new mesh pair for this worker, and hand it its end. Answer: `MeshReplaced`,
    /// `Blocked` or `Refused`.
    ReplaceMesh(SlotId),
    /// Tell this worker what changed in the table: see
    /// [`Master::announcements`](super::Master::announcements).
    /// Answer: `Announced`, `Blocked` or `Refused`.
    Announce(SlotId),
    /// Tell the user. No answer.
    Report(Report),
    /// Leave the loop: no child is left.
    Exit,
}

/// The signals that the core asks for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Signal {
    /// SIGTERM: end now.
    Terminate,
    /// SIGKILL.
    Kill,
}

/// What only a master may say.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Order {
    /// Finish what was begun, then exit.
    Quit,
    /// Exit now.
    Terminate,
    /// Open the log files again.
    Reopen,
}

/// What a user of the master wants to know. The id is that of the life it is about.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Report {
    /// A process was made for this slot.
    Spawned(SlotId, Pid),
    /// A process could not be made. What follows is said as for a process that died: `Delayed`,
    /// `Parked`, or nothing if it is tried again at once.
    SpawnFailed(SlotId),
    /// A worker is ready.
    Ready(SlotId, Pid),
    /// A worker ended.
    Exited(SlotId, Pid, ExitStatus),
    /// The slot of a dead worker cools off for this many milliseconds, from its death.
    Delayed(SlotId, u64),
    /// The slot of a dead worker was given up.
    Parked(SlotId, Why),
    /// A reload is done: this epoch serves, and the one before drains.
    Reloaded(u32),
    /// A reload came to nothing: this epoch does not serve, the one before does.
    ReloadFailed(u32, ReloadError),
    /// An upgrade is done: this process is the master now.
    Upgraded(Pid),
    /// An upgrade came to nothing.
    UpgradeFailed(UpgradeError),
}

/// Why a slot was given up.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Why {
    /// Its process asked for it, by exit code 2.
    Fatal,
    /// It died too many times in a row before it was ready.
    NeverReady,
}
