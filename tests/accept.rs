//! Accepting on the real kernel: without descriptors, without room, by each strategy, and at the end.

#[path = "accept/clients.rs"]
mod clients;
#[path = "accept/ending.rs"]
mod ending;
#[path = "accept/mutexed.rs"]
mod mutexed;
#[path = "support/shared.rs"]
mod shared;
#[path = "accept/spread.rs"]
mod spread;
mod support;
#[path = "accept/want.rs"]
mod want;
#[path = "turns/world.rs"]
mod world;

fn main() {
    support::run(support::tests![
        want::no_descriptors_no_spinning,
        want::a_full_worker_leaves_the_rest,
        want::what_cannot_be_accepted_from_is_refused,
        ending::who_waits_at_the_end_is_served,
        ending::datagrams_at_the_end_are_read,
        ending::an_adopted_listener_is_emptied,
        mutexed::one_worker_has_the_mutex,
        mutexed::a_killed_holder_keeps_nothing,
        spread::the_spread,
    ]);
}
