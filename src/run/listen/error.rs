//! `ListenError`: why a set of listeners cannot be had; and `Tries`, how often that is asked again.

use core::fmt;

use rustix::io::Errno;

use crate::run::listen::address::Address;
use crate::run::listen::asked::Invalid;

/// Why a set of listeners cannot be had: at which address, and what is wrong there. All that was open
/// before is open still, and nothing else.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ListenError {
    /// Where.
    pub address: Address,
    /// What is wrong.
    pub fault: ListenFault,
}

/// What is wrong with one listener.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum ListenFault {
    /// It cannot be had by anybody.
    Invalid(Invalid),
    /// It is asked for twice.
    Duplicate,
    /// There are more listeners, or sockets of theirs, than the set has room for.
    NoRoom,
    /// Somebody else is there: it may be another in a moment. See [`Tries`].
    InUse,
    /// There is a file at the path that is no socket. Nobody touches it.
    NoSocket,
    /// What cannot be changed while it is open: drop it by one reload, and add it by the next.
    Fixed(Fixed),
    /// What was handed over under the name of a listener is none.
    Odd,
    /// The kernel refused a step.
    Refused(ListenStep, Errno),
}

/// What a socket keeps for as long as it is bound.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Fixed {
    /// Whether each worker has a socket of its own.
    PerWorker,
    /// Whether IPv6 is alone.
    V6Only,
}

/// A step on the way to a listener.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum ListenStep {
    /// Making a socket.
    Socket,
    /// An option of it.
    Option,
    /// Binding it.
    Bind,
    /// Listening.
    Listen,
    /// The file of a unix socket: looking at it, its mode, setting a stale one aside.
    File,
    /// Looking at what was handed over.
    Inherited,
}

impl ListenError {
    /// Whether somebody else is at the address, and trying again can help.
    #[must_use]
    pub const fn is_in_use(&self) -> bool {
        matches!(self.fault, ListenFault::InUse)
    }
}

/// How often an address that is in use is tried, and how long one waits before the next time: nginx's
/// five times, 500 ms apart. It counts, and waits for nobody.
///
/// ```
/// use forkmesh::run::Tries;
///
/// let mut tries = Tries::new();
/// let pauses: Vec<u64> = core::iter::from_fn(|| tries.again()).collect();
/// assert_eq!(pauses, [500; 4], "four pauses lie between five times");
/// tries.begin();
/// assert_eq!(tries.again(), Some(500));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Tries {
    most: u16,
    pause_ms: u64,
    done: u16,
}

impl Tries {
    /// Five times, 500 ms apart.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            most: 5,
            pause_ms: 500,
            done: 0,
        }
    }

    /// How often it is tried at the most.
    #[must_use]
    pub const fn most(mut self, times: u16) -> Self {
        self.most = times;
        self
    }

    /// How long one waits before each time but the first.
    #[must_use]
    pub const fn pause_ms(mut self, ms: u64) -> Self {
        self.pause_ms = ms;
        self
    }

    /// It was in use: in how many milliseconds to try again; `None` for not at all.
    pub const fn again(&mut self) -> Option<u64> {
        self.done = self.done.saturating_add(1);
        if self.done < self.most {
            Some(self.pause_ms)
        } else {
            None
        }
    }

    /// Something else is tried, from the first time on.
    pub const fn begin(&mut self) {
        self.done = 0;
    }
}

impl Default for Tries {
    fn default() -> Self {
        Self::new()
    }
}

impl From<Invalid> for ListenFault {
    fn from(invalid: Invalid) -> Self {
        Self::Invalid(invalid)
    }
}

impl fmt::Display for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot listen at {}: {}", self.address, self.fault)
    }
}

impl fmt::Display for ListenFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(invalid) => invalid.fmt(f),
            Self::Duplicate => f.write_str("it is asked for twice"),
            Self::NoRoom => f.write_str("there is no room for so many"),
            Self::InUse => f.write_str("somebody else is there"),
            Self::NoSocket => f.write_str("a file is there that is no socket"),
            Self::Fixed(Fixed::PerWorker) => {
                f.write_str("it is open, and whether it is one for each worker cannot be changed")
            }
            Self::Fixed(Fixed::V6Only) => {
                f.write_str("it is open, and whether it is for IPv6 alone cannot be changed")
            }
            Self::Odd => f.write_str("what was handed over is no such listener"),
            Self::Refused(step, errno) => write!(f, "{step}: {errno}"),
        }
    }
}

impl fmt::Display for ListenStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Socket => "making a socket",
            Self::Option => "setting an option",
            Self::Bind => "binding",
            Self::Listen => "listening",
            Self::File => "the socket's file",
            Self::Inherited => "looking at what was handed over",
        })
    }
}

impl core::error::Error for ListenError {}
impl core::error::Error for ListenFault {}
