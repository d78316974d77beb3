//! What the process tests share: a runner on the main thread, waiting without sleeping, and a look at
//! who holds which descriptor.
//!
//! fork wants a process with one thread, so these tests have `harness = false` and run one after the
//! other where `main` runs. A test says what it waits for and waits on a descriptor with a deadline
//! that only a hang reaches; whatever it starts it ends, by the process it started.
#![allow(dead_code, unused_imports)] // each test binary uses its own part

mod child;
mod descriptors;

pub(crate) use child::{
    Ended, Kept, alone, in_child, in_time, wait_for, wait_readable, wait_writable,
};
pub(crate) use descriptors::{
    Descriptor, Inode, Limit, Marks, inode, is_close_on_exec, lowest_free, open_count, open_in,
    opened_by,
};

use libtest_mimic::{Arguments, Trial};

/// A test: its name, and what it does; it fails by panicking.
pub(crate) type Test = (&'static str, fn());

/// Runs the tests that the command line asks for, one by one on this thread, and ends the process:
/// `fn main() { support::run(support::tests![the_first, the_second]) }`.
pub(crate) fn run(tests: &[Test]) -> ! {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(1);
    let trials = tests
        .iter()
        .map(|&(name, body)| {
            Trial::test(name, move || {
                body();
                Ok(())
            })
        })
        .collect();
    libtest_mimic::run(&arguments, trials).exit()
}

/// The tests with these names, for [`run`]; a path's last part is the name.
macro_rules! tests {
    ($($path:path),* $(,)?) => {
        &[$(($crate::support::last_part(stringify!($path)), $path as fn())),*]
    };
}
pub(crate) use tests;

/// `c` of `a::b::c`.
pub(crate) fn last_part(path: &'static str) -> &'static str {
    path.rsplit("::").next().unwrap_or(path).trim()
}
