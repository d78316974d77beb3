//! `Offer`: what an upgrade runs, and what it hands over.

use core::ffi::CStr;
use core::fmt;

use heapless::Vec;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::wire::{MOST_GROUPED, MOST_NAMED, MOST_PASSED, Name};

/// A service has no wish to do what it was asked: nothing changes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Refused;

/// The program that takes over, and the descriptors that it gets, by name: up to 64
/// names, and 2048 descriptors. It borrows all of it, and is about 8 KiB.
///
/// # Example
///
/// ```
/// use forkmesh::run::{Offer, OfferError};
///
/// # fn main() -> Result<(), OfferError> {
/// let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
/// # #[cfg(feature = "std")] {
/// let mut offer = Offer::new();
/// offer.program(c"/usr/sbin/served", &[c"served", c"-q"], &[c"PATH=/usr/bin:/bin"])?;
/// offer.descriptor("http", &listener)?;
/// # }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Offer<'s> {
    pub(super) program: Option<Program<'s>>,
    pub(super) descriptors: Vec<(Name, Offered<'s>), MOST_NAMED>,
}

/// What one name stands for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Offered<'s> {
    One(BorrowedFd<'s>),
    /// At least one, and 1022 at the most.
    Group(&'s [OwnedFd]),
}

/// What is executed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Program<'s> {
    pub(super) path: &'s CStr,
    pub(super) arguments: &'s [&'s CStr],
    pub(super) environment: &'s [&'s CStr],
}

/// Why something cannot be offered; the offer is what it was.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum OfferError {
    /// The path does not begin with a slash: what it means would depend on where the master is.
    RelativePath,
    /// There are 64 names, or 2048 descriptors, already.
    TooMany,
    /// A descriptor has this name already.
    Duplicate,
    /// The name has no or more than 107 bytes; it has this many.
    Name(usize),
    /// The group has no or more than 1022 descriptors; it has this many.
    Group(usize),
}

impl Offered<'_> {
    const fn count(&self) -> usize {
        match self {
            Self::One(_) => 1,
            Self::Group(group) => group.len(),
        }
    }
}

impl<'s> Offer<'s> {
    /// Nothing is offered yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            program: None,
            descriptors: Vec::new(),
        }
    }

    /// What to execute: the file at an absolute path, with these arguments, the first of which is
    /// what the program calls itself (its path, where there are none), and these variables, to which
    /// that of the hand-over is added. A second call replaces the first.
    ///
    /// At most 256 arguments and 1024 variables: with more, executing fails with E2BIG.
    ///
    /// # Errors
    ///
    /// [`OfferError::RelativePath`].
    pub const fn program(
        &mut self,
        path: &'s CStr,
        arguments: &'s [&'s CStr],
        environment: &'s [&'s CStr],
    ) -> Result<(), OfferError> {
        let [b'/', ..] = path.to_bytes() else {
            return Err(OfferError::RelativePath);
        };
        self.program = Some(Program {
            path,
            arguments,
            environment,
        });
        Ok(())
    }

    /// A descriptor to hand over, under a name of 1 to 107 bytes by which the successor takes it.
    ///
    /// # Errors
    ///
    /// [`OfferError`], for the 65th descriptor, a name that is in use, and one of no possible length.
    pub fn descriptor(&mut self, name: &str, fd: &'s impl AsFd) -> Result<(), OfferError> {
        self.add(name, Offered::One(fd.as_fd()))
    }

    /// Descriptors to hand over under one name: 1 to 1022, which the successor takes in this order.
    ///
    /// # Errors
    ///
    /// As [`Offer::descriptor`]; [`OfferError::Group`].
    pub fn group(&mut self, name: &str, group: &'s [OwnedFd]) -> Result<(), OfferError> {
        match group.len() {
            1..=MOST_GROUPED => self.add(name, Offered::Group(group)),
            length => Err(OfferError::Group(length)),
        }
    }

    fn add(&mut self, name: &str, offered: Offered<'s>) -> Result<(), OfferError> {
        let name = Name::new(name).ok_or(OfferError::Name(name.len()))?;
        if self.descriptors.iter().any(|(used, _)| *used == name) {
            return Err(OfferError::Duplicate);
        }
        let offers = self.descriptors.iter().map(|(_, offered)| offered.count());
        if offers.sum::<usize>() + offered.count() > MOST_PASSED {
            return Err(OfferError::TooMany);
        }
        let pushed = self.descriptors.push((name, offered));
        pushed.map_err(|_| OfferError::TooMany)
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the service refuses")
    }
}

impl fmt::Display for OfferError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RelativePath => f.write_str("the path of the program is not absolute"),
            Self::TooMany => {
                write!(
                    f,
                    "more than {MOST_NAMED} names or {MOST_PASSED} descriptors"
                )
            }
            Self::Duplicate => f.write_str("a descriptor has this name already"),
            Self::Name(bytes) => write!(f, "the name of a descriptor cannot have {bytes} bytes"),
            Self::Group(count) => write!(f, "a group cannot have {count} descriptors"),
        }
    }
}

impl core::error::Error for Refused {}
impl core::error::Error for OfferError {}
