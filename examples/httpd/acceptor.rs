//! `Acceptor`: the listener in this worker's loop, in turn with the siblings'.

use core::time::Duration;
use std::time::Instant;

use forkmesh::run::{Interest, Poller};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::SocketFlags;

/// The number of the listener among what is watched.
pub(crate) const TOKEN: u32 = u32::MAX;

/// How long the listener is left alone when there are no descriptors, or no memory.
const PAUSE: Duration = Duration::from_millis(500);

/// The listener, and whether it is watched.
pub(crate) struct Acceptor {
    listener: Option<OwnedFd>,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Watched,
    /// Every connection is in use: one must end first.
    Full,
    /// The kernel refused a descriptor: until then.
    Paused(Instant),
}

impl Acceptor {
    pub(crate) fn new(listener: OwnedFd, poller: &Poller) -> Result<Self, Errno> {
        poller.add(&listener, TOKEN, Interest::READ | Interest::EXCLUSIVE)?;
        Ok(Self {
            listener: Some(listener),
            state: State::Watched,
        })
    }

    /// The next connection, non-blocking; `None` where there is none, or none can be had.
    pub(crate) fn accept(&mut self, poller: &Poller, now: Instant) -> Option<OwnedFd> {
        let listener = self.listener.as_ref()?;
        loop {
            let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
            match rustix::net::accept_with(listener, flags) {
                Ok(socket) => return Some(socket),
                // A sibling was faster.
                Err(Errno::AGAIN) => return None,
                // This client is gone; there may be another.
                Err(Errno::CONNABORTED | Errno::INTR | Errno::PROTO) => {}
                // The connection stays in the queue and the listener readable: watched, it would be
                // reported for ever, and nothing would be left of the CPU.
                Err(_) => {
                    self.leave(poller, State::Paused(now + PAUSE));
                    return None;
                }
            }
        }
    }

    /// Goes to the end of the line of those who wait for a connection.
    ///
    /// Of all epoll instances that watch the listener exclusively the kernel wakes the first whose
    /// worker sleeps, and never changes their order: a lone client would be served by the same
    /// worker always. Watched anew, this one comes last. (An exclusive watch cannot be modified.)
    pub(crate) fn requeue(&mut self, poller: &Poller, now: Instant) {
        if self.state != State::Watched {
            return;
        }
        if let Some(listener) = &self.listener {
            let _ = poller.remove(listener);
            self.watch(poller, now);
        }
    }

    /// There is no room for another connection.
    pub(crate) fn full(&mut self, poller: &Poller) {
        self.leave(poller, State::Full);
    }

    /// A connection has ended.
    pub(crate) fn room(&mut self, poller: &Poller, now: Instant) {
        if self.state == State::Full {
            self.watch(poller, now);
        }
    }

    /// When the loop must come by even if nothing happens.
    pub(crate) fn due(&self) -> Option<Instant> {
        match self.state {
            State::Paused(until) => Some(until),
            _ => None,
        }
    }

    /// Watches again when the pause is over.
    pub(crate) fn tick(&mut self, poller: &Poller, now: Instant) {
        if self.due().is_some_and(|due| due <= now) {
            self.watch(poller, now);
        }
    }

    /// Accepts nothing any more.
    pub(crate) fn close(&mut self, poller: &Poller) {
        // Siblings and the master have copies: closing this one would not end the watch.
        self.leave(poller, State::Full);
        self.listener = None;
    }

    fn watch(&mut self, poller: &Poller, now: Instant) {
        let Some(listener) = &self.listener else {
            return;
        };
        self.state = match poller.add(listener, TOKEN, Interest::READ | Interest::EXCLUSIVE) {
            Ok(()) => State::Watched,
            Err(_) => State::Paused(now + PAUSE),
        };
    }

    fn leave(&mut self, poller: &Poller, state: State) {
        if let (State::Watched, Some(listener)) = (self.state, &self.listener) {
            let _ = poller.remove(listener);
        }
        self.state = state;
    }
}
