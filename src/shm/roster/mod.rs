//! `RosterMemory`: who has which slot, where every process of a service can read it, and two masters
//! agree.
//!
//! ```text
//!   sealed memory, 132 KiB, filled as rows are used              who writes
//!   ┌────────┬──────────────────────────────────────────────┐
//!   │ header │ magic, version, length                       │    its maker
//!   ├────────┼────────────┬────────────┬─────────────┬──────┤
//!   │ row 0  │ life, state│ start time │ epoch,number│ Held │    its master: all but the last
//!   │ row 1  │ and process│            │             │      │    the slot's own process: Held
//!   │ ...    │            │            │             │      │
//!   │ 1022   │ masters, used in turn: the successor has the other one
//!   │ 1023   │
//!   └────────┴────────────┴────────────┴─────────────┴──────┘
//! ```
//!
//! A slot is claimed, and its end is told, by one compare-and-exchange on one word; so during an
//! upgrade two masters never give the same slot away, and a waiter that finds an owner gone says so
//! once for all.
//!
//! # Invariants
//!
//! - Of two masters that claim a slot, one has it (test `a_slot_is_claimed_once`).
//! - A life that is over is never alive again, whoever asks (test `the_dead_stay_dead`).
//! - What a dead master was reclaiming is reclaimed by the next (test
//!   `a_reclaim_is_taken_over`).
//! - A process is told from one that has its pid later, by its start time (test
//!   `a_pid_is_not_a_process`).
//! - No bits make attaching or asking panic (test `any_bits_are_a_roster`).
//!
//! # Why every process may write it
//!
//! Each writes down in its own row what it may hold, before it holds it; and a waiter says that an owner
//! is dead, when its master cannot. A worker that scribbles on the rows makes mutexes change
//! hands too early: wrong data for those who share data with it. Whom a master signals and reaps it
//! knows by its own table and its pidfds, and never from here.

mod word;

pub use word::{RosterWord, Standing, Turn};

use core::fmt;

use rustix::fd::{BorrowedFd, OwnedFd};
use rustix::io::Errno;

use super::mapping::{MapConfig, Mapping, NotMapped};
use crate::sync::{self, AtomicU64, Held, Ordering, Owner};
use crate::sys::foreign;
use crate::table::{CHILDREN, Pid, SLOTS, SlotId, SlotIndex};

crate::shm_struct! {
    sync struct Row {
        word: AtomicU64,
        start: AtomicU64,
        whose: AtomicU64,
        spare: [AtomicU64; 5],
        held: Held,
    }
}

crate::shm_struct! {
    sync struct Rows {
        header: [AtomicU64; 8],
        rows: [Row; SLOTS],
    }
}

/// "fkmrost" and a byte that is no text.
const MAGIC: u64 = u64::from_be_bytes(*b"fkmrost\xF6");
const VERSION: u64 = 1;

/// Who has which slot, in memory that all processes of a service share.
#[derive(Debug)]
#[must_use = "dropping it unmaps the memory"]
pub struct RosterMemory {
    mapping: Mapping,
}

/// What a row says of a slot. It may be over by the time that it is read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RosterRow {
    /// Who has it.
    pub standing: Standing,
    /// When its process was started, in the kernel's ticks since boot; 0 if that is not known.
    pub start: u64,
    /// The reload that it belongs to.
    pub epoch: u32,
    /// Which worker of its epoch.
    pub number: u16,
}

/// Why memory is no roster.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum NoRoster {
    /// It cannot be mapped.
    Mapped(NotMapped),
    /// Nobody has made one there.
    Unmade,
    /// Another version of this library has made it, or it is damaged.
    Version,
}

/// Why a row did not change.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum NotTurned {
    /// The row is of another life, or does not allow it: this is what it says.
    Standing(Standing),
    /// Both of the masters' rows are taken: there can be two masters at a time.
    NoRow,
    /// The process cannot be looked at: ENOENT if there is none.
    Process(Errno),
}

impl RosterMemory {
    /// An empty roster. Cost: 5 system calls.
    ///
    /// # Errors
    ///
    /// [`NotMapped`].
    pub fn create() -> Result<Self, NotMapped> {
        let length = size_of::<Rows>();
        let mapping = Mapping::create(c"forkmesh-roster", length, MapConfig::new())?;
        let roster = Self { mapping };
        let header = &roster.rows().header;
        header[1].store(VERSION, Ordering::Relaxed);
        header[2].store(length as u64, Ordering::Relaxed);
        // Release: pairs with the Acquire in `attach`.
        header[0].store(MAGIC, Ordering::Release);
        Ok(roster)
    }

