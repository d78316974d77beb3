//! The mesh's bookkeeping, in traces.

use forkmesh::machine::{Action, AnnouncementKind, Event, ExitStatus, Master};
use forkmesh::table::Instant;

use crate::shell::{CRASH, Shell, meshed, pid};

#[test]
fn a_start_of_1000_needs_no_descriptor() {
    let mut master = Box::new(Master::<1024>::new(meshed(1000)));
    let now = Instant::ORIGIN;
    master.start();
    let mut paired = false;
    let mut batches = Vec::new();
    let mut next_pid = 1;
    while let Some(action) = master.poll() {
        match action {
            Action::Spawn(id) => {
                if !paired {
                    let burst: Vec<_> = core::iter::once(id).chain(master.spawning()).collect();
                    assert_eq!(burst.len(), 1000);
                    burst.into_iter().for_each(|id| master.paired(id));
                    paired = true;
                }
                assert!(
                    batches.is_empty(),
                    "all spawns come before the first announcement"
                );
                next_pid += 1;
                master.handle(now, Event::Spawned(id, pid(next_pid)));
            }
            Action::Announce(id) => {
                let mut version = 0;
                let mut count = 0;
                for entry in master.announcements(id) {
                    assert!(entry.version > version, "in version order");
                    version = entry.version;
                    count += 1;
                    assert!(matches!(
                        entry.kind,
                        AnnouncementKind::Open { held: true, .. }
                    ));
                }
                batches.push(count);
                master.handle(now, Event::Announced(id, version));
            }
            _ => {}
        }
    }
    // The first was forked before 999 others, the last after all of them.
    assert_eq!(batches, (1..1000).rev().collect::<Vec<_>>());
    assert_eq!(master.ignored(), 0);
}

#[test]
fn four_hundred_lives_of_a_sibling_are_one_announcement() {
    let mut shell = Shell::<4>::serving(meshed(3));
    shell.holds_announcements = true;
    let version = shell.master.version();
    shell.dies(1, CRASH);
    for _ in 0..399 {
        shell.ready(1);
        shell.dies(1, CRASH);
    }
    let pending = shell.pending(0);
    let [(at, AnnouncementKind::Open { slot, pid, held })] = pending[..] else {
        panic!("one entry: {pending:?}");
    };
    assert!(at > version);
    assert_eq!(
        (slot.to_string(), Some(pid), held),
        ("1.401".into(), shell.pid(1), false)
    );
    assert_eq!(shell.pending(2), pending);
    assert_eq!(
        shell.pending(1),
        [],
        "the last life inherited what there was"
    );
}

#[test]
fn a_death_is_announced_as_a_close_that_names_the_life_to_come() {
    let mut shell = Shell::<4>::serving(meshed(2));
    shell.holds_announcements = true;
    assert!(
        shell
            .dies(1, ExitStatus::FATAL)
            .contains(&"Announce(0.1)".into())
    );
    let version = shell.master.version();
    let slot = shell.id(1);
    assert_eq!(
        shell.pending(0),
        [(version, AnnouncementKind::Close { slot })]
    );
    assert_eq!(shell.on(Event::Announced(shell.id(0), version)), [""; 0]);
    assert_eq!(shell.pending(0), []);
}

#[test]
fn blocked_delivers_nothing() {
    let mut shell = Shell::<4>::serving(meshed(2));
    shell.holds_announcements = true;
    shell.dies(1, CRASH);
    let pending = shell.pending(0);
    assert_eq!(pending.len(), 1);
    let id = shell.id(0);
    assert_eq!(shell.on(Event::Blocked(id)), [""; 0]);
    assert_eq!(shell.pending(0), pending);
    shell.ready(1);
    shell.dies(1, CRASH);
    assert_eq!(
        shell.at(60_000),
        [""; 0],
        "no deadline helps, and no new change"
    );
    assert_eq!(shell.on(Event::Writable(id)), ["Announce(0.1)"]);
    assert_eq!(shell.pending(0).len(), 1);
    assert_eq!(
        shell.on(Event::Announced(id, shell.master.version())),
        [""; 0]
    );
    assert_eq!(shell.pending(0), []);
}

#[test]
fn a_batch_that_was_cut_goes_on_where_it_was_cut() {
    let mut shell = Shell::<4>::serving(meshed(4));
    shell.holds_announcements = true;
    for index in 1..4 {
        shell.dies(index, ExitStatus::FATAL);
    }
    let id = shell.id(0);
    let pending = shell.pending(0);
    assert_eq!(pending.len(), 3);
    shell
        .master
        .handle(Instant::ORIGIN, Event::Announced(id, pending[0].0));
    assert_eq!(shell.on(Event::Blocked(id)), [""; 0]);
    assert_eq!(shell.pending(0), pending[1..]);
    assert_eq!(shell.on(Event::Writable(id)), ["Announce(0.1)"]);
    // An answer to come, and then one that delivers less than all: asked again.
    assert_eq!(
        shell.on(Event::Announced(id, pending[1].0)),
        ["Announce(0.1)"]
    );
    assert_eq!(shell.pending(0), pending[2..]);
}

