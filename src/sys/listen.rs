//! Sockets that wait for clients: made, bound, steered, and recognised.
//!
//! A unix socket's file is never open to more than it was to be, for no moment: the mode that a socket
//! has before it is bound is that of its file, less the umask, which is 0 for that one call.

use core::ffi::CStr;
use core::fmt::Write;
use core::mem::{offset_of, size_of};
use core::net::SocketAddr;

use rustix::fd::{AsFd, AsRawFd, OwnedFd};
use rustix::fs::{Mode, OFlags, chmod, fchmod, fcntl_getfl, fcntl_setfl, fstat, open};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, getpeername, getsockname,
    ipproto, socket_with, sockopt,
};
use rustix::process::umask;
use syscalls::{Sysno, syscall};

use crate::sys::errno;
use crate::sys::file::Identity;

/// Where a socket is bound.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Name<'n> {
    Inet(SocketAddr),
    /// A path; or, behind a zero, a name that is no path.
    Unix(&'n [u8]),
}

/// What the kernel says of a socket, besides its name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Kind {
    /// Datagrams, and not a stream.
    pub(crate) datagram: bool,
    pub(crate) reuses_port: bool,
    pub(crate) v6_only: bool,
    /// Another for every socket that there is.
    pub(crate) cookie: u64,
}

/// One instruction of a classic BPF program: `struct sock_filter`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub(crate) struct Instruction {
    pub(crate) code: u16,
    pub(crate) if_true: u8,
    pub(crate) if_false: u8,
    pub(crate) operand: u32,
}

/// `struct sock_fprog`.
#[repr(C)]
struct Program {
    length: u16,
    first: *const Instruction,
}

static_assertions::const_assert_eq!(size_of::<Instruction>(), 8);
static_assertions::const_assert_eq!(size_of::<Program>(), 16);
static_assertions::const_assert_eq!(offset_of!(Program, first), 8);

/// A socket for names of this kind, close-on-exec, and non-blocking.
pub(crate) fn socket(name: Name<'_>, datagram: bool) -> Result<OwnedFd, Errno> {
    let family = match name {
        Name::Inet(SocketAddr::V4(_)) => AddressFamily::INET,
        Name::Inet(SocketAddr::V6(_)) => AddressFamily::INET6,
        Name::Unix(_) => AddressFamily::UNIX,
    };
    let kind = if datagram {
        SocketType::DGRAM
    } else {
        SocketType::STREAM
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    socket_with(family, kind, flags, None)
}

/// Binds a socket. A file that this makes has the socket's own mode: see [`set_mode`].
pub(crate) fn bind(socket: impl AsFd, name: Name<'_>) -> Result<(), Errno> {
    match name {
        Name::Inet(address) => rustix::net::bind(socket, &address),
        Name::Unix([0, name @ ..]) => {
            rustix::net::bind(socket, &SocketAddrUnix::new_abstract_name(name)?)
        }
        Name::Unix(path) => {
            let address = SocketAddrUnix::new(path)?;
            let before = umask(Mode::empty());
            let bound = rustix::net::bind(socket, &address);
            umask(before);
            bound
        }
    }
}

/// The mode that the file of a socket will have, before it is bound.
pub(crate) fn set_mode(socket: impl AsFd, mode: u16) -> Result<(), Errno> {
    fchmod(socket, Mode::from_raw_mode(mode.into()))
}

/// Gives the file at a path another mode, if it is the right one, and whatever has its name meanwhile.
pub(crate) fn change_mode(path: &CStr, file: Identity, mode: u16) -> Result<(), Errno> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = open(path, flags, Mode::empty())?;
    if Identity::of(&fstat(&opened)?) != file {
        return Err(Errno::STALE);
    }
    let mut itself = heapless::Vec::<u8, 32>::new();
    write!(itself, "/proc/self/fd/{}\0", opened.as_raw_fd()).map_err(|_| Errno::INVAL)?;
    let itself = CStr::from_bytes_until_nul(&itself).map_err(|_| Errno::INVAL)?;
    chmod(itself, Mode::from_raw_mode(mode.into()))
}

pub(crate) fn listen(socket: impl AsFd, backlog: u32) -> Result<(), Errno> {
    rustix::net::listen(socket, backlog.min(i32::MAX as u32) as i32)
}

pub(crate) fn set_reuse_address(socket: impl AsFd) -> Result<(), Errno> {
    sockopt::set_socket_reuseaddr(socket, true)
}

pub(crate) fn set_reuse_port(socket: impl AsFd) -> Result<(), Errno> {
    sockopt::set_socket_reuseport(socket, true)
}

pub(crate) fn set_v6_only(socket: impl AsFd, only: bool) -> Result<(), Errno> {
    sockopt::set_ipv6_v6only(socket, only)
}

/// The connections of a socket that listens inherit it.
pub(crate) fn set_no_delay(socket: impl AsFd, on: bool) -> Result<(), Errno> {
    sockopt::set_tcp_nodelay(socket, on)
}

