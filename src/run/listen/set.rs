//! `Listeners`: the sockets that a master keeps, and what a worker takes of them.

use core::ops::Range;

use heapless::Vec;
use rustix::fd::OwnedFd;

use crate::run::handover::Handover;
use crate::run::listen::address::Address;
use crate::run::listen::asked::Listen;
use crate::run::listen::bind::{self, File};
use crate::run::listen::error::ListenError;
use crate::run::listen::taken::{Listening, Sharing};
use crate::sys::descriptor::Sweep;
use crate::sys::{listen, process};
use crate::table::{Instant, SlotId};

/// The listeners of a service: at most `MOST` at once, with at most `SOCKETS` sockets between them, of
/// which a listener for each worker has as many as there have been workers. While a reload is under way,
/// there has to be room for the old and the new. About 40 KiB, and not one allocation.
///
/// When it is dropped in the master, its sockets are closed, and the files of its unix sockets removed,
/// unless somebody else has their sockets still: a successor, above all.
#[derive(Debug)]
pub struct Listeners<const MOST: usize = 64, const SOCKETS: usize = 2048> {
    pub(super) entries: Vec<Entry, MOST>,
    /// Those of one entry lie side by side, by number, in the order of the entries.
    pub(super) sockets: Vec<OwnedFd, SOCKETS>,
    /// Who was sent each last, by a message.
    pub(super) told: Vec<Option<SlotId>, SOCKETS>,
    /// The epoch that is being prepared.
    pub(super) next: Option<u32>,
    /// The process that opened them, which alone may remove files.
    pub(super) owner: i32,
}

/// One listener.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    /// What is in force.
    pub(super) asked: Listen,
    /// What will be in force, if the reload that is under way succeeds.
    pub(super) wanted: Listen,
    /// Where it is: with a port, where any was asked for.
    pub(super) bound: Address,
    /// Its place in the list that is in force; `None` for one that is new.
    pub(super) place: Option<u16>,
    /// Its place in the list that is being prepared.
    pub(super) next_place: Option<u16>,
    pub(super) origin: Origin,
    /// How many sockets it has, and had when the reload began.
    pub(super) count: u16,
    pub(super) before: u16,
    pub(super) file: Option<File>,
    pub(super) steering: Steering,
    /// When one of its sockets was last sent to somebody.
    pub(super) told_at: Instant,
}

/// Where a listener comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Origin {
    /// It was bound for the list that is being prepared.
    Fresh,
    /// It was handed over: what it was set to is not known.
    Inherited,
    /// It is in force, and is what it was asked to be.
    Settled,
}

/// How the kernel shares clients out among the sockets of a group.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Steering {
    /// By its own hash, over all of them: it takes no program, or there is no group.
    Refused,
    /// By a program of another master's, or of an earlier time.
    Unknown,
    /// By a program, over the first so many.
    Among(u16),
}

