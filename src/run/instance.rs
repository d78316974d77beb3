//! `Instance`: a master that runs somewhere, found by its pid file: to ask it for something, and to see
//! what it does.
//!
//! ```text
//!   pid file ──number──► whoever has the lock on it is that process? ──► pidfd ──► still so?
//!                                                                          │
//!      request   signal by pidfd ◄─────────────────────────────────────────┤
//!      status    /proc/PID/fd ──► memfd "forkmesh-status" ──► header, rows ┘
//! ```
//!
//! The master does nothing for a look at its status, so that one that hangs or is stopped can be looked
//! at, too; and the board, once opened, outlives it.
//!
//! # Invariants
//!
//! - Only a living master is found (tests `a_stale_file_finds_nobody`, `only_its_own_master_is_found`).
//! - What is asked is signalled to the process that was found and to no other, whoever has its number
//!   later: the pidfd was opened while the lock was held, which was looked at again after that.
//! - The status of a master that is stopped or gone can be read (tests
//!   `the_status_of_a_stopped_process`, `a_board_outlives_its_master`).
//! - Whoever asks for a reload learns what came of it (test `the_outcome_of_a_reload`).
//!
//! # Why not a socket
//!
//! A control socket needs a path, permissions, a protocol, and a master that answers: the one that
//! hangs is the one that is looked at.
//!
//! # Example
//!
//! ```no_run
//! use forkmesh::run::{Answer, Instance, Request};
//!
//! let instance = Instance::find("/run/service.pid")?;
//! let asked = instance.request(Request::Reload).expect("it runs, and it is ours to ask");
//! match instance.wait(asked, 30_000)? {
//!     Answer::Done => println!("reloaded"),
//!     Answer::Failed { why, .. } => println!("everything is as it was: {why}"),
//!     Answer::Ended => println!("it is gone"),
//! }
//! let status = instance.status()?;
//! println!("configuration {}", status.header().serving);
//! for row in status.rows() {
//!     println!("{:?}", row?);
//! }
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```

use core::cell::OnceCell;
use core::ffi::CStr;
use core::fmt;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::path::Arg;
use rustix::process::Signal;

use crate::run::status::{self, Status, StatusError};
use crate::sys::{clock, file, foreign, process};
use crate::table::Pid;
use crate::wire::board::{self, Outcome, Tally};

/// How long a wait for an outcome lasts between two looks at the board.
const LOOK_MS: u64 = 5;
/// How often a pid file is looked at that changes hands all the time.
const ATTEMPTS: u32 = 1_000;

/// A running master. It is readable ([`AsFd`]) when that has ended.
#[derive(Debug)]
pub struct Instance {
    pid: Pid,
    pidfd: OwnedFd,
    /// Kept, once it was opened: it can be read for as long as it is.
    board: OnceCell<OwnedFd>,
}

/// What a master can be asked for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Request {
    /// End fast: SIGTERM.
    Stop,
    /// End gracefully: SIGQUIT.
    Quit,
    /// Put another configuration in force: SIGHUP.
    Reload,
    /// Open log files anew: SIGUSR1.
    Reopen,
    /// Have another program take over: SIGUSR2.
    Upgrade,
    /// End the workers, and stay: SIGWINCH.
    Rest,
    /// Have one more worker: SIGTTIN.
    More,
    /// Have one worker less: SIGTTOU.
    Fewer,
}

/// A request that was made, and how things stood before it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Asked {
    request: Request,
    before: Result<Option<Tally>, StatusError>,
}

/// What came of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer {
    /// It was done.
    Done,
    /// It failed, and everything is as it was.
    Failed {
        /// Why, by number: [`Reason`](super::Reason) has the words.
        why: u8,
        /// What belongs to it.
        detail: i32,
    },
    /// The process has ended: what was asked for by [`Request::Stop`] and [`Request::Quit`].
    Ended,
}

/// Why nobody was found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum FindError {
    /// The path is too long, or has a NUL in it.
    BadPath,
    /// There is no such file: no master runs, or it is being upgraded this moment.
    NoPidFile,
    /// What is there is no pid file.
    Garbled,
    /// The process of this file is dead.
    NotRunning {
        /// Which one it was.
        pid: Pid,
    },
    /// Another process has the file than the one that it names: another pid namespace's, or it is not a
    /// pid file of ours.
    Disagrees {
        /// The number in it.
        written: Pid,
        /// Who has the lock; `None` for a process that cannot be named here.
        holder: Option<Pid>,
    },
    /// This process itself has the file, and to read it would give up the lock.
    Oneself,
    /// The file changed hands a thousand times.
    Contended,
    /// The kernel refused to open the file, to look at its lock, or to make a pidfd.
    Refused(Errno),
}

/// Why the outcome of a request is not known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum WaitError {
    /// It took too long.
    TimedOut,
    /// What was asked for has no outcome that is written down.
    Unanswered,
    /// There is no status to see it in.
    Status(StatusError),
}

impl Instance {
    /// Finds the master that has this pid file. During an upgrade the old one has a file whose name
    /// ends in `.oldbin`.
    ///
    /// Cost: about ten system calls, and one for each descriptor that is open.
    ///
    /// # Errors
    ///
    /// [`FindError`].
    pub fn find(pid_file: impl Arg) -> Result<Self, FindError> {
        let found = pid_file.into_with_c_str(|path| Ok(Self::find_at(path)));
        found.unwrap_or(Err(FindError::BadPath))
    }

    fn find_at(path: &CStr) -> Result<Self, FindError> {
        for _ in 0..ATTEMPTS {
            if let Some(instance) = Self::look(path)? {
                return Ok(instance);
            }
        }
        Err(FindError::Contended)
    }

    /// `None` where things changed in between.
    fn look(path: &CStr) -> Result<Option<Self>, FindError> {
        if foreign::is_locked_here(path).map_err(FindError::Refused)? {
            return Err(FindError::Oneself);
        }
        let file = match file::open_to_read(path) {
            Err(Errno::NOENT) => return Err(FindError::NoPidFile),
            opened => opened.map_err(FindError::Refused)?,
        };
        let written = read_pid(&file)?;
        match file::holder(&file).map_err(FindError::Refused)? {
            None => return Err(FindError::NotRunning { pid: written }),
            Some(pid) if pid == written.as_i32() => {}
            Some(pid) => {
                let holder = Pid::new(pid);
                return Err(FindError::Disagrees { written, holder });
            }
        }
        let pidfd = match foreign::hold(written.as_i32()) {
            Err(Errno::SRCH) => return Ok(None),
            opened => opened.map_err(FindError::Refused)?,
        };
        let holder = file::holder(&file).map_err(FindError::Refused)?;
        let is_there = file::is_at(&file, path).map_err(FindError::Refused)?;
        Ok(
            (holder == Some(written.as_i32()) && is_there).then_some(Self {
                pid: written,
                pidfd,
                board: OnceCell::new(),
            }),
        )
    }

    /// The process id: for printing and comparing.
    #[must_use]
    pub const fn pid(&self) -> Pid {
        self.pid
    }

    /// Whether the process has ended.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        foreign::is_gone(&self.pidfd, 0)
    }

    /// Asks for something. What came of it is known by [`Instance::wait`]. Cost: one system call; two
    /// more for what has an outcome, and when the board is opened first.
    ///
    /// # Errors
    ///
    /// ESRCH where the process has ended; EPERM.
    pub fn request(&self, request: Request) -> Result<Asked, Errno> {
        let before = self.tally(request);
        process::signal(self.pidfd.as_fd(), request.signal())?;
        Ok(Asked { request, before })
    }

    /// Waits until it is known what came of a request, for `timeout_ms` at most. Of two requests for
    /// the same, made at the same time, each may be told what came of the other.
    ///
    /// # Errors
    ///
    /// [`WaitError`].
    pub fn wait(&self, asked: Asked, timeout_ms: u64) -> Result<Answer, WaitError> {
        let before = asked.before.map_err(WaitError::Status)?;
        let ends = matches!(asked.request, Request::Stop | Request::Quit);
        if before.is_none() && !ends {
            return Err(WaitError::Unanswered);
        }
        let deadline = clock::now_ms().saturating_add(timeout_ms);
        loop {
            let left = deadline.saturating_sub(clock::now_ms());
            let gone = foreign::is_gone(&self.pidfd, left.min(LOOK_MS) as u32);
            // What was written before the end can still be read after it.
            if let Some(before) = before {
                let now = self.tally(asked.request).map_err(WaitError::Status)?;
                if let Some(answer) = now.and_then(|now| answer(&before, &now)) {
                    return Ok(answer);
                }
            }
            if gone {
                return Ok(Answer::Ended);
            }
            if left == 0 {
                return Err(WaitError::TimedOut);
            }
        }
    }

    /// What the master does, as it wrote that down last. The first look finds the board among the
    /// master's descriptors; it wants to be the same user, or root.
    ///
    /// # Errors
    ///
    /// [`StatusError`].
    pub fn status(&self) -> Result<Status<'_>, StatusError> {
        Status::read(self)
    }

    /// The board, which is opened by the first who asks.
    pub(super) fn board(&self) -> Result<BorrowedFd<'_>, StatusError> {
        if let Some(board) = self.board.get() {
            return Ok(board.as_fd());
        }
        // It can have inherited another master's, too.
        let found = foreign::memory_of(self.pid.as_i32(), board::NAME, |memory| {
            let header = status::read_header(memory, || self.pause());
            !matches!(header, Ok(header) if header.pid != self.pid)
        });
        // As long as it has not ended, its number is not another's.
        if foreign::is_gone(&self.pidfd, 0) {
            return Err(StatusError::Gone);
        }
        let found = found.map_err(StatusError::Refused)?;
        let found = found.ok_or(StatusError::NoBoard)?;
        Ok(self.board.get_or_init(|| found).as_fd())
    }

    /// Gives way to the master for a moment.
    pub(super) fn pause(&self) {
        foreign::is_gone(&self.pidfd, 1);
    }

    /// How what is asked for went so far; `None` for what has no outcome.
    fn tally(&self, request: Request) -> Result<Option<Tally>, StatusError> {
        let tally = |of: fn(&board::Header) -> Tally| Ok(Some(of(self.status()?.header())));
        match request {
            Request::Reload => tally(|header| header.reloads),
            Request::Upgrade => tally(|header| header.upgrades),
            _ => Ok(None),
        }
    }
}

/// What happened between two looks. Counts wrap, one day.
fn answer(before: &Tally, now: &Tally) -> Option<Answer> {
    if (before.done, before.failed) == (now.done, now.failed) {
        return None;
    }
    match now.last {
        Some(Outcome::Done) => Some(Answer::Done),
        Some(Outcome::Failed { why, detail }) => Some(Answer::Failed { why, detail }),
        None => None,
    }
}

/// The number in a pid file.
fn read_pid(file: &OwnedFd) -> Result<Pid, FindError> {
    let mut bytes = [0; 16];
    let length = match file::read_at(file, &mut bytes, 0) {
        Err(Errno::ISDIR | Errno::SPIPE) => return Err(FindError::Garbled),
        read => read.map_err(FindError::Refused)?,
    };
    let text = bytes
        .get(..length)
        .and_then(|bytes| bytes.strip_suffix(b"\n"));
    let text = text.and_then(|text| core::str::from_utf8(text).ok());
    let pid = text.and_then(|text| Pid::new(text.parse().ok()?));
    pid.ok_or(FindError::Garbled)
}

impl Request {
    /// The request that nginx's `-s` calls so, and `upgrade`.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "stop" => Self::Stop,
            "quit" => Self::Quit,
            "reload" => Self::Reload,
            "reopen" => Self::Reopen,
            "upgrade" => Self::Upgrade,
            _ => return None,
        })
    }

    const fn signal(self) -> Signal {
        match self {
            Self::Stop => Signal::TERM,
            Self::Quit => Signal::QUIT,
            Self::Reload => Signal::HUP,
            Self::Reopen => Signal::USR1,
            Self::Upgrade => Signal::USR2,
            Self::Rest => Signal::WINCH,
            Self::More => Signal::TTIN,
            Self::Fewer => Signal::TTOU,
        }
    }
}

impl AsFd for Instance {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

impl fmt::Display for FindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadPath => f.write_str("the path is too long, or has a NUL in it"),
            Self::NoPidFile => f.write_str("there is no pid file"),
            Self::Garbled => f.write_str("this is no pid file"),
            Self::NotRunning { pid } => write!(f, "process {pid} is not running any more"),
            Self::Disagrees {
                written,
                holder: Some(holder),
            } => write!(f, "the pid file of {written} is held by {holder}"),
            Self::Disagrees {
                written,
                holder: None,
            } => write!(f, "the pid file of {written} is held elsewhere"),
            Self::Oneself => f.write_str("the pid file is this process's own"),
            Self::Contended => f.write_str("the pid file changes hands all the time"),
            Self::Refused(errno) => write!(f, "cannot look at the pid file: {errno}"),
        }
    }
}

impl fmt::Display for WaitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimedOut => f.write_str("nothing came of it in time"),
            Self::Unanswered => f.write_str("what comes of it is not written down"),
            Self::Status(why) => write!(f, "the outcome cannot be seen: {why}"),
        }
    }
}

impl core::error::Error for FindError {}
impl core::error::Error for WaitError {}
