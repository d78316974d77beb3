//! Listeners on the real kernel: what it says of their options, how lists change, whose files and
//! sockets they are, and real masters whose workers come and go under load.
//!
//! `FORKMESH_TEST_RELOADS=100` makes the test under load as long as that.

#[path = "listen/change.rs"]
mod change;
#[path = "listen/files.rs"]
mod files;
#[path = "listen/flow.rs"]
mod flow;
#[path = "listen/inherited.rs"]
mod inherited;
#[path = "listen/load.rs"]
mod load;
#[path = "listen/options.rs"]
mod options;
mod support;
#[path = "listen/tools.rs"]
mod tools;
#[path = "listen/world.rs"]
mod world;

fn main() {
    inherited::run_if_asked();
    support::run(support::tests![
        options::every_option_is_the_kernels,
        options::what_cannot_be_asked_for,
        options::addresses_as_text,
        change::a_reload_keeps_adds_and_drops,
        change::a_reload_changes_options_in_place,
        change::a_failed_preparation_changes_nothing,
        change::a_preparation_without_descriptors,
        change::rolling_back_leaves_what_was,
        change::an_address_in_use_and_again,
        change::a_group_is_alone_at_its_address,
        change::a_group_grows_and_stays,
        files::a_stale_file_is_replaced,
        files::a_live_socket_is_in_use,
        files::a_file_that_is_no_socket_is_left_alone,
        files::whoever_is_last_removes_the_file,
        files::another_ones_file_is_not_removed,
        inherited::a_successor_takes_the_same_sockets,
        inherited::odd_descriptors_are_refused,
        inherited::what_is_not_asked_for_is_closed,
        flow::a_flow_stays_with_its_worker,
        flow::a_worker_holds_its_own,
        flow::an_adoption_is_the_masters_alone,
        load::closing_at_once_resets,
        load::no_connection_is_lost,
        load::no_connection_is_lost_without_programs,
        load::a_killed_adopter_is_replaced,
        load::helpers_get_no_sockets,
        load::a_reload_waits_for_its_address,
    ]);
}
