//! Shared memory on the real kernel: every kind of mapping, typed objects, zones over reloads and
//! upgrades, the roster, and processes that are killed.

#[path = "shm/hostile.rs"]
mod hostile;
#[path = "shm/memory.rs"]
mod memory;
#[path = "shm/objects.rs"]
mod objects;
#[path = "shm/recovery.rs"]
mod recovery;
#[path = "shm/reload.rs"]
mod reload;
#[path = "shm/roster.rs"]
mod roster;
#[path = "shm/storm.rs"]
mod storm;
mod support;

use forkmesh::shm::{Tag, Zone, ZoneConfig};
use forkmesh::table::{Generation, SlotId, SlotIndex};

fn main() {
    memory::be_the_program_if_asked();
    support::run(support::tests![
        memory::every_backing_is_shared_over_fork,
        memory::sealed_memory_is_shared_over_exec,
        memory::sealed_memory_is_shared_by_message,
        memory::sealed_memory_keeps_its_length,
        memory::guards_stand_on_both_sides,
        memory::a_dropped_mapping_is_gone,
        memory::pages_are_there_beforehand,
        memory::huge_pages_are_there_or_not,
        memory::an_ordinary_file_is_memory,
        memory::memory_that_cannot_be,
        memory::no_reference_leads_out_of_a_mapping,
        objects::what_may_be_shared,
        objects::what_is_written_is_read,
        objects::a_dropped_box_is_free,
        objects::one_takes_it,
        objects::a_copy_is_whole,
        objects::a_replaced_object_is_a_box,
        objects::atomics_are_used_where_they_lie,
        objects::an_offer_is_accepted,
        objects::what_cannot_be_had,
        reload::the_rules_of_a_reload,
        reload::a_failed_reload_leaves_every_zone,
        reload::an_old_worker_finds_its_own_zone,
        reload::zones_are_handed_over,
        reload::a_zone_can_be_a_file,
        reload::what_cannot_be_declared,
        recovery::a_killed_worker_leaves_nothing,
        recovery::a_dropped_zone_is_recovered,
        recovery::recovery_goes_in_steps,
        recovery::two_recover_one,
        recovery::the_next_master_recovers_the_last,
        roster::every_change_of_a_row_is_decided,
        roster::any_bits_are_a_row,
        roster::any_bits_are_a_roster,
        roster::a_slot_is_claimed_once,
        roster::the_dead_stay_dead,
        roster::a_reclaim_is_taken_over,
        roster::a_pid_is_not_a_process,
        roster::masters_take_turns,
        roster::a_mutex_is_recovered_by_its_roster,
        hostile::no_header_leads_astray,
        hostile::a_header_is_never_trusted_again,
        hostile::a_box_outlives_its_block,
        storm::kills_at_random_instants,
    ]);
}

const MASTER: SlotId = SlotId::MASTER;

fn id(slot: usize) -> SlotId {
    SlotId::new(SlotIndex::new(slot).unwrap(), Generation::FIRST)
}

const TAG: Tag = Tag::of("a test");

fn config(name: &str) -> ZoneConfig<'_> {
    ZoneConfig::new(name, TAG, 256 << 10).slots(4)
}

fn zone() -> Zone {
    Zone::create(&config("zone"), 3).unwrap()
}

/// Every page of a zone is free, once those who live have given back their stock.
fn is_empty(zone: &Zone) -> bool {
    let slab = zone.slab();
    slab.census().free_pages == slab.layout().pages()
}
