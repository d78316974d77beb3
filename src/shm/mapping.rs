//! `Mapping`: memory that processes share, in a place of its own between two guards.
//!
//! ```text
//!   Backing      behind it            reached by                survives     can be made shorter
//!   Sealed       a memfd, sealed      fork, its descriptor      exec         by nobody
//!   Anonymous    nothing              fork                                   by nobody
//!   DevZero      /dev/zero            fork                                   by nobody
//!   SystemV      a segment, removed   fork                                   by nobody
//!   a file       a file's pages       fork, descriptor, path    everything   by whoever may write it
//!
//!        ┌───────┬───────────────────────────────┬───────┐
//!        │ guard │ length, whole pages           │ guard │    a step outside is SIGSEGV
//!        └───────┴───────────────────────────────┴───────┘
//! ```
//!
//! A new mapping is zeros. Dropped, it is unmapped in this process alone.
//!
//! # Invariants
//!
//! - What one process writes every other reads, for each backing, over fork, and for those with a
//!   descriptor over exec and by message, too (tests `every_backing_is_shared_over_fork`,
//!   `sealed_memory_is_shared_over_exec`, `sealed_memory_is_shared_by_message`).
//! - Nobody can change the length of sealed memory (test `sealed_memory_keeps_its_length`).
//! - One byte before the memory, and one behind it, there is nothing (test `guards_stand_on_both_sides`).
//! - Dropped, nothing of it is left, in memory or of System V's (test `a_dropped_mapping_is_gone`).
//!
//! # An ordinary file
//!
//! Nothing seals a file. Whoever may write it can make it shorter, and then whoever touches what is
//! gone is killed by SIGBUS: every process of the service. So a file is taken with room kept for all
//! of it (no SIGBUS for a full disk) and locked, as [`Mapping::of_file`] says, which keeps out another
//! service; and it is to belong to the master's user, with mode 0600 and in a directory that others
//! cannot write, which keeps out everybody else. Who has to live with strangers copies the file
//! into sealed memory.
//!
//! # Why not `MAP_POPULATE`
//!
//! It faults pages in as far as it can, and is silent about the rest: the first to touch it is killed.

use core::ffi::CStr;
use core::fmt;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;

use crate::sys::file;
use crate::sys::memory::{self, Area, HUGE_PAGE, PAGE, Source};

/// What lies behind new memory.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[non_exhaustive]
pub enum Backing {
    /// Memory with a descriptor, whose length nobody can change: it can be handed over.
    #[default]
    Sealed,
    /// Memory without a name; nginx's first choice.
    Anonymous,
    /// `/dev/zero`; nginx's second.
    DevZero,
    /// A segment of System V's, removed as soon as it is attached, so that it ends with the last
    /// process; nginx's third.
    SystemV,
}

/// Whether memory is made of huge pages, of 2 MiB.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[non_exhaustive]
pub enum HugePages {
    /// Of ordinary pages.
    #[default]
    No,
    /// Of huge ones where the kernel has some at hand.
    Wanted,
    /// Of huge ones that the administrator has set aside (`vm.nr_hugepages`), or not at all. For
    /// [`Backing::Sealed`]; the length is rounded up to 2 MiB.
    Required,
}

/// How memory is made: sealed, of ordinary pages, filled when it is touched, unless it is said
/// otherwise.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct MapConfig {
    backing: Backing,
    huge: HugePages,
    prefault: bool,
}

/// Memory that is shared with whoever has mapped it, too; dropped, it is unmapped here.
#[derive(Debug)]
#[must_use = "dropping it unmaps the memory"]
pub struct Mapping {
    area: Area,
    descriptor: Option<OwnedFd>,
}

/// Why there is no mapping.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum NotMapped {
    /// Memory of no bytes.
    Nothing,
    /// The descriptor is not of memory that is sealed: it could be made shorter at any moment.
    NotSealed,
    /// Another process has locked the file.
    InUse,
    /// Huge pages cannot be required of this backing.
    NoHugePages,
    /// The kernel has not this much memory, or not of this kind.
    Memory(Errno),
    /// A system call was refused: EMFILE, EACCES and the like.
    Refused(Errno),
}

impl MapConfig {
    /// Sealed memory of ordinary pages, filled when it is touched.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            backing: Backing::Sealed,
            huge: HugePages::No,
            prefault: false,
        }
    }

    /// What lies behind it.
    #[must_use]
    pub const fn backing(mut self, backing: Backing) -> Self {
        self.backing = backing;
        self
    }

    /// Whether it is made of huge pages.
    #[must_use]
    pub const fn huge_pages(mut self, huge: HugePages) -> Self {
        self.huge = huge;
        self
    }

    /// Whether every page is to be there at once. Then there is no later page fault, and none that
    /// kills because memory has run out; and too little of it is an error here. Needs Linux 5.14.
    #[must_use]
    pub const fn prefault(mut self, prefault: bool) -> Self {
        self.prefault = prefault;
        self
    }
}

