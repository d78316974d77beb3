//! The mesh's bookkeeping: who has been told what of the table.
//!
//! ```text
//!   slots, by their last change:   7 ── 0 ── 3 ── 5 ── 1     newest
//!   at version:                    4    9   12   13   20     = the table's version
//!                                       ▲
//!   a recipient's watermark: 9 ─────────┘ └── pending ──┘    3, 5 and 1 are to be announced to it
//! ```
//!
//! OPEN and CLOSE are state, not events. Every change of a slot takes the next version and moves
//! the slot to the newest end, so what a recipient has yet to hear is always one run at that end,
//! however long it was unreachable; a slot that changed 400 times is in it once. There is no queue
//! that could grow or overflow.
//!
//! ```text
//!   Current ◄──────────────┐            Behind ──ReplaceMesh──► Replacing ─┐
//!      │ a change elsewhere│settled        ▲ │                             │ Blocked ──► Blocked
//!      └──► Behind ──Announce──► Asked ────┘ │                             │ Refused ──► Waiting
//!                                  └─────────┴─────────────────────────────┘
//!   Blocked ends with Writable, Waiting with a deadline; both settle: Behind if something is
//!   pending, else Current.
//! ```
//!
//! # Invariants
//!
//! - Whoever applies what is announced, in order, ends with the table's truth (test
//!   `every_receiver_converges`).
//! - A watermark rises only by what was delivered (test `blocked_delivers_nothing`).
//! - A descriptor is said to be held only if it was made before the recipient was forked (test
//!   `a_start_of_1000_needs_no_descriptor`).

use crate::table::{Instant, Pid, SlotId, SlotIndex, SlotSet, Table};

/// The first wait after a refusal, and the longest.
const RETRY_FIRST_MS: u64 = 10;
const RETRY_CAP_MS: u64 = 1_000;

/// No slot, in the list of changes.
const NOBODY: u16 = u16::MAX;

/// The stamp of a slot that has no mesh pair: later than every fork.
const UNPAIRED: u64 = u64::MAX;

/// One change that a recipient has not been told of.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Announcement {
    /// The version of the table with this change: what `Announced` names once it was delivered.
    pub version: u64,
    /// What is so since then.
    pub kind: AnnouncementKind,
}

/// What is so with a slot.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum AnnouncementKind {
    /// This process has the slot. Any other life of the same index is over.
    Open {
        /// Its name.
        slot: SlotId,
        /// Its process.
        pid: Pid,
        /// Whether the recipient inherited the descriptor at its fork; if not, it must travel.
        held: bool,
    },
    /// No process has the slot: every life of this index is over. The id is the one that the next
    /// life will have, if there is one; it has not begun.
    Close {
        /// The next life.
        slot: SlotId,
    },
}

/// How it stands with a recipient.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
enum Standing {
    Current,
    Behind,
    Asked,
    Replacing,
    Blocked,
    Waiting,
}

const STANDINGS: [Standing; 6] = [
    Standing::Current,
    Standing::Behind,
    Standing::Asked,
    Standing::Replacing,
    Standing::Blocked,
    Standing::Waiting,
];

/// What is kept for each slot.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Row {
    /// The version of its last change; 0: none yet, and then it is not in the list.
    changed: u64,
    /// When its mesh pair was made.
    paired: u64,
    /// As a recipient: it knows every change up to this one.
    watermark: u64,
    /// As a recipient: when it was forked. It holds every pair that was made until then.
    inherited: u64,
    /// As a recipient: when to try again.
    retry_at: Instant,
    older: u16,
    newer: u16,
    /// Refusals in a row.
    refusals: u8,
}

/// Versions, watermarks and the standing of every recipient. Which slots there are is the table's.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Mesh<const N: usize> {
    version: u64,
    rows: [Row; N],
    newest: u16,
    /// Each recipient is in one of these.
    standing: [SlotSet; STANDINGS.len()],
    /// Whose mesh pair is to be replaced.
    broken: SlotSet,
    /// Who was told last. They take turns, so that one whose pair breaks again and again does not
    /// keep the others waiting.
    turn: SlotIndex,
}

impl<const N: usize> Mesh<N> {
    pub(super) const fn new() -> Self {
        Self {
            version: 0,
            rows: [Row::NEW; N],
            newest: NOBODY,
            standing: [const { SlotSet::EMPTY }; STANDINGS.len()],
            broken: SlotSet::EMPTY,
            turn: SlotIndex::LAST,
        }
    }

    pub(super) const fn version(&self) -> u64 {
        self.version
    }

    /// A mesh pair was made: whoever is forked from now on inherits it.
    pub(super) fn paired(&mut self, index: SlotIndex) {
        self.version += 1;
        self.rows[index.as_usize()].paired = self.version;
    }

