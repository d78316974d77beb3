//! Observers: what they are shown, how it reads, and that nobody waits for them.

#[path = "support/foreign.rs"]
mod foreign;
#[path = "observe/lines.rs"]
mod lines;
#[cfg(feature = "log")]
#[path = "observe/logged.rs"]
mod logged;
#[path = "observe/seen.rs"]
mod seen;
mod support;

fn main() {
    let tests: &[support::Test] = support::tests![
        seen::everything_is_observed,
        seen::a_failure_is_observed_where_it_is,
        lines::the_default_writes_lines,
        lines::a_helper_is_called_one,
        lines::a_line_is_one_line,
        lines::a_full_pipe_stops_nobody,
        lines::a_closed_pipe_ends_nobody,
        lines::every_notice_and_event_has_words,
    ];
    #[cfg(feature = "log")]
    let tests = &[tests, support::tests![logged::a_logger_gets_lines_by_level]].concat();
    support::run(tests);
}
