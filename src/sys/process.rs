//! Processes: made by fork, known by pidfd, left by exit_group.
//!
//! ```text
//!   Alone ──fork──┬── Forked::Parent(Process)       pidfd and pid; reaped by `reap`
//!                 └── Forked::Child(Leash) ──run──► exit_group      returns, panics: all the same
//! ```

use core::fmt;
use core::marker::PhantomData;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::stat;
use rustix::io::Errno;
use rustix::process::{
    PidfdFlags, Signal, WaitId, WaitIdOptions, getpid, getppid, pidfd_open, pidfd_send_signal,
    set_parent_process_death_signal, waitid,
};
use syscalls::{Sysno, raw_syscall};

/// The exit code of a child that panicked: Rust's own.
const PANICKED: i32 = 101;

/// The proof that this process has one thread, so that forking it is safe: a child has only the
/// thread that forked, and a lock that another one held stays locked for ever.
///
/// It belongs to the thread that made it. `fork` looks again, so that a thread that was started in
/// the meantime is an error there and not a deadlock in the child.
#[derive(Debug)]
pub struct Alone {
    assumed: bool,
    of_this_thread: PhantomData<*mut ()>,
}

/// Why a fork would not be safe, or cannot be known to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum NotAlone {
    /// The process has this many threads.
    Threads(u32),
    /// /proc/self/task cannot be looked at; see [`Alone::assume`].
    Unknown(Errno),
}

impl Alone {
    /// Counts the threads of this process. Cost: one system call. A thread that was joined a moment
    /// ago may still count: the kernel takes it off its list a little later.
    ///
    /// # Errors
    ///
    /// [`NotAlone`] where there is another thread, or no /proc.
    ///
    /// # Source
    ///
    /// proc_pid_task(5): the link count of the directory is that of a directory plus one a thread.
    pub fn verify() -> Result<Self, NotAlone> {
        let alone = Self {
            assumed: false,
            of_this_thread: PhantomData,
        };
        alone.check().map(|()| alone)
    }

    /// Takes your word for it, where there is no /proc.
    ///
    /// # Safety
    ///
    /// As long as the value lives, no other thread runs in this process.
    #[must_use]
    pub unsafe fn assume() -> Self {
        Self {
            assumed: true,
            of_this_thread: PhantomData,
        }
    }

    /// The same proof once more, for a fork whose child works with whatever the proof lies beside.
    pub(crate) fn lend(&mut self) -> Self {
        Self {
            assumed: self.assumed,
            of_this_thread: PhantomData,
        }
    }

    pub(crate) fn check(&self) -> Result<(), NotAlone> {
        if self.assumed {
            return Ok(());
        }
        let task = stat(c"/proc/self/task").map_err(NotAlone::Unknown)?;
        match (task.st_nlink as u32).saturating_sub(LINKS_OF_A_DIRECTORY) {
            1 => Ok(()),
            threads => Err(NotAlone::Threads(threads)),
        }
    }
}

/// The process that fork made, seen from where one is.
pub(crate) enum Forked {
    Parent(Process),
    Child(Leash),
}

/// A child of this process: its pid, and the pidfd that makes the pid safe to act on.
#[derive(Debug)]
pub struct Process {
    pidfd: OwnedFd,
    pid: i32,
}

/// How a process ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ended {
    Code(u8),
    Killed { signal: u8, core: bool },
}

/// Makes a child, alone in its process as the parent is in its.
pub(crate) fn fork(alone: &mut Alone) -> Result<Forked, ForkError> {
    alone.check().map_err(ForkError::NotAlone)?;
    imp::fork().map_err(ForkError::Refused)
}

/// Why there is no child.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ForkError {
    /// Another thread runs: the child could meet its locks.
    NotAlone(NotAlone),
    /// The kernel refused: EAGAIN for a limit on processes, ENOMEM, EMFILE for the pidfd. ESRCH where
    /// SIGCHLD is ignored and the child has ended before it could be known.
    Refused(Errno),
}

