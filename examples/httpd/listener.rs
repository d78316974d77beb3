//! The listening socket: made by the master before the first fork, or taken from its predecessor, and
//! shared by all workers.

use core::net::SocketAddr;
use core::time::Duration;
use std::io::{self, Write};
use std::thread;
use std::time::Instant;

use forkmesh::run::Handover;
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

use crate::holders::Holders;

/// How many clients may wait to be accepted; the kernel's `somaxconn` caps it.
const BACKLOG: i32 = 1024;

/// How often an address that is taken is tried again.
const RETRY: Duration = Duration::from_millis(50);

/// The name under which the socket of an address is handed over.
pub(crate) fn name(address: SocketAddr) -> String {
    format!("listen {address}")
}

/// The socket that listens here: the predecessor's, if it has one for the same address; and the
/// address that it got.
pub(crate) fn open(
    address: SocketAddr,
    handover: Option<&mut Handover>,
    wait: Duration,
) -> Result<(OwnedFd, SocketAddr), String> {
    let inherited = handover.and_then(|handover| handover.take(&name(address)));
    let opened = match inherited {
        Some(socket) => bound(socket),
        None => bind_within(address, wait),
    };
    opened.map_err(|errno| match errno {
        Errno::ADDRINUSE => format!(
            "cannot listen on {address}: {errno}{}",
            Holders::of(address)
        ),
        _ => format!("cannot listen on {address}: {errno}"),
    })
}

/// As [`bind`]; an address that is taken is waited for, and that is said once. Nothing is blocked
/// meanwhile: a signal that ends the process ends it.
fn bind_within(address: SocketAddr, wait: Duration) -> Result<(OwnedFd, SocketAddr), Errno> {
    let start = Instant::now();
    let mut bound = bind(address);
    if bound.as_ref().is_err_and(|why| *why == Errno::ADDRINUSE) && !wait.is_zero() {
        let who = Holders::of(address);
        let _ = writeln!(
            io::stderr(),
            "{address} is taken{who}: waiting {wait:?} at the most"
        );
    }
    while bound.as_ref().is_err_and(|why| *why == Errno::ADDRINUSE) && start.elapsed() < wait {
        thread::sleep(RETRY);
        bound = bind(address);
    }
    bound
}

/// A socket that listens here, and the address that it got.
///
/// Why not std's `TcpListener`: its accept needs a second call to make the connection
/// non-blocking, and its descriptor type is the library's own only with the `std` feature.
fn bind(address: SocketAddr) -> Result<(OwnedFd, SocketAddr), Errno> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    // Connections inherit it: an answer must not wait until the one before it is acknowledged.
    sockopt::set_tcp_nodelay(&socket, true)?;
    rustix::net::bind(&socket, &address)?;
    rustix::net::listen(&socket, BACKLOG)?;
    bound(socket)
}

fn bound(socket: OwnedFd) -> Result<(OwnedFd, SocketAddr), Errno> {
    let address = rustix::net::getsockname(&socket)?.try_into()?;
    Ok((socket, address))
}
