//! Death in a model: a thread that ends before its k-th store, as a process does that is killed.
//!
//! ```text
//!   at(2, work):   store · store · ✗          the rest of `work` does not happen: no store, no wake,
//!                  0       1       2          and the guards that unwinding drops unlock nothing
//! ```
//!
//! A model sweeps k from 0 until the work comes to its end; then every instant has been tried at
//! which another process could tell the difference.

use core::cell::Cell;
use core::panic::AssertUnwindSafe;
use std::boxed::Box;
use std::panic::{catch_unwind, resume_unwind};

loom::thread_local! {
    static LEFT: Cell<Option<u32>> = Cell::new(None);
    static DEAD: Cell<bool> = Cell::new(false);
}

struct Killed;

/// Runs `work` in this thread of a model and kills it before its step number `k`, the first being 0;
/// `None` if it was killed, and its result if it did not have so many steps.
///
/// Every mutating atomic operation is a step, and so is waking sleepers.
pub fn at<T>(k: u32, work: impl FnOnce() -> T) -> Option<T> {
    LEFT.with(|left| left.set(Some(k)));
    let result = catch_unwind(AssertUnwindSafe(work));
    LEFT.with(|left| left.set(None));
    DEAD.with(|dead| dead.set(false));
    match result {
        Ok(result) => Some(result),
        Err(killed) if killed.is::<Killed>() => None,
        Err(panic) => resume_unwind(panic),
    }
}

pub(super) fn step() {
    match LEFT.with(Cell::get) {
        Some(0) if !is_dead() => {
            DEAD.with(|dead| dead.set(true));
            resume_unwind(Box::new(Killed));
        }
        Some(0) | None => {}
        Some(left) => LEFT.with(|steps| steps.set(Some(left - 1))),
    }
}

/// Whether this thread has been killed and is only unwinding: then it must not touch anything.
pub(super) fn is_dead() -> bool {
    DEAD.with(Cell::get)
}
