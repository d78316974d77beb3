//! Where the server listens: opened by the master before the first fork, or taken from its predecessor.

use core::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use core::time::Duration;
use std::io::{self, Write};
use std::thread;
use std::time::Instant;

use forkmesh::run::{Address, Handover, Listen, ListenError, Listeners};

use crate::holders::Holders;

/// Where it listens if nobody says where.
pub(crate) const DEFAULT: Address = Address::Inet(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 8080));

/// How many clients may wait to be accepted; the kernel's `somaxconn` caps it.
const BACKLOG: u32 = 1024;

/// How often an address that is taken is tried again.
const RETRY: Duration = Duration::from_millis(50);

/// `ADDRESS:PORT`, `unix:PATH`, `unix:@NAME`; or `:PORT` of this machine alone.
pub(crate) fn address(text: &str) -> Option<Address> {
    match text.strip_prefix(':') {
        Some(port) => {
            let port = port.parse().ok()?;
            Some(Address::Inet(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port)))
        }
        None => text.parse().ok(),
    }
}

/// What is asked of the kernel at an address; `per_worker`: a socket for each worker, where the kernel has
/// such a thing.
pub(crate) fn listen(address: Address, per_worker: bool) -> Listen {
    let listen = Listen::new(address).backlog(BACKLOG);
    match address {
        Address::Unix(_) => listen,
        // An answer must not wait until the one before it is acknowledged.
        _ => listen.no_delay(true).per_worker(per_worker),
    }
}

/// Opens these; an address that is taken is waited for, and that is said once. Nothing is blocked
/// meanwhile: a signal that ends the process ends it.
pub(crate) fn open(
    listeners: &mut Listeners,
    list: &[Listen],
    workers: usize,
    handover: Option<&mut Handover>,
    wait: Duration,
) -> Result<(), String> {
    let is_first = handover.is_none();
    let start = Instant::now();
    let mut said = false;
    let mut opened = listeners.open(list, workers, handover);
    while let Err(error) = opened
        && error.is_in_use()
        && is_first
        && start.elapsed() < wait
    {
        if !said {
            let (address, who) = (error.address, holders(&error));
            let line = format!("{address} is taken{who}: waiting {wait:?} at the most");
            let _ = writeln!(io::stderr(), "{line}");
            said = true;
        }
        thread::sleep(RETRY);
        opened = listeners.open(list, workers, None);
    }
    opened.map_err(|error| explain(&error))
}

/// What is wrong, and who is in the way.
pub(crate) fn explain(error: &ListenError) -> String {
    format!("{error}{}", holders(error))
}

fn holders(error: &ListenError) -> String {
    let address = match error.address {
        Address::Inet(address) => SocketAddr::V4(address),
        Address::Inet6(address) => SocketAddr::V6(address),
        Address::Unix(_) => return String::new(),
    };
    match error.is_in_use() {
        true => Holders::of(address).to_string(),
        false => String::new(),
    }
}

/// An address as a client writes it.
pub(crate) fn shown(address: &Address) -> String {
    match address {
        Address::Unix(_) => address.to_string(),
        _ => format!("http://{address}/"),
    }
}
