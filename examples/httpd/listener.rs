//! The listening socket: made by the master before the first fork, shared by all workers.

use core::net::SocketAddr;
use core::time::Duration;
use std::io::{self, Write};
use std::thread;
use std::time::Instant;

use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

use crate::holders;

/// How many clients may wait to be accepted; the kernel's `somaxconn` caps it.
const BACKLOG: i32 = 1024;

/// How often an address that is taken is tried again.
const RETRY: Duration = Duration::from_millis(50);

/// As [`bind`]; an address that is taken is waited for, and that is said once. Nothing is blocked
/// meanwhile: a signal that ends the process ends it.
pub(crate) fn bind_within(
    address: SocketAddr,
    wait: Duration,
) -> Result<(OwnedFd, SocketAddr), Errno> {
    let start = Instant::now();
    let mut bound = bind(address);
    if bound.as_ref().is_err_and(|why| *why == Errno::ADDRINUSE) && !wait.is_zero() {
        let who = holders::Holders::of(address);
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
    let bound = rustix::net::getsockname(&socket)?.try_into()?;
    Ok((socket, bound))
}
