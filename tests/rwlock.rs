//! The reader/writer lock on the real kernel, and both locks without a master: processes that are
//! killed, and waiters that find it out by themselves.

#[path = "support/shared.rs"]
mod shared;
#[path = "support/mod.rs"]
mod support;

use core::panic::AssertUnwindSafe;
use core::time::Duration;
use std::panic::{catch_unwind, resume_unwind};
use std::time::Instant;

use forkmesh::sync::{
    AtomicU32, AtomicU64, Locked, Member, Mutex, MutexName, NotLocked,
    Ordering::{Acquire, Relaxed, Release},
    Owner, Reading, Robust, Roster, RwLock, Writing, recover,
};
use forkmesh::table::SlotId;
use rustix::process::Signal;
use shared::{Random, Slots, id, map, spawn};
use support::{Ended, Kept, in_time};

fn main() {
    support::run(support::tests![
        many_read_or_one_writes,
        threads_read_and_write,
        patience_ends,
        as_many_read_as_there_are_places,
        readers_queue_behind_a_writer,
        a_panic_is_told_like_a_death,
        unrepaired_data_poisons,
        a_dead_writer_that_had_not_begun_is_not_told,
        scribbled_words_harm_nobody,
        a_stopped_master_is_not_waited_for,
        the_living_are_not_taken_for_dead,
        kills_at_random_instants,
    ]);
}

const PLACES: usize = 4;
const WORDS: usize = size_of::<RwLock<PLACES>>() / 4;
const SLOTS: usize = 7;
const WORKERS: usize = 4;
/// The slot of the test itself.
const MASTER: usize = 6;
const KILLS: u32 = 100;

/// What the processes share: zeros, to begin with.
#[repr(C)]
struct Shared {
    lock: RwLock<PLACES>,
    mutex: Mutex,
    slots: Slots<SLOTS>,
    /// Two numbers that are equal whenever nobody writes.
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

fn name_of_the_mutex() -> MutexName {
    MutexName::new(65).unwrap()
}

impl Shared {
    fn map() -> &'static Self {
        // SAFETY: every field is made of atomics.
        let shared = unsafe { map::<Self>() };
        (0..SLOTS).for_each(|slot| shared.slots.settle(id(slot)));
        shared
    }

    fn words(&self) -> &[AtomicU32; WORDS] {
        // SAFETY: the lock is made of atomics, of as many words.
        unsafe { &*(&raw const self.lock).cast() }
    }

    fn member(&self, id: SlotId) -> Member<'_> {
        Member::new(&self.slots, id)
    }

    fn look(&self, reading: Reading<'_>) {
        match reading {
            Reading::Clean(guard) => {
                let [first, second] = self.numbers();
                assert_eq!(first, second, "half-written, and nobody said so");
                drop(guard);
            }
            Reading::OwnerDied(torn) => {
                self.repair();
                drop(torn.mark_consistent());
            }
        }
    }

    fn read(&self, member: &Member<'_>) {
        self.look(self.lock.read(member, name()).expect("not poisoned"));
    }

    fn write(&self, member: &Member<'_>, dawdle: u32) {
        let guard = match self.lock.write(member, name()).expect("not poisoned") {
            Writing::Clean(guard) => {
                let [first, second] = self.numbers();
                assert_eq!(first, second, "half-written, and nobody said so");
                guard
            }
            Writing::OwnerDied(torn) => {
                self.repair();
                torn.mark_consistent()
            }
        };
        self.change(0);
        for _ in 0..dawdle {
            core::hint::spin_loop();
        }
        self.change(1);
        drop(guard);
    }

    fn repair(&self) {
        let [first, second] = self.numbers();
        self.data[1].store(first, Relaxed);
        self.told.fetch_add(1, Relaxed);
        self.torn.fetch_add(u64::from(first != second), Relaxed);
    }

    fn numbers(&self) -> [u64; 2] {
        [0, 1].map(|which: usize| self.data[which].load(Relaxed))
    }

    /// No addition of the machine's: two at once would lose one.
    fn change(&self, which: usize) {
        let number = &self.data[which];
        number.store(number.load(Relaxed) + 1, Relaxed);
    }

    fn bury(&self, dead: SlotId) -> u32 {
        self.slots.bury(dead);
        recover(self.slots.held(dead.index()), dead, |named| {
            let lock: &dyn Robust = match named == name() {
                true => &self.lock,
                false => &self.mutex,
            };
            Some(lock)
        })
    }

    /// Waits until somebody says that it is inside.
    fn wait_for_the_inside(&self, count: u32) {
        in_time("somebody inside", || {
            (self.inside.load(Acquire) == count).then_some(())
        });
    }

    /// Says that this process is inside, and stays there.
    fn stay(&self) -> ! {
        self.inside.fetch_add(1, Release);
        loop {
            std::thread::park();
        }
    }
}

