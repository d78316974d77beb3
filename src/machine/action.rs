//! What is to be done: the master core's output, in the imperative.

use crate::machine::ExitStatus;
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
}

/// Why a slot was given up.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Why {
    /// Its process asked for it, by exit code 2.
    Fatal,
    /// It died too many times in a row before it was ready.
    NeverReady,
}