    /// The roster that a predecessor has handed over.
    ///
    /// # Errors
    ///
    /// [`NoRoster`]; the descriptor is closed then.
    pub fn attach(memory: OwnedFd) -> Result<Self, NoRoster> {
        let mapping = Mapping::attach(memory).map_err(NoRoster::Mapped)?;
        let rows = mapping.at::<Rows>(0).ok_or(NoRoster::Unmade)?;
        // Acquire: pairs with the Release in `create`.
        let said = [0, 1, 2].map(|word: usize| rows.header[word].load(Ordering::Acquire));
        match said {
            [MAGIC, VERSION, length] if length == size_of::<Rows>() as u64 => Ok(Self { mapping }),
            [MAGIC, ..] => Err(NoRoster::Version),
            _ => Err(NoRoster::Unmade),
        }
    }

    /// What it is handed over by.
    #[must_use]
    pub fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.mapping.descriptor()
    }

    /// What a row says.
    #[must_use]
    pub fn row(&self, index: SlotIndex) -> RosterRow {
        let row = self.at(index);
        let standing = load(row).standing();
        let whose = row.whose.load(Ordering::Relaxed);
        RosterRow {
            standing,
            start: row.start.load(Ordering::Relaxed),
            epoch: whose as u32,
            number: (whose >> 32) as u16,
        }
    }

    /// Which life of a slot is the present one, or, of a free slot, the next: what a master's own
    /// table is to go on from.
    #[must_use]
    pub fn life(&self, index: SlotIndex) -> SlotId {
        SlotId::new(index, load(self.at(index)).standing().generation())
    }

    /// Takes a slot for this life, before its process is made.
    ///
    /// # Errors
    ///
    /// [`NotTurned::Standing`], where another has the slot, or the next life is another one.
    pub fn claim(&self, id: SlotId, epoch: u32, number: u16) -> Result<(), NotTurned> {
        self.turn(id, Turn::Claim)?;
        let row = self.at(id.index());
        row.start.store(0, Ordering::Relaxed);
        let whose = u64::from(epoch) | u64::from(number) << 32;
        row.whose.store(whose, Ordering::Relaxed);
        Ok(())
    }

    /// Takes whichever of the masters' two rows is free, for this process.
    ///
    /// # Errors
    ///
    /// [`NotTurned::NoRow`], until what a dead master has left is reclaimed.
    pub fn claim_master(&self, epoch: u32) -> Result<SlotId, NotTurned> {
        let rows = (CHILDREN..SLOTS).rev().filter_map(SlotIndex::new);
        for index in rows {
            let id = self.life(index);
            if self.claim(id, epoch, 0).is_ok() {
                let own = Pid::new(crate::sys::process::own_pid());
                return match own {
                    Some(pid) => self.started(id, pid).map(|()| id),
                    None => Ok(id),
                };
            }
        }
        Err(NotTurned::NoRow)
    }

    /// The process of a slot is there: by its master, or by itself. Cost: three system calls, for the
    /// time at which it was started.
    ///
    /// # Errors
    ///
    /// [`NotTurned`]; where the start time cannot be read, the pid is not written down either.
    pub fn started(&self, id: SlotId, pid: Pid) -> Result<(), NotTurned> {
        let start = foreign::start_time(pid.as_i32()).map_err(NotTurned::Process)?;
        // Relaxed: the word that follows releases it.
        self.at(id.index()).start.store(start, Ordering::Relaxed);
        self.turn(id, Turn::Start(pid))
    }

    /// The process of a slot has been reaped, or could not be made. Saying it twice is no error.
    ///
    /// # Errors
    ///
    /// [`NotTurned::Standing`].
    pub fn died(&self, id: SlotId) -> Result<(), NotTurned> {
        match self.turn(id, Turn::Die) {
            Err(NotTurned::Standing(Standing::Dead(life))) if life == id.generation() => Ok(()),
            turned => turned,
        }
    }

    /// Begins to take back what a dead slot held. One master does it at a time.
    ///
    /// # Errors
    ///
    /// [`NotTurned::Standing`].
    pub fn reclaim(&self, dead: SlotId, by: SlotId) -> Result<(), NotTurned> {
        self.turn(dead, Turn::Reclaim(by.index()))
    }

    /// All that a slot held is taken back: its next life can begin. What it was itself reclaiming is
    /// dead again, for somebody else.
    ///
    /// # Errors
    ///
    /// [`NotTurned::Standing`].
    pub fn finish(&self, dead: SlotId) -> Result<SlotId, NotTurned> {
        for index in (0..SLOTS).filter_map(SlotIndex::new) {
            if let Standing::Reclaiming(life, by) = load(self.at(index)).standing()
                && by == dead.index()
                && index != by
            {
                let _ = self.turn(SlotId::new(index, life), Turn::GiveUp);
            }
        }
        self.turn(dead, Turn::Finish)?;
        Ok(dead.next())
    }

    /// Asks the kernel whether the process of an owner is gone, and if so says it for all: a waiter
    /// does, when nobody else tells it. True if it is known to be gone, by this or before. Cost: up to
    /// six system calls.
    pub fn look_for(&self, owner: Owner) -> bool {
        let index = owner.index();
        let Standing::Live(life, pid) = load(self.at(index)).standing() else {
            return true;
        };
        let id = SlotId::new(index, life);
        if Owner::of(id) != owner {
            return true;
        }
        let start = self.at(index).start.load(Ordering::Relaxed);
        match pid {
            Some(pid) if foreign::is_over(pid.as_i32(), start) => self.died(id).is_ok(),
            _ => false,
        }
    }

    /// Every slot that is not free, lowest first.
    pub fn taken(&self) -> impl Iterator<Item = (SlotId, RosterRow)> {
        let all = (0..SLOTS).filter_map(SlotIndex::new);
        all.filter_map(|index| {
            let row = self.row(index);
            let is_free = matches!(row.standing, Standing::Free(_));
            (!is_free).then(|| (SlotId::new(index, row.standing.generation()), row))
        })
    }

    fn turn(&self, id: SlotId, turn: Turn) -> Result<(), NotTurned> {
        let row = self.at(id.index());
        let seen = load(row);
        let refused = |seen: RosterWord| NotTurned::Standing(seen.standing());
        if seen.standing().generation() != id.generation() {
            return Err(refused(seen));
        }
        let next = seen.after(turn).ok_or_else(|| refused(seen))?;
        // AcqRel: Release pairs with the Acquire of `load`: who sees the slot dead sees all that it did,
        // which reaping has ordered before this; Acquire with the Release of who turned it before.
        let order = (Ordering::AcqRel, Ordering::Acquire);
        row.word
            .compare_exchange(seen.as_u64(), next.as_u64(), order.0, order.1)
            .map(|_| ())
            .map_err(|seen| refused(RosterWord::from_u64(seen)))
    }

    fn at(&self, index: SlotIndex) -> &Row {
        &self.rows().rows[index.as_usize()]
    }

    fn rows(&self) -> &Rows {
        let rows = self.mapping.at(0);
        rows.expect("the mapping has not become shorter")
    }
}

