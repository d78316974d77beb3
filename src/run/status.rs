//! `Status`: what a master wrote down of itself, read record by record.
//!
//! A record that the master is just writing is read again; it takes the time of copying 64 bytes, and
//! the master has to be running to be amid that. Only one that is kept from the processor with half a
//! record written makes a reader wait, for a millisecond at a time.

use core::fmt;

use rustix::fd::BorrowedFd;
use rustix::io::Errno;

use crate::run::Instance;
use crate::sys::file;
use crate::table::{SLOTS, SlotIndex};
use crate::wire::board::{self, HEADER_SIZE, Header, ROW_SIZE, Row, Unread};

/// How often a torn record is read again at once, and how often after a pause of a millisecond.
const QUICK: u32 = 64;
const PAUSED: u32 = 5_000;
/// How many rows are read by one call.
const TOGETHER: usize = 64;

/// A master's status: the header as it was when this was made, and the rows as they are read.
#[derive(Clone, Copy, Debug)]
pub struct Status<'i> {
    instance: &'i Instance,
    header: Header,
}

/// Every row that was ever written, lowest slot first.
#[derive(Debug)]
pub struct Rows<'i> {
    instance: &'i Instance,
    next: usize,
    read: [[u8; ROW_SIZE]; TOGETHER],
}

/// Why there is no status.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum StatusError {
    /// The process has no board.
    NoBoard,
    /// The process has ended before its board was opened.
    Gone,
    /// The kernel refused: EACCES to another user, ENOENT where there is no /proc.
    Refused(Errno),
    /// What is there cannot be read.
    Unread(Unread),
}

impl<'i> Status<'i> {
    pub(super) fn read(instance: &'i Instance) -> Result<Self, StatusError> {
        let header = read_header(instance.board()?, || instance.pause())?;
        Ok(Self { instance, header })
    }

    /// What is so of the whole master.
    #[must_use]
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// What is so of each slot that was ever used. Cost: one system call for 64 of them.
    #[must_use]
    pub const fn rows(&self) -> Rows<'i> {
        Rows {
            instance: self.instance,
            next: 0,
            read: [[0; ROW_SIZE]; TOGETHER],
        }
    }
}

impl Rows<'_> {
    fn row(&mut self, index: SlotIndex) -> Result<Option<Row>, StatusError> {
        let at = index.as_usize() % TOGETHER;
        if at == 0 {
            let bytes = self.read.as_flattened_mut();
            read(self.instance.board()?, bytes, board::row_offset(index))?;
        }
        let board = self.instance.board()?;
        let pause = || self.instance.pause();
        match Row::decode(&self.read[at]) {
            Err(Unread::Torn) => patiently(pause, || {
                let bytes = record(board, board::row_offset(index))?;
                Row::decode(&bytes).map_err(StatusError::Unread)
            }),
            decoded => decoded.map_err(StatusError::Unread),
        }
    }
}

impl Iterator for Rows<'_> {
    type Item = Result<Row, StatusError>;

    fn next(&mut self) -> Option<Self::Item> {
        while let Some(index) = SlotIndex::new(self.next) {
            self.next += 1;
            match self.row(index) {
                Ok(None) => {}
                Ok(Some(row)) => return Some(Ok(row)),
                Err(why) => {
                    self.next = SLOTS;
                    return Some(Err(why));
                }
            }
        }
        None
    }
}

/// The header of a board.
pub(super) fn read_header(board: BorrowedFd<'_>, pause: impl Fn()) -> Result<Header, StatusError> {
    patiently(pause, || {
        let bytes = record::<HEADER_SIZE>(board, 0)?;
        Header::decode(&bytes).map_err(StatusError::Unread)
    })
}

/// Reads again what is torn.
fn patiently<T>(
    pause: impl Fn(),
    mut read: impl FnMut() -> Result<T, StatusError>,
) -> Result<T, StatusError> {
    let mut tries = 0;
    loop {
        match read() {
            // One that is foreign may be one whose first bytes are just being written.
            Err(StatusError::Unread(Unread::Torn | Unread::Foreign)) if tries < QUICK + PAUSED => {
                if tries >= QUICK {
                    pause();
                }
            }
            done => return done,
        }
        tries += 1;
    }
}

fn record<const SIZE: usize>(
    board: BorrowedFd<'_>,
    offset: usize,
) -> Result<[u8; SIZE], StatusError> {
    let mut bytes = [0; SIZE];
    read(board, &mut bytes, offset)?;
    Ok(bytes)
}

/// What lies behind the end is as if it was never written: a board has all its rows from the start.
fn read(board: BorrowedFd<'_>, bytes: &mut [u8], offset: usize) -> Result<(), StatusError> {
    let length = file::read_at(board, bytes, offset).map_err(StatusError::Refused)?;
    bytes.iter_mut().skip(length).for_each(|byte| *byte = 0);
    Ok(())
}

impl fmt::Display for StatusError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoBoard => f.write_str("the process has no board"),
            Self::Gone => f.write_str("the process has ended"),
            Self::Refused(errno) => write!(f, "the board cannot be opened: {errno}"),
            Self::Unread(why) => why.fmt(f),
        }
    }
}

impl core::error::Error for StatusError {}

static_assertions::const_assert_eq!(SLOTS % TOGETHER, 0);
