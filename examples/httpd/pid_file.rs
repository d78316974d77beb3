//! The pid file: there as long as the master lives.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// A file with the master's pid; removed when this is dropped, which workers never do: their
/// processes end inside of the fork.
pub(crate) struct PidFile {
    path: PathBuf,
    content: String,
}

impl PidFile {
    pub(crate) fn write(path: &Path) -> io::Result<Self> {
        let content = format!("{}\n", std::process::id());
        fs::write(path, &content)?;
        Ok(Self {
            path: path.to_owned(),
            content,
        })
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // Another master may have written its own over it.
        if fs::read_to_string(&self.path).is_ok_and(|found| found == self.content) {
            let _ = fs::remove_file(&self.path);
        }
    }
}
