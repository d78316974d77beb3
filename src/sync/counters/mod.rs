//! Counters: one line a slot, written by its process alone with plain stores, and added up by whoever
//! asks.
//!
//! ```text
//!   a line (64 bytes)   ┌──────────┬──────────┬─────────┬──────────┬────────┬─────────┬─────────┬─────────┐
//!   of slot i           │ sequence │ accepted │ handled │ requests │ active │ reading │ writing │ waiting │
//!                       └──────────┴──────────┴─────────┴──────────┴────────┴─────────┴─────────┴─────────┘
//!                         odd while  └─── monotonic: never reset ──┘ └─── gauges: 0 once the slot is dead ┘
//!                         a group
//!                         is written
//!   add      one store of one value                    a kill comes before it or after it
//!   update   odd ─► stores ─► even                     a snapshot has all of them or none
//!   recover  odd ─► gauges to 0 ─► even                again, if it was itself killed
//! ```
//!
//! # Invariants
//!
//! - What was counted is counted once: each event is one store, monotonic values stay in their line when
//!   its process dies, and the slot's next life goes on from them. Nothing is carried over to another
//!   place, and so nothing can be carried twice (models `a_counter_killed_at_every_step`,
//!   `recovering_counters_killed_at_every_step`, test `the_sums_are_those_of_a_model`).
//! - A snapshot that is [`Snapshot::is_consistent`] has of each line a state that was there between two
//!   updates (model `a_snapshot_has_all_of_an_update_or_nothing`).
//! - Of single additions, those later in the list are never seen without the earlier ones that came
//!   before them: there is no request without its connection (model
//!   `what_is_counted_later_is_not_seen_earlier`).
//! - A reader looks at a line [`MOST_LOOKS`] times at most, whatever its writer does, and a writer never
//!   waits (test `a_dead_writers_line_is_read`).
//!
//! # Cost
//!
//! An addition is a load and a store in a line that no other process writes: a fraction of a nanosecond,
//! and no locked operation. A group costs three stores more. A snapshot reads a line a slot. The line of
//! a slot is 64 bytes, so all 1024 slots take 64 KiB.
//!
//! # Why not one shared counter
//!
//! Each addition of each process would be a locked operation on a line that wanders between processors.
//!
//! # Why not two buffers and a version
//!
//! They would make a group survive a kill as a whole, at the price of a copy of the line for each
//! addition. Here a process that dies within a group has counted the first part of it. That is what has
//! happened: it accepted a connection, and did not come to handling it.
//!
//! # Example
//!
//! ```
//! use forkmesh::sync::counters::{Counters, Line, Snapshot, Stub};
//! use forkmesh::table::SlotIndex;
//!
//! let lines = [const { Line::new() }; 8]; // in shared memory, one a slot
//! let counters = Counters::<Stub>::new(&lines);
//!
//! let worker = counters.own(SlotIndex::new(3).unwrap()).unwrap();
//! worker.add(Stub::Accepted, 1);
//! worker.update(|group| {
//!     group.add(Stub::Handled, 1);
//!     group.add(Stub::Active, 1);
//!     group.add(Stub::Reading, 1);
//! });
//!
//! let snapshot: Snapshot<Stub> = counters.snapshot();
//! assert_eq!(snapshot.of(Stub::Handled), 1);
//! assert_eq!(
//!     snapshot.status().to_string(),
//!     "Active connections: 1 \n\
//!      server accepts handled requests\n \
//!      1 1 0 \n\
//!      Reading: 1 Writing: 0 Waiting: 0 \n"
//! );
//!
//! counters.recover(SlotIndex::new(3).unwrap()); // once its process has been reaped
//! assert_eq!(counters.snapshot().of(Stub::Active), 0);
//! assert_eq!(counters.snapshot().of(Stub::Accepted), 1);
//! ```

mod line;
mod stub;

use core::fmt;
use core::marker::PhantomData;

pub use line::{Line, MOST_LOOKS};
pub use stub::{Stub, StubStatus};

use crate::table::SlotIndex;

/// How many values a line has room for, beside its sequence.
pub const VALUES: usize = 7;

/// The names of a line's values: an enum of [`VALUES`] variants at most, the monotonic ones first, and
/// those that are counted earlier before those that are counted later.
pub trait Set: Copy {
    /// How many of the first values only ever grow; the others are gauges.
    const MONOTONIC: usize;

    /// Which value this is: less than [`VALUES`].
    fn place(self) -> usize;
}

