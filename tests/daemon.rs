//! Daemons: when the foreground process leaves, with which code, and what is left then. Each is a program
//! of its own: this binary in a role.

#[path = "daemon/failing.rs"]
mod failing;
#[path = "support/foreign.rs"]
mod foreign;
#[path = "daemon/program.rs"]
mod program;
#[path = "daemon/serving.rs"]
mod serving;
mod support;
#[path = "daemon/world.rs"]
mod world;

fn main() {
    program::run_if_asked();
    support::run(support::tests![
        serving::the_foreground_leaves_when_the_port_answers,
        serving::nothing_of_the_terminal_is_left,
        serving::errors_go_where_they_are_to,
        serving::a_daemon_is_upgraded,
        serving::who_has_no_master_says_so_itself,
        failing::a_start_that_fails_says_so,
        failing::a_code_is_passed_on,
        failing::a_killed_daemon_is_noticed,
        failing::a_start_has_a_deadline,
        failing::a_signal_ends_the_start,
        failing::what_fails_before_stays_in_the_foreground,
    ]);
}
