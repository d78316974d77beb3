//! The pid file, and who is found by it: races, dead owners, full disks, and the status of a master
//! that hangs.

#[path = "instance/asking.rs"]
mod asking;
#[path = "instance/board.rs"]
mod board;
#[path = "instance/faults.rs"]
mod faults;
#[path = "instance/moves.rs"]
mod moves;
#[path = "instance/owners.rs"]
mod owners;
mod support;
#[path = "instance/world.rs"]
mod world;

fn main() {
    support::run(support::tests![
        owners::one_of_two_wins,
        owners::one_of_two_wins_over_a_stale_file,
        owners::never_two_at_once,
        owners::a_dead_masters_file_is_taken_over,
        owners::an_orphan_does_not_keep_the_lock,
        owners::the_own_file_is_not_opened_again,
        owners::only_the_own_file_is_removed,
        owners::a_child_does_not_remove_it,
        owners::a_lost_lock_is_taken_again,
        owners::a_file_can_be_given_up,
        faults::an_unwritable_folder,
        faults::a_full_disk,
        faults::a_file_that_may_not_grow,
        faults::no_descriptor_left,
        faults::what_is_no_file,
        moves::a_file_steps_aside_and_comes_back,
        moves::a_file_does_not_come_back_while_the_successor_lives,
        moves::a_living_predecessors_file_is_not_overwritten,
        moves::a_file_is_removed_under_the_name_that_it_has,
        moves::a_lost_file_does_not_move,
        moves::a_file_that_cannot_move_keeps_its_name,
        asking::a_stale_file_finds_nobody,
        asking::only_its_own_master_is_found,
        asking::nobody_finds_himself,
        asking::what_is_asked_arrives,
        asking::the_outcome_of_a_reload,
        asking::the_outcome_of_an_upgrade,
        asking::a_wait_ends_in_time,
        board::the_status_of_a_stopped_process,
        board::a_board_outlives_its_master,
        board::a_process_without_a_board,
        board::anothers_board_is_refused,
        board::a_board_cannot_change_its_size,
        board::every_write_has_a_number_of_its_own,
        board::no_torn_record_is_ever_read,
    ])
}
