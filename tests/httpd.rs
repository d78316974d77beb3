//! The example `httpd` from end to end: a real server process, asked over TCP, killed and signalled.
#![forbid(unsafe_code)]

#[path = "httpd/client.rs"]
mod client;
#[path = "httpd/drain.rs"]
mod drain;
#[path = "httpd/life.rs"]
mod life;
#[path = "httpd/listeners.rs"]
mod listeners;
#[path = "httpd/load.rs"]
mod load;
#[path = "httpd/mesh.rs"]
mod mesh;
#[path = "httpd/protocol.rs"]
mod protocol;
#[path = "httpd/relay.rs"]
mod relay;
#[path = "httpd/reload.rs"]
mod reload;
#[path = "httpd/server.rs"]
mod server;
#[path = "httpd/settings.rs"]
mod settings;
#[path = "httpd/setup.rs"]
mod setup;
mod support;
#[path = "httpd/upgrade.rs"]
mod upgrade;

fn main() {
    support::run(support::tests![
        load::new_connections_go_round,
        load::a_client_that_does_not_read_holds_up_nobody,
        load::a_full_worker_waits_for_room,
        load::a_worker_without_descriptors_waits_for_one,
        load::a_connection_that_does_nothing_is_closed,
        protocol::keep_alive_and_pipelining,
        protocol::head_is_get_without_the_content,
        protocol::old_clients_are_understood,
        protocol::close_is_honoured,
        protocol::a_request_may_come_byte_by_byte,
        protocol::bodies_are_read_and_dropped,
        protocol::leave_to_send_a_body_is_given,
        protocol::bad_requests_are_refused,
        protocol::heads_and_bodies_have_bounds,
        mesh::the_table_is_what_proc_says,
        mesh::a_text_reaches_the_sibling,
        mesh::what_cannot_be_told_is_said,
        drain::quit_finishes_what_was_begun,
        drain::who_says_nothing_gets_the_grace,
        drain::what_was_sent_together_is_answered_together,
        drain::a_long_row_of_requests_is_answered_to_its_end,
        drain::nothing_is_lost_while_workers_come_and_go,
        settings::the_command_line_wins_over_the_file,
        settings::wrong_lines_of_the_file_are_named,
        settings::the_first_page_says_who_answers,
        settings::every_request_is_logged,
        settings::a_log_that_was_moved_is_opened_anew,
        listeners::a_reload_adds_and_drops_addresses,
        listeners::a_socket_for_each_worker_loses_nobody,
        listeners::a_daemon_serves_when_its_start_returns,
        listeners::one_process_is_worker_and_all,
        setup::workers_drop_to_the_user_that_is_named,
        setup::a_worker_that_cannot_be_set_up_waits_for_a_reload,
        reload::a_reload_puts_new_settings_in_force,
        reload::a_bad_file_changes_nothing,
        reload::workers_that_fail_change_nothing,
        reload::who_is_sent_home_and_called_back_at_once_serves,
        reload::all_logs_are_opened_anew,
        reload::a_master_is_asked_by_its_pid_file,
        upgrade::another_program_takes_over_and_nothing_is_lost,
        upgrade::an_upgrade_that_fails_changes_nothing,
        upgrade::a_successor_has_its_time,
        upgrade::both_serve_where_upgrades_are_manual,
        relay::pid_1_stays_and_the_chain_does_not_grow,
        relay::pid_1_ends_as_its_last_master_does,
        relay::a_relay_stays_where_it_is_asked_for,
        relay::workers_without_a_master_serve_on_where_they_shall,
        life::a_killed_worker_is_replaced_in_no_time,
        life::a_crash_loop_is_delayed,
        life::terminate_ends_at_once,
        life::no_workers_and_terminate,
        life::workers_end_with_their_master,
        life::the_pid_file_lives_as_long_as_the_master,
        life::an_address_that_is_taken_is_waited_for,
        life::bad_arguments_are_named,
    ])
}