fn many_read_or_one_writes() {
    let shared = Shared::map();
    let member = shared.member(id(0));
    let other = shared.member(id(1));
    let first = shared.lock.read(&member, name()).unwrap();
    let second = shared.lock.read(&other, name()).unwrap();
    assert_eq!(shared.lock.readers().count(), 2);
    let tried = shared.lock.try_write(&other, name());
    assert!(matches!(tried, Err(NotLocked::Busy)));
    drop(first);
    let third = shared
        .lock
        .try_read(&member, name())
        .expect("gates are open again");
    drop((second, third));
    let writing = shared
        .lock
        .try_write(&member, name())
        .expect("nobody reads");
    assert_eq!(shared.lock.writer(), Some(Owner::of(id(0))));
    let tried = shared.lock.try_read(&other, name());
    assert!(matches!(tried, Err(NotLocked::Busy)));
    let tried = shared.lock.try_write(&other, name());
    assert!(matches!(tried, Err(NotLocked::Busy)));
    drop(writing);
    assert!(shared.lock.try_read(&other, name()).is_ok());
    assert_eq!(shared.lock.readers().count(), 0);
}

fn threads_read_and_write() {
    const ROUNDS: u64 = 10_000;
    let shared = Shared::map();
    std::thread::scope(|scope| {
        for slot in 0..WORKERS {
            scope.spawn(move || {
                let member = shared.member(id(slot));
                for round in 0..ROUNDS {
                    match (round + slot as u64) % 4 {
                        0 => shared.write(&member, 10),
                        _ => shared.read(&member),
                    }
                }
            });
        }
    });
    assert_eq!(shared.numbers(), [WORKERS as u64 * ROUNDS / 4; 2]);
    assert_eq!(shared.told.load(Relaxed), 0);
}

fn patience_ends() {
    const MS: u64 = 30;
    let shared = Shared::map();
    let (member, other) = (shared.member(id(0)), shared.member(id(1)));
    let busy = |tried: Result<(), NotLocked>, start: Instant| {
        assert_eq!(tried, Err(NotLocked::Busy));
        // The clock is read in whole milliseconds.
        assert!(start.elapsed() >= Duration::from_millis(MS - 1));
    };
    let reading = shared.lock.read(&member, name());
    let start = Instant::now();
    busy(
        shared.lock.write_timeout(&other, name(), MS).map(drop),
        start,
    );
    drop(reading);
    let writing = shared.lock.write(&member, name());
    let start = Instant::now();
    busy(
        shared.lock.read_timeout(&other, name(), MS).map(drop),
        start,
    );
    let start = Instant::now();
    busy(
        shared.lock.write_timeout(&other, name(), MS).map(drop),
        start,
    );
    drop(writing);
    shared.write(&other, 0);
    shared.read(&member);
}

/// Who comes when all places are taken gets the first that is left.
fn as_many_read_as_there_are_places() {
    let shared = Shared::map();
    let member = shared.member(id(0));
    let read = || shared.lock.try_read(&member, name());
    let mut readers: Vec<_> = (0..PLACES).map(|_| read().expect("a place")).collect();
    assert!(matches!(read(), Err(NotLocked::Busy)));
    std::thread::scope(|scope| {
        let late = scope.spawn(|| shared.read(&shared.member(id(1))));
        in_time("the late one to queue", || {
            shared.lock.writer().is_some().then_some(())
        });
        readers.clear();
        late.join().expect("it has read");
    });
    assert!(read().is_ok());
}

