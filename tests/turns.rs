//! The worker's loop: timers against a model, the order of a turn, fairness, draining, and what it
//! costs to have nothing to do.

use core::alloc::{GlobalAlloc, Layout};
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::alloc::System;

#[path = "turns/life.rs"]
mod life;
#[path = "turns/model.rs"]
mod model;
#[path = "turns/order.rs"]
mod order;
mod support;
#[path = "turns/world.rs"]
mod world;

/// Counts what is asked of the allocator.
struct Counting;

pub(crate) static ASKED: AtomicU64 = AtomicU64::new(0);

// SAFETY: all is done by the system's allocator; counting touches no memory of its.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ASKED.fetch_add(1, Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn main() {
    support::run(support::tests![
        model::timers_agree_with_a_model,
        model::equal_deadlines_come_in_order,
        model::a_stale_name_reaches_nothing,
        model::posted_events_have_fixed_room,
        model::a_load_counts_what_lives,
        order::a_turn_has_an_order,
        order::nobody_starves_the_rest,
        order::a_timer_is_not_early,
        life::connections_decide_and_not_timers,
        life::a_deadline_ends_a_drain,
        life::a_worker_that_is_told_to_end_ends,
        life::a_loop_allocates_nothing,
        life::idle_processes_sleep,
    ]);
}
