//! Memory that processes share: a range of addresses of our own, and what is mapped there.
//!
//! ```text
//!   reserve     ┌───────┬──────────────────────────┬───────┐    no access at all
//!               │ guard │                          │ guard │
//!   fill, ...   │       │ shared memory            │       │    read and write, in the place of the reserve
//!               └───────┴──────────────────────────┴───────┘
//!   dropped     everything is unmapped, by one call
//! ```

use core::ffi::{CStr, c_void};
use core::ptr;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{
    FallocateFlags, MemfdFlags, Mode, OFlags, SealFlags, fallocate, fcntl_add_seals,
    fcntl_get_seals, fstat, fstatfs, ftruncate, memfd_create, open,
};
use rustix::io::Errno;
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap, mmap_anonymous, munmap};
use syscalls::{Sysno, syscall};

use crate::sys::errno;

/// How large a page is at least, and what every mapping is a multiple of.
pub(crate) const PAGE: usize = 4096;
/// How large a huge page is.
pub(crate) const HUGE_PAGE: usize = 2 << 20;
/// On either side of a mapping: a page of the largest size that processors have as their smallest.
const GUARD: usize = 64 << 10;

const ACCESS: ProtFlags = ProtFlags::READ.union(ProtFlags::WRITE);
/// No memory can be made shorter or longer, and nobody can add another seal.
const SEALS: SealFlags = SealFlags::SHRINK
    .union(SealFlags::GROW)
    .union(SealFlags::SEAL);

/// A range of addresses that is this process's own, and what is in the middle of it. It names the
/// range by numbers; who makes references of them sees to it that they end before it does.
#[derive(Debug)]
pub(crate) struct Area {
    reserve: usize,
    reserved: usize,
    start: usize,
    length: usize,
}

/// What lies behind the addresses.
#[derive(Clone, Copy)]
pub(crate) enum Source<'f> {
    /// Nothing that has a name: children share it.
    Anonymous,
    /// A file, or memory that has a descriptor.
    File(BorrowedFd<'f>),
    /// A segment of System V's, by its identifier.
    Segment(usize),
}

impl Area {
    /// Maps this many bytes, a multiple of `align`, which is a power of two and a page at least.
    pub(crate) fn map(source: Source<'_>, length: usize, align: usize) -> Result<Self, Errno> {
        let guards = GUARD.max(align).checked_mul(2).ok_or(Errno::NOMEM)?;
        let reserved = length.checked_add(guards).ok_or(Errno::NOMEM)?;
        let private = MapFlags::PRIVATE.union(MapFlags::NORESERVE);
        let reserve = anonymous(ptr::null_mut(), reserved, ProtFlags::empty(), private)?;
        let reserve = reserve.expose_provenance();
        let area = Self {
            reserve,
            reserved,
            start: (reserve + GUARD).next_multiple_of(align),
            length,
        };
        let at = ptr::with_exposed_provenance_mut(area.start);
        match source {
            Source::Anonymous => {
                anonymous(at, length, ACCESS, MapFlags::SHARED.union(MapFlags::FIXED))?;
            }
            Source::File(file) => {
                let flags = MapFlags::SHARED.union(MapFlags::FIXED);
                // SAFETY: what is replaced lies within the reserve, which is ours and unused.
                unsafe { mmap(at, length, ACCESS, flags, file, 0) }?;
            }
            Source::Segment(id) => {
                // SAFETY: as above: the segment is as long as the range, and SHM_REMAP puts it there.
                unsafe { syscall!(Sysno::shmat, id, area.start, SHM_REMAP) }.map_err(errno)?;
            }
        }
        Ok(area)
    }

    /// Where the memory begins.
    pub(crate) const fn start(&self) -> usize {
        self.start
    }

    /// How many bytes it has.
    pub(crate) const fn length(&self) -> usize {
        self.length
    }

    /// Has every page there now, or says that there is no memory for it. Since Linux 5.14.
    pub(crate) fn prefault(&self) -> Result<(), Errno> {
        self.advise(Advice::LinuxPopulateWrite)
    }

