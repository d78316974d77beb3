//! The worker's loop: timers against a model, the order of a turn, fairness, draining, and what it
//! costs to have nothing to do.

#[path = "support/allocations.rs"]
mod allocations;
#[path = "turns/life.rs"]
mod life;
#[path = "turns/model.rs"]
mod model;
#[path = "turns/order.rs"]
mod order;
mod support;
#[path = "turns/world.rs"]
mod world;

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
