//! Workers that set themselves up: what /proc says of them then, how each step fails, and titles.
//! Those that drop an identity need root, and say so where they do not have it.

#[path = "setup/accounts.rs"]
mod accounts;
#[path = "setup/drop.rs"]
mod drop;
#[path = "setup/environment.rs"]
mod environment;
#[path = "setup/failing.rs"]
mod failing;
#[path = "support/foreign.rs"]
mod foreign;
#[path = "setup/inherited.rs"]
mod inherited;
mod support;
#[path = "setup/title.rs"]
mod title;
#[path = "setup/whole.rs"]
mod whole;
#[path = "setup/world.rs"]
mod world;

fn main() {
    support::run(support::tests![
        drop::a_drop_is_whole,
        drop::a_drop_cannot_be_undone,
        drop::capabilities_are_kept_on_request,
        drop::a_drop_keeps_the_tie_to_the_master,
        drop::without_root_the_identity_is_kept,
        drop::a_number_keeps_its_processor,
        drop::limits_and_directory_are_what_was_asked,
        whole::a_worker_is_what_was_asked,
        environment::an_environment_is_what_was_asked,
        environment::an_environment_without_room_is_an_error,
        environment::a_title_and_an_environment_do_not_share,
        inherited::what_is_not_kept_is_closed,
        inherited::what_is_no_step_is_the_masters,
        inherited::seeds_differ,
        failing::every_step_names_its_failure,
        failing::an_ordinary_user_cannot_drop,
        failing::a_failed_setup_parks_until_a_reload,
        failing::a_step_has_one_stage,
        accounts::users_and_groups_by_name,
        accounts::accounts_that_cannot_be_read,
        title::a_title_is_shown,
        title::a_title_leaves_the_environment_alone,
        title::a_long_title_is_cut,
        title::a_title_may_take_the_environment,
        title::a_thread_keeps_the_title,
        title::a_worker_has_a_title_of_its_own,
    ]);
}
