//! `Token`: what an epoll event is about, in its 64 bits.

use crate::table::SlotId;

/// What an epoll event is about: the kind in the upper half, the slot in the lower.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Token {
    Signals,
    Process(SlotId),
    Control(SlotId),
    /// What the successor says, and its end; and the same of the predecessor.
    Successor,
    SuccessorEnd,
    Predecessor,
    PredecessorEnd,
    /// What the relay says that launches successors.
    Relay,
}

impl Token {
    const SIGNALS: u64 = 0;
    const PROCESS: u64 = 1;
    const CONTROL: u64 = 2;
    const SUCCESSOR: u64 = 3;
    const SUCCESSOR_END: u64 = 4;
    const PREDECESSOR: u64 = 5;
    const PREDECESSOR_END: u64 = 6;
    const RELAY: u64 = 7;

    pub(super) fn to_u64(self) -> u64 {
        match self {
            Self::Signals => Self::SIGNALS << 32,
            Self::Successor => Self::SUCCESSOR << 32,
            Self::SuccessorEnd => Self::SUCCESSOR_END << 32,
            Self::Predecessor => Self::PREDECESSOR << 32,
            Self::PredecessorEnd => Self::PREDECESSOR_END << 32,
            Self::Relay => Self::RELAY << 32,
            Self::Process(slot) => Self::PROCESS << 32 | u64::from(slot.as_u32()),
            Self::Control(slot) => Self::CONTROL << 32 | u64::from(slot.as_u32()),
        }
    }

    pub(super) fn from_u64(token: u64) -> Option<Self> {
        match token >> 32 {
            Self::SIGNALS => Some(Self::Signals),
            Self::SUCCESSOR => Some(Self::Successor),
            Self::SUCCESSOR_END => Some(Self::SuccessorEnd),
            Self::PREDECESSOR => Some(Self::Predecessor),
            Self::PREDECESSOR_END => Some(Self::PredecessorEnd),
            Self::RELAY => Some(Self::Relay),
            Self::PROCESS => SlotId::from_u32(token as u32).map(Self::Process),
            Self::CONTROL => SlotId::from_u32(token as u32).map(Self::Control),
            _ => None,
        }
    }
}
