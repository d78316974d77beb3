//! `Acceptor`: a worker's listeners in its loop, from the first client to the last one that waits.

use heapless::Deque;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::{SocketFlags, accept_with};

use crate::run::accept::arrival::{AddError, AddFault, Arrival, Door};
use crate::run::accept::doors::{Doors, Entrance, FIRST_TOKEN, Kind, MOST};
use crate::run::accept::load::Load;
use crate::run::accept::strategy::Strategy;
use crate::run::listen::Listening;
use crate::run::master::now;
use crate::run::poller::{Poller, Ready};
use crate::table::Instant;

/// How many connections one listener gets in a turn, unless told otherwise.
const BATCH: u8 = 8;
/// How much can have arrived that was not asked for.
const ROOM: usize = 64;
/// How often one listener is asked in a turn; each time its first client may be gone already.
const MOST_TRIES: usize = 128;
/// How many of those that wait at one listener are accepted at the end: as many as any backlog holds,
/// unless the kernel was told to allow more.
const LAST: u32 = 4_096;
/// How long a listener is left alone that the kernel refuses to accept from.
const PAUSE_MS: u64 = 500;

/// A worker's listeners, up to 64: about 5 KiB, and not one allocation.
///
/// [`Loop`](crate::run::Loop) does with it what there is to do. With a loop of one's own, a
/// [`Poller`] is needed, and in each turn: [`prepare`](Acceptor::prepare); wait, and ask of each
/// descriptor that is ready whether the acceptor [`hears`](Acceptor::hears) of it;
/// [`accept`](Acceptor::accept); then [`next`](Acceptor::next) until it says `None`.
///
/// It watches by numbers of its own, from [`Acceptor::FIRST_TOKEN`] on: use lower ones.
#[derive(Debug)]
pub struct Acceptor<'l, S> {
    load: &'l Load,
    strategy: S,
    batch: u8,
    doors: Doors,
    arrivals: Deque<Arrival<'l>, ROOM>,
    /// The kernel has no descriptors, or no memory: until then, or until a connection ends.
    refused: Option<(Instant, u32)>,
    /// Which listener is asked first.
    first: usize,
    drains: bool,
}

/// What came of asking a listener.
enum Asked {
    /// Nobody is left.
    Empty,
    /// There may be somebody: as many as are taken at a time came, or there is no room.
    More,
    /// The kernel has no descriptors, or no memory.
    Refused,
    /// This listener is not what it was.
    Broken,
}

impl<'l, S: Strategy> Acceptor<'l, S> {
    /// The first of the numbers that it watches its listeners by.
    pub const FIRST_TOKEN: u32 = FIRST_TOKEN;

    /// Without listeners; its connections count there.
    #[must_use]
    pub const fn new(load: &'l Load, strategy: S) -> Self {
        Self {
            load,
            strategy,
            batch: BATCH,
            doors: Doors::new(),
            arrivals: Deque::new(),
            refused: None,
            first: 0,
            drains: false,
        }
    }

    /// How many connections one listener gets before other things have their turn: 8 unless told
    /// otherwise, at least 1. nginx's `multi_accept` is 1 or without end.
    #[must_use]
    pub const fn batch(mut self, most: u8) -> Self {
        self.batch = if most == 0 { 1 } else { most };
        self
    }

    /// Accepts from this one, too, from the next turn on. Cost: four system calls.
    ///
    /// # Errors
    ///
    /// [`AddError`], with the listener.
    pub fn add(&mut self, listening: Listening) -> Result<Door, AddError> {
        let refuse = |listening, fault| Err(AddError { listening, fault });
        let Some(index) = self.doors.vacant() else {
            return refuse(listening, AddFault::TooMany);
        };
        match Entrance::kind(&listening) {
            Ok(kind) => {
                let mut entrance = Entrance::new(listening, kind, now(), LAST);
                entrance.is_ready = self.drains;
                self.doors.put(index, entrance);
                Ok(Door(index as u8))
            }
            Err(errno) => refuse(listening, AddFault::Kernel(errno)),
        }
    }

