//! Every order in which threads can meet at the words of `sync`, and every instant at which one of
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
#[path = "loom/world.rs"]
mod world;

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
    ]);
}
