//! The kernel, one intent a function. No other room makes a system call.
//!
//! ```text
//!   process      Alone, fork, exit, wait, signal by pidfd      clone3 or libc's fork, waitid, pidfd_*
//!   orphans      children that are not ours by fork            waitid, prctl
//!   packed       a program to execute, in a memfd              memfd_create, write, pread
//!   exec         become another program                        execve
//!   signal       block, default, ignore, wait for              rt_sigprocmask, rt_sigaction, signalfd4
//!   socket       pair, send, receive, with descriptors         socketpair, sendto, sendmsg, recvmsg
//!   listen       bind, listen, steer, recognise                bind, listen, setsockopt, getsockname
//!   poll         wait for many descriptors                     epoll_*
//!   descriptor   close many, move, limits                      close_range, fcntl, prlimit
//!   futex        sleep on a word, wake who sleeps there        futex
//!   file         make, lock, move, remove; named memory        openat, fcntl, renameat2, memfd_create
//!   foreign      another process, and what it holds            pidfd_open, getdents64, readlinkat
//!   identity     user, groups, capabilities                setresuid, setresgid, setgroups, capset, prctl
//!   resources    priority, limits, processors, directory   setpriority, prlimit, sched_setaffinity, chdir
//!   memory       shared mappings, guarded                      mmap, madvise, memfd_create, shmget
//!   title        what ps shows                             memory that the kernel made
//!   environment  what /proc and getenv show                memory that the kernel made
//!   session      away from the terminal                    setsid, umask, dup2
//!   line         a line on standard error, never waiting   pwritev2, poll, write
//!   random       what nobody can guess                     getrandom
//!   clock        milliseconds                                  clock_gettime (no system call: vDSO)
//! ```
//!
//! rustix makes every call that it offers in public. The rest goes through `syscalls`, here and
//! nowhere else, and is the same whether or not rustix has been switched to its libc backend.
//!
//! # Invariants
//!
//! - Every descriptor that is made here is close-on-exec (test `every_descriptor_is_close_on_exec`).
//! - Nothing here blocks but [`poll::Poll::wait`], [`poll::which_are_readable`], [`futex::wait`],
//!   [`foreign::is_gone`], [`random::seed`] before the kernel has gathered enough at boot, and
//!   [`process::end`] for the time that a SIGKILL takes.
//! - Every unsafe operation of this room stands in a block of its own, with its reason above it.
#![allow(unsafe_code)] // system calls are what it is for

pub(crate) mod clock;
pub(crate) mod descriptor;
pub(crate) mod environment;
pub(crate) mod exec;
pub(crate) mod file;
pub(crate) mod foreign;
pub(crate) mod futex;
pub(crate) mod identity;
pub(crate) mod line;
pub(crate) mod listen;
pub(crate) mod memory;
pub(crate) mod orphans;
pub(crate) mod packed;
pub(crate) mod poll;
pub(crate) mod process;
pub(crate) mod random;
pub(crate) mod resources;
pub(crate) mod session;
pub(crate) mod signal;
pub(crate) mod socket;
#[cfg(test)]
mod tests;
pub(crate) mod title;

use rustix::io::Errno;

/// What `syscalls` says, in rustix's terms.
fn errno(error: syscalls::Errno) -> Errno {
    Errno::from_raw_os_error(error.into_raw())
}
