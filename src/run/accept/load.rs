//! `Load`: what a worker has begun and not ended, counted so that it cannot be miscounted.
//!
//! ```text
//!             ┌──────────── Load ────────────┐
//!   accept ──►│ connections ≤ most │ works   │◄── begin
//!             └──────▲─────────────────▲─────┘
//!      Connection ───┘          Work ──┘         each takes itself off when it is dropped
//! ```
//!
//! A worker that drains is done when both counts are 0. A count too many would keep it for ever, and
//! one too few would cut somebody off: so nobody counts by hand. A connection is counted for as long
//! as the value that closes its socket lives.
//!
//! # Invariants
//!
//! - There are never more than `most` connections, and each is counted once, whatever is done with
//!   it (test `a_load_counts_what_lives`).

use core::cell::Cell;
use core::fmt;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};

/// How many connections a worker has, and how much other work; for one thread.
///
/// ```
/// use forkmesh::run::Load;
///
/// let load = Load::new(1);
/// let socket = rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::STREAM, None)?;
/// let connection = load.open(socket).unwrap();
/// let flush = load.begin();
/// assert_eq!((load.connections(), load.free(), load.works()), (1, 0, 1));
/// drop((connection, flush));
/// assert!(load.is_idle());
/// # Ok::<(), rustix::io::Errno>(())
/// ```
#[derive(Debug)]
pub struct Load {
    most: u32,
    connections: Cell<u32>,
    works: Cell<u32>,
    /// How many connections have ended; wraps.
    ended: Cell<u32>,
}

/// A connection, and its place in the [`Load`]: dropped, it is closed and free.
#[derive(Debug)]
#[must_use = "dropping it closes the connection"]
pub struct Connection<'l> {
    // Dropped in this order: its number is free before its place is.
    socket: OwnedFd,
    place: ConnectionPlace<'l>,
}

/// A connection's place in the [`Load`]; dropped, it is free.
#[must_use = "the connection counts as ended when this is dropped"]
pub struct ConnectionPlace<'l>(&'l Load);

/// Something that a worker has begun, and ends before it goes; dropped, it is ended.
#[must_use = "dropping it says that the work is done"]
pub struct Work<'l>(&'l Load);

/// There are as many connections as there may be; with the socket of the one that is too many.
#[derive(Debug)]
pub struct NoRoom(pub OwnedFd);

impl Load {
    /// Nothing is begun; `most` connections are allowed at once.
    #[must_use]
    pub const fn new(most: u32) -> Self {
        Self {
            most,
            connections: Cell::new(0),
            works: Cell::new(0),
            ended: Cell::new(0),
        }
    }

    /// Counts a connection that came in another way than by [`Acceptor`](crate::run::Acceptor): as a
    /// message from a sibling, or made by this worker.
    ///
    /// # Errors
    ///
    /// [`NoRoom`], with the socket.
    pub fn open(&self, socket: OwnedFd) -> Result<Connection<'_>, NoRoom> {
        if self.free() == 0 {
            return Err(NoRoom(socket));
        }
        self.connections.set(self.connections.get() + 1);
        let place = ConnectionPlace(self);
        Ok(Connection { socket, place })
    }

    /// Begins something that the worker ends before it goes: a log to be flushed, a request to
    /// somebody else. It is not limited.
    pub fn begin(&self) -> Work<'_> {
        self.works.set(self.works.get() + 1);
        Work(self)
    }

    /// How many connections there may be.
    #[must_use]
    pub const fn most(&self) -> u32 {
        self.most
    }

    /// How many connections there are.
    #[must_use]
    pub fn connections(&self) -> u32 {
        self.connections.get()
    }

    /// How many more there may be.
    #[must_use]
    pub fn free(&self) -> u32 {
        self.most - self.connections.get()
    }

    /// How much other work is begun.
    #[must_use]
    pub fn works(&self) -> u32 {
        self.works.get()
    }

    /// Whether there is no connection and no work.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.connections.get() == 0 && self.works.get() == 0
    }

    /// Changes whenever a connection ends.
    pub(in crate::run) fn ended(&self) -> u32 {
        self.ended.get()
    }
}

impl<'l> Connection<'l> {
    /// The socket by itself, for a type that wants to own it, and the place, which then ends when it
    /// is dropped: keep them together.
    pub fn into_parts(self) -> (OwnedFd, ConnectionPlace<'l>) {
        (self.socket, self.place)
    }
}

impl AsFd for Connection<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Drop for ConnectionPlace<'_> {
    fn drop(&mut self) {
        let Load {
            connections, ended, ..
        } = self.0;
        connections.set(connections.get() - 1);
        ended.set(ended.get().wrapping_add(1));
    }
}

impl Drop for Work<'_> {
    fn drop(&mut self) {
        self.0.works.set(self.0.works.get() - 1);
    }
}

impl fmt::Debug for ConnectionPlace<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ConnectionPlace")
    }
}

impl fmt::Debug for Work<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Work")
    }
}

impl fmt::Display for NoRoom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("there are as many connections as there may be")
    }
}

impl core::error::Error for NoRoom {}