    /// The process of this slot is about to be forked, with the table as it now is.
    pub(super) fn forking(&mut self, index: SlotIndex) {
        self.rows[index.as_usize()].watermark = self.version;
    }

    pub(super) fn spawned(&mut self, index: SlotIndex) {
        self.rows[index.as_usize()].inherited = self.version;
        self.touch(index);
        self.settle(index);
    }

    /// There is no process any more, or there will be none.
    pub(super) fn gone(&mut self, index: SlotIndex) {
        self.stand(index, None);
        self.broken.remove(index);
        let row = &mut self.rows[index.as_usize()];
        *row = Row {
            changed: row.changed,
            older: row.older,
            newer: row.newer,
            ..Row::NEW
        };
        self.touch(index);
    }

    /// The next recipient that is behind, to be asked once.
    pub(super) fn ask(&mut self) -> Option<SlotIndex> {
        let index = self.standing[Standing::Behind as usize].next_after(self.turn)?;
        self.turn = index;
        self.stand(index, Some(Standing::Asked));
        Some(index)
    }

    /// The next worker whose mesh pair is to be replaced, and whose channel is free for it.
    pub(super) fn replace(&mut self) -> Option<SlotIndex> {
        let mut free = self.broken.clone();
        for index in self.broken.iter() {
            let standing = self.stands(index);
            if !matches!(standing, Some(Standing::Current | Standing::Behind)) {
                free.remove(index);
            }
        }
        let index = free.next_after(self.turn)?;
        self.turn = index;
        self.stand(index, Some(Standing::Replacing));
        Some(index)
    }

    pub(super) fn announced(&mut self, index: SlotIndex, version: u64) -> Option<()> {
        if self.stands(index)? != Standing::Asked || version > self.version {
            return None;
        }
        let row = &mut self.rows[index.as_usize()];
        row.watermark = row.watermark.max(version);
        row.refusals = 0;
        self.settle(index);
        Some(())
    }

    pub(super) fn blocked(&mut self, index: SlotIndex) -> Option<()> {
        self.stands(index)?;
        self.stand(index, Some(Standing::Blocked));
        Some(())
    }

    pub(super) fn writable(&mut self, index: SlotIndex) -> Option<()> {
        if self.stands(index)? != Standing::Blocked {
            return None;
        }
        self.settle(index);
        Some(())
    }

    pub(super) fn refused(&mut self, index: SlotIndex, now: Instant) -> Option<()> {
        self.stands(index)?;
        let row = &mut self.rows[index.as_usize()];
        let wait_ms = (RETRY_FIRST_MS << row.refusals).min(RETRY_CAP_MS);
        row.retry_at = now.after_ms(wait_ms);
        row.refusals = (row.refusals + 1).min(RETRY_CAP_MS.ilog2() as u8);
        self.stand(index, Some(Standing::Waiting));
        Some(())
    }

    /// What it was told since is forgotten; what it is being told now may be part of that.
    pub(super) fn missed(&mut self, index: SlotIndex, lowest: u64) -> Option<()> {
        let standing = self.stands(index)?;
        let row = &mut self.rows[index.as_usize()];
        row.watermark = row.watermark.min(lowest.saturating_sub(1));
        row.inherited = 0;
        if matches!(standing, Standing::Current | Standing::Asked) {
            self.settle(index);
        }
        Some(())
    }

    pub(super) fn mesh_broken(&mut self, index: SlotIndex) -> Option<()> {
        self.stands(index)?;
        self.broken.insert(index);
        Some(())
    }

    /// The slot holds its own end; everybody else needs the new one.
    pub(super) fn mesh_replaced(&mut self, index: SlotIndex) -> Option<()> {
        if self.stands(index)? != Standing::Replacing {
            return None;
        }
        self.broken.remove(index);
        self.paired(index);
        self.rows[index.as_usize()].refusals = 0;
        self.touch(index);
        self.settle(index);
        Some(())
    }

    pub(super) fn elapsed(&mut self, now: Instant) {
        let waiting = self.standing[Standing::Waiting as usize].clone();
        for index in waiting.iter() {
            if self.rows[index.as_usize()].retry_at <= now {
                self.settle(index);
            }
        }
    }

    pub(super) fn deadline(&self) -> Instant {
        self.standing[Standing::Waiting as usize]
            .iter()
            .map(|index| self.rows[index.as_usize()].retry_at)
            .min()
            .unwrap_or(Instant::NEVER)
    }