/// Readers come and go without end, and overlap; the writer gets its turn.
fn readers_queue_behind_a_writer() {
    let shared = Shared::map();
    let member = shared.member(id(0));
    let guard = shared.lock.read(&member, name()).expect("free");
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| shared.write(&shared.member(id(1)), 0));
        let second = shared.member(id(2));
        let refused = in_time("the writer to come", || {
            shared.lock.try_read(&second, name()).err()
        });
        assert_eq!(refused, NotLocked::Busy);
        assert_eq!(shared.numbers(), [0, 0], "the first still reads");
        drop(guard);
        writer.join().expect("it has written");
    });
    assert_eq!(shared.numbers(), [1, 1]);
}

/// Without std there is no telling that a thread panics.
fn a_panic_is_told_like_a_death() {
    let shared = Shared::map();
    let member = shared.member(id(0));
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let _writing = shared.lock.write(&member, name());
        shared.change(0);
        resume_unwind(Box::new("in the middle"))
    }));
    assert!(panicked.is_err());
    if cfg!(feature = "std") {
        shared.read(&member);
        assert_eq!(shared.told.load(Relaxed), 1);
        assert_eq!(shared.numbers(), [1, 1]);
    }
}

fn unrepaired_data_poisons() {
    let shared = Shared::map();
    let (member, other) = (shared.member(id(0)), shared.member(id(1)));
    core::mem::forget(shared.lock.write(&member, name()));
    assert_eq!(shared.bury(id(0)), 1);
    assert_eq!(
        shared.bury(id(0)),
        0,
        "a second time there is nothing to do"
    );
    match shared.lock.try_read(&other, name()) {
        Ok(Reading::OwnerDied(torn)) => drop(torn),
        found => panic!("{found:?}"),
    }
    let tried = shared.lock.read(&other, name());
    assert!(matches!(tried, Err(NotLocked::Poisoned)));
    let tried = shared.lock.write(&other, name());
    assert!(matches!(tried, Err(NotLocked::Poisoned)));
    assert!(shared.lock.clear_poison());
    assert!(!shared.lock.clear_poison());
    shared.read(&other);
    shared.write(&other, 0);
    assert_eq!(shared.told.load(Relaxed), 0);
}

/// As one leaves the lock who is killed when it owns `writer`, and has closed so many gates.
fn a_dead_writer_that_had_not_begun_is_not_told() {
    for closed in 0..=PLACES {
        let shared = Shared::map();
        let words = shared.words();
        words[0].store(1 << 10 | 1, Relaxed);
        for place in 0..closed {
            words[16 * (1 + place)].store(1 << 31, Relaxed);
        }
        assert_eq!(shared.lock.writer(), Some(Owner::of(id(1))));
        shared.slots.bury(id(1));
        assert!(shared.lock.recover(id(1)));
        let member = shared.member(id(0));
        shared.read(&member);
        shared.write(&member, 0);
        assert_eq!(shared.told.load(Relaxed), u64::from(closed == PLACES));
    }
}

/// Whatever stands in the words, one that does not wait for ever comes back.
fn scribbled_words_harm_nobody() {
    let shared = Shared::map();
    let words = shared.words();
    let member = shared.member(id(0));
    let mut random = Random::new();
    for _ in 0..5_000 {
        for word in words {
            word.store(random.next() as u32 & random.next() as u32, Relaxed);
        }
        drop(shared.lock.read_timeout(&member, name(), 0));
        drop(shared.lock.write_timeout(&member, name(), 0));
        shared.lock.recover(id(1));
        let _ = (shared.lock.writer(), shared.lock.readers().count());
    }
}

/// The master is stopped, so nobody reaps and nobody recovers. A writer, a reader and an owner of the
/// mutex are killed; whoever waits for one of them gets on.
fn a_stopped_master_is_not_waited_for() {
    for reaped in [false, true] {
        for what in 0..3 {
            without_a_master(what, reaped);
        }
    }
}

