//! From `Listen` to a socket that listens; the file of a unix socket, too.
//!
//! ```text
//!   a path where a file is
//!     no socket ─────────────────────────────────► NoSocket, and left alone
//!     a socket that somebody has open ───────────► InUse
//!     a stale one: renamed aside, looked at again ─┬─ the same: bound beside it; removed at commit
//!                                                  └─ another: renamed back, InUse
//! ```
//!
//! Whether somebody has a socket is asked by a datagram socket, which a stream does not notice.

use core::ffi::CStr;
use core::fmt::Write;

use heapless::Vec;
use rustix::fd::OwnedFd;
use rustix::io::Errno;

use crate::run::listen::address::Address;
use crate::run::listen::asked::Listen;
use crate::run::listen::error::{ListenFault, ListenStep};
use crate::run::listen::program;
use crate::sys::file::{self, Identity};
use crate::sys::{listen, process};

/// A socket's file that is this master's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct File {
    pub(super) identity: Identity,
    /// Whether a stale one was set aside for it.
    pub(super) aside: bool,
}

/// A socket that was bound.
#[derive(Debug)]
pub(super) struct Bound {
    pub(super) socket: OwnedFd,
    pub(super) address: Address,
    pub(super) file: Option<File>,
    /// Among how many sockets of its group the kernel shares out; 0 where it does as it likes.
    pub(super) steered: u16,
}

/// The first socket at an address, or the only one. A group is steered among `workers` from its
/// beginning on, if the kernel allows it.
pub(super) fn first(asked: &Listen, workers: u16) -> Result<Bound, ListenFault> {
    let at = asked.address;
    if let Some(path) = at.path() {
        return at_path(asked, path);
    }
    if asked.per_worker && !at.is_any_port() {
        // By SO_REUSEPORT alone, two services would have one address, and not know.
        drop(bound(asked, at, false)?);
    }
    let socket = bound(asked, at, asked.per_worker)?;
    let steered = match asked.per_worker {
        true => steer(&socket, asked, workers),
        false => 0,
    };
    if !asked.datagram {
        listen::listen(&socket, asked.backlog).map_err(refused(ListenStep::Listen))?;
    }
    let address = listen::name_of(&socket, Address::of);
    let address = address.map_err(refused(ListenStep::Bind))?.unwrap_or(at);
    Ok(Bound {
        socket,
        address,
        file: None,
        steered,
    })
}

/// One more socket of a group.
pub(super) fn further(asked: &Listen, at: Address) -> Result<OwnedFd, ListenFault> {
    let socket = bound(asked, at, true)?;
    if !asked.datagram {
        listen::listen(&socket, asked.backlog).map_err(refused(ListenStep::Listen))?;
    }
    Ok(socket)
}

/// Has a group's clients go to its first `count` sockets; 0 where the kernel refuses that.
pub(super) fn steer(socket: &OwnedFd, asked: &Listen, count: u16) -> u16 {
    let program = program::among(count, asked.datagram);
    match listen::steer(socket, &program) {
        Ok(()) => count,
        Err(_) => 0,
    }
}

fn bound(asked: &Listen, at: Address, in_group: bool) -> Result<OwnedFd, ListenFault> {
    let socket = listen::socket(at.name(), asked.datagram).map_err(refused(ListenStep::Socket))?;
    let set = || {
        if asked.reuse_address && asked.is_tcp() {
            listen::set_reuse_address(&socket)?;
        }
        if in_group {
            listen::set_reuse_port(&socket)?;
        }
        match at {
            Address::Inet6(_) => listen::set_v6_only(&socket, asked.v6_only),
            Address::Unix(_) => listen::set_mode(&socket, asked.mode),
            Address::Inet(_) => Ok(()),
        }
    };
    set().map_err(refused(ListenStep::Option))?;
    options(&socket, Some(&Listen::new(at)), asked)?;
    match listen::bind(&socket, at.name()) {
        Ok(()) => Ok(socket),
        Err(Errno::ADDRINUSE) => Err(ListenFault::InUse),
        Err(errno) => Err(ListenFault::Refused(ListenStep::Bind, errno)),
    }
}

