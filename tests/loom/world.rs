//! What the models share: a mutex with data that shows a rival, a roster of a few slots, and the
//! counting of executions.

use core::ops::RangeInclusive;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::Mutex as Lock;

use forkmesh::sync::{
    AtomicU32, Held, Locked, Member, Mutex, MutexName, Ordering, Owner, Roster, recover,
};
use forkmesh::table::{Generation, SlotId, SlotIndex};
use libtest_mimic::{Arguments, Trial};
use loom::cell::UnsafeCell;
use loom::sync::Arc;

const SLOTS: usize = 4;

/// The first life of a slot.
pub(crate) fn id(slot: usize) -> SlotId {
    SlotId::new(SlotIndex::new(slot).unwrap(), Generation::FIRST)
}

/// One execution's shared memory.
pub(crate) struct World {
    pub(crate) mutex: Mutex,
    /// Who lives in each slot; 0 for nobody.
    rows: [AtomicU32; SLOTS],
    held: [Held; SLOTS],
    /// Who has ended in each slot, and only the kernel knows; 0 for nobody.
    over: [AtomicU32; SLOTS],
    /// Two numbers that are equal whenever nobody is inside.
    data: UnsafeCell<(u32, u32)>,
    /// Written between one number and the other: an instant to die at.
    halfway: AtomicU32,
    /// How many deaths owners were told of. No part of the model: it is written by owners alone.
    told: AtomicU64,
}

impl Roster for World {
    fn is_dead(&self, owner: Owner) -> bool {
        // Acquire: pairs with the Release in `bury`.
        let lives = SlotId::from_u32(self.rows[owner.index().as_usize()].load(Ordering::Acquire));
        lives.is_none_or(|id| Owner::of(id) != owner)
    }

    fn look_for(&self, owner: Owner) -> bool {
        // Acquire: pairs with the Release in `die`.
        let over = self.over[owner.index().as_usize()].load(Ordering::Acquire);
        self.is_dead(owner) || SlotId::from_u32(over).is_some_and(|id| Owner::of(id) == owner)
    }

    fn held(&self, index: SlotIndex) -> &Held {
        &self.held[index.as_usize()]
    }
}

impl World {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            mutex: Mutex::new(),
            rows: core::array::from_fn(|slot| AtomicU32::new(id(slot).as_u32())),
            held: core::array::from_fn(|_| Held::new()),
            over: core::array::from_fn(|_| AtomicU32::new(0)),
            data: UnsafeCell::new((0, 0)),
            halfway: AtomicU32::new(0),
            told: AtomicU64::new(0),
        })
    }

    pub(crate) fn member(&self, id: SlotId) -> Member<'_> {
        Member::without_entry(self, id)
    }

    pub(crate) fn name() -> MutexName {
        MutexName::new(64).unwrap()
    }

    /// Locks, changes the data, unlocks.
    pub(crate) fn round(&self, member: SlotId) {
        let locked = self.mutex.lock(&self.member(member), Self::name());
        self.visit(locked.expect("not poisoned"));
    }

    /// Does the same, and is not woken by anybody if need be: its sleeps end by themselves.
    pub(crate) fn patient_round(&self, member: SlotId) {
        const NAPS: u64 = 1000;
        let member = self.member(member);
        let locked = self.mutex.lock_timeout(&member, Self::name(), NAPS);
        self.visit(locked.expect("within so many naps"));
    }

    /// How many deaths owners were told of.
    pub(crate) fn told(&self) -> u64 {
        self.told.load(Relaxed)
    }

    /// What an owner does: repair if need be, then change the data, then unlock.
    pub(crate) fn visit(&self, locked: Locked<'_>) {
        let guard = match locked {
            Locked::Clean(guard) => {
                let (first, second) = self.data();
                assert_eq!(first, second, "half-written, and nobody said so");
                guard
            }
            Locked::OwnerDied(torn) => {
                self.told.fetch_add(1, Relaxed);
                let (first, _) = self.data();
                self.write(|data| data.1 = first);
                torn.mark_consistent()
            }
        };
        self.change();
        drop(guard);
    }

    fn change(&self) {
        self.write(|data| data.0 += 1);
        self.halfway.store(1, Ordering::Release);
        self.write(|data| data.1 += 1);
    }

    /// The data, for one who is inside.
    fn data(&self) -> (u32, u32) {
        self.data.with(|data| {
            // SAFETY: loom fails the model if anybody else is here, or was here unseen.
            unsafe { *data }
        })
    }

    fn write(&self, change: impl FnOnce(&mut (u32, u32))) {
        self.data.with_mut(|data| {
            // SAFETY: loom fails the model if anybody else is here, or was here unseen.
            change(unsafe { &mut *data });
        });
    }

    /// The process of this slot has ended, and nobody has reaped it.
    pub(crate) fn die(&self, id: SlotId) {
        // Release: pairs with the Acquire in `look_for`.
        self.over[id.index().as_usize()].store(id.as_u32(), Ordering::Release);
    }

    /// The process of this slot has been reaped.
    pub(crate) fn bury(&self, dead: SlotId) {
        // Release: pairs with the Acquire in `is_dead`.
        self.rows[dead.index().as_usize()].store(0, Ordering::Release);
    }

    /// The slot has a process again.
    pub(crate) fn settle(&self, id: SlotId) {
        self.rows[id.index().as_usize()].store(id.as_u32(), Ordering::Release);
    }

    pub(crate) fn recover(&self, dead: SlotId) -> u32 {
        recover(&self.held[dead.index().as_usize()], dead, |name| {
            assert_eq!(name, Self::name());
            Some(&self.mutex)
        })
    }

    pub(crate) fn no_names_are_left(&self) {
        for held in &self.held {
            assert_eq!(format!("{held:?}"), "{}", "a name is left over");
        }
    }

    /// After all is done: one more owner finds that so many deaths have been told, and that so many
    /// changes were made; nobody owns the mutex, and no slot has a name left over.
    pub(crate) fn audit(&self, deaths: u64, changes: RangeInclusive<u32>) {
        self.round(id(3));
        assert_eq!(self.told.load(Relaxed), deaths, "deaths told");
        assert_eq!(self.mutex.owner(), None);
        self.no_names_are_left();
        let (first, second) = self.data();
        assert_eq!(first, second);
        assert!(changes.contains(&(first - 1)), "{} changes", first - 1);
    }
}

