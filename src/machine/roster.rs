//! `Roster`: what a worker knows of its siblings, and what it has missed.
//!
//! ```text
//!   OPEN held      ──► known, its descriptor was inherited      (not held after all: missed)
//!   OPEN here      ──► known, keep the one that came            (none came: missed)
//!   OPEN follows   ──► known, waits ──DESCRIPTORS n──► the last n that wait keep one each, in order
//!   CLOSE          ──► forgotten
//!   missed         ──► RESYNC from the lowest version that was missed, at most once per back-off
//! ```
//!
//! The master says these things in order, on a channel that only it can write to, so the last word
//! on a place is the truth about it; a message that was said again changes nothing.
//!
//! # Invariants
//!
//! - A sibling is known by one life at most, the last that was announced (test
//!   `the_last_word_on_a_place_counts`).
//! - What was missed is asked for until it came (test
//!   `a_worker_without_room_asks_again_and_converges`).

use heapless::Vec;

use crate::table::{Instant, Pid, SLOTS, SlotId, SlotIndex, Table};
use crate::wire::{Attached, Subject};

/// How many OPENs can wait for their descriptors: as many as one batch has.
const MOST_WAITING: usize = 128;

/// From the first version on: no change has this number.
const EVERYTHING: u32 = 0;

/// The first wait before a worker asks again, and the longest.
const RETRY_FIRST_MS: u64 = 10;
const RETRY_CAP_MS: u64 = 1_000;

/// What a worker knows of its siblings. Plain data; their descriptors lie beside it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Roster<const N: usize = SLOTS> {
    own: SlotId,
    members: [Member; N],
    waiting: Vec<(SlotId, u32), MOST_WAITING>,
    missed: Option<u32>,
    ask_at: Instant,
    asked: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Member {
    id: Option<SlotId>,
    pid: Option<Pid>,
    held: bool,
}

/// What is to be done with a descriptor that came, or with one that is held.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Keep {
    /// Nothing: what is held stays, what came is closed.
    Nothing,
    /// The descriptor that came is this sibling's; it takes the place of any other life's.
    Sibling(SlotId),
    /// The descriptor that came is the worker's own new mesh end.
    OwnMesh,
    /// The descriptor that is held for this place is no longer of use.
    Drop(SlotIndex),
}

impl<const N: usize> Roster<N> {
    /// What a worker knows when it is forked: the table as it then is. Each mesh end that was made
    /// by then is inherited.
    #[must_use]
    pub fn inherit(own: SlotId, table: &Table<N>) -> Self {
        let mut members = [Member {
            id: None,
            pid: None,
            held: false,
        }; N];
        for (id, slot) in table.occupied().filter(|(id, _)| *id != own) {
            let pid = slot.state().pid();
            members[id.index().as_usize()] = Member {
                id: Some(id),
                pid,
                held: false,
            };
        }
        let (missed, ask_at) = (None, Instant::ORIGIN);
        Self {
            own,
            members,
            waiting: Vec::new(),
            missed,
            ask_at,
            asked: 0,
        }
    }

    /// A mesh end was inherited for this sibling.
    pub fn inherited(&mut self, sibling: SlotId) {
        let member = &mut self.members[sibling.index().as_usize()];
        member.held = member.id == Some(sibling);
    }

    /// A sibling was announced; `came` says whether a descriptor came with the frame.
    pub fn open(&mut self, subject: Subject, version: u32, attached: Attached, came: bool) -> Keep {
        let index = subject.index.as_usize();
        let Some(id) = subject.slot().filter(|_| index < N) else {
            return Keep::Nothing;
        };
        if id == self.own {
            return if came { Keep::OwnMesh } else { Keep::Nothing };
        }
        let before = self.members[index];
        let held = before.held && before.id == Some(id);
        self.members[index] = Member {
            id: Some(id),
            pid: subject.pid,
            held: held || came,
        };
        match attached {
            Attached::Here if came => {
                self.came_whole();
                return Keep::Sibling(id);
            }
            Attached::Follows if self.wait(id, version) => {}
            Attached::Held if held => {}
            _ => self.miss(version),
        }
        if before.held && !held {
            Keep::Drop(subject.index)
        } else {
            Keep::Nothing
        }
    }

    /// A life is over.
    pub fn close(&mut self, index: SlotIndex) -> Keep {
        let Some(member) = self.members.get_mut(index.as_usize()) else {
            return Keep::Nothing;
        };
        let held = member.held;
        *member = Member {
            id: None,
            pid: None,
            held: false,
        };
        if held {
            Keep::Drop(index)
        } else {
            Keep::Nothing
        }
    }

