//! The robust mutex on the real kernel: threads, processes that are killed, and memory that is
//! nothing but zeros when it begins.

#[path = "support/shared.rs"]
mod shared;
#[path = "support/mod.rs"]
mod support;

use core::panic::AssertUnwindSafe;
use std::panic::{catch_unwind, resume_unwind};
use std::sync::Barrier;
use std::time::Instant;

use forkmesh::sync::{
    AtomicU32, AtomicU64, Guard, Held, Locked, Member, Mutex, MutexName, NotLocked,
    Ordering::{Acquire, Relaxed, Release},
    Owner, Roster, recover,
};
use forkmesh::table::SlotId;
use rustix::process::Signal;
use shared::{Random, Slots, id, map, spawn};
use support::{Ended, Kept, in_time};

fn main() {
    support::run(support::tests![
        threads_take_turns,
        zeros_are_a_free_mutex,
        patience_ends,
        a_panic_is_told_like_a_death,
        unrepaired_data_poisons,
        a_slot_holds_eight_at_most,
        a_scribbled_word_harms_nobody,
        a_waiter_helps_itself,
        kills_at_random_instants,
    ]);
}

const SLOTS: usize = 5;
const WORKERS: usize = 4;
/// The slot of the test itself.
const MASTER: usize = 4;
const KILLS: u32 = 250;

/// What the processes share: zeros, to begin with.
#[repr(C)]
struct Shared {
    mutex: Mutex,
    slots: Slots<SLOTS>,
    /// Two numbers that are equal whenever nobody is inside.
    data: [AtomicU64; 2],
    rounds: [AtomicU64; SLOTS],
    inside: AtomicU32,
    told: AtomicU64,
    torn: AtomicU64,
    over: AtomicU32,
}

fn name() -> MutexName {
    MutexName::new(64).unwrap()
}

impl Shared {
    fn map() -> &'static Self {
        // SAFETY: every field is made of atomics.
        let shared = unsafe { map::<Self>() };
        (0..SLOTS).for_each(|slot| shared.slots.settle(id(slot)));
        shared
    }

    fn member(&self, id: SlotId) -> Member<'_> {
        Member::new(&self.slots, id)
    }

    fn lock(&self, id: SlotId) -> Guard<'_> {
        match self.mutex.lock(&self.member(id), name()).expect("locked") {
            Locked::Clean(guard) => {
                let [first, second] = self.numbers();
                assert_eq!(first, second, "half-written, and nobody said so");
                guard
            }
            Locked::OwnerDied(torn) => {
                let [first, second] = self.numbers();
                self.data[1].store(first, Relaxed);
                self.told.fetch_add(1, Relaxed);
                self.torn.fetch_add(u64::from(first != second), Relaxed);
                torn.mark_consistent()
            }
        }
    }

    fn numbers(&self) -> [u64; 2] {
        [0, 1].map(|which| self.data[which].load(Relaxed))
    }

    /// No addition of the machine's: two at once would lose one.
    fn change(&self, which: usize) {
        let number = &self.data[which];
        number.store(number.load(Relaxed) + 1, Relaxed);
    }

    fn round(&self, id: SlotId, dawdle: u32) {
        let guard = self.lock(id);
        self.change(0);
        for _ in 0..dawdle {
            core::hint::spin_loop();
        }
        self.change(1);
        drop(guard);
        self.rounds[id.index().as_usize()].fetch_add(1, Relaxed);
    }

    fn rounds(&self, slot: usize) -> u64 {
        self.rounds[slot].load(Relaxed)
    }

    /// What a master does for a process that it has reaped: the row, then what it held.
    fn bury(&self, dead: SlotId) {
        self.slots.bury(dead);
    }

    fn recover(&self, dead: SlotId) -> u32 {
        recover(self.slots.held(dead.index()), dead, |_| Some(&self.mutex))
    }
}

fn threads_take_turns() {
    const ROUNDS: u64 = 30_000;
    let shared = Shared::map();
    let start = Barrier::new(WORKERS);
    let start = &start;
    std::thread::scope(|scope| {
        for slot in 0..WORKERS {
            scope.spawn(move || {
                start.wait();
                (0..ROUNDS).for_each(|_| shared.round(id(slot), 10));
            });
        }
    });
    assert_eq!(shared.numbers(), [WORKERS as u64 * ROUNDS; 2]);
    assert_eq!(shared.told.load(Relaxed), 0);
}

fn zeros_are_a_free_mutex() {
    let shared = Shared::map();
    assert_eq!(shared.mutex.owner(), None);
    let guard = shared.lock(id(0));
    assert_eq!(shared.mutex.owner(), Some(Owner::of(id(0))));
    drop(guard);
    assert_eq!(shared.mutex.owner(), None);
}

fn patience_ends() {
    const MS: u64 = 30;
    let shared = Shared::map();
    let _guard = shared.lock(id(0));
    let member = shared.member(id(1));
    let tried = shared.mutex.try_lock(&member, name());
    assert!(matches!(tried, Err(NotLocked::Busy)));
    let start = Instant::now();
    let tried = shared.mutex.lock_timeout(&member, name(), MS);
    assert!(matches!(tried, Err(NotLocked::Busy)));
    // The clock is read in whole milliseconds.
    assert!(start.elapsed().as_millis() as u64 >= MS - 1);
}

/// Without std there is no telling that a thread panics.
fn a_panic_is_told_like_a_death() {
    let shared = Shared::map();
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let _guard = shared.lock(id(0));
        shared.change(0);
        resume_unwind(Box::new("in the middle"))
    }));
    assert!(panicked.is_err());
    if cfg!(feature = "std") {
        shared.round(id(1), 0);
        assert_eq!(shared.numbers(), [2, 2]);
        assert_eq!(shared.told.load(Relaxed), 1);
    }
}

