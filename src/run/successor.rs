//! `Successor`: the program that is to take over, seen from the master that launched it.
//!
//! ```text
//!   socketpair · HELLO, the descriptors and END are sent, all of them, before there is a reader
//!     │
//!   fork ──┬── parent: Successor { pid, pidfd, its end }          hear: READY · NO ROOM · FAILED · gone
//!          └── child:  its end stays open ─► execve ──┬── the program, which reads what waits for it
//!                                                     └── FAILED { exec, errno } ─► exit 1
//! ```
//!
//! # Invariants
//!
//! - The launch never waits: what is sent fits into the socket, or there is no fork (test
//!   `sixty_four_descriptors_arrive`, `a_group_arrives_in_its_order`).
//! - The old process holds as many descriptors after a successor as before; the new one holds the
//!   standard three, its end, and what it took (tests `a_launch_leaks_nothing`,
//!   `sixty_four_descriptors_arrive`).
//! - A program that cannot be executed says why (tests `a_missing_program_is_told`,
//!   `a_file_that_is_no_program_is_told`), and what was said before an end is heard behind it (test
//!   `last_words_are_heard`).
//! - The signals that are blocked stay blocked through the exec, so that none is lost between two
//!   programs (test `signals_stay_blocked_through_the_exec`).
//!
//! # Why not posix_spawn, or an error pipe
//!
//! The hand-over socket is there anyhow, and its end tells of an exec that failed as well as of one
//! that was never reached. A vfork would stop the master for as long as the exec takes.

use core::ffi::CStr;
use core::fmt::{self, Write};

use heapless::{String, Vec};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;

use crate::channel::{Alone, ForkError, Process};
use crate::run::handover::VARIABLE;
use crate::run::offer::{Offer, Offered, Program};
use crate::sys::process::{self, Forked, Leash};
use crate::sys::socket::{self, Ancillary};
use crate::sys::{descriptor, exec};
use crate::table::{Pid, SlotSet};
use crate::wire::{Hello, LONGEST_LETTER, Letter, MOST_DESCRIPTORS, Name, STAGE_EXEC};

/// The program that is to take over, and the master's end of the socket to it. It is [`AsFd`]: when
/// that is readable, ask [`Successor::hear`] until it says `None`, or that nobody is left.
///
/// When it is dropped, the program hears that its predecessor has gone. It is not ended, and not
/// reaped: see [`Successor::pidfd`].
#[derive(Debug)]
pub struct Successor {
    process: Process,
    socket: OwnedFd,
    odd: u64,
}

/// What a successor says.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Said {
    /// It serves.
    Ready,
    /// It needs more slots than its predecessor leaves it.
    NoRoom {
        /// How many it needs.
        needed: u32,
        /// How many are free.
        free: u32,
    },
    /// The program was not executed.
    ExecFailed(Errno),
    /// It cannot serve.
    Failed {
        /// Which step failed, by the program's own count.
        stage: u32,
        /// The error.
        errno: i32,
    },
    /// Something that makes no sense; it is counted.
    Odd,
    /// It has ended, or closed its end: it will say nothing more.
    Gone,
}

/// Why nothing was launched.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum LaunchError {
    /// The offer names no program.
    NoProgram,
    /// The process could not be made.
    Fork(ForkError),
    /// What is handed over does not fit into a socket: EAGAIN, or ETOOMANYREFS for descriptors. Or
    /// the kernel refused a socket.
    Refused(Errno),
}

impl Successor {
    /// Executes the program that is offered, in a child, with what is offered waiting for it. `slots`
    /// are those that this process uses; `mask` is which signals are to be blocked in whatever runs
    /// with its own signals, bit n - 1 for signal n.
    ///
    /// Whether the program could be executed is told by [`Successor::hear`]. Cost: a fork and about
    /// ten system calls, one more a descriptor; it waits for nothing.
    ///
    /// # Errors
    ///
    /// [`LaunchError`]; no process was made.
    pub fn launch(
        alone: &mut Alone,
        offer: &Offer<'_>,
        slots: &SlotSet,
        mask: u64,
    ) -> Result<Self, LaunchError> {
        let program = offer.program.ok_or(LaunchError::NoProgram)?;
        let (socket, theirs) = filled(offer, slots, mask, None).map_err(LaunchError::Refused)?;
        let variable = Variable::of(&theirs);
        match process::fork(alone).map_err(LaunchError::Fork)? {
            Forked::Child(leash) => become_program(leash, &theirs, || {
                let Program {
                    path,
                    arguments,
                    environment,
                } = program;
                exec::exec(path, arguments, environment, Some(variable.as_c_str()))
            }),
            Forked::Parent(process) => Ok(Self::new(process, socket)),
        }
    }

