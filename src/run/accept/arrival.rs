//! `Arrival`: what came in at a worker's listeners, or became of one.

use core::fmt;

use rustix::io::Errno;

use crate::run::accept::load::Connection;
use crate::run::listen::Listening;

/// Something that came in at a listener, or became of it.
#[derive(Debug)]
#[non_exhaustive]
pub enum Arrival<'l> {
    /// A client, non-blocking and close-on-exec.
    Connection {
        /// Its connection.
        connection: Connection<'l>,
        /// At which address: [`Listening::place`].
        place: u16,
    },
    /// There are datagrams to be read, from [`Acceptor::socket`](crate::run::Acceptor::socket).
    Datagrams {
        /// Which listener.
        door: Door,
        /// At which address.
        place: u16,
    },
    /// The kernel refuses. For want of descriptors or memory (EMFILE, ENFILE, ENOBUFS, ENOMEM) nothing is
    /// accepted until a connection ends, or for 500 ms; for another reason this listener alone is
    /// left for that long. Said each time.
    Refused {
        /// At which address it was tried.
        place: u16,
        /// Why.
        errno: Errno,
    },
    /// An adopted listener had nobody for a second, and was closed.
    Emptied {
        /// Which address it was at.
        place: u16,
    },
}

/// The name of one listener among a worker's, for as long as it is open.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Door(pub(super) u8);

/// A listener that was not added.
#[derive(Debug)]
pub struct AddError {
    /// The listener.
    pub listening: Listening,
    /// Why it was not.
    pub fault: AddFault,
}

/// Why a listener was not added.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum AddFault {
    /// A worker has 64 listeners at the most.
    TooMany,
    /// It is no socket that listens, or a connected one: the kernel's word.
    Kernel(Errno),
}

impl fmt::Display for AddFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooMany => f.write_str("too many listeners"),
            Self::Kernel(errno) => write!(f, "cannot be listened to: {errno}"),
        }
    }
}

impl fmt::Display for AddError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "listener {}: {}", self.listening.place, self.fault)
    }
}

impl core::error::Error for AddError {}
