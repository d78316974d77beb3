//! `Title`: what `ps` shows of a process, written where its arguments were.
//!
//! ```text
//!   /usr/sbin/served\0-c\0/etc/served.conf\0PATH=/usr/bin\0HOME=/root\0
//!   served: worker 3\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0PATH=/usr/bin\0HOME=/root\0
//!   └─ Title::claim ───────────────────────┘                      │
//!   └─ Title::claim_with_environment ─────────────────────────────┘
//! ```
//!
//! # Invariants
//!
//! - Outside of the room that was claimed nothing changes (test `a_title_leaves_the_environment_alone`).
//! - A title that is too long is cut (tests `a_long_title_is_cut`, `a_title_may_take_the_environment`).
//! - It is not written while another thread could read there (test `a_thread_keeps_the_title`).
//!
//! # Why not the whole room at once, as nginx does it
//!
//! nginx copies the environment to memory that it allocates, and tells libc. Nothing is allocated
//! here, and what a program or its libraries have remembered of the environment cannot be known. So
//! the environment is given up by name only, by who has read all of it that will ever be wanted, and
//! hands its children one of their own.
//!
//! # Example
//!
//! ```
//! use forkmesh::run::Title;
//!
//! // In `main`, before the master; a worker has a copy of the service that this lies in.
//! # fn main() {
//! if let Ok(mut title) = Title::claim() {
//!     let number = 3;
//!     let _ = title.set(format_args!("worker {number}"));
//! }
//! # }
//! ```

use core::ffi::CStr;
use core::fmt;

use rustix::io::Errno;

use crate::channel::{Alone, NotAlone};
use crate::run::text::Text;
use crate::sys::title::{Room, name_thread};

/// The longest title that can be written.
const LONGEST: usize = 1023;
/// How much of a name the kernel keeps.
const LONGEST_NAME: usize = 15;

/// The place of a process's title. Claim it early: the arguments are to be read before.
#[derive(Debug)]
pub struct Title {
    room: Room,
}

/// Why there is no title, or not this one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum TitleError {
    /// Another thread could be reading the arguments.
    NotAlone(NotAlone),
    /// The kernel does not say where the arguments are: ENOENT where there is no /proc, EOPNOTSUPP
    /// where they have no room.
    Unknown(Errno),
}

impl Title {
    /// Claims the room of the arguments. Who asks for them later, by `std::env::args`, finds titles.
    /// Cost: four system calls.
    ///
    /// # Errors
    ///
    /// [`TitleError`].
    pub fn claim() -> Result<Self, TitleError> {
        Self::find(false)
    }

    /// Claims the room of the arguments and of the environment behind them. Who asks for a variable
    /// later, by `std::env::var` or `getenv`, finds none, or rubbish; and so does every program that
    /// is executed with what is left of it.
    ///
    /// # Errors
    ///
    /// [`TitleError`].
    pub fn claim_with_environment() -> Result<Self, TitleError> {
        Self::find(true)
    }

    fn find(environment: bool) -> Result<Self, TitleError> {
        let room = Room::find(environment).map_err(TitleError::Unknown)?;
        Ok(Self { room })
    }

    /// How many bytes are shown, at most.
    #[must_use]
    pub fn most(&self) -> usize {
        self.room.most().min(LONGEST)
    }

    /// Sets what /proc/PID/cmdline shows, cut to [`Title::most`]. Who reads it at that moment may
    /// see some of both. Cost: one system call, to count the threads.
    ///
    /// # Errors
    ///
    /// [`TitleError::NotAlone`], and the title is what it was.
    pub fn set(&mut self, title: impl fmt::Display) -> Result<(), TitleError> {
        Alone::verify().map_err(TitleError::NotAlone)?;
        let text = Text::<LONGEST>::of(title);
        self.room.write(text.as_bytes());
        Ok(())
    }

    /// Sets what /proc/PID/comm shows, and `ps -e` and `pgrep` go by: 15 bytes, of the calling thread.
    /// Cost: one system call.
    ///
    /// # Errors
    ///
    /// That of prctl(2): a filter may refuse it.
    pub fn set_name(name: impl fmt::Display) -> Result<(), Errno> {
        let text = Text::<{ LONGEST_NAME + 1 }>::of(name).ended_by(LONGEST_NAME, 0);
        let name = CStr::from_bytes_until_nul(text.as_bytes());
        name_thread(name.unwrap_or_default())
    }
}

impl fmt::Display for TitleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAlone(why) => write!(f, "the title cannot be written: {why}"),
            Self::Unknown(errno) => write!(f, "there is no room for a title: {errno}"),
        }
    }
}

impl core::error::Error for TitleError {}
