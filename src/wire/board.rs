//! The board: what a master writes down of itself for others to read, in records of fixed size.
//!
//! ```text
//!   0          128       192       256                                       65 664
//!   ┌──────────┬─────────┬─────────┬── ─ ─ ──┬─────────┐
//!   │ header   │ row 0   │ row 1   │         │ row 1023│     all of it native endian
//!   └──────────┴─────────┴─────────┴── ─ ─ ──┴─────────┘
//!
//!   header  0 magic "forkmesh"   8 layout u32    12 rows u32     16 sequence u32  20 pid i32
//!          24 phase u8  25 rests u8  26 upgrade u8  28 serving u32  32 candidate u32  36 workers u32
//!          40 successor i32     48 written ms u64   56 spawns u64   64 ignored u64
//!          72 reloads: done u32, failed u32, kind u8, why u8, detail i32    88 upgrades: the same
//!         124 check u32
//!
//!   row     0 sequence u32   4 slot id u32   8 pid i32   12 epoch u32   16 number u16   18 state u8
//!          19 last life: kind of its end u8   20 code or signal u8   21 reached u8   22 failed u8   23 role u8
//!          24 since ms u64   32 lived ms u64   40 delay ms u32   44 stage u32   48 errno i32
//!          60 check u32
//! ```
//!
//! A record is written by one call and read by another, with nothing between the two that would keep
//! them apart. So it begins with a sequence number, another one at every write, and ends with a word
//! that is made of everything before it: who reads half of one and half of the next sees that, and
//! reads again. A row of zeros was never written.
//!
//! Each record is right in itself; two of them can be of two moments.
//!
//! # Invariants
//!
//! - What is written is read back as the same (test `every_record_survives_the_board`).
//! - The layout is the one above (test `golden_board`).
//! - No bytes panic (test `no_board_panics`).
//! - A record that is mixed of two is noticed (tests `a_mixed_record_is_torn`,
//!   `no_torn_record_is_ever_read`).
//!
//! # Why not the same sequence number at both ends
//!
//! A reader can overtake the writer in the middle of a record and be overtaken before its end: both
//! numbers are new then, and something between them is old. A lock is out of the question: whoever
//! asks a master that hangs would hang.
//!
//! # Example
//!
//! ```
//! use forkmesh::table::{Pid, SlotId, State};
//! use forkmesh::wire::board::Row;
//!
//! let row = Row::new(SlotId::MASTER, State::Live(Pid::new(4711).unwrap()));
//! assert_eq!(Row::decode(&row.encode(1)), Ok(Some(row)));
//! ```

mod code;

use core::ffi::CStr;
use core::fmt;

use crate::table::{Pid, Role, SLOTS, SlotId, SlotIndex, State};

/// What the memory of a board is called.
pub const NAME: &CStr = c"forkmesh-status";
/// How many bytes a header has.
pub const HEADER_SIZE: usize = 128;
/// How many bytes a row has.
pub const ROW_SIZE: usize = 64;
/// How many bytes a board has.
pub const BOARD_SIZE: usize = HEADER_SIZE + SLOTS * ROW_SIZE;
/// Which arrangement of fields this is; another one has another number.
pub const LAYOUT: u32 = 1;

/// Where the row of a place begins.
#[must_use]
pub const fn row_offset(index: SlotIndex) -> usize {
    HEADER_SIZE + index.as_usize() * ROW_SIZE
}

/// What is so of the whole master.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Header {
    /// The master's process, as it knows itself.
    pub pid: Pid,
    /// How far it has come.
    pub phase: Phase,
    /// Whether it was told to rest: it runs without workers.
    pub rests: bool,
    /// How far an upgrade has come.
    pub upgrade: Upgrade,
    /// The configuration in force.
    pub serving: u32,
    /// The configuration that a reload is about to put in force; 0 for none.
    pub candidate: u32,
    /// How many workers there are to be.
    pub workers: u32,
    /// The master that is to take over, or has.
    pub successor: Option<Pid>,
    /// When this was written, in milliseconds of CLOCK_MONOTONIC.
    pub written_ms: u64,
    /// How many processes were made.
    pub spawns: u64,
    /// How many events were ignored because they did not fit.
    pub ignored: u64,
    /// What became of reloads.
    pub reloads: Tally,
    /// What became of upgrades.
    pub upgrades: Tally,
}

