//! What std has opened, as the library's signatures have it: without the feature `std` these are types of
//! another crate. For the tests that say `mod foreign`.
#![allow(dead_code)] // each test binary uses its own part

use rustix::fd::{BorrowedFd, FromRawFd, OwnedFd};
use rustix::io::fcntl_dupfd_cloexec;

/// A descriptor of std's.
pub(crate) fn owned(descriptor: impl std::os::fd::IntoRawFd) -> OwnedFd {
    // SAFETY: it was owned a moment ago, and is given up.
    unsafe { OwnedFd::from_raw_fd(descriptor.into_raw_fd()) }
}

/// Standard error as it is now, to be put back.
pub(crate) fn standard_error() -> OwnedFd {
    // SAFETY: number 2 stays open as long as the process runs.
    let errors = unsafe { BorrowedFd::borrow_raw(2) };
    fcntl_dupfd_cloexec(errors, 3).expect("a number")
}
