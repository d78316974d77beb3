//! The master core's decisions: traces of what it says to what happens, with a clock made of
//! numbers.

#[path = "machine/announce.rs"]
mod announce;
#[path = "machine/ending.rs"]
mod ending;
#[path = "machine/helpers.rs"]
mod helpers;
#[path = "machine/receiver.rs"]
mod receiver;
#[path = "machine/reload.rs"]
mod reload;
#[path = "machine/request.rs"]
mod request;
#[path = "machine/restart.rs"]
mod restart;
#[path = "machine/shell.rs"]
mod shell;
#[path = "machine/start.rs"]
mod start;
#[path = "machine/upgrade.rs"]
mod upgrade;

use forkmesh::machine::{Action, Event, Master};
use forkmesh::table::{Instant, SlotId, SlotIndex};

use crate::shell::{CRASH, Shell, one, pid, told};

#[test]
fn what_does_not_fit_is_ignored_and_counted() {
    let mut shell = Shell::<2>::serving(one());
    let id = shell.id(0);
    let beyond = SlotId::new(SlotIndex::new(700).expect("small"), id.generation());
    let vacant = shell.id(1);
    let before = shell.master.table().clone();
    let mut ignored = 0;
    for stranger in [id.next(), beyond, vacant, SlotId::MASTER] {
        for event in [
            Event::Spawned(stranger, pid(9)),
            Event::SpawnFailed(stranger),
            Event::Ready(stranger),
            Event::Exited(stranger, CRASH),
            Event::Reclaimed(stranger),
            Event::Announced(stranger, 1),
            Event::Blocked(stranger),
            Event::Writable(stranger),
            Event::Refused(stranger),
            Event::Missed(stranger, 0),
            Event::Unheard(stranger),
            Event::MeshBroken(stranger),
            Event::MeshReplaced(stranger),
        ] {
            assert_eq!(shell.on(event), [""; 0], "{event:?}");
            ignored += 1;
            assert_eq!(shell.master.ignored(), ignored, "{event:?}");
        }
    }
    for event in [
        Event::Spawned(id, pid(9)),
        Event::SpawnFailed(id),
        Event::Ready(id),
        Event::Reclaimed(id),
        Event::Blocked(id), // no mesh here
    ] {
        assert_eq!(shell.on(event), [""; 0], "{event:?}");
        ignored += 1;
        assert_eq!(shell.master.ignored(), ignored, "{event:?}");
    }
    assert_eq!(shell.master.table(), &before);
}

#[test]
fn every_report_comes_once() {
    let mut master = Master::<1>::new(one());
    let now = Instant::ORIGIN;
    master.start();
    let Some(Action::Spawn(id)) = master.poll() else {
        panic!("a start spawns");
    };
    // A whole life without a poll in between.
    master.handle(now, Event::Spawned(id, pid(5)));
    master.handle(now, Event::Ready(id));
    master.handle(now, Event::Exited(id, CRASH));
    let trace: Vec<_> = core::iter::from_fn(|| master.poll())
        .map(|action| told(&action))
        .collect();
    assert_eq!(
        trace,
        [
            "Reclaim(0.1)",
            "Spawned(0.1, 5)",
            "Ready(0.1, 5)",
            "Exited(0.1, 5, Code(1))"
        ]
    );
}