    /// What is pending for a recipient, oldest change first. Walks what is pending, twice.
    pub(super) fn pending<'a>(
        &'a self,
        table: &'a Table<N>,
        recipient: SlotIndex,
    ) -> impl Iterator<Item = Announcement> + 'a {
        let Row {
            watermark,
            inherited,
            ..
        } = self.rows[recipient.as_usize()];
        let mut next = self.first_after(watermark);
        core::iter::from_fn(move || {
            let index = SlotIndex::new(next.into())?;
            next = self.rows.get(index.as_usize())?.newer;
            Some(index)
        })
        .filter(move |index| *index != recipient)
        .filter_map(move |index| {
            let row = &self.rows[index.as_usize()];
            let slot = table.id_at(index)?;
            let kind = match table.slot(slot)?.state().pid() {
                Some(pid) => AnnouncementKind::Open {
                    slot,
                    pid,
                    held: row.paired <= inherited,
                },
                None => AnnouncementKind::Close { slot },
            };
            Some(Announcement {
                version: row.changed,
                kind,
            })
        })
    }

    /// The oldest slot that changed after `version`.
    fn first_after(&self, version: u64) -> u16 {
        let mut first = NOBODY;
        let mut older = self.newest;
        while let Some(row) = self.rows.get(usize::from(older)) {
            if row.changed <= version {
                break;
            }
            first = older;
            older = row.older;
        }
        first
    }

    /// Whether anything but its own change is pending: that is one of the newest two.
    fn is_behind(&self, index: SlotIndex) -> bool {
        let newest = match self.rows.get(usize::from(self.newest)) {
            Some(row) if usize::from(self.newest) == index.as_usize() => {
                self.rows.get(usize::from(row.older))
            }
            row => row,
        };
        newest.is_some_and(|row| row.changed > self.rows[index.as_usize()].watermark)
    }

    /// The slot changed: it is the newest now, and everybody else is behind.
    fn touch(&mut self, index: SlotIndex) {
        self.unlink(index);
        self.version += 1;
        let this = index.as_usize() as u16;
        let older = core::mem::replace(&mut self.newest, this);
        if let Some(row) = self.rows.get_mut(usize::from(older)) {
            row.newer = this;
        }
        let row = &mut self.rows[index.as_usize()];
        row.changed = self.version;
        row.older = older;
        row.newer = NOBODY;

        let was_current = self.standing[Standing::Current as usize].remove(index);
        while let Some(other) = self.standing[Standing::Current as usize].pop_first() {
            self.standing[Standing::Behind as usize].insert(other);
        }
        if was_current {
            self.standing[Standing::Current as usize].insert(index);
        }
    }

    fn unlink(&mut self, index: SlotIndex) {
        let Row {
            changed,
            older,
            newer,
            ..
        } = self.rows[index.as_usize()];
        if changed == 0 {
            return;
        }
        if let Some(row) = self.rows.get_mut(usize::from(older)) {
            row.newer = newer;
        }
        match self.rows.get_mut(usize::from(newer)) {
            Some(row) => row.older = older,
            None => self.newest = older,
        }
    }

    fn settle(&mut self, index: SlotIndex) {
        let standing = if self.is_behind(index) {
            Standing::Behind
        } else {
            Standing::Current
        };
        self.stand(index, Some(standing));
    }

    fn stands(&self, index: SlotIndex) -> Option<Standing> {
        STANDINGS
            .into_iter()
            .find(|standing| self.standing[*standing as usize].contains(index))
    }

    fn stand(&mut self, index: SlotIndex, standing: Option<Standing>) {
        for set in &mut self.standing {
            set.remove(index);
        }
        if let Some(standing) = standing {
            self.standing[standing as usize].insert(index);
        }
    }

    /// What decides how this mesh goes on: the order of changes; which of them each recipient has
    /// yet to hear, and which pairs it holds; times by distance.
    pub(super) fn digest(&self, now: Instant, out: &mut dyn FnMut(u64)) {
        for (place, row) in self.rows.iter().enumerate() {
            let older = self.rows.iter().filter(|other| other.changed < row.changed);
            out(older.count() as u64);
            out((row.changed != 0).into());
            out((row.paired != UNPAIRED).into());
            for (other, slot) in self.rows.iter().enumerate() {
                let pending = u64::from(slot.changed > row.watermark);
                let held = u64::from(slot.paired <= row.inherited);
                out(if other == place {
                    0
                } else {
                    pending << 1 | held
                });
            }
            let index = SlotIndex::new(place);
            let standing = index.and_then(|index| self.stands(index));
            out(index
                .is_some_and(|index| self.broken.contains(index))
                .into());
            out(standing.map_or(0, |standing| standing as u64 + 1));
            if standing == Some(Standing::Waiting) {
                out(row.retry_at.ms_since(now));
            }
            out(row.refusals.into());
        }
    }
}

impl Row {
    const NEW: Self = Self {
        changed: 0,
        paired: UNPAIRED,
        watermark: 0,
        inherited: 0,
        retry_at: Instant::NEVER,
        older: NOBODY,
        newer: NOBODY,
        refusals: 0,
    };
}

static_assertions::const_assert_eq!(size_of::<Row>(), 48);
