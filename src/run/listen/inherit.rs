//! From master to master: listeners by the names under which they are handed over.
//!
//! ```text
//!   forkmesh.listen.3                    the fourth; where it is, its sockets say themselves
//!   forkmesh.listen.3.any                at a port that nobody chose
//!   forkmesh.listen.3.file.2049.4711     with a file of its own: device and inode
//! ```

use core::fmt::Write;

use heapless::String;
use rustix::fd::OwnedFd;

use crate::run::handover::Handover;
use crate::run::listen::address::Address;
use crate::run::listen::asked::Listen;
use crate::run::listen::bind::{File, refused};
use crate::run::listen::error::{ListenError, ListenFault, ListenStep};
use crate::run::listen::set::{Entry, Listeners, Origin, Steering};
use crate::run::offer::{Offer, OfferError};
use crate::sys::file::Identity;
use crate::sys::listen::{self, Kind};
use crate::table::Instant;
use crate::wire::LONGEST_NAME;

const PREFIX: &str = "forkmesh.listen.";

/// What the name of a listener says.
#[derive(Clone, Copy, Default)]
struct Label {
    any_port: bool,
    file: Option<Identity>,
}

impl<const MOST: usize, const SOCKETS: usize> Listeners<MOST, SOCKETS> {
    /// Offers all listeners that are in force to the program that takes over, each under a name of its
    /// own.
    ///
    /// # Errors
    ///
    /// [`OfferError`]: there are more than an offer can have.
    pub fn offer<'s>(&'s self, offer: &mut Offer<'s>) -> Result<(), OfferError> {
        for (at, entry) in self.entries.iter().enumerate() {
            if entry.place.is_some() && entry.count > 0 {
                offer.group(&name(at, entry), &self.sockets[self.range(at)])?;
            }
        }
        Ok(())
    }

    /// Takes every listener of a hand-over, and looks at it.
    pub(super) fn inherit(&mut self, handover: &mut Handover) -> Result<(), ListenError> {
        let next = |handover: &Handover| {
            let mut names = handover.names();
            names.find_map(|name| Some((String::try_from(name).ok()?, Label::read(name)?)))
        };
        while let Some((name, label)) = next(handover) {
            let name: String<LONGEST_NAME> = name;
            let group = handover.take_group(&name).unwrap_or_default();
            self.adopt(&group, label)?;
            let entry = self.entries.len() - 1;
            for socket in group {
                if self.push_socket(entry, socket).is_err() {
                    let address = self.entries[entry].bound;
                    let fault = ListenFault::NoRoom;
                    return Err(ListenError { address, fault });
                }
            }
        }
        Ok(())
    }

    /// An entry for these sockets, if all are of one listener.
    fn adopt(&mut self, group: &[OwnedFd], label: Label) -> Result<(), ListenError> {
        let nowhere = Address::Inet(core::net::SocketAddrV4::new([0; 4].into(), 0));
        let (address, kind) = recognise(group).map_err(|(address, fault)| ListenError {
            address: address.unwrap_or(nowhere),
            fault,
        })?;
        let asked_for = match label.any_port {
            true => address.with_any_port(),
            false => address,
        };
        let asked = Listen::new(asked_for)
            .datagram(kind.datagram)
            .v6_only(kind.v6_only)
            .per_worker(kind.reuses_port && address.path().is_none());
        let file = label.file.filter(|_| address.path().is_some());
        let entry = Entry {
            asked,
            wanted: asked,
            bound: address,
            place: None,
            next_place: None,
            origin: Origin::Inherited,
            count: 0,
            before: 0,
            file: file.map(|identity| File {
                identity,
                aside: false,
            }),
            steering: Steering::Unknown,
            told_at: Instant::ORIGIN,
        };
        let pushed = self.entries.push(entry);
        let fault = ListenFault::NoRoom;
        pushed.map_err(|_| ListenError { address, fault })
    }
}

type Unknown = (Option<Address>, ListenFault);

/// Where these sockets are, and of which kind. They are of one listener if that is the same for all,
/// none is there twice, and several share a port by the same means.
fn recognise(group: &[OwnedFd]) -> Result<(Address, Kind), Unknown> {
    let refused = |address| move |errno| (address, refused(ListenStep::Inherited)(errno));
    let mut first: Option<(Address, Kind)> = None;
    for (at, socket) in group.iter().enumerate() {
        let known = first.map(|(address, _)| address);
        let odd = (known, ListenFault::Odd);
        // Of what is no socket, the kernel says so.
        let kind = listen::kind_of(socket).map_err(|_| odd)?.ok_or(odd)?;
        let name = listen::name_of(socket, Address::of).map_err(|_| odd)?;
        let address = name.ok_or(odd)?;
        let Some((whose, like)) = first else {
            first = Some((address, kind));
            continue;
        };
        let is_twice = || {
            let mut before = group[..at].iter().map(listen::cookie_of);
            before.any(|cookie| cookie == Ok(kind.cookie))
        };
        let cookie = like.cookie;
        let same = whose.is(&address) && like == Kind { cookie, ..kind };
        if !same || !kind.reuses_port || is_twice() {
            return Err((known, ListenFault::Odd));
        }
    }
    first.ok_or_else(|| refused(None)(rustix::io::Errno::BADF))
}

/// The name under which an entry is handed over.
fn name(at: usize, entry: &Entry) -> String<LONGEST_NAME> {
    let mut name = String::new();
    let any = match entry.asked.address.is_any_port() {
        true => ".any",
        false => "",
    };
    // Three numbers at their longest fit.
    let _ = write!(name, "{PREFIX}{at}{any}");
    if let Some(file) = entry.file {
        let (device, inode) = file.identity.to_numbers();
        let _ = write!(name, ".file.{device}.{inode}");
    }
    name
}

impl Label {
    fn read(name: &str) -> Option<Self> {
        let mut words = name.strip_prefix(PREFIX)?.split('.');
        let _number: u16 = words.next()?.parse().ok()?;
        let mut label = Self::default();
        while let Some(word) = words.next() {
            match word {
                "any" => label.any_port = true,
                "file" => {
                    let device = words.next()?.parse().ok()?;
                    let inode = words.next()?.parse().ok()?;
                    label.file = Some(Identity::from_numbers(device, inode));
                }
                _ => return None,
            }
        }
        Some(label)
    }
}
