//! Away from the terminal: a session of one's own, and something else where the terminal was.

use core::ffi::CStr;

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;
use rustix::process::{setsid, umask};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};

use crate::sys::descriptor::behind_stdio;

const NOTHING: &CStr = c"/dev/null";

/// Begins a session without a terminal. A process that leads a group cannot; a child does not.
pub(crate) fn begin() -> Result<(), Errno> {
    setsid().map(drop)
}

/// What is taken from the mode of every file that is made.
pub(crate) fn mask_modes(mask: u32) {
    let _ = umask(Mode::from_raw_mode(mask)); // the one before
}

/// What reads as nothing, and takes everything.
pub(crate) fn nothing() -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOCTTY;
    open(NOTHING, flags, Mode::empty()).and_then(behind_stdio)
}

/// Standard input and output are this from now on.
pub(crate) fn replace_input_and_output(with: impl AsFd) -> Result<(), Errno> {
    dup2_stdin(&with)?;
    dup2_stdout(with)
}

/// Standard error is this from now on.
pub(crate) fn replace_errors(with: impl AsFd) -> Result<(), Errno> {
    dup2_stderr(with)
}