/// Acquire: pairs with the Release of `turn`.
fn load(row: &Row) -> RosterWord {
    RosterWord::from_u64(row.word.load(Ordering::Acquire))
}

impl sync::Roster for RosterMemory {
    fn is_dead(&self, owner: Owner) -> bool {
        match load(self.at(owner.index())).standing() {
            Standing::Live(life, _) => Owner::of(SlotId::new(owner.index(), life)) != owner,
            _ => true,
        }
    }

    fn look_for(&self, owner: Owner) -> bool {
        Self::look_for(self, owner)
    }

    fn held(&self, index: SlotIndex) -> &Held {
        &self.at(index).held
    }
}

impl fmt::Display for NoRoster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mapped(why) => why.fmt(f),
            Self::Unmade => f.write_str("nobody has made a roster there"),
            Self::Version => f.write_str("another version has made the roster"),
        }
    }
}

impl fmt::Display for NotTurned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Standing(standing) => write!(f, "the slot is {standing:?}"),
            Self::NoRow => f.write_str("there are two masters already"),
            Self::Process(errno) => write!(f, "the process cannot be looked at: {errno}"),
        }
    }
}

impl core::error::Error for NoRoster {}
impl core::error::Error for NotTurned {}

static_assertions::const_assert_eq!(size_of::<Row>(), 128);