/// What keeps a child inside of its function: it cannot return into the frames of the parent that
/// it has a copy of, nor unwind into them.
#[must_use = "a child that is let go runs on as a second parent"]
pub(crate) struct Leash(());

impl Leash {
    /// For a parent whose child goes on in its place: it is the parent that may not.
    pub(crate) const fn of_parent() -> Self {
        Self(())
    }

    /// The child goes on where its parent was; the parent does not.
    pub(crate) const fn let_go(self) {
        core::mem::forget(self);
    }

    /// Runs the child, and ends the process with the code that it returns, or 101 if it panics.
    pub(crate) fn run(self, child: impl FnOnce() -> u8) -> ! {
        let code = child();
        core::mem::forget(self);
        exit(code.into())
    }
}

impl Drop for Leash {
    fn drop(&mut self) {
        exit(PANICKED);
    }
}

/// Ends the process: no destructor, no atexit handler, no stdio buffer of the parent's runs.
fn exit(code: i32) -> ! {
    loop {
        // SAFETY: the call reads no memory and does not return.
        unsafe { raw_syscall!(Sysno::exit_group, code) };
    }
}

impl Process {
    /// The process id: for printing and comparing. The process is signalled through its pidfd.
    #[must_use]
    pub const fn pid(&self) -> i32 {
        self.pid
    }

    /// A process that somebody else has made, and whose pidfd came from there.
    pub(crate) const fn of(pidfd: OwnedFd, pid: i32) -> Self {
        Self { pidfd, pid }
    }

    pub(crate) fn into_pidfd(self) -> OwnedFd {
        self.pidfd
    }
}

impl AsFd for Process {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

/// Reaps the child behind a pidfd; `None` while it runs.
pub(crate) fn reap(pidfd: BorrowedFd<'_>) -> Result<Option<Ended>, Errno> {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
    let Some(status) = waitid(WaitId::PidFd(pidfd), options)? else {
        return Ok(None);
    };
    Ok(Some(
        match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => Ended::Code(code as u8),
            (None, signal) => Ended::Killed {
                signal: signal.unwrap_or(0) as u8,
                core: status.dumped(),
            },
        },
    ))
}

/// Signals the child behind a pidfd.
pub(crate) fn signal(pidfd: BorrowedFd<'_>, signal: Signal) -> Result<(), Errno> {
    pidfd_send_signal(pidfd, signal)
}

/// Kills a child and reaps it: for one that must not be. Waits for it, which a SIGKILL makes short.
pub(crate) fn end(pidfd: BorrowedFd<'_>) {
    let _ = pidfd_send_signal(pidfd, Signal::KILL);
    while waitid(WaitId::PidFd(pidfd), WaitIdOptions::EXITED).err() == Some(Errno::INTR) {}
}

/// This process.
pub(crate) fn own_pid() -> i32 {
    getpid().as_raw_nonzero().get()
}

/// A pidfd of this process, for its children to watch.
pub(crate) fn own_pidfd() -> Result<OwnedFd, Errno> {
    pidfd_open(getpid(), PidfdFlags::empty())
}

/// Has the kernel kill this process when the one that forked it ends; whether that one still lives.
pub(crate) fn die_with_parent(parent: i32) -> bool {
    let _ = set_parent_process_death_signal(Some(Signal::KILL));
    // It may have ended before it was asked for. (No parent: one in another pid namespace.)
    getppid().is_none_or(|pid| pid.as_raw_nonzero().get() == parent)
}

/// Has the kernel terminate this process, and whatever program it becomes, when the one that forked it
/// ends.
pub(crate) fn terminate_with_parent() {
    let _ = set_parent_process_death_signal(Some(Signal::TERM));
}

/// Has the kernel leave it alone.
pub(crate) fn outlive_parent() {
    let _ = set_parent_process_death_signal(None);
}