#[test]
fn a_refusal_is_retried_by_deadline_10_ms_to_1_s() {
    let mut shell = Shell::<4>::serving(meshed(2));
    shell.holds_announcements = true;
    shell.dies(1, ExitStatus::FATAL);
    let id = shell.id(0);
    for wait_ms in [10, 20, 40, 80, 160, 320, 640, 1000, 1000, 1000] {
        assert_eq!(shell.on(Event::Refused(id)), [""; 0]);
        let due = shell.now + wait_ms;
        assert_eq!(shell.deadline(), Some(due));
        assert_eq!(shell.at(due - 1), [""; 0]);
        assert_eq!(shell.at(due), ["Announce(0.1)"]);
    }
    assert_eq!(
        shell.on(Event::Announced(id, shell.master.version())),
        [""; 0]
    );
    assert_eq!(shell.deadline(), None);
    assert_eq!(shell.on(Event::Refused(id)), [""; 0]);
    assert_eq!(
        shell.deadline(),
        Some(shell.now + 10),
        "a success starts anew"
    );
}

#[test]
fn who_missed_something_is_told_again_with_every_descriptor() {
    let mut shell = Shell::<4>::serving(meshed(3));
    shell.dies(2, CRASH);
    shell.holds_announcements = true;
    let id = shell.id(2);
    assert_eq!(shell.pending(2), []);
    assert_eq!(shell.on(Event::Missed(id, 0)), ["Announce(2.2)"]);
    let kinds: Vec<_> = shell.pending(2).into_iter().map(|(_, kind)| kind).collect();
    let open = |index| AnnouncementKind::Open {
        slot: shell.id(index),
        pid: shell.pid(index).expect("it runs"),
        held: false,
    };
    assert_eq!(kinds, [open(0), open(1)]);

    // What is missed while it is being told is not covered by the answer.
    let version = shell.master.version();
    assert_eq!(shell.on(Event::Missed(id, 0)), ["Announce(2.2)"]);
    assert_eq!(shell.on(Event::Announced(id, version)), [""; 0]);
    assert_eq!(
        shell.on(Event::Missed(id, version + 7)),
        [""; 0],
        "none is that new"
    );
    assert_eq!(shell.master.ignored(), 0);
}

#[test]
fn an_announcement_cannot_be_newer_than_the_table() {
    let mut shell = Shell::<4>::serving(meshed(2));
    shell.holds_announcements = true;
    shell.dies(1, ExitStatus::FATAL);
    let version = shell.master.version();
    shell.on(Event::Announced(shell.id(0), version + 1));
    assert_eq!((shell.pending(0).len(), shell.master.ignored()), (1, 1));
}

#[test]
fn a_broken_mesh_pair_is_replaced_and_announced_to_the_others() {
    let mut shell = Shell::<4>::serving(meshed(3));
    shell.holds_announcements = true;
    let id = shell.id(1);
    assert_eq!(shell.on(Event::MeshBroken(id)), ["ReplaceMesh(1.1)"]);
    assert_eq!(shell.on(Event::MeshBroken(id)), [""; 0], "under way");
    assert_eq!(shell.on(Event::Blocked(id)), [""; 0]);
    assert_eq!(shell.on(Event::Writable(id)), ["ReplaceMesh(1.1)"]);
    assert_eq!(shell.on(Event::Refused(id)), [""; 0]);
    assert_eq!(shell.at(10), ["ReplaceMesh(1.1)"]);
    assert_eq!(
        shell.on(Event::MeshReplaced(id)),
        ["Announce(2.1)", "Announce(0.1)"],
        "in turns: the next comes first"
    );
    let version = shell.master.version();
    let open = AnnouncementKind::Open {
        slot: id,
        pid: shell.pid(1).expect("it runs"),
        held: false,
    };
    assert_eq!(shell.pending(0), [(version, open)]);
    assert_eq!(shell.pending(1), []);
    assert_eq!(shell.on(Event::MeshReplaced(id)), [""; 0]);
    assert_eq!(shell.master.ignored(), 1, "once is enough");
}

#[test]
fn a_failed_spawn_takes_back_the_pair_that_was_inherited() {
    let mut shell = Shell::<4>::serving(meshed(2));
    shell.holds_announcements = true;
    shell.failing = 1;
    shell.dies(1, CRASH);
    let slot = shell.id(1);
    let version = shell.master.version();
    assert_eq!(
        shell.pending(0),
        [(version, AnnouncementKind::Close { slot })]
    );
}

#[test]
fn while_stopping_nobody_is_told_anything() {
    let mut shell = Shell::<4>::serving(meshed(3));
    shell.on(Event::Quit);
    assert!(shell.dies(0, CRASH).contains(&"Announce(1.1)".into()));
    shell.on(Event::Refused(shell.id(1)));
    shell.on(Event::Terminate);
    assert_eq!(
        shell.dies(1, CRASH),
        ["Reclaim(1.1)", "Exited(1.1, 102, Code(1))"]
    );
    assert_eq!(shell.deadline(), Some(3_000));
}

#[test]
fn a_version_is_found_again_by_its_low_half() {
    let mut shell = Shell::<4>::serving(meshed(2));
    shell.dies(0, CRASH);
    let version = shell.master.version();
    assert_eq!(shell.master.version_from_low(version as u32), version);
    assert_eq!(shell.master.version_from_low(1), 1);
    assert_eq!(shell.master.version_from_low(version as u32 + 1), 0, "none");
}
