//! Masters and workers as real processes: who holds what, who hears what, and how they end.

#[path = "../support/mod.rs"]
mod support;

mod fault;
mod heir;
mod helpers;
mod hostile;
mod life;
mod mesh;
mod orphans;
mod refusal;
mod reload;
mod upgrade;
mod world;

fn main() {
    heir::run_if_asked();
    support::run(support::tests![
        mesh::every_process_holds_what_the_design_allows,
        mesh::everybody_reaches_everybody,
        mesh::a_stopped_worker_catches_up,
        mesh::a_stopped_worker_does_not_starve_the_others,
        mesh::a_worker_without_room_asks_again_and_converges,
        mesh::a_worker_without_room_misses_many_and_converges,
        mesh::without_a_mesh_there_is_one_pair_a_worker,
        hostile::a_broken_mesh_pair_is_replaced,
        hostile::orders_over_the_mesh_are_refused,
        hostile::what_a_worker_says_wrong_is_counted,
        hostile::a_worker_that_closes_its_end_costs_nothing,
        hostile::a_chatty_sibling_does_not_drown_out_the_master,
        hostile::a_chatty_sibling_does_not_stop_other_work,
        hostile::a_chatty_worker_does_not_drown_out_the_others,
        hostile::a_worker_that_is_ever_broken_does_not_starve_the_others,
        hostile::an_end_behind_a_message_is_noticed,
        hostile::a_lingering_socket_does_not_hold_up_the_master,
        hostile::litter_is_not_inherited,
        life::a_worker_can_have_a_loop_of_its_own,
        life::a_crash_loop_is_slowed_and_parked,
        life::a_worker_that_was_ready_is_replaced_at_once,
        life::another_process_can_run_the_master,
        life::a_second_start_does_nothing,
        life::the_phase_is_told_once,
        life::exit_code_2_is_for_ever,
        life::a_panicking_worker_ends_as_a_worker,
        life::a_worker_that_returns_does_not_return_to_the_master,
        life::a_thread_makes_spawning_fail,
        life::started_with_signals_ignored,
        life::signals_end_it,
        life::a_stuck_worker_is_killed_on_schedule,
        life::no_workers_and_terminate,
        life::workers_notice_the_masters_death,
        life::an_orphan_that_drains_sleeps,
        life::too_few_descriptors_are_an_error,
        helpers::a_manager_runs_at_its_interval,
        helpers::helpers_are_restarted_as_their_policies_say,
        helpers::helpers_are_told_to_go,
        helpers::a_program_is_ended_and_started_again,
        helpers::a_program_inherits_nothing,
        helpers::a_program_costs_the_master_nothing,
        helpers::an_order_amid_an_exec_is_given_again,
        helpers::who_is_told_to_go_becomes_no_program,
        helpers::a_program_that_cannot_be_executed_is_given_up,
        helpers::a_program_ends_with_its_master,
        helpers::a_helper_that_fails_never_fails_a_reload,
        helpers::a_reload_that_is_deferred_is_asked_again,
        reload::a_reload_replaces_everybody,
        reload::a_reload_that_fails_changes_nothing,
        reload::a_reload_revives_the_parked,
        reload::epochs_that_drain_are_bounded,
        reload::what_is_asked_for_is_done,
        reload::what_is_asked_for_together_is_all_done,
        reload::a_stopped_master_is_seen_and_hears_all_of_it_later,
        reload::a_terminal_asks_for_nothing,
        orphans::orphans_serve_on_or_drain,
        orphans::a_child_that_is_stopped_at_its_fork_hides_no_death,
        orphans::a_master_reaps_orphans_and_knows_its_own,
        upgrade::an_upgrade_takes_over,
        upgrade::a_failed_upgrade_changes_nothing,
        upgrade::a_successor_that_hangs_is_killed,
        upgrade::an_upgrade_waits_for_the_predecessors_end,
        upgrade::a_relays_death_is_not_its_childs,
        upgrade::a_relayed_upgrade_waits_for_the_predecessors_process,
        fault::a_refused_spawn_is_tried_again,
        fault::a_refused_spawn_ends_a_reload,
        fault::a_reload_without_descriptors,
        fault::an_upgrade_without_descriptors,
        fault::forks_are_refused,
        fault::an_upgrade_that_is_refused,
        fault::a_program_that_cannot_be_executed,
        fault::a_pid_file_that_cannot_be_moved,
        fault::a_master_that_cannot_start,
        fault::a_master_without_a_board,
        fault::refused_announcements_are_made_again,
        fault::a_refused_upgrade_can_be_asked_for_again,
        fault::whoever_comes_after_a_refused_spawn_is_reached,
    ]);
}
