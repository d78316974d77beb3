//! `Listening`: a socket that clients come to, as a worker has it.

use rustix::fd::OwnedFd;

/// A socket that clients come to, as a worker has it.
#[derive(Debug)]
pub struct Listening {
    /// The socket: a copy that is this worker's to close.
    pub socket: OwnedFd,
    /// Which of the addresses that were asked for it is at.
    pub place: u16,
    /// Who else accepts from it.
    pub sharing: Sharing,
}

/// Who else accepts from a socket.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Sharing {
    /// Every worker of the epoch.
    Shared,
    /// Nobody: it is one of a SO_REUSEPORT group, and follows the worker's number.
    Own,
    /// Nobody, and soon nobody at all: it was another worker's, no new client is steered to it, and
    /// those that wait in it are served.
    Adopted,
}
