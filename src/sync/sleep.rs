//! Sleeping on a word until somebody wakes the sleepers: the kernel's futex, or a model of it.
//!
//! ```text
//!   as built          the word, and the kernel's queue for it      sleeps of 100 ms at most
//!   under cfg(loom)   the word, and a queue beside it              who is not woken sleeps for ever
//! ```
//!
//! A real sleeper looks up ten times a second, and so a wake-up that got lost costs time and no
//! more. In a model it costs the run: there an endless sleep has no other end than a wake-up, and a
//! lost one is a deadlock that loom reports. A sleep with a deadline ends in a model after one turn
//! of the others.

#[cfg(loom)]
use super::atomic::Ordering;
use super::atomic::{AtomicU32, SPINS, spin_hint};
use super::kill;

/// How long a sleeper sleeps before it looks whether its owner lives.
#[cfg(not(loom))]
const NAP_MS: u64 = 100;

/// How many sleepers are woken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Waking {
    One,
    All,
}

/// A word to sleep on; all zero is 0 with nobody asleep.
#[derive(Debug, Default)]
#[cfg_attr(not(loom), repr(transparent))]
pub(super) struct SleepWord {
    word: AtomicU32,
    #[cfg(loom)]
    queue: model::Queue,
}

impl SleepWord {
    #[cfg(not(loom))]
    pub(super) const fn new() -> Self {
        Self {
            word: AtomicU32::new(0),
        }
    }

    pub(super) const fn word(&self) -> &AtomicU32 {
        &self.word
    }

    /// Sleeps while the word is `value`, until the deadline at most; may end early for no reason.
    /// Returns whether it was a whole nap, and nobody has ended it.
    fn sleep(&self, value: u32, deadline: &Deadline) -> bool {
        #[cfg(not(loom))]
        return crate::sys::futex::wait(&self.word.0, value, deadline.left_ms().min(NAP_MS));
        #[cfg(loom)]
        self.queue
            .sleep(|| self.word.load(Ordering::Relaxed) == value, deadline)
    }

    /// Wakes sleepers, those first who came first. Cost: one system call.
    pub(super) fn wake(&self, waking: Waking) {
        kill::step();
        let count = match waking {
            Waking::One => 1,
            Waking::All => u32::MAX,
        };
        #[cfg(not(loom))]
        crate::sys::futex::wake(&self.word.0, count);
        #[cfg(loom)]
        self.queue.wake(count);
    }
}

/// When to give up: never, or at a point in time. In a model time passes with each sleep.
#[derive(Debug)]
struct Deadline {
    #[cfg(not(loom))]
    at_ms: u64,
    #[cfg(loom)]
    turns: core::cell::Cell<u64>,
}

#[cfg(not(loom))]
impl Deadline {
    fn after_ms(patience_ms: Option<u64>) -> Self {
        let at_ms = match patience_ms {
            Some(ms) => crate::sys::futex::now_ms().saturating_add(ms),
            None => u64::MAX,
        };
        Self { at_ms }
    }

    fn left_ms(&self) -> u64 {
        match self.at_ms {
            u64::MAX => u64::MAX,
            at_ms => at_ms.saturating_sub(crate::sys::futex::now_ms()),
        }
    }

    fn is_over(&self) -> bool {
        self.left_ms() == 0
    }
}

#[cfg(loom)]
impl Deadline {
    fn after_ms(patience_ms: Option<u64>) -> Self {
        let turns = core::cell::Cell::new(patience_ms.unwrap_or(u64::MAX));
        Self { turns }
    }

    fn is_over(&self) -> bool {
        self.turns.get() == 0
    }

    fn is_endless(&self) -> bool {
        self.turns.get() == u64::MAX
    }

    fn pass(&self) {
        self.turns.set(self.turns.get() - 1);
    }
}

/// For how long one waits, and how the last sleep was.
#[derive(Debug)]
pub(super) struct Waiting {
    patience: Patience,
    deadline: Option<Deadline>,
    spins: u32,
    has_slept: bool,
    is_due: bool,
}

/// For how long a locker waits.
#[derive(Clone, Copy, Debug)]
pub(super) enum Patience {
    None,
    Ms(u64),
    Endless,
}

impl Waiting {
    pub(super) const fn new(patience: Patience) -> Self {
        let spins = match patience {
            Patience::None => 0,
            Patience::Ms(_) | Patience::Endless => SPINS,
        };
        Self {
            patience,
            deadline: None,
            spins,
            has_slept: false,
            is_due: false,
        }
    }

    /// Whether to look once more before anything else; waits for a moment, if so.
    pub(super) fn spins(&mut self) -> bool {
        let spins = self.spins > 0;
        if spins {
            self.spins -= 1;
            spin_hint();
        }
        spins
    }

    /// Whether this one has slept since it began to wait.
    pub(super) const fn has_slept(&self) -> bool {
        self.has_slept
    }

    /// Whether a nap has passed in which nothing happened: time to ask after who is waited for.
    pub(super) fn takes_a_look(&mut self) -> bool {
        core::mem::take(&mut self.is_due)
    }

    /// Whether one waits at all.
    pub(super) const fn is_patient(&self) -> bool {
        !matches!(self.patience, Patience::None)
    }

    /// Whether there is no patience left.
    pub(super) fn is_over(&mut self) -> bool {
        self.deadline().is_over()
    }

    /// Sleeps once, while the word is `value`.
    pub(super) fn sleep(&mut self, word: &SleepWord, value: u32) {
        self.is_due = word.sleep(value, self.deadline());
        self.has_slept = true;
    }

    fn deadline(&mut self) -> &Deadline {
        let patience_ms = match self.patience {
            Patience::None => Some(0),
            Patience::Ms(ms) => Some(ms),
            Patience::Endless => None,
        };
        self.deadline
            .get_or_insert_with(|| Deadline::after_ms(patience_ms))
    }
}

#[cfg(loom)]
mod model {
    use super::Deadline;
    use loom::sync::{Condvar, Mutex};
    use std::collections::VecDeque;
    use std::sync::Arc;

    /// Who sleeps, in the order in which they came; each has a bell of its own, so that a wake-up
    /// is one sleeper's.
    #[derive(Debug, Default)]
    pub(super) struct Queue(Mutex<VecDeque<Arc<Condvar>>>);

    impl Queue {
        /// As in the kernel, looking at the word and lying down are one step for whoever wakes.
        pub(super) fn sleep(&self, still: impl Fn() -> bool, deadline: &Deadline) -> bool {
            let mut sleepers = self.0.lock().expect("nobody dies in here");
            if !still() {
                return false;
            }
            let bell = Arc::new(Condvar::new());
            sleepers.push_back(Arc::clone(&bell));
            if deadline.is_endless() {
                while sleepers.iter().any(|other| Arc::ptr_eq(other, &bell)) {
                    sleepers = bell.wait(sleepers).expect("nobody dies in here");
                }
                return false;
            }
            drop(sleepers);
            loom::thread::yield_now();
            deadline.pass();
            let mut sleepers = self.0.lock().expect("nobody dies in here");
            let asleep = sleepers.len();
            sleepers.retain(|other| !Arc::ptr_eq(other, &bell));
            sleepers.len() < asleep
        }

        pub(super) fn wake(&self, count: u32) {
            let mut sleepers = self.0.lock().expect("nobody dies in here");
            for _ in 0..count {
                match sleepers.pop_front() {
                    Some(bell) => bell.notify_one(),
                    None => return,
                }
            }
        }
    }
}
