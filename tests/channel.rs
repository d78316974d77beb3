//! Process tests of the room `channel`, on the real kernel: what its front page promises of
//! descriptors, forks and senders, and what damaged or hostile bytes do to it.

#[path = "channel/bytes.rs"]
mod bytes;
#[path = "channel/descriptors.rs"]
mod descriptors;
#[path = "channel/forks.rs"]
mod forks;
#[path = "channel/line.rs"]
mod line;
#[path = "channel/mixture.rs"]
mod mixture;
#[path = "channel/senders.rs"]
mod senders;
mod support;

fn main() {
    support::run(support::tests![
        descriptors::descriptors_belong_to_the_last_frame_of_a_read,
        descriptors::unexpected_descriptors_are_closed,
        descriptors::descriptors_that_nobody_takes_are_closed,
        descriptors::a_full_descriptor_table_costs_an_entry_and_not_the_channel,
        descriptors::every_descriptor_is_close_on_exec,
        mixture::any_mixture_of_messages_is_read_as_it_was_sent,
        bytes::a_truncated_or_odd_transfer_is_counted,
        bytes::a_message_longer_than_the_buffer_is_read_in_parts,
        bytes::a_frame_without_a_meaning_is_a_typed_error_and_the_channel_lives,
        bytes::a_full_channel_gives_the_message_back,
        bytes::a_batch_is_taken_whole_or_not_at_all,
        bytes::both_ends_learn_that_the_other_is_gone,
        forks::each_side_holds_exactly_its_own_end,
        forks::several_pairs_are_split_by_one_fork,
        forks::a_second_thread_makes_fork_an_error,
        forks::a_panicking_child_ends_with_101_and_unwinds_nothing_of_the_parent,
        forks::a_child_that_returns_ends_with_its_code,
        forks::ignored_signals_do_not_harm_the_channel,
        forks::a_gone_reader_is_an_error_and_not_a_signal,
        forks::a_refused_fork_gives_the_pair_back,
        senders::the_kernel_names_the_sender,
        senders::a_name_is_not_kept_for_the_next_read,
        senders::a_sender_that_cannot_be_seen_is_not_named,
        senders::without_credentials_nobody_is_named,
        senders::the_end_of_a_mesh_pair_that_reads_cannot_be_written_to,
    ])
}
