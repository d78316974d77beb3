//! What a slot is doing, and the one function that says what may come next.
//!
//! ```text
//!   Vacant ──Claim──► Starting(None) ──Spawned──► Starting(pid) ──Ready──► Live(pid)
//!     ▲                 │   ▲    │                    │ Retire                │ Retire
//!     │      SpawnFailed│   │    │ Release            └────► Retiring(pid) ◄──┘
//!     │                 │   │    ▼                                │
//!     │                 │   │  Vacant          Starting(pid) | Live | Retiring ──Exited(after)──┐
//!     │                 ▼   │                                                                   ▼
//!     │              Cooling ──Elapsed──► Starting(None)                         Reclaiming(after)
//!     │              Parked  ──Revive───► Starting(None)                                │Reclaimed
//!     └───Release─── Cooling | Parked                        Cooling | Parked | Vacant ◄┘ (after)
//!
//!   SpawnFailed(after) leads to Cooling, Parked or Vacant too; Release turns Reclaiming(after) into
//!   Reclaiming(Vacate).
//! ```
//!
//! # Invariants
//!
//! - [`State::after`] is total: every state answers every change, with the next state or with
//!   `None`, "refused" (test `every_pair_of_state_and_change_is_decided`).
//! - A state names a pid exactly while that process is unreaped (test `exhaustive`).
//!
//! # Why not flags
//!
//! nginx keeps `exiting`, `exited`, `respawn`, `just_spawn` and `detached` as five bits and a pid
//! that can be -1; most of the 64 combinations mean nothing, and some of those do occur.

use crate::table::Pid;

/// What a slot is doing.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum State {
    /// Nobody's.
    Vacant,
    /// Claimed; `Some` once the process exists, which has not said READY yet.
    Starting(Option<Pid>),
    /// Ready and serving.
    Live(Pid),
    /// Told to go; has not gone yet.
    Retiring(Pid),
    /// Gone and reaped; what it owned is being taken back.
    Reclaiming(After),
    /// Waits for its back-off to pass.
    Cooling,
    /// Given up, until a reload gives its worker another slot.
    Parked,
}

/// What becomes of a slot whose process is gone.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum After {
    /// It is spawned again, when its back-off is over.
    Cool,
    /// It stays empty until it is revived.
    Park,
    /// It is free for anybody.
    Vacate,
}

/// What can happen to a slot.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Change {
    /// It is given to a worker that is to be.
    Claim,
    /// The process exists.
    Spawned(Pid),
    /// The process could not be made.
    SpawnFailed(After),
    /// The process says that it serves.
    Ready,
    /// The process is told to go.
    Retire,
    /// The process was reaped.
    Exited(After),
    /// What the process owned is taken back.
    Reclaimed,
    /// The back-off is over.
    Elapsed,
    /// Nobody wants the slot any more.
    Release,
    /// Somebody wants the parked slot back.
    Revive,
}

impl State {
    /// The state after `change`, or `None` where that change cannot happen.
    #[must_use]
    pub const fn after(self, change: Change) -> Option<Self> {
        Some(match (self, change) {
            (Self::Vacant, Change::Claim) => Self::Starting(None),
            (Self::Starting(None), Change::Spawned(pid)) => Self::Starting(Some(pid)),
            (Self::Starting(None), Change::SpawnFailed(after)) => after.state(),
            (Self::Starting(None), Change::Release) => Self::Vacant,
            (Self::Starting(Some(pid)), Change::Ready) => Self::Live(pid),
            (Self::Starting(Some(pid)) | Self::Live(pid), Change::Retire) => Self::Retiring(pid),
            (
                Self::Starting(Some(_)) | Self::Live(_) | Self::Retiring(_),
                Change::Exited(after),
            ) => Self::Reclaiming(after),
            (Self::Reclaiming(after), Change::Reclaimed) => after.state(),
            (Self::Reclaiming(_), Change::Release) => Self::Reclaiming(After::Vacate),
            (Self::Cooling, Change::Elapsed) | (Self::Parked, Change::Revive) => {
                Self::Starting(None)
            }
            (Self::Cooling | Self::Parked, Change::Release) => Self::Vacant,
            _ => return None,
        })
    }

    /// Whether somebody has the slot who was not told to go.
    #[must_use]
    pub const fn stays(self) -> bool {
        match self {
            Self::Starting(_) | Self::Live(_) | Self::Cooling | Self::Parked => true,
            Self::Reclaiming(after) => !matches!(after, After::Vacate),
            Self::Vacant | Self::Retiring(_) => false,
        }
    }

    /// The process that runs here, if one does.
    #[must_use]
    pub const fn pid(self) -> Option<Pid> {
        match self {
            Self::Starting(pid) => pid,
            Self::Live(pid) | Self::Retiring(pid) => Some(pid),
            Self::Vacant | Self::Reclaiming(_) | Self::Cooling | Self::Parked => None,
        }
    }
}

impl After {
    const fn state(self) -> State {
        match self {
            Self::Cool => State::Cooling,
            Self::Park => State::Parked,
            Self::Vacate => State::Vacant,
        }
    }
}
