//! What the tests of listeners share: folders, options by the kernel's word, and who is who.

use core::net::SocketAddr;
use core::sync::atomic::{AtomicU32, Ordering};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use forkmesh::run::{Address, Listen, Listeners};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::net::{AddressFamily, SocketType, connect, socket_with};

use crate::support::{inode, open_in};

/// A set that is small enough to be filled.
pub(crate) type Few = Listeners<4, 8>;

/// A listener at any port of this machine alone.
pub(crate) fn local() -> Listen {
    at("127.0.0.1:0")
}

pub(crate) fn at(text: &str) -> Listen {
    Listen::new(text.parse().expect("an address"))
}

/// The address that the first of a list got.
pub(crate) fn address<const M: usize, const S: usize>(
    listeners: &Listeners<M, S>,
    place: u16,
) -> Address {
    listeners.address(place).expect("it is in force")
}

pub(crate) fn socket_address(address: Address) -> SocketAddr {
    match address {
        Address::Inet(address) => address.into(),
        Address::Inet6(address) => address.into(),
        Address::Unix(name) => panic!("{name} has no port"),
    }
}

/// The sockets that this process holds, by inode.
pub(crate) fn sockets() -> BTreeSet<u64> {
    sockets_of(std::process::id() as i32)
}

pub(crate) fn sockets_of(pid: i32) -> BTreeSet<u64> {
    let all = open_in(pid);
    all.values().filter_map(|open| open.socket).collect()
}

/// The inode of a socket, as /proc says it.
pub(crate) fn number(socket: &OwnedFd) -> u64 {
    inode(socket).1
}

/// An option that is an int, or the `at`-th int of one that is longer.
pub(crate) fn option(socket: impl AsFd, level: i32, option: i32, at: usize) -> i32 {
    let mut value = [0_i32; 64];
    let mut length = size_of_val(&value) as libc::socklen_t;
    let number = socket.as_fd().as_raw_fd();
    // SAFETY: the value has the length that is named, and both live through the call.
    let done = unsafe {
        libc::getsockopt(
            number,
            level,
            option,
            (&raw mut value).cast(),
            &raw mut length,
        )
    };
    assert_eq!(done, 0, "option {option} of level {level}");
    value[at]
}

/// How many clients wait at a TCP socket, and how many may.
pub(crate) fn queue(socket: impl AsFd) -> (i32, i32) {
    let socket = socket.as_fd();
    let info = |at| option(socket, libc::IPPROTO_TCP, libc::TCP_INFO, at);
    (info(6), info(7))
}

/// A folder that goes with its test.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("forkmesh-listen-{}-{count}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).expect("a folder");
        Self(path)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub(crate) fn unix(&self, name: &str) -> Listen {
        at(&format!("unix:{}", self.path(name).display()))
    }

    /// What lies in it, and which file that is.
    pub(crate) fn files(&self) -> BTreeSet<(String, u64)> {
        use std::os::unix::fs::MetadataExt;
        let entries = fs::read_dir(&self.0).expect("a folder");
        let entries = entries.map(|entry| entry.expect("an entry"));
        entries
            .map(|entry| {
                let inode = fs::symlink_metadata(entry.path()).expect("it is there");
                (entry.file_name().into_string().expect("text"), inode.ino())
            })
            .collect()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A client of a unix socket.
pub(crate) fn unix_client(path: &std::path::Path) -> rustix::io::Result<OwnedFd> {
    let client = socket_with(
        AddressFamily::UNIX,
        SocketType::STREAM,
        rustix::net::SocketFlags::CLOEXEC,
        None,
    )?;
    connect(
        &client,
        &rustix::net::SocketAddrUnix::new(path.as_os_str().as_bytes())?,
    )?;
    Ok(client)
}

/// A descriptor of std's, in the library's own terms.
pub(crate) fn lent(whose: &impl std::os::fd::AsRawFd) -> BorrowedFd<'_> {
    // SAFETY: it is open for as long as its owner is borrowed.
    unsafe { BorrowedFd::borrow_raw(whose.as_raw_fd()) }
}

/// A pipe: where to read, and where to write.
pub(crate) fn pipe() -> (OwnedFd, OwnedFd) {
    rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).expect("two descriptors")
}