/// fork by libc: its handlers run, and what it caches of the process is right in the child.
#[cfg(feature = "std")]
mod imp {
    use super::{Errno, Forked, Leash, PidfdFlags, Process, Signal, pidfd_open};
    use rustix::process::{Pid, WaitOptions, kill_process, waitpid};

    pub(super) fn fork() -> Result<Forked, Errno> {
        // SAFETY: the process has one thread (the caller has checked its `Alone`), so the child may
        // do whatever the parent may; it ends inside of its leash.
        let pid = unsafe { libc::fork() };
        match Pid::from_raw(pid.max(0)) {
            None if pid == 0 => Ok(Forked::Child(Leash(()))),
            None => Err(last_errno()),
            Some(child) => known(child),
        }
    }

    /// The child is ours to reap, so its pid is its own until we do: unless SIGCHLD is ignored and
    /// the child gone already. Then there is nobody to know, and the pid may be somebody else's.
    fn known(child: Pid) -> Result<Forked, Errno> {
        match pidfd_open(child, PidfdFlags::empty()) {
            Ok(pidfd) => Ok(Forked::Parent(Process {
                pidfd,
                pid: child.as_raw_nonzero().get(),
            })),
            Err(Errno::SRCH) => Err(Errno::SRCH),
            Err(errno) => {
                let _ = kill_process(child, Signal::KILL);
                while waitpid(Some(child), WaitOptions::empty()).err() == Some(Errno::INTR) {}
                Err(errno)
            }
        }
    }

    fn last_errno() -> Errno {
        Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::AGAIN)
    }
}

/// fork by the kernel alone, which gives the pidfd with it.
#[cfg(not(feature = "std"))]
mod imp {
    use super::{Errno, Forked, Leash, Process, Signal};
    use crate::sys::errno;
    use rustix::fd::{FromRawFd, OwnedFd, RawFd};
    use syscalls::{Sysno, syscall};

    const CLONE_PIDFD: u64 = 0x1000;

    #[repr(C)]
    struct CloneArgs {
        flags: u64,
        pidfd: u64,
        child_tid: u64,
        parent_tid: u64,
        exit_signal: u64,
        stack: u64,
        stack_size: u64,
        tls: u64,
    }

    pub(super) fn fork() -> Result<Forked, Errno> {
        let mut number: RawFd = -1;
        let args = CloneArgs {
            flags: CLONE_PIDFD,
            pidfd: (&raw mut number).addr() as u64,
            child_tid: 0,
            parent_tid: 0,
            exit_signal: Signal::CHILD.as_raw() as u64,
            stack: 0,
            stack_size: 0,
            tls: 0,
        };
        (&raw mut number).expose_provenance();
        // SAFETY: the process has one thread (the caller has checked its `Alone`). No memory is
        // shared with the child and it goes on with a copy of this stack; it ends inside of its
        // leash. `args` has the size that is named, and `number` lives through the call.
        let pid = unsafe { syscall!(Sysno::clone3, &raw const args, size_of::<CloneArgs>()) };
        match pid.map_err(errno)? {
            0 => Ok(Forked::Child(Leash(()))),
            pid => {
                // SAFETY: the kernel made this descriptor with the child, for us alone.
                let pidfd = unsafe { OwnedFd::from_raw_fd(number) };
                Ok(Forked::Parent(Process {
                    pidfd,
                    pid: pid as i32,
                }))
            }
        }
    }
}

impl fmt::Display for NotAlone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Threads(threads) => write!(f, "the process has {threads} threads"),
            Self::Unknown(errno) => write!(f, "/proc/self/task cannot be read: {errno}"),
        }
    }
}

impl fmt::Display for ForkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAlone(why) => write!(f, "fork is not safe: {why}"),
            Self::Refused(errno) => write!(f, "fork: {errno}"),
        }
    }
}

impl core::error::Error for NotAlone {}
impl core::error::Error for ForkError {}

const LINKS_OF_A_DIRECTORY: u32 = 2;

static_assertions::assert_not_impl_any!(Alone: Send, Sync);