/// Runs a part of a model in a thread of its own.
pub(crate) fn spawn<W: 'static, T: 'static>(
    world: &Arc<W>,
    part: impl FnOnce(&W) -> T + 'static,
) -> loom::thread::JoinHandle<T> {
    let world = Arc::clone(world);
    loom::thread::spawn(move || part(&world))
}

/// What was explored, and how many executions it had.
static EXPLORED: Lock<Vec<(String, usize)>> = Lock::new(Vec::new());

/// A model, which is told its name.
pub(crate) type Model = (&'static str, fn(&str));

/// Tries every execution of a model, and returns how many there were.
fn explore(body: impl Fn() + Send + Sync + 'static) -> usize {
    let count = std::sync::Arc::new(AtomicUsize::new(0));
    let counted = std::sync::Arc::clone(&count);
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound.get_or_insert(2);
    builder.check(move || {
        counted.fetch_add(1, Relaxed);
        body();
    });
    count.load(Relaxed)
}

fn report(what: &str, executions: usize, least: usize) {
    let mut explored = EXPLORED.lock().expect("nobody panics with it");
    explored.push((what.to_owned(), executions));
    drop(explored);
    let deep = std::env::var_os("LOOM_MAX_PREEMPTIONS").is_some();
    assert!(
        deep || executions >= least,
        "{what}: {executions} executions, of {least}"
    );
}

/// What is known of the number of executions and steps is known of the bound that nobody chose.
fn is_bound_chosen() -> bool {
    std::env::var_os("LOOM_MAX_PREEMPTIONS").is_some()
}

/// Checks one model, which has at least so many executions.
pub(crate) fn check(name: &str, least: usize, body: impl Fn() + Send + Sync + 'static) {
    report(name, explore(body), least);
}

/// Checks one model for each step k at which its victim can be killed, from 0 until the victim comes
/// to its end in every execution. The body returns whether it was killed.
pub(crate) fn sweep(name: &str, steps: u32, least: usize, body: fn(u32) -> bool) {
    let mut executions = 0;
    for k in 0.. {
        let killed = std::sync::Arc::new(AtomicU64::new(0));
        let kills = std::sync::Arc::clone(&killed);
        executions += explore(move || {
            kills.fetch_add(body(k).into(), Relaxed);
        });
        if killed.load(Relaxed) == 0 {
            assert!(
                k == steps || is_bound_chosen(),
                "{name}: {k} steps, of {steps}"
            );
            break;
        }
    }
    report(&format!("{name}, {steps} steps"), executions, least);
}

/// Checks one model for one step at which its victim is killed, in some executions at least: where the
/// other steps are another model's, and too much for this one.
pub(crate) fn kill_at(name: &str, k: u32, least: usize, body: fn(u32) -> bool) {
    let killed = std::sync::Arc::new(AtomicU64::new(0));
    let kills = std::sync::Arc::clone(&killed);
    let executions = explore(move || {
        kills.fetch_add(body(k).into(), Relaxed);
    });
    assert!(killed.load(Relaxed) > 0, "{name}: there is no step {k}");
    report(&format!("{name}, step {k}"), executions, least);
}

/// Runs the models, as libtest would, and sums up.
pub(crate) fn run(models: &[Model]) -> ! {
    let trials = models.iter().map(|&(name, model)| {
        let body = move || {
            model(name);
            Ok(())
        };
        Trial::test(name, body)
    });
    let arguments = Arguments::from_args();
    let conclusion = libtest_mimic::run(&arguments, trials.collect());
    let explored = EXPLORED.lock().expect("nobody panics with it");
    for (what, executions) in &*explored {
        println!("  {executions:>9}  {what}");
    }
    let executions: usize = explored.iter().map(|(_, executions)| executions).sum();
    println!("loom: {} models, {executions} executions", explored.len());
    conclusion.exit()
}