impl Mapping {
    /// New memory of at least this many bytes, rounded up to whole pages, all zero. /proc shows
    /// sealed memory under its name. Cost: 2 to 6 system calls.
    ///
    /// # Errors
    ///
    /// [`NotMapped`].
    pub fn create(name: &CStr, length: usize, config: MapConfig) -> Result<Self, NotMapped> {
        let required = config.huge == HugePages::Required;
        if required && config.backing != Backing::Sealed {
            return Err(NotMapped::NoHugePages);
        }
        let align = if required { HUGE_PAGE } else { PAGE };
        let length = match length.checked_next_multiple_of(align) {
            None => return Err(NotMapped::Memory(Errno::NOMEM)),
            Some(0) => return Err(NotMapped::Nothing),
            Some(length) => length,
        };
        let mapping = match config.backing {
            Backing::Sealed => {
                let memory = memory::sealed(name, length, required).map_err(refusal)?;
                Self::of(memory, length, align)?
            }
            Backing::Anonymous => Self {
                area: Area::map(Source::Anonymous, length, align).map_err(refusal)?,
                descriptor: None,
            },
            Backing::DevZero => Self {
                descriptor: None,
                ..Self::of(memory::zeros().map_err(refusal)?, length, align)?
            },
            Backing::SystemV => Self {
                area: memory::map_segment(length).map_err(refusal)?,
                descriptor: None,
            },
        };
        if config.huge == HugePages::Wanted {
            let _ = mapping.area.ask_for_huge_pages(); // a kernel without them is as good
        }
        if config.prefault {
            mapping.area.prefault().map_err(NotMapped::Memory)?;
        }
        Ok(mapping)
    }

    /// Sealed memory that another process has made: all of it, as long as the kernel says it is.
    ///
    /// # Errors
    ///
    /// [`NotMapped`]; the descriptor is closed then.
    pub fn attach(memory: OwnedFd) -> Result<Self, NotMapped> {
        if !memory::is_sealed(&memory) {
            return Err(NotMapped::NotSealed);
        }
        Self::attach_file(memory)
    }

    /// An ordinary file, opened for reading and writing: made at least this long, and all of it mapped.
    /// Room is kept for all of it, and it is locked for this process (fcntl_locking(2)) until the
    /// process closes any descriptor of it. What the front page says of such files holds.
    ///
    /// # Errors
    ///
    /// [`NotMapped`]; the descriptor is closed then.
    pub fn of_file(file: OwnedFd, length: usize) -> Result<Self, NotMapped> {
        if !file::lock(&file).map_err(refusal)? {
            return Err(NotMapped::InUse);
        }
        let length = length.max(memory::length(&file).map_err(refusal)?);
        let Some(length) = length.checked_next_multiple_of(PAGE) else {
            return Err(NotMapped::Memory(Errno::NOMEM));
        };
        if length > 0 {
            memory::make_room(&file, length).map_err(refusal)?;
        }
        Self::of(file, length, PAGE)
    }

    /// An ordinary file that another process of this service has locked, and has handed over: all of
    /// it, as long as it is now.
    ///
    /// # Errors
    ///
    /// [`NotMapped`]; the descriptor is closed then.
    pub fn attach_file(file: OwnedFd) -> Result<Self, NotMapped> {
        let length = memory::length(&file).map_err(refusal)?;
        let align = memory::page_of(&file).map_err(refusal)?;
        Self::of(file, length, align)
    }

    fn of(file: OwnedFd, length: usize, align: usize) -> Result<Self, NotMapped> {
        // The kernel fills the last page up with zeros, and maps nothing beyond it.
        let length = match length.checked_next_multiple_of(align) {
            None => return Err(NotMapped::Memory(Errno::NOMEM)),
            Some(0) => return Err(NotMapped::Nothing),
            Some(length) => length,
        };
        let area = Area::map(Source::File(file.as_fd()), length, align).map_err(refusal)?;
        Ok(Self {
            area,
            descriptor: Some(file),
        })
    }

    /// How many bytes there are: whole pages.
    #[must_use]
    pub const fn length(&self) -> usize {
        self.area.length()
    }

    /// What it can be handed over by; `None` for memory that is reached by fork alone.
    #[must_use]
    pub fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.descriptor.as_ref().map(AsFd::as_fd)
    }

    pub(super) const fn start(&self) -> usize {
        self.area.start()
    }
}

fn refusal(errno: Errno) -> NotMapped {
    match errno {
        Errno::NOMEM | Errno::NOSPC | Errno::FBIG | Errno::OVERFLOW => NotMapped::Memory(errno),
        _ => NotMapped::Refused(errno),
    }
}

impl fmt::Display for NotMapped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("memory of no bytes"),
            Self::NotSealed => f.write_str("the memory is not sealed, and could be made shorter"),
            Self::InUse => f.write_str("another process has locked the file"),
            Self::NoHugePages => f.write_str("huge pages can be required of sealed memory alone"),
            Self::Memory(errno) => write!(f, "not this much memory, or not of this kind: {errno}"),
            Self::Refused(errno) => write!(f, "memory was refused: {errno}"),
        }
    }
}

impl core::error::Error for NotMapped {}
