//! The listening socket: made by the master before the first fork, shared by all workers.

use core::net::SocketAddr;

use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

/// How many clients may wait to be accepted; the kernel's `somaxconn` caps it.
const BACKLOG: i32 = 1024;

/// A socket that listens here, and the address that it got.
///
/// Why not std's `TcpListener`: its accept needs a second call to make the connection
/// non-blocking, and its descriptor type is the library's own only with the `std` feature.
pub(crate) fn bind(address: SocketAddr) -> Result<(OwnedFd, SocketAddr), Errno> {
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