/// How far a master has come.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Phase {
    /// Workers are kept running.
    Running,
    /// Workers finish what they began; none is started.
    Draining,
    /// Workers end now.
    Stopping,
    /// No child is left.
    Stopped,
}

/// How far an upgrade has come.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Upgrade {
    /// There is none.
    Idle,
    /// The successor was started, and is not ready.
    Launched,
    /// The successor is ready, and can still be done without.
    Probation,
    /// The successor has taken over.
    Done,
    /// This master is itself a successor, and its predecessor is not gone.
    Succeeding,
}

/// How often something was tried, and how it went the last time.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Tally {
    /// How often it was done.
    pub done: u32,
    /// How often it failed.
    pub failed: u32,
    /// What came of it the last time; `None` before the first.
    pub last: Option<Outcome>,
}

/// What came of a reload or an upgrade.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Outcome {
    /// It was done.
    Done,
    /// It failed, and everything is as it was.
    Failed {
        /// Why, by number: [`run::Reason`](crate::run::Reason) has the words.
        why: u8,
        /// The error, the exit code or whatever else belongs to it.
        detail: i32,
    },
}

/// What is so of one slot.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Row {
    /// Which slot, and which life of it.
    pub id: SlotId,
    /// What it does, and by which process.
    pub state: State,
    /// The configuration that it belongs to.
    pub epoch: u32,
    /// What its process does.
    pub role: Role,
    /// Which of its role in its epoch, from 0.
    pub number: u16,
    /// When its process was made, in milliseconds of CLOCK_MONOTONIC.
    pub since_ms: u64,
    /// How long it waits, from its death, before there is another process; 0 where it does not.
    pub delay_ms: u32,
    /// The life before this one.
    pub last: Option<Last>,
}

/// A life that is over.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Last {
    /// How it ended.
    pub ended: Ended,
    /// How far it had come.
    pub reached: Reached,
    /// What it said before, if it said that it could not serve.
    pub failure: Option<Failure>,
    /// How long its process lived.
    pub lived_ms: u64,
}

/// How a life ended.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Ended {
    /// It never began: no process could be made.
    Unmade,
    /// The process exited with this code.
    Code(u8),
    /// The process was killed.
    Killed {
        /// By which signal.
        signal: u8,
        /// Whether the kernel wrote a core.
        core: bool,
    },
}

/// How far a life came.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Reached {
    /// It was never ready.
    Starting,
    /// It served.
    Ready,
    /// It had been told to go.
    Retiring,
}

/// Why a worker could not serve.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Failure {
    /// Which step failed: the worker's own number for it.
    pub stage: u32,
    /// The error.
    pub errno: i32,
}

/// Why bytes are no record.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Unread {
    /// No board of ours.
    Foreign,
    /// A board of another version.
    Layout(u32),
    /// Not written to its end, or mixed of two: to be read again.
    Torn,
    /// Whole, and without a meaning.
    Malformed,
}

impl Header {
    /// A master that has done nothing yet.
    #[must_use]
    pub const fn new(pid: Pid) -> Self {
        let none = Tally {
            done: 0,
            failed: 0,
            last: None,
        };
        Self {
            pid,
            phase: Phase::Running,
            rests: false,
            upgrade: Upgrade::Idle,
            serving: 0,
            candidate: 0,
            workers: 0,
            successor: None,
            written_ms: 0,
            spawns: 0,
            ignored: 0,
            reloads: none,
            upgrades: none,
        }
    }
}

impl Row {
    /// A slot that has had no life before.
    #[must_use]
    pub const fn new(id: SlotId, state: State) -> Self {
        Self {
            id,
            state,
            epoch: 0,
            role: Role::Worker,
            number: 0,
            since_ms: 0,
            delay_ms: 0,
            last: None,
        }
    }
}

impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Foreign => f.write_str("no board of forkmesh"),
            Self::Layout(layout) => write!(f, "a board of layout {layout}, not {LAYOUT}"),
            Self::Torn => f.write_str("the record is not written to its end"),
            Self::Malformed => f.write_str("the record has no meaning"),
        }
    }
}

impl core::error::Error for Unread {}
