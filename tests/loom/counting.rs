//! Models of counters: what a reader may see, and what is left of one who is killed.
//!
//! The reader has the thread that is spawned. loom begins with the other one, and remembers of each
//! word who had it last: a writer that loads what it then stores would hide from loom that somebody
//! had read the word before, and the orders that follow from it would not be tried. Beginning with the
//! writer, it is the reader that finds a store to come before.

use forkmesh::sync::counters::{Counters, Line, Snapshot, Stub};
use forkmesh::sync::kill;
use forkmesh::table::SlotIndex;
use loom::sync::Arc;

use crate::world::{check, spawn, sweep};

struct Lines([Line; 1]);

const ONLY: SlotIndex = match SlotIndex::new(0) {
    Some(index) => index,
    None => unreachable!(),
};

impl Lines {
    fn new() -> Arc<Self> {
        Arc::new(Self([Line::new()]))
    }

    fn counters(&self) -> Counters<'_, Stub> {
        Counters::new(&self.0)
    }

    fn snapshot(&self) -> Snapshot<Stub> {
        self.counters().snapshot()
    }

    /// Counts an accepted connection, then a handled one that is active, then its request.
    fn serve(&self) {
        let own = self.counters().own(ONLY).unwrap();
        own.add(Stub::Accepted, 1);
        own.update(|group| {
            group.add(Stub::Handled, 1);
            group.add(Stub::Active, 1);
        });
        own.add(Stub::Requests, 1);
    }
}

pub(crate) fn a_snapshot_has_all_of_an_update_or_nothing(name: &str) {
    check(name, 2300, || {
        let lines = Lines::new();
        let reader = spawn(&lines, |lines| {
            let seen = lines.snapshot();
            if seen.is_consistent() {
                assert_eq!(seen.of(Stub::Handled), seen.of(Stub::Active));
            }
        });
        let own = lines.counters().own(ONLY).unwrap();
        for _ in 0..2 {
            own.update(|group| {
                group.add(Stub::Handled, 1);
                group.add(Stub::Active, 1);
            });
        }
        reader.join().unwrap();
        let seen = lines.snapshot();
        assert!(seen.is_consistent());
        assert_eq!(
            [Stub::Handled, Stub::Active].map(|which| seen.of(which)),
            [2; 2]
        );
    });
}

pub(crate) fn what_is_counted_later_is_not_seen_earlier(name: &str) {
    check(name, 45, || {
        let lines = Lines::new();
        let reader = spawn(&lines, |lines| {
            let seen = lines.snapshot();
            assert!(seen.of(Stub::Requests) <= seen.of(Stub::Accepted));
        });
        let own = lines.counters().own(ONLY).unwrap();
        for _ in 0..2 {
            own.add(Stub::Accepted, 1);
            own.add(Stub::Requests, 1);
        }
        reader.join().unwrap();
    });
}

/// Each event is one store: what was counted before the kill is counted, once, and the next life goes
/// on from there.
pub(crate) fn a_counter_killed_at_every_step(name: &str) {
    sweep(name, 6, 15_000, |k| {
        let lines = Lines::new();
        let reader = spawn(&lines, |lines| {
            let seen = lines.snapshot();
            assert!(seen.of(Stub::Handled) <= seen.of(Stub::Accepted));
            assert!(!seen.is_consistent() || seen.of(Stub::Active) <= seen.of(Stub::Handled));
        });
        let killed = kill::at(k, || lines.serve()).is_none();
        lines.counters().recover(ONLY);
        reader.join().unwrap();
        let seen = lines.snapshot();
        assert!(seen.is_consistent(), "an update is over");
        let counted = [Stub::Accepted, Stub::Handled, Stub::Requests, Stub::Active];
        // In turn: accepted, odd, handled, active, even, requests.
        let expected = [k > 0, k > 2, k > 5, false].map(u64::from);
        assert_eq!(counted.map(|which| seen.of(which)), expected);
        lines.serve();
        let seen = lines.snapshot();
        assert!(seen.is_consistent());
        let expected = [expected[0] + 1, expected[1] + 1, expected[2] + 1, 1];
        assert_eq!(counted.map(|which| seen.of(which)), expected);
        killed
    });
}

/// The master dies while it recovers one who died within an update, and the next one goes on.
pub(crate) fn recovering_counters_killed_at_every_step(name: &str) {
    sweep(name, 6, 5000, |k| {
        let lines = Lines::new();
        assert!(kill::at(4, || lines.serve()).is_none());
        assert!(
            !lines.snapshot().is_consistent(),
            "it died within an update"
        );
        let reader = spawn(&lines, |lines| {
            let seen = lines.snapshot();
            assert_eq!(
                [Stub::Accepted, Stub::Handled].map(|which| seen.of(which)),
                [1; 2]
            );
            assert!(!seen.is_consistent() || seen.of(Stub::Active) == 0);
        });
        let killed = kill::at(k, || lines.counters().recover(ONLY)).is_none();
        lines.counters().recover(ONLY);
        reader.join().unwrap();
        let seen = lines.snapshot();
        assert!(seen.is_consistent());
        assert_eq!(seen.of(Stub::Active), 0);
        assert_eq!(
            [Stub::Accepted, Stub::Handled].map(|which| seen.of(which)),
            [1; 2]
        );
        killed
    });
}
