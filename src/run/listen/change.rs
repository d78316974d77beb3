//! A reload: the new list beside the old one, and then the one or the other.

use crate::run::listen::address::Address;
use crate::run::listen::asked::Listen;
use crate::run::listen::bind::{self, Bound, File, refused};
use crate::run::listen::error::{Fixed, ListenError, ListenFault, ListenStep};
use crate::run::listen::set::{Entry, Listeners, Origin, Steering};
use crate::sys::listen;
use crate::table::{CHILDREN, Instant};

impl<const MOST: usize, const SOCKETS: usize> Listeners<MOST, SOCKETS> {
    /// Makes this list possible, for the epoch that is to come and so many workers: what is open at the
    /// same address, and of the same type, is kept; what is not open is bound; a group for which there are
    /// more workers than before gets more sockets, which no client comes to yet. Nothing of what is in
    /// force changes. An earlier preparation that had no outcome is rolled back.
    ///
    /// [`Listeners::commit`] or [`Listeners::roll_back`] follows, when the reload has an outcome.
    ///
    /// # Errors
    ///
    /// [`ListenError`], and everything is as it was, unix sockets' files as well.
    pub fn prepare(
        &mut self,
        epoch: u32,
        listens: &[Listen],
        workers: usize,
    ) -> Result<(), ListenError> {
        self.roll_back();
        self.prepare_beside(epoch, listens, workers)
    }

    pub(super) fn prepare_beside(
        &mut self,
        epoch: u32,
        listens: &[Listen],
        workers: usize,
    ) -> Result<(), ListenError> {
        check(listens)?;
        self.next = Some(epoch);
        for entry in &mut self.entries {
            entry.before = entry.count;
        }
        let workers = workers.clamp(1, CHILDREN) as u16;
        // A wish for any port takes what no other has asked for.
        let of_kind =
            |any| move |(_, listen): &(usize, &Listen)| listen.address.is_any_port() == any;
        let exact = listens.iter().enumerate().filter(of_kind(false));
        let any = listens.iter().enumerate().filter(of_kind(true));
        for (place, listen) in exact.chain(any) {
            if let Err(fault) = self.prepare_one(place as u16, listen, workers) {
                // Nobody was forked since: what was made for this is closed, and nobody else has it.
                for entry in 0..self.entries.len() {
                    if self.entries[entry].origin != Origin::Fresh {
                        self.truncate(entry, self.entries[entry].before);
                    }
                }
                self.roll_back();
                let address = listen.address;
                return Err(ListenError { address, fault });
            }
        }
        Ok(())
    }

    fn prepare_one(
        &mut self,
        place: u16,
        listen: &Listen,
        workers: u16,
    ) -> Result<(), ListenFault> {
        let entry = match self.open_at(listen) {
            Some(entry) => entry,
            None => self.bind(listen, workers)?,
        };
        let kept = &mut self.entries[entry];
        kept.next_place = Some(place);
        kept.wanted = *listen;
        if kept.asked.per_worker != listen.per_worker {
            return Err(ListenFault::Fixed(Fixed::PerWorker));
        }
        // At an address of its own, an IPv6 socket is for IPv6 alone anyway.
        let has_both = matches!(kept.bound, Address::Inet6(at) if at.ip().is_unspecified());
        if has_both && kept.asked.v6_only != listen.v6_only {
            return Err(ListenFault::Fixed(Fixed::V6Only));
        }
        if listen.per_worker {
            self.grow(entry, workers)?;
        }
        Ok(())
    }

    /// Which entry is at this address, and of this type, and nobody's in the new list yet.
    fn open_at(&self, listen: &Listen) -> Option<usize> {
        let is_it = |entry: &Entry| match listen.address.is_any_port() {
            true => {
                let same = entry.asked.address.is(&listen.address);
                same && entry.asked.per_worker == listen.per_worker
            }
            false => entry.bound.is(&listen.address),
        };
        let is_it = |entry: &Entry| entry.asked.datagram == listen.datagram && is_it(entry);
        let mut entries = self.entries.iter();
        entries.position(|entry| entry.next_place.is_none() && entry.count > 0 && is_it(entry))
    }

    /// A new entry, with its first socket.
    fn bind(&mut self, listen: &Listen, workers: u16) -> Result<usize, ListenFault> {
        if self.entries.is_full() || self.sockets.is_full() {
            return Err(ListenFault::NoRoom);
        }
        let Bound {
            socket,
            address,
            file,
            steered,
        } = bind::first(listen, workers)?;
        let steering = match steered {
            0 => Steering::Refused,
            count => Steering::Among(count),
        };
        let entry = Entry {
            asked: *listen,
            wanted: *listen,
            bound: address,
            place: None,
            next_place: None,
            origin: Origin::Fresh,
            count: 0,
            before: 0,
            file,
            steering,
            told_at: Instant::ORIGIN,
        };
        let at = self.entries.len();
        let _ = self.entries.push(entry);
        let _ = self.push_socket(at, socket); // there is room for both
        Ok(at)
    }

