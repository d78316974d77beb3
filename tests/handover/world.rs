//! What the tests of a hand-over share: this binary as another program, and successors that end with
//! their test.

use core::ffi::CStr;
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;

use forkmesh::run::{Offer, Said, Successor};
use forkmesh::table::SlotSet;
use rustix::fd::{AsFd, OwnedFd};
use rustix::net::{Shutdown, shutdown};
use rustix::process::{Signal, WaitId, WaitIdOptions, getpid, pidfd_send_signal, waitid};

use crate::support::{alone, open_in, wait_readable};

/// The variable that makes this binary another program than the tests.
pub(crate) const ROLE: &str = "FORKMESH_TEST_PROGRAM";

/// The variable that says how many descriptors it gets beside those of the hand-over.
pub(crate) const STANDING: &str = "FORKMESH_TEST_STANDING";

/// This binary in a role, with further variables.
pub(crate) struct Program {
    path: CString,
    variables: Vec<CString>,
}

impl Program {
    pub(crate) fn new(role: &str) -> Self {
        let path = std::env::current_exe().expect("/proc");
        let program = Self {
            path: CString::new(path.as_os_str().as_bytes()).expect("a path has no zero"),
            variables: Vec::new(),
        };
        // Standard input, output and error, and what else the tests were started with.
        let mut standing = open_in(getpid().as_raw_nonzero().get());
        standing.retain(|_, descriptor| !descriptor.close_on_exec);
        let standing = standing.len().to_string();
        program.with(ROLE, role).with(STANDING, &standing)
    }

    /// Another program.
    pub(crate) fn at(path: &str) -> Self {
        Self {
            path: CString::new(path).expect("a path has no zero"),
            variables: Vec::new(),
        }
    }

    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        let variable = CString::new(format!("{name}={value}")).expect("no zero");
        self.variables.push(variable);
        self
    }

    /// Launches it, with these descriptors.
    pub(crate) fn launch(&self, named: &[(String, impl AsFd)]) -> Kept {
        self.offered(named, launch)
    }

    /// Offers it, with these descriptors.
    pub(crate) fn offered<T>(
        &self,
        named: &[(String, impl AsFd)],
        to: impl FnOnce(&Offer<'_>) -> T,
    ) -> T {
        let variables: Vec<&CStr> = self.variables.iter().map(CString::as_c_str).collect();
        let mut offer = Offer::new();
        let named_so = offer.program(&self.path, &[], &variables);
        named_so.expect("the path is absolute");
        for (name, fd) in named {
            offer.descriptor(name, fd).expect("there is room");
        }
        to(&offer)
    }

    /// Offers it, with nothing.
    pub(crate) fn offered_bare<T>(&self, to: impl FnOnce(&Offer<'_>) -> T) -> T {
        let nothing: [(String, OwnedFd); 0] = [];
        self.offered(&nothing, to)
    }

    /// Launches it, with nothing.
    pub(crate) fn launch_bare(&self) -> Kept {
        self.offered_bare(launch)
    }
}

/// Launches what is offered.
pub(crate) fn launch(offer: &Offer<'_>) -> Kept {
    let launched = Successor::launch(&mut alone(), offer, &slots(), 0);
    Kept {
        successor: launched.expect("a process"),
        reaped: false,
    }
}

/// Slots that a predecessor uses: the first, one in the middle, and the last.
pub(crate) fn slots() -> SlotSet {
    let mut words = [0; 16];
    words[0] = 1;
    words[7] = 0x10;
    words[15] = 1 << 63;
    SlotSet::from_words(words)
}

/// A successor of the test's: what has not ended by the end of the test is killed and reaped.
pub(crate) struct Kept {
    pub(crate) successor: Successor,
    reaped: bool,
}

impl Kept {
    /// Waits for the next thing that it says.
    pub(crate) fn hear(&mut self) -> Said {
        loop {
            if let Some(said) = self.successor.hear() {
                return said;
            }
            wait_readable(&self.successor, "what a successor says");
        }
    }

    /// Waits for its end; its exit code, or minus the signal.
    pub(crate) fn end(&mut self) -> i32 {
        wait_readable(self.successor.pidfd(), "the end of a successor");
        let id = WaitId::PidFd(self.successor.pidfd());
        let status = waitid(id, WaitIdOptions::EXITED).expect("it is ours to reap");
        self.reaped = true;
        let status = status.expect("it has ended");
        let killed = || -status.terminating_signal().expect("it has no code");
        status.exit_status().unwrap_or_else(killed)
    }

    /// Says and hears no more.
    pub(crate) fn forsake(&self) {
        shutdown(&self.successor, Shutdown::Both).expect("a socket");
    }

    /// It says that it serves, ends with code 0, and is heard no more.
    pub(crate) fn does_well(&mut self) {
        assert_eq!(self.hear(), Said::Ready);
        assert_eq!(self.hear(), Said::Gone);
        assert_eq!(self.end(), 0);
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        if !self.reaped {
            let _ = pidfd_send_signal(self.successor.pidfd(), Signal::KILL);
            let id = WaitId::PidFd(self.successor.pidfd());
            let _ = waitid(id, WaitIdOptions::EXITED);
        }
    }
}
