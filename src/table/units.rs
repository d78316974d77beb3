//! The two numbers that everything here is said in: a process and a point in time.

use core::fmt;
use core::num::NonZeroI32;

/// A process id: positive. Plain data, good for comparing and printing; a worker is signalled and
/// waited for through its pidfd.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(transparent)]
pub struct Pid(NonZeroI32);

impl Pid {
    /// The pid with this number, unless it is 0 or negative.
    #[must_use]
    pub const fn new(pid: i32) -> Option<Self> {
        match NonZeroI32::new(pid) {
            Some(nonzero) if pid > 0 => Some(Self(nonzero)),
            _ => None,
        }
    }

    /// The number.
    #[must_use]
    pub const fn as_i32(self) -> i32 {
        self.0.get()
    }
}

impl fmt::Display for Pid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// A point in time: milliseconds since an origin that the caller chose once (the shell uses
/// CLOCK_MONOTONIC, rounded down, so that a deadline can come up to a millisecond early). The pure
/// rooms never read a clock: time comes in with each event.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
#[repr(transparent)]
pub struct Instant(u64);

impl Instant {
    /// The origin.
    pub const ORIGIN: Self = Self(0);
    /// A deadline that never comes.
    pub const NEVER: Self = Self(u64::MAX);

    /// This many milliseconds after the origin.
    #[must_use]
    pub const fn from_ms(ms: u64) -> Self {
        Self(ms)
    }

    /// Milliseconds since the origin.
    #[must_use]
    pub const fn as_ms(self) -> u64 {
        self.0
    }

    /// This much later; saturates at [`Instant::NEVER`].
    #[must_use]
    pub const fn after_ms(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// How many milliseconds this lies after `earlier`; 0 if it does not.
    #[must_use]
    pub const fn ms_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}
