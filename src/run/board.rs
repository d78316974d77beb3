//! `Board`: the memory in which a master writes down what it does, for others to read.
//!
//! ```text
//!   master ──pwrite──► memfd "forkmesh-status" ◄──pread── whoever may look into /proc/PID/fd
//! ```
//!
//! The caller says which rows have changed. Why not write those whose bytes differ from what was
//! written last: to know that, each turn would have to make the bytes of every row, 1022 of them, for
//! the one or two that did change, and the caller has just handled the event that changed them.
//!
//! # Why not a mapping
//!
//! A record is to be there as a whole or not at all as soon as can be; and a mapping would be inherited
//! by every worker, which could then write to it by mistake. A descriptor is closed.
//!
//! # Cost
//!
//! One system call a record: 1 to 2.5 µs on a busy machine of two cores. The memory is the kernel's: a page for the header and the
//! first 62 rows, another for each 64 rows that were ever used.

use rustix::fd::OwnedFd;
use rustix::io::Errno;

use crate::machine;
use crate::sys::file;
use crate::table::SlotIndex;
use crate::wire::board::{self, BOARD_SIZE, Header, Row};

/// A board, as its writer has it.
#[derive(Debug)]
pub struct Board {
    memory: OwnedFd,
    /// How many records were written.
    sequence: u32,
}

impl Board {
    /// A board with this header and no row.
    ///
    /// # Errors
    ///
    /// Where the kernel refuses the memory: EMFILE, ENFILE, ENOMEM.
    pub fn new(header: &Header) -> Result<Self, Errno> {
        let memory = file::memory(board::NAME, BOARD_SIZE)?;
        let mut board = Self {
            memory,
            sequence: 0,
        };
        board.write_header(header)?;
        Ok(board)
    }

    /// Writes down what is so of the whole master.
    ///
    /// # Errors
    ///
    /// ENOMEM, where the kernel has no page for it; the record is then what it was.
    pub fn write_header(&mut self, header: &Header) -> Result<(), Errno> {
        let sequence = self.next();
        file::write_at(&self.memory, &header.encode(sequence), 0)
    }

    /// Writes down what is so of the slot in this place.
    ///
    /// # Errors
    ///
    /// As [`Board::write_header`].
    pub fn write_row(&mut self, index: SlotIndex, row: &Row) -> Result<(), Errno> {
        let bytes = row.encode(self.next());
        file::write_at(&self.memory, &bytes, board::row_offset(index))
    }

    /// The descriptor, for a worker to close.
    #[must_use = "what is dropped is closed at once, and not together with others"]
    pub fn renounce(self) -> OwnedFd {
        self.memory
    }

    /// The number of the next write. 0 is that of a record that was never written.
    fn next(&mut self) -> u32 {
        self.sequence = self.sequence.checked_add(1).unwrap_or(1);
        self.sequence
    }
}

impl From<machine::Phase> for board::Phase {
    fn from(phase: machine::Phase) -> Self {
        match phase {
            machine::Phase::Running => Self::Running,
            machine::Phase::Draining => Self::Draining,
            machine::Phase::Stopping => Self::Stopping,
            machine::Phase::Stopped => Self::Stopped,
        }
    }
}

impl From<machine::ExitStatus> for board::Ended {
    fn from(status: machine::ExitStatus) -> Self {
        match status {
            machine::ExitStatus::Code(code) => Self::Code(code),
            machine::ExitStatus::Killed { signal, core } => Self::Killed { signal, core },
        }
    }
}
