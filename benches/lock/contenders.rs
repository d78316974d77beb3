//! The locks that are compared, in memory that processes share.

use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use forkmesh::sync::{Held, Locked, Member, Mutex, MutexName, Owner, Reading, Roster, RwLock};
use forkmesh::table::{Generation, SlotId, SlotIndex};

use crate::process::{Page, Shared};

/// A lock that can be locked and unlocked in one turn.
pub(crate) trait Contender {
    /// What the row is called.
    const NAME: &'static str;
    /// What one process has of it.
    type Joined<'a>;

    /// Makes the lock, where zeros are not one.
    fn prepare(arena: &Arena);
    /// A process comes in.
    fn join(arena: &Arena, slot: usize) -> Self::Joined<'_>;
    /// Locks, works, and unlocks.
    fn turn(lock: &Self::Joined<'_>, work: impl FnOnce());
}

/// All of them, and the data; zeros, to begin with.
#[repr(C)]
pub(crate) struct Arena {
    plain: Line<AtomicU32>,
    ours: Line<Mutex>,
    pthread: Line<UnsafeCell<libc::pthread_mutex_t>>,
    reading: RwLock<4>,
    pthread_reading: Line<UnsafeCell<libc::pthread_rwlock_t>>,
    slots: Slots,
    data: Line<AtomicU64>,
}

#[repr(C, align(64))]
struct Line<T>(T);

// SAFETY: zeros are a value of each; the locks of pthread's change by atomic operations.
unsafe impl Shared for Arena {}
// SAFETY: what is not made of atomics is used by pthread's functions alone.
unsafe impl Sync for Arena {}

impl Arena {
    /// What is done under the lock: one addition, no locked operation.
    #[inline]
    pub(crate) fn work(&self) {
        let sum = self.data.0.load(Ordering::Relaxed) + 1;
        self.data.0.store(sum, Ordering::Relaxed);
    }
}

/// A futex mutex as in textbooks: 0 free, 1 locked, 2 locked and somebody sleeps. It spins as often as
/// ours does.
pub(crate) struct Plain;

impl Contender for Plain {
    const NAME: &'static str = "plain futex mutex of three states";
    type Joined<'a> = &'a AtomicU32;

    fn prepare(_: &Arena) {}

    fn join(arena: &Arena, _: usize) -> &AtomicU32 {
        &arena.plain.0
    }

    #[inline]
    fn turn(lock: &&AtomicU32, work: impl FnOnce()) {
        let free = lock.compare_exchange(0, 1, Ordering::Acquire, Ordering::Relaxed);
        if free.is_err() {
            wait(lock);
        }
        work();
        if lock.swap(0, Ordering::Release) == 2 {
            futex(lock, libc::FUTEX_WAKE, 1);
        }
    }
}

#[cold]
fn wait(lock: &AtomicU32) {
    for _ in 0..100 {
        let free = lock.load(Ordering::Relaxed) == 0;
        if free
            && lock
                .compare_exchange(0, 1, Ordering::Acquire, Ordering::Relaxed)
                .is_ok()
        {
            return;
        }
        core::hint::spin_loop();
    }
    while lock.swap(2, Ordering::Acquire) != 0 {
        futex(lock, libc::FUTEX_WAIT, 2);
    }
}

fn futex(word: &AtomicU32, operation: i32, value: u32) {
    let nothing = core::ptr::null::<libc::timespec>();
    // SAFETY: the word lives through the call; there is no timeout.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), operation, value, nothing) };
}

/// pthread's robust mutex.
pub(crate) struct Pthread;

impl Contender for Pthread {
    const NAME: &'static str = "pthread mutex, shared, robust";
    type Joined<'a> = *mut libc::pthread_mutex_t;

    fn prepare(arena: &Arena) {
        // SAFETY: attributes are bytes, which may be zero until they are made.
        let mut attributes: libc::pthread_mutexattr_t = unsafe { core::mem::zeroed() };
        let attributes = &raw mut attributes;
        // SAFETY: there is room for attributes.
        let made = unsafe { libc::pthread_mutexattr_init(attributes) };
        // SAFETY: they were made above.
        let shared =
            unsafe { libc::pthread_mutexattr_setpshared(attributes, libc::PTHREAD_PROCESS_SHARED) };
        // SAFETY: likewise.
        let robust =
            unsafe { libc::pthread_mutexattr_setrobust(attributes, libc::PTHREAD_MUTEX_ROBUST) };
        // SAFETY: there is room for a mutex, and nobody uses it yet.
        let mutex = unsafe { libc::pthread_mutex_init(arena.pthread.0.get(), attributes) };
        assert_eq!([made, shared, robust, mutex], [0; 4]);
    }

