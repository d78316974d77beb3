//! Every order in which threads can meet at the words of `sync` and of `slab`, and every instant at which one of
//! them can be killed.
//!
//! ```text
//!   RUSTFLAGS="--cfg loom" cargo test --release --test loom [name]
//!   LOOM_MAX_PREEMPTIONS=3   looks deeper: preemptions in one execution, 2 unless said otherwise
//! ```
//!
//! Built without `--cfg loom` it has no models. Who runs it wants the last line, which says how many
//! models there were; each model fails that had fewer executions than it is known to have.

#[cfg(loom)]
#[path = "loom/counting.rs"]
mod counting;
#[cfg(loom)]
#[path = "loom/dying.rs"]
mod dying;
#[cfg(loom)]
#[path = "loom/locking.rs"]
mod locking;
#[cfg(loom)]
#[path = "loom/losing.rs"]
mod losing;
#[cfg(loom)]
#[path = "loom/memory.rs"]
mod memory;
#[cfg(loom)]
#[path = "loom/reading.rs"]
mod reading;
#[cfg(loom)]
#[path = "loom/sharing.rs"]
mod sharing;
#[cfg(loom)]
#[path = "loom/world.rs"]
mod world;
#[cfg(loom)]
#[path = "slab/zone.rs"]
mod zone;

#[cfg(not(loom))]
fn main() {
    eprintln!("loom: 0 models, for want of --cfg loom");
}

#[cfg(loom)]
fn main() {
    world::run(&[
        ("mutex::two_threads_twice", locking::two_threads_twice),
        ("mutex::three_threads", locking::three_threads),
        (
            "mutex::trying_takes_or_leaves",
            locking::trying_takes_or_leaves,
        ),
        (
            "mutex::giving_up_passes_the_wake_on",
            locking::giving_up_passes_the_wake_on,
        ),
        ("mutex::killed_at_every_step", dying::killed_at_every_step),
        (
            "mutex::unrepaired_is_poisoned",
            dying::unrepaired_is_poisoned,
        ),
        (
            "mutex::recovery_is_killed_at_every_step",
            dying::recovery_is_killed_at_every_step,
        ),
        ("mutex::two_recover_at_once", dying::two_recover_at_once),
        ("mutex::without_a_master", dying::without_a_master),
        ("mutex::a_slot_is_used_again", dying::a_slot_is_used_again),
        (
            "mutex::a_repairer_is_killed_at_every_step",
            dying::a_repairer_is_killed_at_every_step,
        ),
        (
            "mutex::keeping_an_entry_killed_at_every_step",
            dying::keeping_an_entry_killed_at_every_step,
        ),
        (
            "mutex::waiters_ask_for_themselves",
            dying::waiters_ask_for_themselves,
        ),
        (
            "rwlock::readers_and_a_writer",
            reading::readers_and_a_writer,
        ),
        (
            "rwlock::two_writers_and_a_reader",
            reading::two_writers_and_a_reader,
        ),
        (
            "rwlock::readers_wait_for_a_place",
            reading::readers_wait_for_a_place,
        ),
        (
            "rwlock::a_writer_is_not_starved",
            reading::a_writer_is_not_starved,
        ),
        ("rwlock::giving_up_to_write", reading::giving_up_to_write),
        (
            "rwlock::a_reader_killed_at_every_step",
            reading::a_reader_killed_at_every_step,
        ),
        (
            "rwlock::a_writer_killed_at_every_step",
            reading::a_writer_killed_at_every_step,
        ),
        (
            "rwlock::a_writer_killed_beside_two",
            reading::a_writer_killed_beside_two,
        ),
        (
            "rwlock::a_repairer_waits_for_readers",
            reading::a_repairer_waits_for_readers,
        ),
        (
            "rwlock::a_dead_reader_is_asked_after",
            reading::a_dead_reader_is_asked_after,
        ),
        (
            "rwlock::a_dead_writer_is_asked_after",
            reading::a_dead_writer_is_asked_after,
        ),
        (
            "rwlock::turning_out_killed_at_every_step",
            reading::turning_out_killed_at_every_step,
        ),
        (
            "rwlock::a_place_is_used_again",
            reading::a_place_is_used_again,
        ),
        (
            "counters::a_snapshot_has_all_of_an_update_or_nothing",
            counting::a_snapshot_has_all_of_an_update_or_nothing,
        ),
        (
            "counters::what_is_counted_later_is_not_seen_earlier",
            counting::what_is_counted_later_is_not_seen_earlier,
        ),
        (
            "counters::a_counter_killed_at_every_step",
            counting::a_counter_killed_at_every_step,
        ),
        (
            "counters::recovering_counters_killed_at_every_step",
            counting::recovering_counters_killed_at_every_step,
        ),
        ("slab::two_allocate", sharing::two_allocate),
        ("slab::two_cut", sharing::two_cut),
        ("slab::three_allocate", sharing::three_allocate),
        ("slab::two_with_magazines", sharing::two_with_magazines),
        (
            "slab::retiring_beside_an_allocation",
            sharing::retiring_beside_an_allocation,
        ),
        (
            "slab::a_page_changes_its_class_at_every_step",
            sharing::a_page_changes_its_class_at_every_step,
        ),
        ("slab::free_hints_are_exact", sharing::free_hints_are_exact),
        ("slab::part_hints_are_exact", sharing::part_hints_are_exact),
        ("slab::runs_overlap", sharing::runs_overlap),
        (
            "slab::a_claim_has_one_winner",
            sharing::a_claim_has_one_winner,
        ),
        (
            "slab::a_claimed_block_is_used_again",
            sharing::a_claimed_block_is_used_again,
        ),
        (
            "slab::an_offer_has_one_winner",
            sharing::an_offer_has_one_winner,
        ),
        (
            "slab::reading_beside_a_claim",
            sharing::reading_beside_a_claim,
        ),
        (
            "slab::allocating_killed_at_every_step",
            losing::allocating_killed_at_every_step,
        ),
        (
            "slab::cutting_killed_at_every_step",
            losing::cutting_killed_at_every_step,
        ),
        (
            "slab::retiring_killed_at_every_step",
            losing::retiring_killed_at_every_step,
        ),
        (
            "slab::a_late_grab_killed_at_every_step",
            losing::a_late_grab_killed_at_every_step,
        ),
        (
            "slab::a_run_killed_at_every_step",
            losing::a_run_killed_at_every_step,
        ),
        (
            "slab::publishing_killed_at_every_step",
            losing::publishing_killed_at_every_step,
        ),
        (
            "slab::offering_killed_at_every_step",
            losing::offering_killed_at_every_step,
        ),
        (
            "slab::linking_killed_at_every_step",
            losing::linking_killed_at_every_step,
        ),
        (
            "slab::replacing_killed_at_every_step",
            losing::replacing_killed_at_every_step,
        ),
        (
            "slab::recovering_killed_at_every_step",
            losing::recovering_killed_at_every_step,
        ),
        (
            "slab::recovering_a_run_killed_at_every_step",
            losing::recovering_a_run_killed_at_every_step,
        ),
    ]);
}
