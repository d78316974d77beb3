//! `PidFile`: there as long as its process lives, and proof that it does.
//!
//! ```text
//!   nobody's path    temporary file: made, locked, written ──rename, if nothing is there──► path
//!   somebody's path  lock ──refused──► AlreadyRunning { pid }
//!                     └─ taken: its process is dead ─► the path still names it? ─ no ─► once more
//!                          └─ yes: temporary file: made, locked, written ──rename over──► path
//! ```
//!
//! The file has the process's number, a newline, and a lock. A number alone proves nothing: the
//! process may be dead, and its number another's. The lock ends with the process, however it ends.
//!
//! For an upgrade the file steps aside to a name that ends in `.oldbin`, so that the successor can put
//! its own in the path, and comes back if that fails.
//!
//! # Invariants
//!
//! - Of those who want one path, one gets it (tests `one_of_two_wins`, `one_of_two_wins_over_a_stale_file`).
//! - A file whose process is dead is in nobody's way (tests `a_dead_masters_file_is_taken_over`,
//!   `an_orphan_does_not_keep_the_lock`).
//! - Nobody ever reads a file that is empty or half written, and nobody finds one without its lock:
//!   it gets its name last (test `one_of_two_wins`).
//! - What fails leaves nothing behind: no file, no descriptor (tests `an_unwritable_folder`,
//!   `a_full_disk`, `a_file_that_may_not_grow`, `no_descriptor_left`).
//! - A file is removed by the process that made it, while the path names it, and by nobody else (tests
//!   `only_the_own_file_is_removed`, `a_child_does_not_remove_it`).
//!
//! # The lock's one trap
//!
//! Whoever closes any descriptor of a file gives up all locks that his process has on it. So the
//! process that has the pid file must not open it, to read it for instance. [`PidFile::create`] and
//! [`Instance::find`](super::Instance::find) notice that they would and refuse (tests
//! `the_own_file_is_not_opened_again`, `nobody_finds_himself`).
//!
//! # Why not flock
//!
//! A child inherits it, and it ends with the last descriptor: a worker that outlives its master, or a
//! program that a worker started, would keep the next master from starting.
//!
//! # Example
//!
//! ```
//! # let folder = std::env::temp_dir().join(format!("forkmesh-doc-{}", std::process::id()));
//! # std::fs::create_dir(&folder).unwrap();
//! # let path = folder.join("pid");
//! # let path = path.to_str().unwrap();
//! let pid_file = forkmesh::run::PidFile::create(path)?;
//! assert_eq!(std::fs::metadata(path).unwrap().len() as usize, format!("{}\n", std::process::id()).len());
//! drop(pid_file); // it removes it
//! # std::fs::remove_dir(&folder).unwrap();
//! # Ok::<(), forkmesh::run::PidFileError>(())
//! ```

use core::ffi::CStr;
use core::fmt::{self, Write};

use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::path::Arg;

use crate::sys::{clock, file, foreign, process};
use crate::table::Pid;

/// A path's longest length, with its NUL.
const PATH_MAX: usize = 4096;
/// The longest that is put behind a path: of a temporary file.
const LONGEST_SUFFIX: usize = ".-2147483648.18446744073709551615".len();
/// How often a path is tried that changes hands all the time. Each time somebody else has got on.
const ATTEMPTS: u32 = 1_000;

/// What is put behind the path of a file that stepped aside.
const ASIDE: &str = ".oldbin";

/// A pid file, its path, and its lock: about 4 KiB. When it is dropped, the file is removed.
#[derive(Debug)]
pub struct PidFile {
    path: Path,
    is_aside: bool,
    /// `None` once it has been given up.
    file: Option<OwnedFd>,
    /// The process that has the lock.
    made_in: i32,
}

/// Why there is no pid file, or why it cannot be moved or removed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum PidFileError {
    /// The path is longer than about 4060 bytes, or has a NUL in it.
    BadPath,
    /// A living process has the file; `None` where that process cannot be named here, as one of another
    /// pid namespace.
    AlreadyRunning {
        /// Which one.
        pid: Option<Pid>,
    },
    /// What has this name is a folder, a device, a FIFO.
    NotAFile,
    /// The path does not name the file of this process any more.
    Lost,
    /// The path changed hands a thousand times.
    Contended,
    /// The kernel refused.
    Refused {
        /// To do what.
        step: Step,
        /// Why.
        errno: Errno,
    },
}

/// What the kernel can refuse.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Step {
    /// To look at the path, or at which files this process has open.
    Look,
    /// To open the file that is there.
    Open,
    /// To make a temporary file beside it.
    Create,
    /// To lock it, or to name who has the lock.
    Lock,
    /// To write the pid to it.
    Write,
    /// To give it its name.
    Rename,
    /// To remove it.
    Remove,
}