/// Sets what can be set of a socket that is open: what differs from what it has, or all where that is
/// not known. A buffer that was asked for once is not the kernel's again.
pub(super) fn options(
    socket: &OwnedFd,
    has: Option<&Listen>,
    asked: &Listen,
) -> Result<(), ListenFault> {
    let set = || {
        let buffers = |of: &Listen| (of.receive_buffer, of.send_buffer);
        if has.is_none_or(|has| buffers(has) != buffers(asked)) {
            listen::set_buffers(socket, asked.receive_buffer, asked.send_buffer)?;
        }
        if !asked.is_tcp() {
            return Ok(());
        }
        if has.is_none_or(|has| has.no_delay != asked.no_delay) {
            listen::set_no_delay(socket, asked.no_delay)?;
        }
        if has.is_none_or(|has| has.defer_accept_s != asked.defer_accept_s) {
            listen::set_defer_accept(socket, asked.defer_accept_s)?;
        }
        if has.is_none_or(|has| has.fast_open != asked.fast_open) {
            listen::set_fast_open(socket, asked.fast_open)?;
        }
        Ok(())
    };
    set().map_err(refused(ListenStep::Option))
}

fn at_path(asked: &Listen, path: &CStr) -> Result<Bound, ListenFault> {
    let found = file::socket_at(path).map_err(refused(ListenStep::File))?;
    let aside = match found {
        None => false,
        Some((_, false)) => return Err(ListenFault::NoSocket),
        Some(_) if listen::has_owner(path) => return Err(ListenFault::InUse),
        Some((stale, true)) => {
            set_aside(path, stale)?;
            true
        }
    };
    let opened = open_at_path(asked, path, aside);
    if opened.is_err() && aside {
        take_back(path);
    }
    opened
}

fn open_at_path(asked: &Listen, path: &CStr, aside: bool) -> Result<Bound, ListenFault> {
    let socket = bound(asked, asked.address, false)?;
    let found = file::socket_at(path).map_err(refused(ListenStep::File))?;
    let (identity, _) = found.ok_or(ListenFault::InUse)?; // another took it away already
    let file = File { identity, aside };
    let listens = match asked.datagram {
        true => Ok(()),
        false => listen::listen(&socket, asked.backlog),
    };
    if let Err(errno) = listens {
        remove(path, file.identity);
        return Err(ListenFault::Refused(ListenStep::Listen, errno));
    }
    Ok(Bound {
        socket,
        address: asked.address,
        file: Some(file),
        steered: 0,
    })
}

/// A stale socket's file goes aside, so that it can come back. If it was another's by then, that
/// comes back at once.
fn set_aside(path: &CStr, stale: Identity) -> Result<(), ListenFault> {
    let aside = Aside::of(path);
    let moved = file::rename_to_free(path, aside.path()).map_err(refused(ListenStep::File))?;
    if !moved {
        return Err(ListenFault::Refused(ListenStep::File, Errno::EXIST));
    }
    let found = file::identity_at(aside.path()).map_err(refused(ListenStep::File))?;
    if found == Some(stale) {
        return Ok(());
    }
    take_back(path);
    Err(ListenFault::InUse)
}

/// What was set aside has its name again, unless somebody else has it.
pub(super) fn take_back(path: &CStr) {
    let _ = file::rename_to_free(Aside::of(path).path(), path);
}

/// What was set aside is not needed any more.
pub(super) fn remove_aside(path: &CStr) {
    let _ = file::remove(Aside::of(path).path());
}

/// Removes the file at a path, if it is this one. Its socket is to be open: another file can have
/// the same inode otherwise.
pub(super) fn remove(path: &CStr, identity: Identity) {
    if file::identity_at(path) == Ok(Some(identity)) {
        let _ = file::remove(path);
    }
}

/// Where a stale file is set aside: beside it, under this process's number.
struct Aside(Vec<u8, 160>);

impl Aside {
    fn of(path: &CStr) -> Self {
        let mut bytes = Vec::new();
        let _ = bytes.extend_from_slice(path.to_bytes()); // 107 at the most
        let _ = write!(bytes, ".stale.{}\0", process::own_pid());
        Self(bytes)
    }

    fn path(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.0).unwrap_or_default()
    }
}

pub(super) const fn refused(step: ListenStep) -> impl Fn(Errno) -> ListenFault {
    move |errno| ListenFault::Refused(step, errno)
}