    /// Makes as many sockets of a group as there are to be.
    pub(super) fn grow(&mut self, entry: usize, workers: u16) -> Result<(), ListenFault> {
        while self.entries[entry].count < workers {
            if self.sockets.is_full() {
                return Err(ListenFault::NoRoom);
            }
            let Entry { wanted, bound, .. } = self.entries[entry];
            let socket = bind::further(&wanted, bound)?;
            let _ = self.push_socket(entry, socket); // there is room
        }
        Ok(())
    }

    /// Makes the sockets that a worker of this number is to have, in every group: to be called by
    /// [`Service::before_fork`](crate::run::Service::before_fork). They stay for good. Nothing is done
    /// for a number that has its sockets.
    ///
    /// # Errors
    ///
    /// [`ListenError`]: [`Listeners::settle`] tries again when the worker lives.
    pub fn provide(&mut self, number: u16) -> Result<(), ListenError> {
        for entry in 0..self.entries.len() {
            let Entry { wanted, count, .. } = self.entries[entry];
            if wanted.per_worker && count > 0 {
                let grown = self.grow(entry, number.saturating_add(1));
                let address = wanted.address;
                grown.map_err(|fault| ListenError { address, fault })?;
            }
        }
        Ok(())
    }

    /// The reload has succeeded: what was prepared is in force; what is not in the list is closed, a
    /// unix socket's file removed; options that have changed are set. Clients are steered to new sockets
    /// by [`Listeners::settle`]. Without a preparation, nothing happens.
    ///
    /// # Errors
    ///
    /// [`ListenError`]: the first option that the kernel refuses. Everything else is done.
    pub fn commit(&mut self) -> Result<(), ListenError> {
        let mut done = Ok(());
        if self.next.take().is_none() {
            return done;
        }
        let mut at = 0;
        while let Some(entry) = self.entries.get_mut(at) {
            let Some(place) = entry.next_place.take() else {
                // What a predecessor has as well is its own to remove.
                let with_file = entry.origin == Origin::Settled;
                self.remove(at, with_file);
                continue;
            };
            entry.place = Some(place);
            let address = entry.wanted.address;
            let changed = self.change(at);
            done = done.and(changed.map_err(|fault| ListenError { address, fault }));
            at += 1;
        }
        done
    }

    /// The reload has failed: what was bound for it is closed, and removed. Sockets that a group got
    /// for it stay with the group, in which new workers can have them for a moment longer. Without a
    /// preparation, nothing happens.
    pub fn roll_back(&mut self) {
        self.next = None;
        let mut at = 0;
        while let Some(entry) = self.entries.get_mut(at) {
            if entry.place.is_none() {
                let is_ours = entry.origin == Origin::Fresh;
                self.remove(at, is_ours);
                continue;
            }
            entry.next_place = None;
            entry.wanted = entry.asked;
            at += 1;
        }
    }

    /// Sets what has changed, of every socket of an entry.
    fn change(&mut self, entry: usize) -> Result<(), ListenFault> {
        let sockets = self.range(entry);
        let Entry {
            asked,
            wanted,
            bound,
            origin,
            file,
            ..
        } = self.entries[entry];
        let changed = &mut self.entries[entry];
        (changed.asked, changed.origin) = (wanted, Origin::Settled);
        if let (Some(File { aside: true, .. }), Some(path)) = (file, bound.path()) {
            bind::remove_aside(path);
            changed.file = file.map(|file| File {
                aside: false,
                ..file
            });
        }
        if origin == Origin::Fresh {
            return Ok(());
        }
        let has = (origin == Origin::Settled).then_some(&asked);
        for socket in &self.sockets[sockets] {
            bind::options(socket, has, &wanted)?;
            let same_backlog = has.is_some_and(|has| has.backlog == wanted.backlog);
            if !wanted.datagram && !same_backlog {
                listen::listen(socket, wanted.backlog).map_err(refused(ListenStep::Listen))?;
            }
        }
        let same_mode = has.is_some_and(|has| has.mode == wanted.mode);
        match (file, bound.path()) {
            (Some(file), Some(path)) if !same_mode => {
                let changed = listen::change_mode(path, file.identity, wanted.mode);
                changed.map_err(refused(ListenStep::File))
            }
            _ => Ok(()),
        }
    }
}

/// Whether a list can be had at all.
fn check(listens: &[Listen]) -> Result<(), ListenError> {
    for (at, listen) in listens.iter().enumerate() {
        let address = listen.address;
        let wrong = |fault| ListenError { address, fault };
        listen.check().map_err(|invalid| wrong(invalid.into()))?;
        let is_same =
            |other: &Listen| other.address.is(&address) && other.datagram == listen.datagram;
        if !address.is_any_port() && listens[..at].iter().any(is_same) {
            return Err(wrong(ListenFault::Duplicate));
        }
    }
    Ok(())
}
