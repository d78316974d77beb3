//! Another process, that is no child of ours: how to hold on to it, and what it holds.

use core::ffi::CStr;
use core::fmt::Write;
use core::mem::MaybeUninit;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, Mode, OFlags, RawDir, open, openat, readlinkat_raw, statat};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::sys::file::{self, Identity};
use crate::sys::process;

/// A pidfd of the process that has this pid now.
pub(crate) fn hold(pid: i32) -> Result<OwnedFd, Errno> {
    let pid = Pid::from_raw(pid.max(0)).ok_or(Errno::SRCH)?;
    pidfd_open(pid, PidfdFlags::empty())
}

/// Waits for the end of a process, this long at the most, and says whether it came.
pub(crate) fn is_gone(pidfd: impl AsFd, timeout_ms: u32) -> bool {
    let timeout = Timespec {
        tv_sec: (timeout_ms / 1_000).into(),
        tv_nsec: (timeout_ms % 1_000 * 1_000_000).into(),
    };
    let mut waiting = [PollFd::new(&pidfd, PollFlags::IN)];
    matches!(poll(&mut waiting, Some(&timeout)), Ok(1..))
}

/// When a process was started, in ticks since the machine was: what tells it from every other that
/// has had its pid.
pub(crate) fn start_time(pid: i32) -> Result<u64, Errno> {
    let mut path = heapless::Vec::<u8, 32>::new();
    write!(path, "/proc/{pid}/stat\0").map_err(|_| Errno::INVAL)?;
    let path = CStr::from_bytes_until_nul(&path).map_err(|_| Errno::INVAL)?;
    let stat = open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut bytes = [0; 1024];
    let length = file::read_at(stat, &mut bytes, 0)?;
    field_of(&bytes[..length], START_TIME).ok_or(Errno::INVAL)
}

/// One of the numbers that follow the name, which may itself have parentheses.
fn field_of(stat: &[u8], field: usize) -> Option<u64> {
    let after = stat.iter().rposition(|byte| *byte == b')')? + 2;
    let mut fields = core::str::from_utf8(stat.get(after..)?).ok()?.split(' ');
    fields.nth(field)?.parse().ok()
}

/// Field 22 of /proc/PID/stat; the first two lie before the last parenthesis.
const START_TIME: usize = 22 - 3;

/// Whether no thread runs any more of the process that had this pid, and was started at that time (0:
/// at any). Whoever cannot look says no.
pub(crate) fn is_over(pid: i32, start: u64) -> bool {
    let process = match hold(pid) {
        Ok(process) => process,
        Err(errno) => return errno == Errno::SRCH,
    };
    if is_gone(&process, 0) {
        return true;
    }
    // It was this one's: the pid cannot be another's while it has not been reaped, as is asked again.
    match start_time(pid) {
        Ok(found) => start != 0 && found != start,
        Err(_) => is_gone(&process, 0),
    }
}

/// Opens the memory with this name that a process has, for reading, if it is the right one; `None` if
/// it has none.
pub(crate) fn memory_of(
    pid: i32,
    name: &CStr,
    mut is_right: impl FnMut(BorrowedFd<'_>) -> bool,
) -> Result<Option<OwnedFd>, Errno> {
    let mut folder = heapless::Vec::<u8, 32>::new();
    write!(folder, "/proc/{pid}/fd\0").map_err(|_| Errno::INVAL)?;
    let folder = CStr::from_bytes_until_nul(&folder).map_err(|_| Errno::INVAL)?;
    let found = each_descriptor(folder, |folder, number| {
        let mut link = [0; 64];
        // One that is closed meanwhile has no link, and is not looked for.
        let length = readlinkat_raw(folder, number, &mut link).ok()?;
        let link = link.get(..length)?.strip_prefix(b"/memfd:")?;
        if link.strip_prefix(name.to_bytes())? != b" (deleted)" {
            return None;
        }
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        match openat(folder, number, flags, Mode::empty()) {
            Ok(memory) if !is_right(memory.as_fd()) => None,
            opened => Some(opened),
        }
    })?;
    found.transpose()
}

/// Whether this process has the lock of the file that a path names: to open and close that once more
/// would give it up. Where there is no /proc, nobody knows.
pub(crate) fn is_locked_here(path: &CStr) -> Result<bool, Errno> {
    let Some(wanted) = file::identity_at(path)? else {
        return Ok(false);
    };
    let own = process::own_pid();
    let found = each_descriptor(c"/proc/self/fd", |folder, number| {
        let stat = statat(folder, number, AtFlags::empty()).ok()?;
        if Identity::of(&stat) != wanted {
            return None;
        }
        let number = number.to_str().ok()?.parse().ok()?;
        (file::any_holder(number) == Ok(Some(own))).then_some(())
    });
    match found {
        Err(Errno::NOENT) => Ok(false),
        found => Ok(found?.is_some()),
    }
}

/// Looks at each descriptor of a process, until one is what is looked for.
fn each_descriptor<T>(
    folder: &CStr,
    mut look: impl FnMut(BorrowedFd<'_>, &CStr) -> Option<T>,
) -> Result<Option<T>, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = open(folder, flags, Mode::empty())?;
    let mut room = [MaybeUninit::uninit(); 2048];
    let mut entries = RawDir::new(folder.as_fd(), &mut room);
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let found = look(folder.as_fd(), entry.file_name());
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}