impl<const MOST: usize, const SOCKETS: usize> Listeners<MOST, SOCKETS> {
    /// No listeners yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            entries: Vec::new(),
            sockets: Vec::new(),
            told: Vec::new(),
            next: None,
            owner: 0,
        }
    }

    /// Opens these listeners for so many workers, in the master, before it starts: those that a
    /// predecessor hands over are taken, by address and type, and others bound. What of the
    /// predecessor's is not asked for is closed. Cost: about seven system calls a socket.
    ///
    /// # Errors
    ///
    /// [`ListenError`], and none is open. An address that is in use may be free in a moment: see
    /// [`Tries`](super::Tries); what was handed over is not there any more then, so a program that takes
    /// over should end.
    pub fn open(
        &mut self,
        listens: &[Listen],
        workers: usize,
        handover: Option<&mut Handover>,
    ) -> Result<(), ListenError> {
        self.owner = process::own_pid();
        let inherited = match handover {
            Some(handover) => self.inherit(handover),
            None => Ok(()),
        };
        let prepared = inherited.and_then(|()| self.prepare_beside(0, listens, workers));
        match prepared {
            Ok(()) => self.commit(),
            Err(error) => {
                self.roll_back();
                Err(error)
            }
        }
    }

    /// How many listeners are in force.
    #[must_use]
    pub fn count(&self) -> usize {
        self.entries.iter().filter(|e| e.place.is_some()).count()
    }

    /// Where a listener is, by its place in the list that is in force: with its port, where any was asked
    /// for.
    #[must_use]
    pub fn address(&self, place: u16) -> Option<Address> {
        let entry = self.entries.iter().find(|e| e.place == Some(place))?;
        Some(entry.bound)
    }

    /// In a worker, first of all: takes what the worker of this number accepts from, in its epoch, by
    /// place, and closes all others. Nothing is left: the worker's copy of the set is empty, and removes no files.
    /// Cost: one system call for each run of neighbours that is closed.
    pub fn take(&mut self, number: u16, epoch: u32) -> Vec<Listening, MOST> {
        let is_next = self.next == Some(epoch);
        let mut taken: Vec<Listening, MOST> = Vec::new();
        let mut sweep = Sweep::default();
        let mut sockets = core::mem::take(&mut self.sockets).into_iter();
        for entry in core::mem::take(&mut self.entries) {
            let place = if is_next {
                entry.next_place
            } else {
                entry.place
            };
            let (sharing, own) = match entry.asked.per_worker {
                true => (Sharing::Own, number),
                false => (Sharing::Shared, 0),
            };
            for (at, socket) in (0..entry.count).zip(sockets.by_ref()) {
                match place {
                    Some(place) if at == own => {
                        // There are no more of them than entries.
                        let _ = taken.push(Listening {
                            socket,
                            place,
                            sharing,
                        });
                    }
                    _ => sweep.add(socket),
                }
            }
        }
        self.told.clear();
        self.next = None;
        taken.sort_unstable_by_key(|listening| listening.place);
        taken
    }

    /// Closes the sockets, in a master that drains: who connects from now on comes to a worker that
    /// still accepts, or to nobody. The files of unix sockets are removed when the set is dropped.
    pub fn close(&mut self) {
        let mut sweep = Sweep::default();
        for socket in core::mem::take(&mut self.sockets) {
            sweep.add(socket);
        }
        self.told.clear();
        for entry in &mut self.entries {
            entry.count = 0;
        }
    }

    /// Where the sockets of an entry lie.
    pub(super) fn range(&self, entry: usize) -> Range<usize> {
        let before = self.entries[..entry].iter();
        let start = before.map(|entry| usize::from(entry.count)).sum();
        start..start + usize::from(self.entries[entry].count)
    }

    /// One more socket of an entry, behind the others; given back where there is no room.
    pub(super) fn push_socket(&mut self, entry: usize, socket: OwnedFd) -> Result<(), OwnedFd> {
        let at = self.range(entry).end;
        self.sockets.insert(at, socket)?;
        // It is as long, and so has room.
        let _ = self.told.insert(at, None);
        self.entries[entry].count += 1;
        Ok(())
    }

    /// Closes all sockets of an entry but so many of the first.
    pub(super) fn truncate(&mut self, entry: usize, left: u16) {
        let range = self.range(entry);
        let closed = range.start + usize::from(left)..range.end;
        let (mut at, mut also) = (0, 0);
        let keep = |at: &mut usize| {
            *at += 1;
            !closed.contains(&(*at - 1))
        };
        self.sockets.retain(|_| keep(&mut at));
        self.told.retain(|_| keep(&mut also));
        self.entries[entry].count -= closed.len() as u16;
    }

    /// Closes an entry's sockets and forgets it. Its file goes first, while its inode is its own.
    pub(super) fn remove(&mut self, entry: usize, with_file: bool) {
        let Entry { bound, file, .. } = self.entries[entry];
        if let (true, Some(file), Some(path)) = (with_file, file, bound.path()) {
            bind::remove(path, file.identity);
            if file.aside {
                bind::take_back(path);
            }
        }
        self.truncate(entry, 0);
        self.entries.remove(entry);
    }
}

impl<const MOST: usize, const SOCKETS: usize> Default for Listeners<MOST, SOCKETS> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const MOST: usize, const SOCKETS: usize> Drop for Listeners<MOST, SOCKETS> {
    fn drop(&mut self) {
        if self.owner != process::own_pid() {
            return; // a copy, in a child
        }
        self.roll_back();
        self.close();
        for entry in &self.entries {
            if let (Some(file), Some(path)) = (entry.file, entry.bound.path())
                && !listen::has_owner(path)
            {
                bind::remove(path, file.identity);
            }
        }
    }
}
