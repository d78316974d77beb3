//! A hand-over between real programs: this one executes itself, as the program that takes over.

#[path = "handover/launch.rs"]
mod launch;
#[path = "handover/letters.rs"]
mod letters;
#[path = "handover/links.rs"]
mod links;
#[path = "handover/numbers.rs"]
mod numbers;
#[path = "handover/program.rs"]
mod program;
#[path = "handover/relays.rs"]
mod relays;
mod support;
#[path = "handover/world.rs"]
mod world;

fn main() {
    program::run_if_asked();
    support::run(support::tests![
        launch::a_program_is_executed,
        launch::a_missing_program_is_told,
        launch::a_file_that_is_no_program_is_told,
        launch::last_words_are_heard,
        launch::too_many_arguments_are_told,
        launch::an_offer_without_a_program_is_an_error,
        launch::sixty_four_descriptors_arrive,
        launch::a_group_arrives_in_its_order,
        launch::what_is_not_taken_is_closed,
        launch::a_launch_leaks_nothing,
        launch::one_variable_says_where,
        launch::signals_stay_blocked_through_the_exec,
        launch::both_sides_hear_each_other,
        launch::what_makes_no_sense_is_counted,
        launch::a_successor_outlives_its_predecessor,
        launch::without_standard_descriptors,
        launch::what_cannot_be_offered,
        numbers::a_number_that_is_no_hand_over_is_left_alone,
        numbers::a_socket_with_garbage_is_an_error,
        numbers::another_version_is_an_error,
        numbers::a_stranger_is_no_predecessor,
        numbers::a_predecessor_that_stops_half_way,
        numbers::a_group_that_is_not_what_was_announced,
        numbers::a_hand_over_is_received_once,
        numbers::a_predecessors_last_words_are_heard,
        numbers::too_few_descriptors_are_an_error,
        relays::a_chain_of_upgrades_does_not_grow,
        relays::a_relay_passes_signals_on,
        relays::a_relay_ends_as_its_master_does,
        relays::a_relay_tells_what_came_of_a_launch,
        relays::pid_1_relays_and_reaps,
        letters::letters_survive_the_wire,
        letters::golden_letters,
        letters::no_bytes_are_a_panic,
        letters::every_letter_has_one_length,
    ]);
}