    pub(super) const fn new(process: Process, socket: OwnedFd) -> Self {
        Self {
            process,
            socket,
            odd: 0,
        }
    }

    pub(super) fn into_parts(self) -> (Process, OwnedFd) {
        (self.process, self.socket)
    }

    /// Its process id.
    ///
    /// # Panics
    ///
    /// Never: what fork returns is a pid.
    #[must_use]
    pub fn pid(&self) -> Pid {
        Pid::new(self.process.pid()).expect("fork returns a pid")
    }

    /// Its process, to be watched, signalled and reaped by.
    #[must_use]
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.process.as_fd()
    }

    /// How often it said what makes no sense.
    #[must_use]
    pub const fn odd(&self) -> u64 {
        self.odd
    }

    /// The next thing that it says; `None` if it says nothing now. Cost: one system call.
    pub fn hear(&mut self) -> Option<Said> {
        let said = match hear(&self.socket) {
            Ok(letter) => letter.map_or(Said::Odd, Said::from),
            Err(Errno::AGAIN | Errno::INTR) => return None,
            Err(_) => Said::Gone,
        };
        self.odd += u64::from(said == Said::Odd);
        Some(said)
    }

    /// Tells it that these slots are used no longer.
    ///
    /// # Errors
    ///
    /// EAGAIN where it does not read what it is told; EPIPE or ECONNRESET where it has gone.
    pub fn tell_freed(&self, slots: &SlotSet) -> Result<(), Errno> {
        tell(&self.socket, &Letter::Freed(slots.clone()))
    }

    /// Tells it that this process stays when it has taken over, and launches whoever comes next.
    ///
    /// # Errors
    ///
    /// As [`Successor::tell_freed`].
    pub fn tell_relays(&self) -> Result<(), Errno> {
        tell(&self.socket, &Letter::Relays)
    }
}

impl AsFd for Successor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// A pair whose second end has everything that is handed over to be read; an end to the relay, where
/// there is one, is handed on.
pub(super) fn filled(
    offer: &Offer<'_>,
    slots: &SlotSet,
    mask: u64,
    relay: Option<BorrowedFd<'_>>,
) -> Result<(OwnedFd, OwnedFd), Errno> {
    let (socket, theirs) = socket::letter_pair()?;
    // Where standard input, output or error is closed, its number must not go to the new program.
    let theirs = descriptor::behind_stdio(theirs)?;
    let hello = Letter::Hello(Hello {
        pid: Pid::new(process::own_pid()).ok_or(Errno::SRCH)?,
        mask,
        slots: slots.clone(),
        descriptors: offer.descriptors.len() as u16,
        relayed: relay.is_some(),
    });
    let own = process::own_pidfd()?;
    match relay {
        Some(relay) => tell_with(&socket, &hello, &[own.as_fd(), relay])?,
        None => tell_with(&socket, &hello, &[own.as_fd()])?,
    }
    for (name, offered) in &offer.descriptors {
        match offered {
            Offered::One(fd) => tell_with(&socket, &Letter::Descriptor(*name), &[*fd])?,
            Offered::Group(group) => tell_group(&socket, *name, group)?,
        }
    }
    tell(&socket, &Letter::End)?;
    Ok((socket, theirs))
}

