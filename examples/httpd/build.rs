//! Which program this is: the same until it is built anew.

use std::fs;
use std::os::unix::fs::MetadataExt;

/// The time and the size of the file that is being run, which is there even where another has
/// taken its name.
pub(crate) fn id() -> String {
    match fs::metadata("/proc/self/exe") {
        Ok(file) => format!("{}-{}", file.mtime(), file.size()),
        Err(_) => "unknown".to_owned(),
    }
}