pub(crate) fn set_buffers(socket: impl AsFd, receive: u32, send: u32) -> Result<(), Errno> {
    if receive > 0 {
        sockopt::set_socket_recv_buffer_size(&socket, receive as usize)?;
    }
    if send > 0 {
        sockopt::set_socket_send_buffer_size(&socket, send as usize)?;
    }
    Ok(())
}

/// A connection is one when it brings data, for this many seconds; 0 for at once.
pub(crate) fn set_defer_accept(socket: impl AsFd, seconds: u32) -> Result<(), Errno> {
    set(
        socket,
        ipproto::TCP.as_raw().get() as i32,
        TCP_DEFER_ACCEPT,
        &seconds,
    )
}

/// How many clients may send data before the handshake is over; 0 for none.
pub(crate) fn set_fast_open(socket: impl AsFd, queue: u32) -> Result<(), Errno> {
    set(
        socket,
        ipproto::TCP.as_raw().get() as i32,
        TCP_FASTOPEN,
        &queue,
    )
}

/// Has this program say which socket of a group a client gets: of the group that this one is in, or
/// will be.
pub(crate) fn steer(socket: impl AsFd, program: &[Instruction]) -> Result<(), Errno> {
    let program = Program {
        length: program.len() as u16,
        first: program.as_ptr(),
    };
    set(socket, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &program)
}

/// `T` is what the kernel reads for this option: an int, or a program that is borrowed by the caller.
fn set<T>(socket: impl AsFd, level: i32, option: i32, value: &T) -> Result<(), Errno> {
    // SAFETY: the kernel reads as many bytes as the value has, which is borrowed for the call; what a
    // program points to is borrowed by `steer` for the call, and as long as its length says.
    let done = unsafe {
        syscall!(
            Sysno::setsockopt,
            socket.as_fd().as_raw_fd(),
            level,
            option,
            core::ptr::from_ref(value),
            size_of::<T>()
        )
    };
    done.map(drop).map_err(errno)
}

/// Looks at the name of a socket.
pub(crate) fn name_of<T>(socket: impl AsFd, look: impl FnOnce(Name<'_>) -> T) -> Result<T, Errno> {
    let address = getsockname(socket)?;
    if address.address_family() != AddressFamily::UNIX {
        return SocketAddr::try_from(address).map(|address| look(Name::Inet(address)));
    }
    let address = SocketAddrUnix::try_from(address)?;
    if let Some(path) = address.path_bytes() {
        return Ok(look(Name::Unix(path)));
    }
    let name = address.abstract_name().ok_or(Errno::INVAL)?;
    let mut with_zero = [0; 108];
    let room = with_zero
        .get_mut(1..=name.len())
        .ok_or(Errno::NAMETOOLONG)?;
    room.copy_from_slice(name);
    Ok(look(Name::Unix(&with_zero[..=name.len()])))
}

/// What kind of socket this is; `None` for one that no client can come to: of another family or
/// protocol, a stream that does not listen, datagrams of one peer alone. One that blocks does not any
/// more.
pub(crate) fn kind_of(socket: impl AsFd) -> Result<Option<Kind>, Errno> {
    let socket = socket.as_fd();
    let datagram = match sockopt::socket_type(socket)? {
        SocketType::STREAM => false,
        SocketType::DGRAM => true,
        _ => return Ok(None),
    };
    let wanted = match (sockopt::socket_domain(socket)?, datagram) {
        (AddressFamily::UNIX, _) => None,
        (AddressFamily::INET | AddressFamily::INET6, false) => Some(ipproto::TCP),
        (AddressFamily::INET | AddressFamily::INET6, true) => Some(ipproto::UDP),
        _ => return Ok(None),
    };
    let is_open = if datagram {
        getpeername(socket).is_err()
    } else {
        sockopt::socket_acceptconn(socket)?
    };
    if sockopt::socket_protocol(socket)? != wanted || !is_open {
        return Ok(None);
    }
    fcntl_setfl(socket, fcntl_getfl(socket)? | OFlags::NONBLOCK)?;
    Ok(Some(Kind {
        datagram,
        reuses_port: sockopt::socket_reuseport(socket)?,
        v6_only: sockopt::ipv6_v6only(socket).unwrap_or_default(), // where it is no such socket
        cookie: sockopt::socket_cookie(socket)?,
    }))
}

/// A number that no other socket has.
pub(crate) fn cookie_of(socket: impl AsFd) -> Result<u64, Errno> {
    sockopt::socket_cookie(socket)
}

/// Whether some process has a socket open that is bound to the file at a path; where it cannot be
/// known, that is so. Nobody is disturbed: a stream refuses a datagram socket before it sees it.
pub(crate) fn has_owner(path: &CStr) -> bool {
    let probe = socket(Name::Unix(path.to_bytes()), true);
    let connected = probe.and_then(|probe| {
        let address = SocketAddrUnix::new(path)?;
        connect(&probe, &address)
    });
    connected != Err(Errno::CONNREFUSED)
}

const SOL_SOCKET: i32 = 1;
const SO_ATTACH_REUSEPORT_CBPF: i32 = 51;
const TCP_DEFER_ACCEPT: i32 = 9;
const TCP_FASTOPEN: i32 = 23;