fn without_a_master(what: u32, reaped: bool) {
    let shared = Shared::map();
    // The master whose task it would be to bury the dead: it is there, and does nothing.
    let master = spawn(|| shared.stay());
    shared.wait_for_the_inside(1);
    master.signal(Signal::STOP);
    let mut owner = spawn(|| {
        shared.slots.move_in(id(0));
        let member = shared.member(id(0));
        match what {
            0 => core::mem::forget(shared.lock.read(&member, name())),
            1 => core::mem::forget(shared.lock.write(&member, name())),
            _ => core::mem::forget(shared.mutex.lock(&member, name_of_the_mutex())),
        }
        shared.stay()
    });
    shared.wait_for_the_inside(2);
    let mut waiter = spawn(|| {
        shared.slots.move_in(id(1));
        let member = shared.member(id(1));
        match what {
            0 => shared.write(&member, 0),
            1 => shared.look(shared.lock.read(&member, name()).expect("not poisoned")),
            _ => match shared.mutex.lock(&member, name_of_the_mutex()) {
                Ok(Locked::OwnerDied(torn)) => {
                    shared.told.fetch_add(1, Relaxed);
                    drop(torn.mark_consistent());
                }
                found => panic!("{found:?}"),
            },
        }
    });
    owner.signal(Signal::KILL);
    if reaped {
        assert_eq!(owner.end(), Ended::Signal(9));
    }
    waiter.ends_well();
    assert_eq!(shared.told.load(Relaxed), u64::from(what > 0), "{what}");
    assert_eq!(owner.end(), Ended::Signal(9));
    assert_eq!(shared.bury(id(0)), 0, "nothing was left to free");
}

/// Those who wait for longer than it takes to ask get nothing from an owner that is only stopped.
fn the_living_are_not_taken_for_dead() {
    let shared = Shared::map();
    let owner = spawn(|| {
        shared.slots.move_in(id(0));
        let member = shared.member(id(0));
        let _writing = shared.lock.write(&member, name());
        shared.stay()
    });
    shared.wait_for_the_inside(1);
    owner.signal(Signal::STOP);
    let member = shared.member(id(1));
    let tried = shared.lock.read_timeout(&member, name(), 350);
    assert!(matches!(tried, Err(NotLocked::Busy)));
    assert_eq!(shared.lock.writer(), Some(Owner::of(id(0))));
}

fn kills_at_random_instants() {
    let shared = Shared::map();
    let mut random = Random::new();
    let mut ids: [SlotId; WORKERS] = core::array::from_fn(id);
    let work = |id: SlotId| {
        spawn(move || {
            let member = shared.member(id);
            let slot = id.index().as_usize();
            while shared.over.load(Relaxed) == 0 {
                match slot % 2 {
                    0 => shared.write(&member, 2_000),
                    _ => shared.read(&member),
                }
                shared.rounds[slot].fetch_add(1, Relaxed);
                std::thread::yield_now();
            }
        })
    };
    let mut workers = ids.map(work);
    for kill in 0..KILLS {
        // Everybody gets on: nobody sleeps beside a free lock, or waits for the dead.
        for slot in 0..WORKERS {
            let before = shared.rounds[slot].load(Relaxed);
            in_time("a worker to get on", || {
                (shared.rounds[slot].load(Relaxed) > before + 1).then_some(())
            });
        }
        // Anybody, or whoever writes, or is about to let others in.
        let anybody = random.next() as usize % WORKERS;
        let owner = (kill % 2 == 0).then(|| in_time("an owner", || shared.lock.writer()));
        let slot = owner.map_or(anybody, |owner| owner.index().as_usize());
        for _ in 0..random.next() % 1_000 {
            core::hint::spin_loop();
        }
        workers[slot].signal(Signal::KILL);
        assert_eq!(workers[slot].end(), Ended::Signal(9));
        shared.bury(ids[slot]);
        ids[slot] = ids[slot].next();
        shared.slots.settle(ids[slot]);
        workers[slot] = work(ids[slot]);
    }
    shared.over.store(1, Relaxed);
    workers.iter_mut().for_each(Kept::ends_well);
    let master = shared.member(id(MASTER));
    shared.write(&master, 0);
    assert_eq!(shared.lock.readers().count(), 0);
    let (told, torn) = (shared.told.load(Relaxed), shared.torn.load(Relaxed));
    println!("{KILLS} kills: {told} told, {torn} with half-written data");
    assert!(torn > 0 && torn <= told, "some were killed halfway");
}