/// A path that the file can have.
struct Place {
    /// A dead process's file that is there, and whose lock is ours; `None` where nothing is.
    stale: Option<OwnedFd>,
}

impl PidFile {
    /// Makes the file, unless a living process has it. An absolute path: a relative one means another
    /// file as soon as the process goes to another folder. After a daemon's forks, not before them: a
    /// child does not inherit the lock.
    ///
    /// Without `alloc` in rustix (so without `std` here), a path that is not a `&CStr` can have 255
    /// bytes. Where another process of another pid namespace uses the same path, both are kept apart too.
    ///
    /// Cost: about ten system calls and one for each descriptor that is open, if a file is there.
    ///
    /// # Errors
    ///
    /// [`PidFileError`]; nothing is left behind then.
    pub fn create(path: impl Arg) -> Result<Self, PidFileError> {
        let path = Path::of(path)?;
        let file = take(&path, |place| {
            let temporary = Temporary::create(&path)?;
            temporary.put(path.as_c_str(), &place)
        })?;
        Ok(Self {
            path,
            is_aside: false,
            file: Some(file),
            made_in: process::own_pid(),
        })
    }

    /// Gives the path up to a successor: the file's name ends in `.oldbin` from now on.
    ///
    /// # Errors
    ///
    /// [`PidFileError::AlreadyRunning`] where that name is a living process's, which is our own
    /// predecessor, most likely. The file keeps its name then, as after every error.
    pub fn set_aside(&mut self) -> Result<(), PidFileError> {
        self.move_to(true)
    }

    /// Takes the path back, from a successor that is dead.
    ///
    /// # Errors
    ///
    /// [`PidFileError::AlreadyRunning`] where the successor, or whoever has the path now, lives.
    pub fn take_back(&mut self) -> Result<(), PidFileError> {
        self.move_to(false)
    }

    /// Removes the file; it is removed when this is dropped, too, and then nobody learns of an error.
    ///
    /// # Errors
    ///
    /// [`PidFileError::Lost`] where it is not this process's any more.
    pub fn remove(mut self) -> Result<(), PidFileError> {
        self.withdraw()
    }

    /// The descriptor, for a child to close: the file stays.
    #[must_use = "what is dropped is closed at once, and not together with others"]
    pub fn renounce(mut self) -> Option<OwnedFd> {
        self.file.take()
    }

    fn move_to(&mut self, aside: bool) -> Result<(), PidFileError> {
        if self.is_aside == aside {
            return Ok(());
        }
        let (from, to) = (self.path.name(self.is_aside)?, self.path.name(aside)?);
        self.file.as_ref().map_or(Err(PidFileError::Lost), |file| {
            self.verify(file, from.as_c_str())
        })?;
        take(&to, |place| {
            let moved = rename(from.as_c_str(), to.as_c_str(), &place)?;
            Ok(moved.then_some(()))
        })?;
        self.is_aside = aside;
        Ok(())
    }

    fn withdraw(&mut self) -> Result<(), PidFileError> {
        let Some(file) = self.file.take() else {
            return Ok(());
        };
        let name = self.path.name(self.is_aside)?;
        self.verify(&file, name.as_c_str())?;
        file::remove(name.as_c_str()).map_err(refused(Step::Remove))
    }

    /// Whether this name is that of our file, and the lock ours; it is taken again, should the process
    /// have closed a descriptor that it ought not to have opened.
    fn verify(&self, file: &OwnedFd, name: &CStr) -> Result<(), PidFileError> {
        if self.made_in != process::own_pid()
            || !file::lock(file).map_err(refused(Step::Lock))?
            || !file::is_at(file, name).map_err(refused(Step::Look))?
        {
            return Err(PidFileError::Lost);
        }
        Ok(())
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        let _ = self.withdraw();
    }
}

/// Has something put in a place that is nobody's, as soon as it is; until it is there.
fn take<T>(
    path: &Path,
    mut put: impl FnMut(Place) -> Result<Option<T>, PidFileError>,
) -> Result<T, PidFileError> {
    for _ in 0..ATTEMPTS {
        let Some(place) = look(path.as_c_str())? else {
            continue;
        };
        if let Some(done) = put(place)? {
            return Ok(done);
        }
    }
    Err(PidFileError::Contended)
}

/// Whose a path is; `None` where that changed while it was being found out.
fn look(path: &CStr) -> Result<Option<Place>, PidFileError> {
    if foreign::is_locked_here(path).map_err(refused(Step::Look))? {
        let pid = Pid::new(process::own_pid());
        return Err(PidFileError::AlreadyRunning { pid });
    }
    let file = match file::open_to_lock(path) {
        Err(Errno::NOENT) => return Ok(Some(Place { stale: None })),
        opened => opened.map_err(refused(Step::Open))?,
    };
    if !file::is_regular(&file).map_err(refused(Step::Look))? {
        return Err(PidFileError::NotAFile);
    }
    if !file::lock(&file).map_err(refused(Step::Lock))? {
        return match file::holder(&file).map_err(refused(Step::Lock))? {
            Some(pid) => Err(PidFileError::AlreadyRunning { pid: Pid::new(pid) }),
            None => Ok(None),
        };
    }
    let is_there = file::is_at(&file, path).map_err(refused(Step::Look))?;
    let stale = Some(file);
    Ok(is_there.then_some(Place { stale }))
}

