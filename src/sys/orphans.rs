//! Orphans: the children of one who did not make them, as PID 1 and a subreaper get them.

use rustix::io::Errno;
use rustix::process::{Pid, WaitId, WaitIdOptions, getpid, set_child_subreaper, waitid};
use syscalls::{Sysno, syscall};

/// A child that has ended, as seen by one who has children that it did not make.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Dead {
    /// One that was not known; it is reaped.
    Orphan(i32),
    /// One that is known; it is not reaped.
    Known(i32),
}

/// The next child that has ended; `None` if there is none. An orphan is reaped here, a known child by
/// [`reap`](super::process::reap): until then it is the answer, and the kernel shows nobody that ended behind it. So: ask
/// again after each answer, and after each known child that was reaped.
///
/// To be asked where nobody else waits for a child: the pid stays its own until it is reaped.
pub(crate) fn next_dead(known: impl Fn(i32) -> bool) -> Option<Dead> {
    let pid = peek()?;
    if known(pid) {
        return Some(Dead::Known(pid));
    }
    let id = WaitId::Pid(Pid::from_raw(pid)?);
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
    matches!(waitid(id, options), Ok(Some(_))).then_some(Dead::Orphan(pid))
}

/// The pid of a child that has ended and stays to be reaped. (rustix's status does not say whose it
/// is.)
fn peek() -> Option<i32> {
    let mut info = [0_u64; SIGINFO_WORDS];
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    // SAFETY: `info` has the size and the alignment of a `siginfo_t` and lives through the call; no
    // usage is asked for.
    let done = unsafe {
        syscall!(
            Sysno::waitid,
            P_ALL,
            0,
            &raw mut info,
            options.bits() as i32,
            0
        )
    };
    done.ok()?;
    // The pid lies behind three ints and four bytes of padding; 0 where nobody has ended.
    let [bytes @ .., _, _, _, _] = info[SI_PID_WORD].to_ne_bytes();
    Some(i32::from_ne_bytes(bytes)).filter(|pid| *pid > 0)
}

/// Makes this process the parent of those whose parent ends among its descendants, as PID 1 is of all.
pub(crate) fn set_subreaper() -> Result<(), Errno> {
    set_child_subreaper(Some(getpid()))
}

const P_ALL: i32 = 0;
const SIGINFO_WORDS: usize = 128 / 8;
const SI_PID_WORD: usize = 2;