/// The lines of all slots.
pub struct Counters<'m, S> {
    lines: &'m [Line],
    set: PhantomData<S>,
}

/// The line of one's own slot: of one process, and there of one thread.
pub struct Counting<'m, S> {
    line: &'m Line,
    set: PhantomData<S>,
    _one_thread: PhantomData<*const ()>,
}

/// Within an update.
#[derive(Debug)]
pub struct Group<'l, S> {
    line: &'l Line,
    set: PhantomData<S>,
}

/// The sums over all slots.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Snapshot<S> {
    values: [u64; VALUES],
    torn: u32,
    set: PhantomData<S>,
}

impl<'m, S: Set> Counters<'m, S> {
    /// Counts in these lines, the first of which is slot 0's.
    #[must_use]
    pub const fn new(lines: &'m [Line]) -> Self {
        const { assert!(S::MONOTONIC <= VALUES, "there are no more values") };
        Self {
            lines,
            set: PhantomData,
        }
    }

    /// The line of a slot, for its process: two that write one line lose some of what they count. If the
    /// slot's last life was not recovered, that is done first. `None` where there are fewer lines.
    #[must_use]
    pub fn own(&self, index: SlotIndex) -> Option<Counting<'m, S>> {
        let line = self.lines.get(index.as_usize())?;
        line.recover(S::MONOTONIC);
        Some(Counting {
            line,
            set: PhantomData,
            _one_thread: PhantomData,
        })
    }

    /// Sets the gauges of a slot to zero, and ends an update that its process did not; monotonic values
    /// stay. For the one who has reaped the process, before its slot is used again; a second call, or one
    /// that follows a call that was itself killed, does what is left to do.
    pub fn recover(&self, dead: SlotIndex) {
        if let Some(line) = self.lines.get(dead.as_usize()) {
            line.recover(S::MONOTONIC);
        }
    }

    /// Adds up all lines. Each line is consistent in itself; they are read one after the other. No system
    /// call; nobody waits.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot<S> {
        let mut values = [0_u64; VALUES];
        let mut torn = 0;
        for line in self.lines {
            let (seen, is_whole) = line.read();
            for (sum, value) in values.iter_mut().zip(seen) {
                *sum = sum.wrapping_add(value);
            }
            torn += u32::from(!is_whole);
        }
        Snapshot {
            values,
            torn,
            set: PhantomData,
        }
    }
}

impl<S: Set> Counting<'_, S> {
    /// Adds to one value.
    #[inline]
    pub fn add(&self, which: S, count: u64) {
        self.line.add(which.place(), count);
    }

    /// Takes from one value, a gauge.
    #[inline]
    pub fn subtract(&self, which: S, count: u64) {
        debug_assert!(which.place() >= S::MONOTONIC, "what only grows");
        self.line.add(which.place(), count.wrapping_neg());
    }

    /// Changes several values, which a snapshot sees all changed or none. If this process is killed
    /// amid it, what was changed stays changed.
    #[inline]
    pub fn update<T>(&self, change: impl FnOnce(&mut Group<'_, S>) -> T) -> T {
        self.line.begin();
        let mut group = Group {
            line: self.line,
            set: PhantomData,
        };
        let result = change(&mut group);
        self.line.end();
        result
    }
}

impl<S: Set> Group<'_, S> {
    /// Adds to one value.
    #[inline]
    pub fn add(&mut self, which: S, count: u64) {
        self.line.add(which.place(), count);
    }

    /// Takes from one value, a gauge.
    #[inline]
    pub fn subtract(&mut self, which: S, count: u64) {
        debug_assert!(which.place() >= S::MONOTONIC, "what only grows");
        self.line.add(which.place(), count.wrapping_neg());
    }
}

impl<S: Set> Snapshot<S> {
    /// One of the sums.
    #[must_use]
    pub fn of(&self, which: S) -> u64 {
        self.values[which.place()]
    }

    /// Whether every line was read between two updates. If not, the writer of some line was in an update
    /// at each of [`MOST_LOOKS`] looks, as one is that was killed there and not recovered yet; then each
    /// value is right for itself.
    #[must_use]
    pub const fn is_consistent(&self) -> bool {
        self.torn == 0
    }
}

impl<S> Clone for Counters<'_, S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S> Copy for Counters<'_, S> {}

impl<S> fmt::Debug for Counters<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.lines).finish()
    }
}

impl<S> fmt::Debug for Counting<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Counting").field(self.line).finish()
    }
}