/// Gives a file the name of a place; not if the place was free and is no longer.
fn rename(from: &CStr, to: &CStr, place: &Place) -> Result<bool, PidFileError> {
    let renamed = match place.stale {
        None => file::rename_to_free(from, to),
        Some(_) => file::rename_over(from, to).map(|()| true),
    };
    renamed.map_err(refused(Step::Rename))
}

/// A pid file that has no name yet that anybody looks for; it is removed unless it gets one.
struct Temporary {
    path: Path,
    file: Option<OwnedFd>,
}

impl Temporary {
    fn create(beside: &Path) -> Result<Self, PidFileError> {
        let path = beside.with(format_args!(".{}.{}", process::own_pid(), clock::now_ms()))?;
        let file = file::create_new(path.as_c_str()).map_err(refused(Step::Create))?;
        let temporary = Self {
            path,
            file: Some(file),
        };
        temporary.fill()?;
        Ok(temporary)
    }

    fn fill(&self) -> Result<(), PidFileError> {
        let mut text = heapless::String::<16>::new();
        let _ = writeln!(text, "{}", process::own_pid()); // eleven characters at the most
        if let Some(file) = &self.file {
            if !file::lock(file).map_err(refused(Step::Lock))? {
                return Err(refused(Step::Lock)(Errno::AGAIN));
            }
            file::write_at(file, text.as_bytes(), 0).map_err(refused(Step::Write))?;
        }
        Ok(())
    }

    /// Gives it its name; `None` if somebody was faster.
    fn put(mut self, path: &CStr, place: &Place) -> Result<Option<OwnedFd>, PidFileError> {
        match rename(self.path.as_c_str(), path, place)? {
            true => Ok(self.file.take()),
            false => Ok(None),
        }
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if self.file.is_some() {
            let _ = file::remove(self.path.as_c_str());
        }
    }
}

/// A path, as the kernel wants it.
struct Path(heapless::Vec<u8, PATH_MAX>);

impl Path {
    fn of(path: impl Arg) -> Result<Self, PidFileError> {
        let copied = path.into_with_c_str(|path| {
            let bytes = path.to_bytes();
            if bytes.len() + LONGEST_SUFFIX >= PATH_MAX {
                return Err(Errno::NAMETOOLONG);
            }
            let copied = heapless::Vec::from_slice(path.to_bytes_with_nul());
            copied.map(Self).map_err(|_| Errno::NAMETOOLONG)
        });
        copied.map_err(|_| PidFileError::BadPath)
    }

    /// This path, with something behind it.
    fn with(&self, suffix: fmt::Arguments<'_>) -> Result<Self, PidFileError> {
        let mut bytes = self.0.clone();
        bytes.pop();
        write!(bytes, "{suffix}\0").map_err(|_| PidFileError::BadPath)?;
        Ok(Self(bytes))
    }

    /// The name of the pid file with this path.
    fn name(&self, aside: bool) -> Result<Self, PidFileError> {
        self.with(format_args!("{}", if aside { ASIDE } else { "" }))
    }

    fn as_c_str(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.0).unwrap_or_default()
    }
}

impl fmt::Debug for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_c_str().fmt(f)
    }
}

fn refused(step: Step) -> impl FnOnce(Errno) -> PidFileError {
    move |errno| PidFileError::Refused { step, errno }
}

impl fmt::Display for PidFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadPath => f.write_str("the path is too long, or has a NUL in it"),
            Self::AlreadyRunning { pid: Some(pid) } => write!(f, "process {pid} is running"),
            Self::AlreadyRunning { pid: None } => f.write_str("a process is running elsewhere"),
            Self::NotAFile => f.write_str("the path names something that is no file"),
            Self::Lost => f.write_str("the pid file is not this process's"),
            Self::Contended => f.write_str("the pid file changes hands all the time"),
            Self::Refused { step, errno } => {
                let what = match step {
                    Step::Look => "look at the pid file",
                    Step::Open => "open the pid file",
                    Step::Create => "make a file beside the pid file",
                    Step::Lock => "lock the pid file",
                    Step::Write => "write the pid",
                    Step::Rename => "name the pid file",
                    Step::Remove => "remove the pid file",
                };
                write!(f, "cannot {what}: {errno}")
            }
        }
    }
}

impl core::error::Error for PidFileError {}
