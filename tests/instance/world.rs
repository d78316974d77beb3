//! A folder that goes with its test, and other processes that do what they are told.

use std::ffi::CString;
use std::fs;
use std::path::{Path, PathBuf};

use forkmesh::channel::{Alone, Pair};
use forkmesh::run::{PidFile, PidFileError};
use rustix::fd::OwnedFd;
use rustix::io::{read, write};
use rustix::pipe::{PipeFlags, pipe_with};

use crate::support::{Ended, Kept, alone, wait_readable};

/// A folder of a test's own, for everybody to enter.
#[derive(Debug)]
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        let name = format!("forkmesh-instance-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        let _ = fs::remove_dir_all(&folder); // of a process that had this number and was killed
        fs::create_dir(&folder).expect("a folder");
        Self(folder)
    }

    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// As the library takes it, with and without `std`.
    pub(crate) fn path(&self, name: &str) -> CString {
        c_path(&self.at(name))
    }

    /// The names of everything in it, in order.
    pub(crate) fn names(&self) -> Vec<String> {
        names(&self.0)
    }

    pub(crate) fn text(&self, name: &str) -> String {
        fs::read_to_string(self.at(name)).expect("a file")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

pub(crate) fn c_path(path: &Path) -> CString {
    CString::new(path.to_str().expect("of letters")).expect("without NUL")
}

pub(crate) fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a folder");
    let name = |entry: fs::DirEntry| entry.file_name().to_string_lossy().into_owned();
    let mut names: Vec<String> = entries.map(|entry| name(entry.expect("listed"))).collect();
    names.sort();
    names
}

/// Another process, and a line to it.
#[derive(Debug)]
pub(crate) struct Other {
    pub(crate) kept: Kept,
    line: Line,
}

/// One end of a line: a byte is what is said.
#[derive(Debug)]
pub(crate) struct Line {
    reads: OwnedFd,
    writes: OwnedFd,
}

impl Line {
    fn pair() -> (Self, Self) {
        let (here, there) = (pipe_with(PipeFlags::CLOEXEC), pipe_with(PipeFlags::CLOEXEC));
        let (here, there) = (here.expect("a pipe"), there.expect("a pipe"));
        let ours = Self {
            reads: there.0,
            writes: here.1,
        };
        let theirs = Self {
            reads: here.0,
            writes: there.1,
        };
        (ours, theirs)
    }

    pub(crate) fn say(&self, byte: u8) {
        assert_eq!(write(&self.writes, &[byte]), Ok(1), "somebody listens");
    }

    /// What is said, or `None` if nobody is left to say anything.
    pub(crate) fn hear(&self) -> Option<u8> {
        wait_readable(&self.reads, "a word");
        let mut byte = [0];
        match read(&self.reads, &mut byte) {
            Ok(1) => Some(byte[0]),
            _ => None,
        }
    }
}

impl Other {
    /// Starts one; it ends well when its body does.
    pub(crate) fn start(body: impl FnOnce(&Line)) -> Self {
        Self::started_by(&mut alone(), body)
    }

    pub(crate) fn started_by(alone: &mut Alone, body: impl FnOnce(&Line)) -> Self {
        let pair = Pair::new().expect("two descriptors");
        let (ours, theirs) = Line::pair();
        // What a child has of its parent's end is closed, or it would wait for itself.
        let mut lines = (Some(ours), Some(theirs));
        let forked = pair.fork(alone, |_| {
            lines.0 = None;
            body(&lines.1.take().expect("not taken"));
            0
        });
        let (_, process) = forked.expect("a child");
        Self {
            kept: Kept::new(process),
            line: lines.0.take().expect("not taken"),
        }
    }

    pub(crate) fn pid(&self) -> i32 {
        self.kept.pid()
    }

    pub(crate) fn tell(&self, byte: u8) {
        self.line.say(byte);
    }

    pub(crate) fn said(&self) -> Option<u8> {
        self.line.hear()
    }

    /// Has it go on to its end.
    pub(crate) fn finish(mut self) {
        self.tell(b'.');
        self.kept.ends_well();
    }

    pub(crate) fn kill(&mut self) {
        self.kept.signal(rustix::process::Signal::KILL);
        assert_eq!(self.kept.end(), Ended::Signal(9));
    }

    /// One that has this pid file, until it is told to end.
    pub(crate) fn with_pid_file(folder: &Folder, name: &str) -> Self {
        let path = folder.path(name);
        let other = Self::start(|line| {
            let file = PidFile::create(path.as_c_str()).expect("nobody's");
            line.say(b'!');
            line.hear();
            drop(file);
        });
        assert_eq!(other.said(), Some(b'!'));
        other
    }
}

/// Whether another process could have this pid file; it is as it was afterwards, unless it could.
pub(crate) fn would_be_refused_to_another(folder: &Folder, name: &str) -> bool {
    let path = folder.path(name);
    let other = Other::start(|line| {
        let made = PidFile::create(path.as_c_str());
        let refused = matches!(made, Err(PidFileError::AlreadyRunning { .. }));
        line.say(u8::from(refused));
        line.hear();
    });
    let refused = other.said() == Some(1);
    other.finish();
    refused
}
