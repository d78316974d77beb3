//! The accept mutex: in memory that the workers share, held by one, and recovered.

use std::collections::BTreeSet;
use std::fs;

use forkmesh::machine::{Backoff, Config, Report};
use forkmesh::run::{Load, Mutexed, Sharing, Worker};
use forkmesh::sync::{Member, Mutex, MutexName, Owner, Roster, recover};
use forkmesh::table::SlotId;
use rustix::process::Signal;

use crate::clients::{Client, at, copy, listeners, serve};
use crate::shared::{Slots, map};
use crate::support::in_time;
use crate::world::World;

const SLOTS: usize = 8;

/// What the processes share: zeros, to begin with.
#[repr(C)]
pub(crate) struct Shared {
    pub(crate) mutex: Mutex,
    slots: Slots<SLOTS>,
}

impl Shared {
    pub(crate) fn map() -> &'static Self {
        // SAFETY: every field is made of atomics.
        unsafe { map() }
    }

    /// This worker's strategy; from now on it lives.
    pub(crate) fn strategy(&'static self, id: SlotId) -> Mutexed<'static> {
        self.slots.settle(id);
        let name = MutexName::new(1).expect("not 0");
        Mutexed::new(&self.mutex, Member::new(&self.slots, id), name)
    }

    /// What a master does for a process that it has reaped.
    fn bury(&self, dead: SlotId) -> u32 {
        self.slots.bury(dead);
        recover(self.slots.held(dead.index()), dead, |_| Some(&self.mutex))
    }
}

/// Whether the process has its listener in its epoll instance.
fn watches(pid: i32) -> bool {
    let infos = fs::read_dir(format!("/proc/{pid}/fdinfo")).expect("it runs");
    let infos = infos.filter_map(|entry| fs::read_to_string(entry.ok()?.path()).ok());
    infos.into_iter().any(|info| {
        let mut watched = info.lines().filter(|line| line.starts_with("tfd:"));
        watched.any(|line| line.contains("1ffffffc0"))
    })
}

/// Whoever watches has the mutex; the others have found that they have not, and watch nothing.
pub(crate) fn one_worker_has_the_mutex() {
    let shared = Shared::map();
    let (listener, address) = listeners(1);
    let work = |worker: &mut Worker| {
        let load = Load::new(500);
        let listening = copy(&listener[0], Sharing::Shared);
        let strategy = shared.strategy(worker.id()).delay_ms(50);
        serve(worker, at(&load, strategy, [listening]), Some(1))
    };
    let mut world = World::new(3, false, work);
    let workers = world.live(3);
    for _ in 0..20 {
        let owner = in_time("one who watches", || {
            let owner = shared.mutex.owner()?;
            let watching = workers.iter().filter(|(_, pid)| watches(*pid));
            let names: Vec<Owner> = watching.map(|(id, _)| Owner::of(*id)).collect();
            (names == [owner] && shared.mutex.owner() == Some(owner)).then_some(owner)
        });
        assert!(workers.iter().any(|(id, _)| Owner::of(*id) == owner));
        let clients: Vec<Client> = (0..10).map(|_| Client::new(address)).collect();
        clients.iter().for_each(Client::greeted);
    }
    world.quit();
    world.until_ended();
    assert_eq!(shared.mutex.owner(), None, "nobody takes it along");
}

/// The holder is killed where it sleeps; somebody else accepts, with the master's help and without it.
pub(crate) fn a_killed_holder_keeps_nothing() {
    const KILLS: usize = 12;
    let shared = Shared::map();
    let (listener, address) = listeners(1);
    let work = |worker: &mut Worker| {
        let load = Load::new(500);
        let listening = copy(&listener[0], Sharing::Shared);
        let strategy = shared.strategy(worker.id()).delay_ms(50);
        serve(worker, at(&load, strategy, [listening]), Some(1))
    };
    let config = Config::new().workers(3).mesh(false);
    let mut world = World::with(config.backoff(Backoff::new().eager()), work);
    let mut killed = BTreeSet::new();
    for kill in 0..KILLS {
        let workers = world.live(3);
        let (id, pid) = in_time("a holder", || {
            let owner = shared.mutex.owner()?;
            workers
                .iter()
                .find(|(id, _)| Owner::of(*id) == owner)
                .copied()
        });
        world.signal(pid, Signal::KILL);
        killed.insert(id);
        world.until("its end", |world| {
            let reports = world.lab.reports.iter();
            let mut exits =
                reports.filter(|report| matches!(report, Report::Exited(dead, ..) if *dead == id));
            exits.next().is_some()
        });
        // Once recovered by the master, once taken over by the one who tries.
        if kill % 2 == 0 {
            let _ = shared.bury(id);
        } else {
            shared.slots.bury(id);
        }
        let clients: Vec<Client> = (0..10).map(|_| Client::new(address)).collect();
        clients.iter().for_each(Client::greeted);
    }
    println!("{} holders were killed", killed.len());
    assert_eq!(killed.len(), KILLS, "each was a life of its own");
    world.live(3);
    world.quit();
    world.until("the end", |world| world.master.is_ended());
}