    /// A listener's socket: to read the datagrams from, or to ask for its address. `None` once it is
    /// closed.
    #[must_use]
    pub fn socket(&self, door: Door) -> Option<BorrowedFd<'_>> {
        let entrance = self.doors.at(usize::from(door.0))?;
        Some(entrance.listening.socket.as_fd())
    }

    /// Where its connections count.
    #[must_use]
    pub const fn load(&self) -> &'l Load {
        self.load
    }

    /// Whether every listener is closed: what waited in them when [`drain`](Acceptor::drain) was said
    /// has been accepted.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.drains && self.doors.iter().next().is_none()
    }

    /// Before each wait: watches what is to be watched in it, and says how many milliseconds it may
    /// take; `None` for ever. Cost: nothing, or a system call for each listener that is watched now
    /// and was not before, or the other way round.
    pub fn prepare(&mut self, poller: &Poller) -> Option<u64> {
        let now = now();
        self.look_at_refusal(poller, now);
        let has_room = self.refused.is_none() && self.load.free() > 0;
        let is_open = has_room && !self.drains;
        let shares = is_open && self.doors.iter().any(|door| door.kind == Kind::Shared);
        let may_share = shares && self.strategy.may_accept(self.load);
        let mut wait_ms = match self.refused {
            Some((until, _)) => Some(until.ms_since(now)),
            None if shares => self.strategy.wait_ms(),
            None => None,
        };
        for (index, door) in self.doors.iter_mut() {
            door.left_until = door.left_until.filter(|until| *until > now);
            let wanted = match door.kind {
                Kind::Shared => may_share,
                Kind::Own | Kind::Adopted => is_open,
                Kind::Datagram => !self.drains,
            };
            let wanted = wanted && door.left_until.is_none();
            if let Err(errno) = door.watch(index, wanted, S::WATCHED, poller) {
                door.left_until = Some(now.after_ms(PAUSE_MS));
                let place = door.listening.place;
                // Where there is no room for saying so, it is said next time.
                let _ = self.arrivals.push_back(Arrival::Refused { place, errno });
            }
            let due = door.due(now, has_room);
            let due_ms = due.map(|due| due.ms_since(now));
            wait_ms = wait_ms.into_iter().chain(due_ms).min();
        }
        match self.arrivals.is_empty() {
            true => wait_ms,
            false => Some(0),
        }
    }

    /// Whether this is about one of its listeners, and then nothing for anybody else.
    #[must_use = "what is not the acceptor's is another's"]
    pub fn hears(&mut self, ready: Ready) -> bool {
        let Some(index) = ready.token.checked_sub(FIRST_TOKEN) else {
            return false;
        };
        if let Some(door) = self.doors.at_mut(index as usize) {
            door.is_ready = true;
        }
        true
    }

    /// After each wait: accepts from whatever it has heard of, before anything is served. Then the
    /// accept mutex is free. Cost: one system call a connection; one more where fewer came than are
    /// taken at a time; two where this worker goes to the end of the line ([`Exclusive`](crate::run::Exclusive)).
    pub fn accept(&mut self, poller: &Poller) {
        let now = now();
        for offset in 0..MOST {
            let index = (self.first + offset) % MOST;
            if self.doors.at(index).is_some_and(|door| door.is_ready) {
                self.enter(index, poller, now);
            }
        }
        self.first = (self.first + 1) % MOST;
        self.strategy.accepted(self.load);
    }

    /// The next of what has come in.
    #[allow(clippy::should_implement_trait)] // more comes with the next turn, after `None`
    pub fn next(&mut self) -> Option<Arrival<'l>> {
        self.arrivals.pop_front()
    }

    /// No client is to come any more. Whoever waits already is accepted by the turns that follow, as far
    /// as there is room, 4096 of each listener at most; each listener is closed when nobody is left
    /// in it. Datagrams are announced once more, and their socket is closed in the turn after that.
    pub fn drain(&mut self, poller: &Poller) {
        self.drains = true;
        for (_, door) in self.doors.iter_mut() {
            // In this order: who comes after it is another worker's, and who came before it is seen.
            door.unwatch(poller);
            door.is_ready = true;
        }
    }

    /// A pause is over when its time is, or when a connection has ended. At the end there may be none
    /// that could: then nobody waits for the kernel.
    fn look_at_refusal(&mut self, poller: &Poller, now: Instant) {
        let Some((until, ended)) = self.refused else {
            return;
        };
        if until <= now || self.load.ended() != ended {
            self.refused = None;
        } else if self.drains && self.load.connections() == 0 {
            for index in 0..MOST {
                self.doors.close(index, poller);
            }
        }
    }

    fn enter(&mut self, index: usize, poller: &Poller, now: Instant) {
        let Some(door) = self.doors.at(index) else {
            return;
        };
        if door.kind == Kind::Datagram {
            return self.announce(index, poller);
        }
        if self.refused.is_some() || door.left_until.is_some() {
            return;
        }
        let (asked, came) = self.ask(index, now);
        let Some(door) = self.doors.at_mut(index) else {
            return;
        };
        if self.drains {
            door.left = door.left.saturating_sub(came);
            if door.left == 0 || matches!(asked, Asked::Empty | Asked::Broken) {
                self.doors.close(index, poller);
            }
            return;
        }
        if came > 0 {
            door.empty_since = now;
        } else if matches!(asked, Asked::Empty) && door.is_emptied(now) {
            let place = door.listening.place;
            self.doors.close(index, poller);
            let _ = self.arrivals.push_back(Arrival::Emptied { place });
            return;
        }
        // A watch tells of who is left by itself.
        door.is_ready = matches!(asked, Asked::More) && !door.is_watched;
        door.since_watched += came;
        let is_shared = door.is_watched && door.kind == Kind::Shared;
        if is_shared && self.strategy.is_over(self.load, door.since_watched) {
            door.leave(S::WATCHED, poller); // to the end of the line, which the next turn does
        }
    }

    /// Accepts at one listener, as many as are taken at a time; what came of it, and how many came.
    fn ask(&mut self, index: usize, now: Instant) -> (Asked, u32) {
        let most = match self.drains {
            true => ROOM as u32,
            false => self.batch.into(),
        };
        let mut came = 0;
        for _ in 0..MOST_TRIES {
            // One place is left for what there may be to say.
            let is_full = self.load.free() == 0 || self.arrivals.len() >= ROOM - 1;
            let Some(door) = self.doors.at_mut(index).filter(|_| came < most && !is_full) else {
                break;
            };
            let place = door.listening.place;
            match accept_one(&door.listening.socket) {
                Ok(socket) => {
                    came += 1;
                    if let Ok(connection) = self.load.open(socket) {
                        let arrival = Arrival::Connection { connection, place };
                        let _ = self.arrivals.push_back(arrival);
                    }
                }
                Err(Errno::AGAIN) => return (Asked::Empty, came),
                Err(errno) if is_passing(errno) => {}
                Err(errno) => {
                    let until = now.after_ms(PAUSE_MS);
                    let _ = self.arrivals.push_back(Arrival::Refused { place, errno });
                    if is_want(errno) {
                        self.refused = Some((until, self.load.ended()));
                        return (Asked::Refused, came);
                    }
                    door.left_until = Some(until);
                    return (Asked::Broken, came);
                }
            }
        }
        (Asked::More, came)
    }

    /// Whoever reads them does so before the next turn; at the end, for the last time.
    fn announce(&mut self, index: usize, poller: &Poller) {
        let Some(door) = self.doors.at_mut(index) else {
            return;
        };
        if door.left == 0 {
            self.doors.close(index, poller);
            return;
        }
        let arrival = Arrival::Datagrams {
            door: Door(index as u8),
            place: door.listening.place,
        };
        if self.arrivals.push_back(arrival).is_ok() {
            door.is_ready = self.drains;
            if self.drains {
                door.left = 0;
            }
        }
    }
}

fn accept_one(listener: &OwnedFd) -> Result<OwnedFd, Errno> {
    accept_with(listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC)
}

/// Whether the kernel is short of something: the client stays where it is.
const fn is_want(errno: Errno) -> bool {
    matches!(
        errno,
        Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM
    )
}

/// Whether this is about the client alone: it is gone, or the network that it came by (accept(2)).
const fn is_passing(errno: Errno) -> bool {
    matches!(
        errno,
        Errno::CONNABORTED
            | Errno::INTR
            | Errno::PROTO
            | Errno::NETDOWN
            | Errno::NOPROTOOPT
            | Errno::HOSTDOWN
            | Errno::NONET
            | Errno::HOSTUNREACH
            | Errno::NETUNREACH
    )
}
