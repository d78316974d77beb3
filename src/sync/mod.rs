//! What processes agree by: atomic words that a model can watch, locks whose owners may die, and
//! counters that outlive who counted.
//!
//! ```text
//!                  in shared memory                         in each process
//!
//!   Mutex   ┌───────────────────────────┐        ┌──────────────────────────────────┐
//!           │ who owns · waiters · died │◄───────┤ Member: my id, my row, the roster│
//!           └───────────────────────────┘        └───────┬──────────────────────────┘
//!   Held    ┌───────────────────────────┐                │ writes the name of a lock here
//!   (a slot)│ 8 names of locks          │◄───────────────┘ before it touches the lock
//!           └─────────────▲─────────────┘
//!                         └── recover() reads them, once the slot's process has been reaped
//!
//!   RwLock     a mutex for writers, and a place for each reader, which names it
//!   counters   a line for each slot, which its process alone writes
//! ```
//!
//! Nothing here knows where its words lie: every type that is shared is made of atomics, has a fixed
//! layout, and is valid and idle when its bytes are zero. Whoever maps memory puts them there.
//!
//! Under `cfg(loom)` the words are loom's, sleeping is loom's, and every store counts as an instant
//! at which its process can be killed. Those differences are in this room and in no other.
//!
//! # Invariants
//!
//! - A mutex has one owner, a dead one included until it is known to be dead (models
//!   `two_threads_twice`, `a_slot_is_used_again`).
//! - Who finds [`Locked::OwnerDied`] is told of exactly one death, and every death inside of the
//!   critical section is told (model `killed_at_every_step`).
//! - A kill at any store leaves nobody asleep for ever (models `killed_at_every_step`,
//!   `recovery_is_killed_at_every_step`, `without_a_master`).
//! - Without a master, waiters find the dead by themselves (models `waiters_ask_for_themselves`,
//!   `a_dead_reader_is_asked_after`, `a_dead_writer_is_asked_after`, test
//!   `a_stopped_master_is_not_waited_for`).
//! - The same holds for real processes and real kills (test `kills_at_random_instants`).
//! - No operation is sequentially consistent and none needs to be; every ordering names its partner.
//! - A kill lands between two instructions, and so what counts for what it leaves behind is the
//!   order that the compiler chose. Every store that comes after another one in a protocol is
//!   therefore Release or stronger. loom takes the order of the source for the order of the kill and
//!   cannot see this rule broken; it is kept by reading.
//!
//! # Why not `std::sync`, or a mutex of libc's
//!
//! std's mutex knows of threads, not of processes. A robust process-shared mutex of libc's names
//! its owner by thread id, which is another one in another pid namespace and is reused; it keeps its
//! list of held mutexes in the process that dies, for the kernel to walk; and no model can run it.
#![forbid(unsafe_code)]

mod atomic;
pub mod counters;
mod guard;
mod held;
#[cfg(loom)]
pub mod kill;
#[cfg(not(loom))]
mod kill {
    //! Outside of models nobody is killed by us, and who is killed runs no destructor.

    #[inline(always)]
    pub(super) const fn step() {}

    #[inline(always)]
    pub(super) const fn is_dead() -> bool {
        false
    }
}
mod member;
mod mutex;
mod places;
mod rwguard;
mod rwlock;
mod sleep;
mod word;

pub use atomic::{AtomicU32, AtomicU64, CachePadded, Ordering, fence, spin_hint};
pub use guard::{Guard, Locked, NotLocked, Torn};
pub use held::{Held, MutexName, Robust, Roster, recover};
pub use member::Member;
pub use mutex::Mutex;
pub use rwguard::{ReadGuard, Reading, TornWrite, WriteGuard, Writing};
pub use rwlock::RwLock;
pub use word::Owner;