    /// Asks for huge pages, where the kernel finds some.
    pub(crate) fn ask_for_huge_pages(&self) -> Result<(), Errno> {
        self.advise(Advice::LinuxHugepage)
    }

    fn advise(&self, advice: Advice) -> Result<(), Errno> {
        let at: *mut c_void = ptr::with_exposed_provenance_mut(self.start);
        // SAFETY: the range is ours, and mapped; neither advice changes what is in it.
        unsafe { madvise(at, self.length, advice) }
    }
}

impl Drop for Area {
    fn drop(&mut self) {
        let at = ptr::with_exposed_provenance_mut(self.reserve);
        // SAFETY: the range is ours; who has made references of its numbers has ended them.
        let _ = unsafe { munmap(at, self.reserved) };
    }
}

/// Maps memory without a name: anywhere, or, for one who asks for a fixed place within a reserve of
/// its own, there.
fn anonymous(
    at: *mut c_void,
    length: usize,
    access: ProtFlags,
    flags: MapFlags,
) -> Result<*mut c_void, Errno> {
    // SAFETY: the kernel chooses a free place, or `at` lies within the caller's own reserve, which
    // nothing else uses.
    unsafe { mmap_anonymous(at, length, access, flags) }
}

/// Memory with a descriptor, whose length nobody can change: made of huge pages, if that is asked.
pub(crate) fn sealed(name: &CStr, length: usize, huge: bool) -> Result<OwnedFd, Errno> {
    let mut flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    flags.set(MemfdFlags::HUGETLB, huge);
    let memory = memfd_create(name, flags)?;
    ftruncate(&memory, length as u64)?;
    fcntl_add_seals(&memory, SEALS)?;
    Ok(memory)
}

/// Whether nobody can make this shorter any more; an ordinary file has no seals.
pub(crate) fn is_sealed(memory: impl AsFd) -> bool {
    fcntl_get_seals(memory).is_ok_and(|seals| seals.contains(SealFlags::SHRINK))
}

/// How long a file is.
pub(crate) fn length(file: impl AsFd) -> Result<usize, Errno> {
    Ok(usize::try_from(fstat(file)?.st_size).unwrap_or(0))
}

/// What the place and the length of a mapping of this file must be a multiple of: the page size, or
/// that of the huge pages that it is made of.
pub(crate) fn page_of(file: impl AsFd) -> Result<usize, Errno> {
    let is_huge = fstatfs(file)?.f_type as u64 == HUGETLBFS_MAGIC;
    Ok(if is_huge { HUGE_PAGE } else { PAGE })
}

const HUGETLBFS_MAGIC: u64 = 0x9584_58F6;

/// Makes a file at least this long, and has the file system keep room for all of it.
pub(crate) fn make_room(file: impl AsFd, length: usize) -> Result<(), Errno> {
    fallocate(file, FallocateFlags::empty(), 0, length as u64)
}

/// The device whose mappings are memory of zeros.
pub(crate) fn zeros() -> Result<OwnedFd, Errno> {
    open(c"/dev/zero", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
}

/// Maps a new segment of System V's, which is gone with the last process that has it.
pub(crate) fn map_segment(length: usize) -> Result<Area, Errno> {
    let id = system_v(Sysno::shmget, IPC_PRIVATE, length, IPC_CREAT | 0o600)?;
    let area = Area::map(Source::Segment(id), length, PAGE);
    let removed = system_v(Sysno::shmctl, id, IPC_RMID, 0);
    removed.and(area)
}

/// One of the calls that give numbers and take numbers.
fn system_v(call: Sysno, a: usize, b: usize, c: usize) -> Result<usize, Errno> {
    // SAFETY: `shmget`, and `shmctl` for removal, read and write no memory of ours.
    unsafe { syscall!(call, a, b, c) }.map_err(errno)
}

const IPC_PRIVATE: usize = 0;
const IPC_CREAT: usize = 0o1000;
const IPC_RMID: usize = 0;
const SHM_REMAP: usize = 0o40_000;
