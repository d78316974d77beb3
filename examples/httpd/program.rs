//! `Program`: how this program was started, so that its successor can be started in the same way.
//!
//! What is run is the file that has the path of this program's own when the time comes: install the new
//! one there, by a rename. That path is taken at the start and not from the first argument, which need
//! not be one; a symbolic link on the way to it is followed then, once.

use core::ffi::CStr;
use std::ffi::{CString, OsString};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use forkmesh::run::{Offer, OfferError};

/// Kept as long as the process lives: text that an offer can borrow.
pub(crate) struct Program {
    path: &'static CStr,
    arguments: Vec<&'static CStr>,
    environment: Vec<&'static CStr>,
}

impl Program {
    /// This program, or another one at this path.
    pub(crate) fn capture(other: Option<&Path>) -> Result<Self, String> {
        let path = match other {
            Some(path) => std::path::absolute(path),
            None => std::env::current_exe(),
        };
        let path = path.map_err(|why| format!("the path of this program: {why}"))?;
        let variables = std::env::vars_os().map(|(mut variable, value)| {
            variable.push("=");
            variable.push(value);
            variable
        });
        let kept = |text: PathBuf| keep(text.into_os_string());
        Ok(Self {
            path: kept(path).ok_or("the path of this program has a NUL in it")?,
            arguments: std::env::args_os().filter_map(keep).collect(),
            environment: variables.filter_map(keep).collect(),
        })
    }

    pub(crate) fn offer<'s>(&'s self, offer: &mut Offer<'s>) -> Result<(), OfferError> {
        offer.program(self.path, &self.arguments, &self.environment)
    }
}

/// What came from the system has no NUL, so `None` is for what did not.
fn keep(text: OsString) -> Option<&'static CStr> {
    let text = CString::new(text.into_vec()).ok()?;
    Some(Box::leak(text.into_boxed_c_str()))
}
