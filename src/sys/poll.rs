//! epoll: the only place where a process of ours sleeps.

use core::mem::MaybeUninit;

use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;

/// How many readiness events one wait brings.
pub(crate) const BATCH: usize = 64;

/// An epoll instance.
#[derive(Debug)]
pub(crate) struct Poll {
    epoll: OwnedFd,
}

/// Room for the events of one wait.
#[derive(Debug)]
pub(crate) struct Events([MaybeUninit<Event>; BATCH]);

impl Events {
    pub(crate) const fn new() -> Self {
        Self([MaybeUninit::uninit(); BATCH])
    }
}

impl Poll {
    pub(crate) fn new() -> Result<Self, Errno> {
        Ok(Self {
            epoll: epoll::create(CreateFlags::CLOEXEC)?,
        })
    }

    /// Watches a descriptor, level-triggered unless the flags say otherwise.
    pub(crate) fn add(&self, fd: impl AsFd, token: u64, flags: EventFlags) -> Result<(), Errno> {
        epoll::add(&self.epoll, fd, EventData::new_u64(token), flags)
    }

    /// Watches for something else.
    pub(crate) fn modify(&self, fd: impl AsFd, token: u64, flags: EventFlags) -> Result<(), Errno> {
        epoll::modify(&self.epoll, fd, EventData::new_u64(token), flags)
    }

    /// Watches no longer.
    pub(crate) fn remove(&self, fd: impl AsFd) -> Result<(), Errno> {
        epoll::delete(&self.epoll, fd)
    }

    /// Waits, for `timeout_ms` at most if it is `Some`; an interruption by a signal ends the wait
    /// with no event.
    pub(crate) fn wait<'e>(
        &self,
        events: &'e mut Events,
        timeout_ms: Option<u64>,
    ) -> Result<&'e [Event], Errno> {
        let timeout = timeout_ms.map(|ms| Timespec {
            tv_sec: (ms / 1_000).min(i32::MAX as u64 / 1_000 - 1) as _,
            tv_nsec: (ms % 1_000 * 1_000_000) as _,
        });
        match epoll::wait(&self.epoll, &mut events.0, timeout.as_ref()) {
            Ok((ready, _)) => Ok(ready),
            Err(Errno::INTR) => Ok(&[]),
            Err(errno) => Err(errno),
        }
    }

    pub(crate) fn into_fd(self) -> OwnedFd {
        self.epoll
    }
}

/// Whether a descriptor is readable now.
pub(crate) fn is_readable(fd: impl AsFd) -> bool {
    let mut waiting = [PollFd::new(&fd, PollFlags::IN)];
    matches!(poll(&mut waiting, Some(&Timespec::default())), Ok(1..))
}

/// Waits until one of these can be read, for `timeout_ms` at most; which of them can.
pub(crate) fn which_are_readable<const N: usize>(
    fds: [BorrowedFd<'_>; N],
    timeout_ms: u64,
) -> [bool; N] {
    let timeout = Timespec {
        tv_sec: (timeout_ms / 1_000).min(i32::MAX as u64) as _,
        tv_nsec: (timeout_ms % 1_000 * 1_000_000) as _,
    };
    let mut waiting = fds.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN));
    match poll(&mut waiting, Some(&timeout)) {
        Ok(_) => waiting.map(|one| !one.revents().is_empty()),
        Err(_) => [false; N], // interrupted: nothing is known
    }
}

impl AsFd for Poll {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}
