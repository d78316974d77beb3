//! `Poller`: a small loop for a worker that has none of its own.

use rustix::event::epoll::EventFlags;
use rustix::fd::{AsFd, BorrowedFd};
use rustix::io::Errno;

use crate::run::worker::{Sources, Worker};
use crate::sys::poll::{BATCH, Events, Poll};

bitflags::bitflags! {
    /// What to wait for.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    pub struct Interest: u8 {
        /// There is something to read, or to accept.
        const READ = 1 << 0;
        /// There is room to write.
        const WRITE = 1 << 1;
        /// Of all the workers that wait for the same socket, wake one. For listeners. The kernel
        /// wakes the one that has watched longest: to take turns, remove and add the listener after
        /// accepting. Such a watch cannot be modified (EINVAL).
        const EXCLUSIVE = 1 << 2;
        /// Say it once for each change, and not as long as it is so.
        const EDGE = 1 << 3;
    }
}

/// A descriptor of the user's that is ready.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Ready {
    /// The number that it was added with.
    pub token: u32,
    /// Whether it can be read, or has an error or an end to be read.
    pub readable: bool,
    /// Whether it can be written to, or has an error.
    pub writable: bool,
}

/// What one wait brought: up to 64 descriptors that are ready, in the kernel's order.
#[derive(Clone, Debug)]
pub struct Batch(<heapless::Vec<Ready, BATCH> as IntoIterator>::IntoIter);

impl Iterator for Batch {
    type Item = Ready;

    fn next(&mut self) -> Option<Ready> {
        self.0.next()
    }
}

/// An epoll instance that watches a worker's sources and whatever the user adds.
#[derive(Debug)]
pub struct Poller {
    poll: Poll,
    /// Which of the worker's mesh ends is watched.
    moves: u32,
}

const USER: u64 = 1 << 32;

impl Poller {
    /// A loop that watches this worker's sources.
    ///
    /// # Errors
    ///
    /// EMFILE, ENFILE or ENOMEM for the epoll instance; ENOSPC for a watch.
    pub fn new(worker: &Worker) -> Result<Self, Errno> {
        let poller = Self {
            poll: Poll::new()?,
            moves: worker.moves(),
        };
        for source in Sources::all().iter() {
            poller.watch(worker, source)?;
        }
        Ok(poller)
    }

    fn watch(&self, worker: &Worker, source: Sources) -> Result<(), Errno> {
        match worker.source(source) {
            // Edge-triggered: a copy that another process holds can keep a closed one in the set,
            // and an end that is at its end would be reported for ever.
            Some(fd) => {
                let flags = EventFlags::IN | EventFlags::ET;
                self.poll.add(fd, source.bits().into(), flags)
            }
            None => Ok(()),
        }
    }

    /// Watches a descriptor of the user's.
    ///
    /// # Errors
    ///
    /// EEXIST where it is watched already; ENOSPC, ENOMEM; EPERM for a file that cannot be waited
    /// for.
    pub fn add(&self, fd: impl AsFd, token: u32, interest: Interest) -> Result<(), Errno> {
        self.poll.add(fd, USER | u64::from(token), flags(interest))
    }

    /// Watches for something else, or by another number.
    ///
    /// # Errors
    ///
    /// ENOENT where it is not watched; EINVAL where it is, exclusively.
    pub fn modify(&self, fd: impl AsFd, token: u32, interest: Interest) -> Result<(), Errno> {
        self.poll
            .modify(fd, USER | u64::from(token), flags(interest))
    }

    /// Watches no longer. A descriptor that is closed, and was not shared, needs no removing.
    ///
    /// # Errors
    ///
    /// ENOENT where it is not watched.
    pub fn remove(&self, fd: impl AsFd) -> Result<(), Errno> {
        self.poll.remove(fd)
    }

    /// Waits until something is ready, `most_ms` at the longest or for ever; which of the user's
    /// descriptors are. Afterwards, [`Worker::receive`] until it says `None`.
    ///
    /// # Errors
    ///
    /// ENOSPC or ENOMEM for watching a mesh end that was replaced. epoll has no other reason to fail.
    pub fn wait(&mut self, worker: &mut Worker, most_ms: Option<u64>) -> Result<Batch, Errno> {
        if self.moves != worker.moves() {
            self.watch(worker, Sources::MESH)?;
            self.moves = worker.moves();
        }
        let timeout = match (worker.timeout_ms(), most_ms) {
            (Some(due), Some(most)) => Some(due.min(most)),
            (due, most) => due.or(most),
        };
        let mut batch = heapless::Vec::new();
        let mut events = Events::new();
        for event in self.poll.wait(&mut events, timeout)? {
            let (token, flags) = (event.data.u64(), event.flags);
            if token & USER == 0 {
                worker.readable(Sources::from_bits_truncate(token as u8));
                continue;
            }
            let ended = flags.intersects(EventFlags::ERR | EventFlags::HUP);
            let ready = Ready {
                token: token as u32,
                readable: ended || flags.contains(EventFlags::IN),
                writable: flags.intersects(EventFlags::OUT | EventFlags::ERR),
            };
            // One wait brings no more than there is room for.
            let _ = batch.push(ready);
        }
        Ok(Batch(batch.into_iter()))
    }
}

impl AsFd for Poller {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.poll.as_fd()
    }
}

fn flags(interest: Interest) -> EventFlags {
    let mut flags = EventFlags::empty();
    flags.set(EventFlags::IN, interest.contains(Interest::READ));
    flags.set(EventFlags::OUT, interest.contains(Interest::WRITE));
    flags.set(
        EventFlags::EXCLUSIVE,
        interest.contains(Interest::EXCLUSIVE),
    );
    flags.set(EventFlags::ET, interest.contains(Interest::EDGE));
    flags
}
