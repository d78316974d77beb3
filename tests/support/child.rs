//! Children that end with their test, and waiting that is over when something happens.

use core::time::Duration;
use std::time::Instant;

use forkmesh::channel::{Alone, Pair, Process};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, BorrowedFd};
use rustix::process::{Signal, WaitId, WaitIdOptions, pidfd_send_signal, waitid};

/// How long a test waits for what must happen: so long that only a hang takes it.
const DEADLINE: Duration = Duration::from_secs(30);

/// How a process ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ended {
    /// By itself, with this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

/// A child of the test's: what has not ended by the end of the test is killed and reaped.
#[derive(Debug)]
pub(crate) struct Kept {
    process: Process,
    ended: Option<Ended>,
}

impl Kept {
    pub(crate) fn new(process: Process) -> Self {
        Self {
            process,
            ended: None,
        }
    }

    pub(crate) fn pid(&self) -> i32 {
        self.process.pid()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        pidfd_send_signal(&self.process, signal).expect("it has not been reaped");
    }

    /// Waits until it has ended, and reaps it.
    pub(crate) fn end(&mut self) -> Ended {
        if let Some(ended) = self.ended {
            return ended;
        }
        wait_readable(&self.process, "the end of a child");
        let id = WaitId::PidFd(self.process.as_fd());
        let status = waitid(id, WaitIdOptions::EXITED)
            .expect("it is ours to reap")
            .expect("it has ended");
        let ended = match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => Ended::Code(code),
            (None, signal) => Ended::Signal(signal.expect("it has no code")),
        };
        self.ended = Some(ended);
        ended
    }

    /// Waits until it has ended, and takes anything but code 0 for a failure of the test.
    pub(crate) fn ends_well(&mut self) {
        let pid = self.pid();
        assert_eq!(self.end(), Ended::Code(0), "of the child {pid}");
    }
}

impl AsFd for Kept {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.process.as_fd()
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        if self.ended.is_none() {
            let _ = pidfd_send_signal(&self.process, Signal::KILL);
            let _ = waitid(WaitId::PidFd(self.process.as_fd()), WaitIdOptions::EXITED);
        }
    }
}

/// Runs a part of a test in a process of its own, so that it can spoil its limits, signals and
/// descriptors; a panic there fails the test here.
pub(crate) fn in_child(body: impl FnOnce()) {
    let pair = Pair::new().expect("two descriptors");
    let forked = pair.fork(&mut alone(), |_| {
        body();
        0
    });
    let (_end0, process) = forked.expect("a child");
    Kept::new(process).ends_well();
}

/// The proof that fork is safe here. A thread that was joined may be listed for a moment longer.
pub(crate) fn alone() -> Alone {
    let mut last = None;
    in_time("being the only thread", || {
        Alone::verify().map_err(|why| last = Some(why)).ok()
    })
}

/// Asks again until there is an answer, giving way to other processes in between: for the few facts
/// that no descriptor tells.
pub(crate) fn in_time<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(start.elapsed() < DEADLINE, "waited too long for {what}");
        std::thread::yield_now();
    }
}

/// Waits until something can be read here, or nobody is left who could write. A pidfd becomes
/// readable when its process has ended.
pub(crate) fn wait_readable(fd: impl AsFd, what: &str) {
    wait_for(fd, PollFlags::IN, what);
}

/// Waits until something can be written here.
pub(crate) fn wait_writable(fd: impl AsFd, what: &str) {
    wait_for(fd, PollFlags::OUT, what);
}

/// Waits for one of these conditions, an error, or a hang-up; says which.
pub(crate) fn wait_for(fd: impl AsFd, flags: PollFlags, what: &str) -> PollFlags {
    let start = Instant::now();
    loop {
        let left = DEADLINE.saturating_sub(start.elapsed());
        let timeout = Timespec {
            tv_sec: left.as_secs() as _,
            tv_nsec: left.subsec_nanos() as _,
        };
        let mut fds = [PollFd::new(&fd, flags)];
        match poll(&mut fds, Some(&timeout)) {
            Ok(0) => panic!("waited too long for {what}"),
            Ok(_) => return fds[0].revents(),
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => panic!("poll for {what}: {errno}"),
        }
    }
}