fn unrepaired_data_poisons() {
    let shared = Shared::map();
    core::mem::forget(shared.lock(id(0)));
    shared.bury(id(0));
    assert_eq!(shared.recover(id(0)), 1);
    assert_eq!(
        shared.recover(id(0)),
        0,
        "a second time there is nothing to do"
    );
    let member = shared.member(id(1));
    match shared.mutex.try_lock(&member, name()) {
        Ok(Locked::OwnerDied(torn)) => drop(torn),
        other => panic!("{other:?}"),
    }
    for _ in 0..2 {
        let tried = shared.mutex.lock(&member, name());
        assert!(matches!(tried, Err(NotLocked::Poisoned)));
    }
    assert!(shared.mutex.clear_poison());
    shared.round(id(1), 0);
}

fn a_slot_holds_eight_at_most() {
    let shared = Shared::map();
    let mutexes = [const { Mutex::new() }; Held::MOST + 1];
    let member = shared.member(id(0));
    let mut guards: Vec<_> = mutexes
        .iter()
        .map(|mutex| mutex.lock(&member, name()))
        .collect();
    assert!(matches!(guards.pop(), Some(Err(NotLocked::TooMany))));
    assert!(guards.iter().all(Result::is_ok));
    guards.pop();
    assert!(
        mutexes[Held::MOST].lock(&member, name()).is_ok(),
        "there is room again"
    );
}

/// Whatever stands in the word, a locker that does not wait for ever comes back.
fn a_scribbled_word_harms_nobody() {
    let shared = Shared::map();
    // SAFETY: a mutex is laid out as its word.
    let word = unsafe { &*(&raw const shared.mutex).cast::<AtomicU32>() };
    let mut random = Random::new();
    let scribbles = (0..20_000).map(|_| random.next() as u32);
    let bits = (0..32).map(|bit| 1 << bit);
    for value in [u32::MAX, 0x3FF].into_iter().chain(bits).chain(scribbles) {
        word.store(value, Relaxed);
        let owner = shared.mutex.owner();
        let locked = shared.mutex.lock_timeout(&shared.member(id(0)), name(), 0);
        match locked {
            Ok(_) => assert!(owner.is_none_or(|owner| shared.slots.is_dead(owner))),
            Err(NotLocked::Poisoned) => assert_ne!(value & 1 << 30, 0),
            Err(error) => assert_eq!(error, NotLocked::Busy),
        }
    }
}

/// Whoever reaps says that the owner is dead, and then hangs: it recovers nothing and wakes nobody.
fn a_waiter_helps_itself() {
    let shared = Shared::map();
    let mut owner = spawn(|| {
        let _guard = shared.lock(id(0));
        shared.change(0);
        shared.inside.store(1, Release);
        loop {
            std::thread::park();
        }
    });
    in_time("an owner", || {
        (shared.inside.load(Acquire) == 1).then_some(())
    });
    let mut waiter = spawn(|| shared.round(id(1), 0));
    owner.signal(Signal::KILL);
    assert_eq!(owner.end(), Ended::Signal(9));
    shared.bury(id(0));
    waiter.ends_well();
    assert_eq!(shared.numbers(), [2, 2]);
    assert_eq!(shared.told.load(Relaxed), 1);
}

fn kills_at_random_instants() {
    let shared = Shared::map();
    let mut random = Random::new();
    let mut ids: [SlotId; WORKERS] = core::array::from_fn(id);
    let work = |id| {
        spawn(move || {
            while shared.over.load(Relaxed) == 0 {
                shared.round(id, 2_000);
                std::thread::yield_now();
            }
        })
    };
    let mut workers = ids.map(work);
    let mut inside = 0;
    for kill in 0..KILLS {
        // Everybody gets on: nobody sleeps beside a free mutex, or waits for the dead.
        for slot in 0..WORKERS {
            let before = shared.rounds(slot);
            in_time("a worker to get on", || {
                (shared.rounds(slot) > before + 1).then_some(())
            });
        }
        // Anybody, or whoever is inside: about to leave, or to be followed.
        let owner = (kill % 2 == 0).then(|| in_time("an owner", || shared.mutex.owner()));
        let anybody = random.next() as usize % WORKERS;
        let slot = owner.map_or(anybody, |owner| owner.index().as_usize());
        for _ in 0..random.next() % 1_000 {
            core::hint::spin_loop();
        }
        workers[slot].signal(Signal::KILL);
        assert_eq!(workers[slot].end(), Ended::Signal(9));
        // Before it is known to be dead, nobody can take the mutex from it.
        inside += u64::from(shared.mutex.owner() == Some(Owner::of(ids[slot])));
        shared.bury(ids[slot]);
        shared.recover(ids[slot]);
        ids[slot] = ids[slot].next();
        shared.slots.settle(ids[slot]);
        workers[slot] = work(ids[slot]);
    }
    shared.over.store(1, Relaxed);
    workers.iter_mut().for_each(Kept::ends_well);
    shared.round(id(MASTER), 0);
    let (told, torn) = (shared.told.load(Relaxed), shared.torn.load(Relaxed));
    println!("{KILLS} kills: {inside} inside, {told} told, {torn} with half-written data");
    assert!(torn > 0 && torn <= told, "some were killed halfway");
    // One who is killed between being told and counting it has not counted.
    assert!(told <= inside, "a death is told once");
}
