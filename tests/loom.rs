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
        ("two_threads_twice", locking::two_threads_twice),
        ("three_threads", locking::three_threads),
        ("trying_takes_or_leaves", locking::trying_takes_or_leaves),
        (
            "giving_up_passes_the_wake_on",
            locking::giving_up_passes_the_wake_on,
        ),
        ("killed_at_every_step", dying::killed_at_every_step),
        ("unrepaired_is_poisoned", dying::unrepaired_is_poisoned),
        (
            "recovery_is_killed_at_every_step",
            dying::recovery_is_killed_at_every_step,
        ),
        ("two_recover_at_once", dying::two_recover_at_once),
        ("without_a_master", dying::without_a_master),
        ("a_slot_is_used_again", dying::a_slot_is_used_again),
        (
            "a_repairer_is_killed_at_every_step",
            dying::a_repairer_is_killed_at_every_step,
        ),
        ("two_allocate", sharing::two_allocate),
        ("two_cut", sharing::two_cut),
        ("three_allocate", sharing::three_allocate),
        ("two_with_magazines", sharing::two_with_magazines),
        (
            "retiring_beside_an_allocation",
            sharing::retiring_beside_an_allocation,
        ),
        (
            "a_page_changes_its_class_at_every_step",
            sharing::a_page_changes_its_class_at_every_step,
        ),
        ("free_hints_are_exact", sharing::free_hints_are_exact),
        ("part_hints_are_exact", sharing::part_hints_are_exact),
        ("runs_overlap", sharing::runs_overlap),
        ("a_claim_has_one_winner", sharing::a_claim_has_one_winner),
        (
            "a_claimed_block_is_used_again",
            sharing::a_claimed_block_is_used_again,
        ),
        ("an_offer_has_one_winner", sharing::an_offer_has_one_winner),
        ("reading_beside_a_claim", sharing::reading_beside_a_claim),
        (
            "allocating_killed_at_every_step",
            losing::allocating_killed_at_every_step,
        ),
        (
            "cutting_killed_at_every_step",
            losing::cutting_killed_at_every_step,
        ),
        (
            "retiring_killed_at_every_step",
            losing::retiring_killed_at_every_step,
        ),
        (
            "a_late_grab_killed_at_every_step",
            losing::a_late_grab_killed_at_every_step,
        ),
        (
            "a_run_killed_at_every_step",
            losing::a_run_killed_at_every_step,
        ),
        (
            "publishing_killed_at_every_step",
            losing::publishing_killed_at_every_step,
        ),
        (
            "offering_killed_at_every_step",
            losing::offering_killed_at_every_step,
        ),
        (
            "linking_killed_at_every_step",
            losing::linking_killed_at_every_step,
        ),
        (
            "recovering_killed_at_every_step",
            losing::recovering_killed_at_every_step,
        ),
        (
            "recovering_a_run_killed_at_every_step",
            losing::recovering_a_run_killed_at_every_step,
        ),
    ]);
}
