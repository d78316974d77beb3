//! `Log`: the access log, a line a request; a process writes its lines once a turn of its loop.
//!
//! ```text
//!   1732530000 pid 4711 worker 0 GET /mesh 200
//! ```
//!
//! All processes write to one file, each to its end (O_APPEND), so that whole turns follow each other.
//! Workers of another user than the master open it anew themselves: so it is theirs.
//! The lines of the turn in which a process is killed are lost.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use forkmesh::run::Identity;
use rustix::fs::{Gid, Uid};

use crate::response::Status;

/// An open log. The master's own is what its next worker begins with.
pub(crate) struct Log {
    path: PathBuf,
    file: File,
    /// What this turn has brought.
    lines: Vec<u8>,
    failed: bool,
    /// Whose the file is to be, where that can be said.
    owner: Option<(Uid, Gid)>,
}

impl Log {
    pub(crate) fn open(path: &Path, owner: Option<&Identity>) -> Result<Self, String> {
        let owner = owner.map(|who| (Uid::from_raw(who.uid()), Gid::from_raw(who.gid())));
        let cannot = |why| format!("log {}: {why}", path.display());
        Ok(Self {
            path: path.to_owned(),
            file: append(path, owner).map_err(cannot)?,
            lines: Vec::new(),
            failed: false,
            owner,
        })
    }

    /// Notes the answer to a request, as this process.
    pub(crate) fn note(&mut self, who: &str, method: &str, path: &str, status: Status) {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let second = now.map_or(0, |since| since.as_secs());
        let code = status.code();
        // A Vec takes everything.
        let _ = writeln!(self.lines, "{second} {who} {method} {path} {code}");
    }

    /// Whether there is something to be written.
    pub(crate) fn has_lines(&self) -> bool {
        !self.lines.is_empty()
    }

    /// Writes what was noted. A log that cannot be written to stops nobody: that is said once.
    pub(crate) fn flush(&mut self) {
        if self.lines.is_empty() {
            return;
        }
        let written = self.file.write_all(&self.lines);
        self.lines.clear();
        if let Err(why) = &written
            && !self.failed
        {
            self.complain(why);
        }
        self.failed = written.is_err();
    }

    /// Goes on in a new file of the same name: the old one was moved away. Where there cannot be a
    /// new one, it stays with the old.
    pub(crate) fn reopen(&mut self) {
        self.flush();
        match append(&self.path, self.owner) {
            Ok(file) => self.file = file,
            Err(why) => self.complain(&why),
        }
    }

    fn complain(&self, why: &io::Error) {
        let (pid, path) = (std::process::id(), self.path.display());
        let _ = writeln!(io::stderr(), "pid {pid}: log {path}: {why}");
    }
}

/// A worker may not give its file away; it is its own anyhow.
fn append(path: &Path, owner: Option<(Uid, Gid)>) -> io::Result<File> {
    let file = File::options().append(true).create(true).open(path)?;
    if let Some((uid, gid)) = owner
        && rustix::process::geteuid().is_root()
    {
        rustix::fs::fchown(&file, Some(uid), Some(gid))?;
    }
    Ok(file)
}