/// As many letters as its descriptors need.
fn tell_group(socket: &OwnedFd, name: Name, group: &[OwnedFd]) -> Result<(), Errno> {
    let mut more = group.len();
    for part in group.chunks(MOST_DESCRIPTORS) {
        more -= part.len();
        let letter = Letter::Group {
            name,
            count: part.len() as u16,
            more: more as u16,
        };
        let part: Vec<BorrowedFd<'_>, MOST_DESCRIPTORS> = part.iter().map(AsFd::as_fd).collect();
        tell_with(socket, &letter, &part)?;
    }
    Ok(())
}

/// In the child: it is the program, or it says why it is not.
pub(super) fn become_program(leash: Leash, socket: &OwnedFd, exec: impl FnOnce() -> Errno) -> ! {
    leash.run(|| {
        let errno = match descriptor::keep_through_exec(socket) {
            Ok(()) => exec(),
            Err(errno) => errno,
        };
        let failed = Letter::Failed {
            stage: STAGE_EXEC,
            errno: errno.raw_os_error(),
        };
        let _ = tell(socket, &failed);
        NOT_EXECUTED
    })
}

/// `FORKMESH_HANDOVER=` and a number, as a C string.
pub(super) struct Variable(String<32>);

impl Variable {
    pub(super) fn of(socket: &OwnedFd) -> Self {
        let mut text = String::new();
        let written = write!(text, "{VARIABLE}={}\0", socket.as_raw_fd());
        debug_assert!(written.is_ok(), "there is room for the longest number");
        Self(text)
    }

    pub(super) fn as_c_str(&self) -> &CStr {
        CStr::from_bytes_with_nul(self.0.as_bytes()).unwrap_or_default()
    }
}

/// Says something, with no descriptor beside it.
pub(super) fn tell(socket: impl AsFd, letter: &Letter) -> Result<(), Errno> {
    socket::send(socket, letter.to_bytes().as_bytes()).map(drop)
}

/// Says something, with descriptors beside it.
pub(super) fn tell_with(
    socket: impl AsFd,
    letter: &Letter,
    descriptors: &[BorrowedFd<'_>],
) -> Result<(), Errno> {
    socket::send_with(socket, letter.to_bytes().as_bytes(), descriptors).map(drop)
}

/// Hears one letter, and closes what comes beside it; otherwise as [`read`].
pub(super) fn hear(socket: impl AsFd) -> Result<Option<Letter>, Errno> {
    read(socket, &mut Ancillary::new())
}

/// Hears one letter; `Ok(None)` for one that cannot be read, EPIPE where nobody is left.
///
/// Who ends without having read everything resets the connection, which is told once, and before what
/// that one had said last.
pub(super) fn read(socket: impl AsFd, ancillary: &mut Ancillary) -> Result<Option<Letter>, Errno> {
    let mut bytes = [0; LONGEST_LETTER + 1]; // a longer message fills it, and is no letter
    let mut received = socket::receive(&socket, &mut bytes, ancillary);
    if received == Err(Errno::CONNRESET) {
        received = socket::receive(&socket, &mut bytes, ancillary);
    }
    match received? {
        0 => Err(Errno::PIPE),
        length => Ok(Letter::read(&bytes[..length]).ok()),
    }
}

/// An error as it was told; `None` where no error has this number.
pub(super) fn errno(number: i32) -> Option<Errno> {
    (1..=LAST_ERRNO)
        .contains(&number)
        .then(|| Errno::from_raw_os_error(number))
}

impl From<Letter> for Said {
    fn from(letter: Letter) -> Self {
        match letter {
            Letter::Ready => Self::Ready,
            Letter::NoRoom { needed, free } => Self::NoRoom { needed, free },
            Letter::Failed { stage, errno } => match self::errno(errno) {
                Some(errno) if stage == STAGE_EXEC => Self::ExecFailed(errno),
                _ => Self::Failed { stage, errno },
            },
            _ => Self::Odd,
        }
    }
}

impl fmt::Display for LaunchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoProgram => f.write_str("no program is offered"),
            Self::Fork(why) => why.fmt(f),
            Self::Refused(errno) => write!(f, "what is offered cannot be handed over: {errno}"),
        }
    }
}

impl core::error::Error for LaunchError {}

const NOT_EXECUTED: u8 = 1;
/// The kernel's MAX_ERRNO.
const LAST_ERRNO: i32 = 4095;