    /// `count` descriptors were sent, and the first `came` of them arrived: whose they are, one by
    /// one in order, is said by [`Roster::next_waiting`].
    pub fn descriptors(&mut self, count: usize, came: usize) {
        if self.waiting.len() < count {
            // Something of the batch is unknown here: none of them can be told apart.
            self.waiting.clear();
            return self.miss(EVERYTHING);
        }
        let told_before = self.waiting.len() - count;
        self.miss_the_forgotten(told_before);
        self.waiting.rotate_left(told_before);
        self.waiting.truncate(count);
        if let Some((_, version)) = self.waiting.get(came).copied() {
            self.miss(version);
            self.waiting.truncate(came);
        } else {
            self.came_whole();
        }
        self.waiting.reverse();
    }

    /// Whose the next of the descriptors is that came with DESCRIPTORS.
    pub fn next_waiting(&mut self) -> Option<Keep> {
        let (id, _) = self.waiting.pop()?;
        let member = &mut self.members[id.index().as_usize()];
        let known = member.id == Some(id);
        member.held |= known;
        Some(if known {
            Keep::Sibling(id)
        } else {
            Keep::Nothing
        })
    }

    /// From which version on to ask for it all again, if it is time to.
    #[must_use]
    pub fn resync(&self, now: Instant) -> Option<u32> {
        self.missed.filter(|_| self.ask_at <= now)
    }

    /// It was asked for: it is asked for again, later, if it is still missed then.
    pub fn asked(&mut self, now: Instant) {
        let wait = RETRY_FIRST_MS << self.asked.min(16);
        self.ask_at = now.after_ms(wait.min(RETRY_CAP_MS));
        self.asked = self.asked.saturating_add(1);
        self.missed = None;
    }

    /// It could not be asked for.
    pub(super) fn missed_still(&mut self, version: u32) {
        self.miss(version);
    }

    /// When something is to be asked for.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        if self.missed.is_some() {
            self.ask_at
        } else {
            Instant::NEVER
        }
    }

    /// Whether a process is the sibling that it claims to be.
    #[must_use]
    pub fn knows(&self, claimed: SlotId, pid: Option<Pid>) -> bool {
        let member = self.members.get(claimed.index().as_usize());
        member.is_some_and(|member| {
            member.id == Some(claimed) && (pid.is_none() || member.pid == pid)
        })
    }

    /// The life that has this place, with its process and whether its descriptor is held.
    #[must_use]
    pub fn sibling(&self, index: SlotIndex) -> Option<(SlotId, Option<Pid>, bool)> {
        let member = self.members.get(index.as_usize())?;
        member.id.map(|id| (id, member.pid, member.held))
    }

    /// Every sibling that is known to have a process, lowest place first.
    pub fn siblings(&self) -> impl Iterator<Item = (SlotId, Pid)> + '_ {
        self.members
            .iter()
            .filter_map(|member| member.id.zip(member.pid))
    }

    /// An OPEN waits for its descriptor; whether there was room.
    fn wait(&mut self, id: SlotId, version: u32) -> bool {
        if self.waiting.is_full() {
            self.miss_the_forgotten(1); // of a batch that was cut short
            self.waiting.remove(0);
        }
        self.waiting.push((id, version)).is_ok()
    }

    /// Of those who waited before this batch, the ones that are not told again: their changes lie
    /// before its first. Later ones are told next.
    fn miss_the_forgotten(&mut self, told_before: usize) {
        for at in 0..told_before {
            let (id, version) = self.waiting[at];
            let told_again = self.waiting[told_before..]
                .iter()
                .any(|(other, _)| *other == id);
            let member = self.members[id.index().as_usize()];
            let over = self.waiting.get(told_before);
            let over = over.is_none_or(|(_, first)| is_before(version, *first));
            if over && !told_again && member.id == Some(id) && !member.held {
                self.miss(version);
            }
        }
    }

    fn miss(&mut self, version: u32) {
        let earlier = self.missed.is_none_or(|missed| {
            version == EVERYTHING || (missed != EVERYTHING && is_before(version, missed))
        });
        if earlier {
            self.missed = Some(version);
        }
    }

    fn came_whole(&mut self) {
        if self.missed.is_none() {
            self.asked = 0;
        }
    }
}

/// Whether one version lies before another. They are the low halves of numbers that grow, so the
/// nearer way round counts.
const fn is_before(version: u32, other: u32) -> bool {
    (version.wrapping_sub(other) as i32) < 0
}
