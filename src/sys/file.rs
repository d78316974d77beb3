//! Files by path: made, locked, moved and removed; and memory that others can read as one.
//!
//! The lock is fcntl's: a child does not inherit it, so that it ends with the process that took it,
//! whoever else holds the descriptor. What is odd about it: closing any descriptor of the file gives
//! up every lock that the process has there (fcntl_locking(2)).

use core::ffi::CStr;
use core::mem::{offset_of, size_of};

use rustix::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use rustix::fs::{
    AtFlags, CWD, FileType, FlockOperation, MemfdFlags, Mode, OFlags, RenameFlags, SealFlags,
    fcntl_add_seals, fcntl_lock, fstat, ftruncate, memfd_create, open, rename, renameat_with,
    statat, unlink,
};
use rustix::io::{Errno, pread, pwrite};
use syscalls::{Sysno, syscall};

use crate::sys::errno;

/// A name is itself, never a link to another; and opening it waits for nobody.
const COMMON: OFlags = OFlags::CLOEXEC
    .union(OFlags::NOFOLLOW)
    .union(OFlags::NONBLOCK);

/// What tells one file from another, as long as one of the two is open.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Identity {
    device: u64,
    inode: u64,
}

/// Makes a file that was not there, for everybody to read.
pub(crate) fn create_new(path: &CStr) -> Result<OwnedFd, Errno> {
    let flags = COMMON | OFlags::RDWR | OFlags::CREATE | OFlags::EXCL;
    open(path, flags, Mode::from_raw_mode(0o644))
}

/// Opens a file that is there, so that it can be locked.
pub(crate) fn open_to_lock(path: &CStr) -> Result<OwnedFd, Errno> {
    open(path, COMMON | OFlags::RDWR, Mode::empty())
}

/// Opens a file that is there.
pub(crate) fn open_to_read(path: &CStr) -> Result<OwnedFd, Errno> {
    open(path, COMMON | OFlags::RDONLY, Mode::empty())
}

pub(crate) fn is_regular(file: impl AsFd) -> Result<bool, Errno> {
    Ok(FileType::from_raw_mode(fstat(file)?.st_mode) == FileType::RegularFile)
}

/// Which file a path names; `None` for none.
pub(crate) fn identity_at(path: &CStr) -> Result<Option<Identity>, Errno> {
    match statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(Identity::of(&stat))),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// Which file a path names, and whether it is a socket's; `None` for none.
pub(crate) fn socket_at(path: &CStr) -> Result<Option<(Identity, bool)>, Errno> {
    match statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => {
            let is_socket = FileType::from_raw_mode(stat.st_mode) == FileType::Socket;
            Ok(Some((Identity::of(&stat), is_socket)))
        }
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// Whether a path names this file.
pub(crate) fn is_at(file: impl AsFd, path: &CStr) -> Result<bool, Errno> {
    let own = Identity::of(&fstat(file)?);
    Ok(identity_at(path)? == Some(own))
}

impl Identity {
    /// As it was said by [`Identity::to_numbers`].
    pub(crate) const fn from_numbers(device: u64, inode: u64) -> Self {
        Self { device, inode }
    }

    pub(crate) const fn to_numbers(self) -> (u64, u64) {
        (self.device, self.inode)
    }

    pub(super) const fn of(stat: &rustix::fs::Stat) -> Self {
        Self {
            device: stat.st_dev,
            inode: stat.st_ino,
        }
    }
}

/// Takes the write lock of a whole file, unless another process has it.
pub(crate) fn lock(file: impl AsFd) -> Result<bool, Errno> {
    match fcntl_lock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(Errno::AGAIN | Errno::ACCESS) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// The other process that has a lock on a file; 0 for one that cannot be named here, as of another
/// pid namespace.
pub(crate) fn holder(file: impl AsFd) -> Result<Option<i32>, Errno> {
    ask(file.as_fd().as_raw_fd(), F_GETLK)
}

/// The process that has a lock on the file behind a descriptor of ours, be it this one.
pub(crate) fn any_holder(number: RawFd) -> Result<Option<i32>, Errno> {
    ask(number, F_OFD_GETLK)
}

fn ask(number: RawFd, how: i32) -> Result<Option<i32>, Errno> {
    let mut asked = Flock {
        kind: F_WRLCK,
        whence: SEEK_SET,
        start: 0,
        length: 0,
        pid: 0,
    };
    // SAFETY: `asked` is the kernel's `struct flock`, is borrowed mutably, and lives through the call.
    let done = unsafe { syscall!(Sysno::fcntl, number, how, &raw mut asked) };
    done.map_err(errno)?;
    Ok((asked.kind != F_UNLCK).then_some(asked.pid.max(0)))
}

#[repr(C)]
struct Flock {
    kind: i16,
    whence: i16,
    start: i64,
    length: i64,
    pid: i32,
}

const F_GETLK: i32 = 5;
/// Asks in the name of a descriptor, to which the locks of its own process are another's.
const F_OFD_GETLK: i32 = 36;
const F_WRLCK: i16 = 1;
const F_UNLCK: i16 = 2;
const SEEK_SET: i16 = 0;

static_assertions::const_assert_eq!(size_of::<Flock>(), 32);
static_assertions::const_assert_eq!(offset_of!(Flock, pid), 24);

/// Gives a file another name, unless that name is taken.
pub(crate) fn rename_to_free(from: &CStr, to: &CStr) -> Result<bool, Errno> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Ok(()) => Ok(true),
        Err(Errno::EXIST) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// Gives a file another name, and takes that from whoever has it.
pub(crate) fn rename_over(from: &CStr, to: &CStr) -> Result<(), Errno> {
    rename(from, to)
}

pub(crate) fn remove(path: &CStr) -> Result<(), Errno> {
    unlink(path)
}

/// Memory of a fixed size that /proc shows under this name.
pub(crate) fn memory(name: &CStr, size: usize) -> Result<OwnedFd, Errno> {
    let memory = memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    ftruncate(&memory, size as u64)?;
    fcntl_add_seals(
        &memory,
        SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL,
    )?;
    Ok(memory)
}

/// Writes all of this, by one call.
pub(crate) fn write_at(file: impl AsFd, bytes: &[u8], offset: usize) -> Result<(), Errno> {
    match pwrite(file, bytes, offset as u64) {
        Ok(written) if written == bytes.len() => Ok(()),
        Ok(_) => Err(Errno::NOSPC),
        Err(errno) => Err(errno),
    }
}

/// Reads what is there, by one call, and says how much that was.
pub(crate) fn read_at(file: impl AsFd, bytes: &mut [u8], offset: usize) -> Result<usize, Errno> {
    pread(file, bytes, offset as u64)
}
