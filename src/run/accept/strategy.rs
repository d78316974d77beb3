//! Strategies: how workers that share listeners keep from all running to the same door.
//!
//! | strategy | who is woken | spread | an idle worker |
//! |---|---|---|---|
//! | [`Exclusive`] | one, in turn | even, where workers sleep | sleeps |
//! | [`Own`] | who has the socket | as the kernel hashes | sleeps |
//! | [`Mutexed`] | who has the mutex | whoever is first | looks every 500 ms |

use core::fmt;

use crate::run::accept::load::Load;
use crate::run::poller::Interest;
use crate::sync::{Guard, Locked, Member, Mutex, MutexName, NotLocked};

/// For how long, unless told otherwise, a worker leaves its listeners to its siblings.
const DELAY_MS: u64 = 500;

/// How a worker accepts from what it shares with its siblings: [`Exclusive`], [`Own`] or [`Mutexed`].
///
/// It matters for sockets that are [`Shared`](crate::run::Sharing::Shared) alone. Those of one's own
/// and adopted ones have nobody else, and are accepted from until there is no room at all.
pub trait Strategy: Rule {}

/// What a strategy decides. Nobody outside can have one of their own.
pub trait Rule: fmt::Debug {
    /// How a shared listener is watched.
    #[doc(hidden)]
    const WATCHED: Interest;

    /// Before a wait: whether shared listeners are watched in it.
    #[doc(hidden)]
    fn may_accept(&mut self, load: &Load) -> bool;

    /// How long that wait may take, on the strategy's account.
    #[doc(hidden)]
    fn wait_ms(&self) -> Option<u64>;

    /// What there was to accept has been.
    #[doc(hidden)]
    fn accepted(&mut self, load: &Load);

    /// Whether a listener is to be watched anew, after so many connections since it was watched.
    #[doc(hidden)]
    fn is_over(&self, load: &Load, connections: u32) -> bool;
}

/// Whether fewer than an eighth of the connections are free: nginx's rule for leaving what comes to
/// siblings that have more room.
fn is_pressed(load: &Load) -> bool {
    load.free() < load.most() / 8
}

/// EPOLLEXCLUSIVE: of all who watch a listener, the kernel wakes one that sleeps.
///
/// It wakes always the one that has watched longest, so a worker goes to the end of that line after
/// some connections, and after each if fewer than an eighth of its connections are free. Cost: two system
/// calls each time that it goes to the end of the line.
///
/// Why a worker that is pressed does not leave the listeners alone for a while: all of them may be, and
/// then clients wait for nobody.
#[derive(Clone, Debug)]
pub struct Exclusive {
    turn: u32,
}

impl Exclusive {
    /// Goes to the end of the line whenever it has accepted.
    #[must_use]
    pub const fn new() -> Self {
        Self { turn: 1 }
    }

    /// Goes to the end of the line after this many connections: 1 unless told otherwise, and 16 in
    /// nginx. More cost fewer system calls, and make the spread less even.
    #[must_use]
    pub const fn turn(mut self, connections: u32) -> Self {
        self.turn = connections;
        self
    }
}

impl Default for Exclusive {
    fn default() -> Self {
        Self::new()
    }
}

impl Strategy for Exclusive {}

impl Rule for Exclusive {
    const WATCHED: Interest = Interest::READ.union(Interest::EXCLUSIVE);

    fn may_accept(&mut self, _: &Load) -> bool {
        true
    }

    fn wait_ms(&self) -> Option<u64> {
        None
    }

    fn accepted(&mut self, _: &Load) {}

    fn is_over(&self, load: &Load, connections: u32) -> bool {
        connections >= self.turn || is_pressed(load)
    }
}

/// SO_REUSEPORT: each worker has sockets of its own, and the kernel says which of them a client comes
/// to. A shared one, if it has any, wakes everybody.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Own;

impl Strategy for Own {}

impl Rule for Own {
    const WATCHED: Interest = Interest::READ;

    fn may_accept(&mut self, _: &Load) -> bool {
        true
    }

    fn wait_ms(&self) -> Option<u64> {
        None
    }

    fn accepted(&mut self, _: &Load) {}

    fn is_over(&self, _: &Load, _: u32) -> bool {
        false
    }
}

/// nginx's accept mutex: who has it watches the listeners, in this one wait.
///
/// Who has not looks again after 500 ms at the latest; so an idle worker wakes twice a second, and a
/// client can wait for as long if the one that has the mutex is at work. One that has fewer than an
/// eighth of its connections free leaves the mutex alone for as many turns as it has too few.
///
/// The mutex lies in memory that the workers share. One whose owner was killed is taken over by the
/// next who tries, as soon as the roster says that the owner is dead: it guards no data, so there is
/// nothing to repair. It is unlocked as soon as what waited has been accepted, before any of it is
/// served. Cost: no system call for the mutex; one for each listener when it is won, or lost.
#[derive(Debug)]
pub struct Mutexed<'m> {
    mutex: &'m Mutex,
    member: Member<'m>,
    name: MutexName,
    delay_ms: u64,
    held: Option<Guard<'m>>,
    /// In how many turns it is not tried for.
    passes: u32,
}

impl<'m> Mutexed<'m> {
    /// By this mutex, which has this name, as this member.
    #[must_use]
    pub const fn new(mutex: &'m Mutex, member: Member<'m>, name: MutexName) -> Self {
        Self {
            mutex,
            member,
            name,
            delay_ms: DELAY_MS,
            held: None,
            passes: 0,
        }
    }

    /// After how long it tries again at the latest: 500 ms unless told otherwise; nginx's
    /// `accept_mutex_delay`.
    #[must_use]
    pub const fn delay_ms(mut self, ms: u64) -> Self {
        self.delay_ms = ms;
        self
    }

    fn try_lock(&self) -> Option<Guard<'m>> {
        match self.mutex.try_lock(&self.member, self.name) {
            Ok(Locked::Clean(guard)) => Some(guard),
            Ok(Locked::OwnerDied(torn)) => Some(torn.mark_consistent()),
            // Not by anything here: and there is no data that could be bad.
            Err(NotLocked::Poisoned) => {
                self.mutex.clear_poison();
                None
            }
            Err(_) => None,
        }
    }
}

impl Strategy for Mutexed<'_> {}

impl Rule for Mutexed<'_> {
    const WATCHED: Interest = Interest::READ;

    fn may_accept(&mut self, _: &Load) -> bool {
        if self.passes > 0 {
            self.passes -= 1;
        } else if self.held.is_none() {
            self.held = self.try_lock();
        }
        self.held.is_some()
    }

    fn wait_ms(&self) -> Option<u64> {
        self.held.is_none().then_some(self.delay_ms)
    }

    fn accepted(&mut self, load: &Load) {
        self.held = None;
        if self.passes == 0 {
            self.passes = (load.most() / 8).saturating_sub(load.free());
        }
    }

    fn is_over(&self, _: &Load, _: u32) -> bool {
        false
    }
}