    fn join(arena: &Arena, _: usize) -> *mut libc::pthread_mutex_t {
        arena.pthread.0.get()
    }

    #[inline]
    fn turn(lock: &*mut libc::pthread_mutex_t, work: impl FnOnce()) {
        // SAFETY: `prepare` made the mutex.
        let locked = unsafe { libc::pthread_mutex_lock(*lock) };
        assert_eq!(locked, 0);
        work();
        // SAFETY: this thread has locked it.
        unsafe { libc::pthread_mutex_unlock(*lock) };
    }
}

/// pthread's reader/writer lock, for reading.
pub(crate) struct PthreadReading;

impl Contender for PthreadReading {
    const NAME: &'static str = "pthread rwlock, shared, reading";
    type Joined<'a> = (*mut libc::pthread_rwlock_t, &'a Arena);

    fn prepare(arena: &Arena) {
        // SAFETY: attributes are bytes, which may be zero until they are made.
        let mut attributes: libc::pthread_rwlockattr_t = unsafe { core::mem::zeroed() };
        let attributes = &raw mut attributes;
        // SAFETY: there is room for attributes.
        let made = unsafe { libc::pthread_rwlockattr_init(attributes) };
        // SAFETY: they were made above.
        let shared = unsafe {
            libc::pthread_rwlockattr_setpshared(attributes, libc::PTHREAD_PROCESS_SHARED)
        };
        // SAFETY: there is room for a lock, and nobody uses it yet.
        let lock = unsafe { libc::pthread_rwlock_init(arena.pthread_reading.0.get(), attributes) };
        assert_eq!([made, shared, lock], [0; 3]);
    }

    fn join(arena: &Arena, _: usize) -> Self::Joined<'_> {
        (arena.pthread_reading.0.get(), arena)
    }

    #[inline]
    fn turn(&(lock, arena): &Self::Joined<'_>, _: impl FnOnce()) {
        // SAFETY: `prepare` made the lock.
        let locked = unsafe { libc::pthread_rwlock_rdlock(lock) };
        assert_eq!(locked, 0);
        core::hint::black_box(arena.data.0.load(Ordering::Relaxed));
        // SAFETY: this thread has locked it.
        unsafe { libc::pthread_rwlock_unlock(lock) };
    }
}

/// Nobody dies.
struct Slots([Held; 2]);

impl Roster for Slots {
    fn is_dead(&self, _: Owner) -> bool {
        false
    }

    fn look_for(&self, _: Owner) -> bool {
        false
    }

    fn held(&self, index: SlotIndex) -> &Held {
        &self.0[index.as_usize()]
    }
}

fn member(arena: &Arena, slot: usize) -> Member<'_> {
    let index = SlotIndex::new(slot).expect("0 or 1");
    Member::new(&arena.slots, SlotId::new(index, Generation::FIRST))
}

const NAME_OF_ALL: MutexName = match MutexName::new(64) {
    Some(name) => name,
    None => unreachable!(),
};

/// forkmesh's mutex.
pub(crate) struct Ours;

impl Contender for Ours {
    const NAME: &'static str = "forkmesh mutex";
    type Joined<'a> = (&'a Mutex, Member<'a>);

    fn prepare(_: &Arena) {}

    fn join(arena: &Arena, slot: usize) -> Self::Joined<'_> {
        (&arena.ours.0, member(arena, slot))
    }

    #[inline]
    fn turn((lock, member): &Self::Joined<'_>, work: impl FnOnce()) {
        match lock.lock(member, NAME_OF_ALL) {
            Ok(Locked::Clean(_guard)) => work(),
            _ => panic!("nobody dies"),
        }
    }
}

/// forkmesh's reader/writer lock, for reading.
pub(crate) struct OursReading;

impl Contender for OursReading {
    const NAME: &'static str = "forkmesh rwlock, reading";
    type Joined<'a> = (&'a Arena, Member<'a>);

    fn prepare(_: &Arena) {}

    fn join(arena: &Arena, slot: usize) -> Self::Joined<'_> {
        (arena, member(arena, slot))
    }

    #[inline]
    fn turn((arena, member): &Self::Joined<'_>, _: impl FnOnce()) {
        match arena.reading.read(member, NAME_OF_ALL) {
            Ok(Reading::Clean(_guard)) => {
                core::hint::black_box(arena.data.0.load(Ordering::Relaxed));
            }
            _ => panic!("nobody dies"),
        }
    }
}

/// A page of them.
pub(crate) fn page() -> Page<Arena> {
    Page::new()
}
