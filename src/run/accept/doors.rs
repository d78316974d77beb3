//! `Doors`: the listeners of one worker, and which of them are watched.

use rustix::fd::AsFd;
use rustix::io::Errno;
use rustix::net::{SocketType, sockopt};

use crate::run::listen::{Listening, Sharing};
use crate::run::poller::{Interest, Poller};
use crate::table::Instant;

/// How many listeners a worker has at the most.
pub(super) const MOST: usize = 64;

/// The first of the numbers by which listeners are watched.
pub(super) const FIRST_TOKEN: u32 = u32::MAX - (MOST as u32 - 1);

/// How long an adopted listener has to be empty.
pub(super) const EMPTY_MS: u64 = 1_000;

/// Who comes to a listener.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// Connections, to every worker.
    Shared,
    /// Connections, to this worker.
    Own,
    /// Connections that another worker left.
    Adopted,
    /// Datagrams.
    Datagram,
}

/// One listener.
#[derive(Debug)]
pub(super) struct Entrance {
    pub(super) listening: Listening,
    pub(super) kind: Kind,
    pub(super) is_watched: bool,
    /// Somebody may wait here.
    pub(super) is_ready: bool,
    /// How many connections came since it was watched.
    pub(super) since_watched: u32,
    /// Of an adopted one: since when nobody came.
    pub(super) empty_since: Instant,
    /// Left alone until then, for a reason of its own.
    pub(super) left_until: Option<Instant>,
    /// At the end, how many more are accepted.
    pub(super) left: u32,
}

/// Up to 64 listeners; one keeps its number for as long as it is open.
#[derive(Debug)]
pub(super) struct Doors([Option<Entrance>; MOST]);

impl Doors {
    pub(super) const fn new() -> Self {
        Self([const { None }; MOST])
    }

    pub(super) fn vacant(&self) -> Option<usize> {
        self.0.iter().position(Option::is_none)
    }

    pub(super) fn put(&mut self, index: usize, entrance: Entrance) {
        self.0[index] = Some(entrance);
    }

    pub(super) fn at(&self, index: usize) -> Option<&Entrance> {
        self.0.get(index)?.as_ref()
    }

    pub(super) fn at_mut(&mut self, index: usize) -> Option<&mut Entrance> {
        self.0.get_mut(index)?.as_mut()
    }

    /// Closes it, watched or not; which address it was at.
    pub(super) fn close(&mut self, index: usize, poller: &Poller) -> Option<u16> {
        let mut entrance = self.0.get_mut(index)?.take()?;
        entrance.unwatch(poller);
        Some(entrance.listening.place)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Entrance> {
        self.0.iter().flatten()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (usize, &mut Entrance)> {
        let entrances = self.0.iter_mut().enumerate();
        entrances.filter_map(|(index, entrance)| Some((index, entrance.as_mut()?)))
    }
}

impl Entrance {
    /// Asks the kernel what it is. It does not block from now on: for all who have a copy.
    pub(super) fn kind(listening: &Listening) -> Result<Kind, Errno> {
        let socket = &listening.socket;
        rustix::io::ioctl_fionbio(socket, true)?;
        let kind = sockopt::socket_type(socket)?;
        if !matches!(kind, SocketType::STREAM | SocketType::SEQPACKET) {
            return Ok(Kind::Datagram);
        }
        if !sockopt::socket_acceptconn(socket)? {
            return Err(Errno::INVAL); // as accept would say
        }
        Ok(match listening.sharing {
            Sharing::Shared => Kind::Shared,
            Sharing::Own => Kind::Own,
            Sharing::Adopted => Kind::Adopted,
        })
    }

    pub(super) fn new(listening: Listening, kind: Kind, now: Instant, left: u32) -> Self {
        Self {
            listening,
            kind,
            is_watched: false,
            is_ready: false,
            since_watched: 0,
            empty_since: now,
            left_until: None,
            left,
        }
    }

    /// Watches, or not; for a shared listener in the strategy's way.
    pub(super) fn watch(
        &mut self,
        index: usize,
        wanted: bool,
        shared: Interest,
        poller: &Poller,
    ) -> Result<(), Errno> {
        if wanted == self.is_watched {
            return Ok(());
        }
        if !wanted {
            self.leave(shared, poller);
            return Ok(());
        }
        let interest = match self.listening.sharing {
            Sharing::Shared => shared,
            Sharing::Own | Sharing::Adopted => Interest::READ,
        };
        let token = FIRST_TOKEN + index as u32;
        poller.add(self.listening.socket.as_fd(), token, interest)?;
        self.is_watched = true;
        self.is_ready = false; // the poller says it, if it is so
        self.since_watched = 0;
        Ok(())
    }

    /// Watches no longer, and remembers to look once more: the kernel may have woken this worker for
    /// somebody who came before that, and then it has woken nobody else.
    pub(super) fn leave(&mut self, shared: Interest, poller: &Poller) {
        self.unwatch(poller);
        self.is_ready |= self.kind == Kind::Shared && shared.contains(Interest::EXCLUSIVE);
    }

    /// When it is to be looked at even though nothing was heard of it. An adopted one is looked at
    /// when nobody came for a second in which somebody could have.
    pub(super) fn due(&mut self, now: Instant, has_room: bool) -> Option<Instant> {
        if self.left_until.is_some() {
            return self.left_until;
        }
        if self.kind == Kind::Datagram {
            return self.is_ready.then_some(now);
        }
        if !has_room {
            self.empty_since = now;
            return None;
        }
        self.is_ready |= self.is_emptied(now);
        if self.is_ready {
            return Some(now);
        }
        let is_adopted = self.kind == Kind::Adopted;
        is_adopted.then(|| self.empty_since.after_ms(EMPTY_MS))
    }

    /// Whether it is adopted, and nobody came for long enough.
    pub(super) fn is_emptied(&self, now: Instant) -> bool {
        self.kind == Kind::Adopted && self.empty_since.after_ms(EMPTY_MS) <= now
    }

    pub(super) fn unwatch(&mut self, poller: &Poller) {
        if self.is_watched {
            // Others have copies: a closed one would stay in the set.
            let _ = poller.remove(&self.listening.socket);
            self.is_watched = false;
        }
    }
}
