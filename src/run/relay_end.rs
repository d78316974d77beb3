//! `RelayEnd`: what a master has of the relay that is its parent, to have its successors launched by.
//!
//! ```text
//!   relay ◄────────────── one socket, whose other end goes from master to master
//!     │ fork, exec                                          ▲ with the HELLO
//!     └────────► successor ◄── HELLO, descriptors, END ── master ── LAUNCH { package, the successor's end } ──► relay
//! ```
//!
//! A program that the relay forks is the relay's child and not the master's: so a master that ends
//! leaves no gap in the chain, and the chain does not grow.

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;

use crate::channel::Process;
use crate::run::Offer;
use crate::run::successor::{LaunchError, Successor, filled, read};
use crate::sys::packed;
use crate::sys::socket::{self, Ancillary};
use crate::table::SlotSet;
use crate::wire::Letter;

/// A master's end of the socket to its relay. It is [`AsFd`]: when that is readable, ask
/// [`RelayEnd::hear`].
#[derive(Debug)]
pub struct RelayEnd {
    end: OwnedFd,
    /// The end of a hand-over whose successor is being launched.
    launching: Option<OwnedFd>,
}

/// What a relay says.
#[derive(Debug)]
#[non_exhaustive]
pub enum FromRelay {
    /// The successor runs, or will say that it could not be executed.
    Launched(Successor),
    /// There is no process.
    NotLaunched(Errno),
    /// The successor has ended, with this code or by this signal.
    Ended {
        /// Its exit code, where no signal ended it.
        code: u8,
        /// The signal that ended it; 0 for none.
        signal: u8,
    },
    /// Something that makes no sense, or was not asked for.
    Odd,
    /// The relay has ended.
    Gone,
}

impl RelayEnd {
    pub(super) const fn new(end: OwnedFd) -> Self {
        Self {
            end,
            launching: None,
        }
    }

    /// Has the relay execute what is offered: as [`Successor::launch`], but for the parent.
    /// [`FromRelay::Launched`] or [`FromRelay::NotLaunched`] follows.
    ///
    /// # Errors
    ///
    /// [`LaunchError`]: EBUSY where a launch is under way.
    pub fn launch(
        &mut self,
        offer: &Offer<'_>,
        slots: &SlotSet,
        mask: u64,
    ) -> Result<(), LaunchError> {
        let program = offer.program.ok_or(LaunchError::NoProgram)?;
        if self.launching.is_some() {
            return Err(LaunchError::Refused(Errno::BUSY));
        }
        let relay = Some(self.end.as_fd());
        let (ours, theirs) = filled(offer, slots, mask, relay).map_err(LaunchError::Refused)?;
        let package = packed::pack(program.path, program.arguments, program.environment);
        let package = package.map_err(LaunchError::Refused)?;
        let letter = Letter::Launch {
            arguments: program.arguments.len() as u32,
            variables: program.environment.len() as u32,
        };
        let bytes = letter.to_bytes();
        let with = [package.as_fd(), theirs.as_fd()];
        socket::send_with(&self.end, bytes.as_bytes(), &with).map_err(LaunchError::Refused)?;
        self.launching = Some(ours);
        Ok(())
    }

    /// The next thing that the relay says; `None` if it says nothing now.
    pub fn hear(&mut self) -> Option<FromRelay> {
        let mut ancillary = Ancillary::new();
        Some(match read(&self.end, &mut ancillary) {
            Ok(Some(letter)) => self.heard(&letter, &mut ancillary),
            Ok(None) => FromRelay::Odd,
            Err(Errno::AGAIN | Errno::INTR) => return None,
            Err(_) => FromRelay::Gone,
        })
    }

    fn heard(&mut self, letter: &Letter, ancillary: &mut Ancillary) -> FromRelay {
        match *letter {
            Letter::Launched(pid) => match (self.launching.take(), ancillary.descriptors.pop()) {
                (Some(ours), Some(pidfd)) => {
                    let process = Process::of(pidfd, pid.as_i32());
                    FromRelay::Launched(Successor::new(process, ours))
                }
                _ => FromRelay::Odd,
            },
            Letter::NotLaunched { errno } if self.launching.take().is_some() => {
                FromRelay::NotLaunched(crate::run::successor::errno(errno).unwrap_or(Errno::IO))
            }
            Letter::Ended { code, signal } => FromRelay::Ended {
                code: code as u8,
                signal: signal as u8,
            },
            _ => FromRelay::Odd,
        }
    }
}

impl AsFd for RelayEnd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.end.as_fd()
    }
}
