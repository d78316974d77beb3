//! A worker that gives up system calls: what it has, it keeps, but it opens no socket, executes nothing
//! and traces nobody. It tries one, tells its master what came of it, and the master ends it all.

use std::collections::BTreeMap;

use forkmesh::machine::{Config, Report};
use forkmesh::run::{
    Event, Exit, Master, Notice, Poller, Service, Setup, SetupError, Worker, Workers,
};
use forkmesh::wire::Message;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketType, socket};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter};

/// What a server that has its listeners has no use for. What is not named here is allowed; a list of what
/// is needed would be shorter to reason about, and longer to write: each library adds to it.
const FORBIDDEN: [i64; 7] = [
    libc::SYS_socket,
    libc::SYS_connect,
    libc::SYS_bind,
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_ptrace,
    libc::SYS_process_vm_writev,
];

/// The number of the step, in the service's own count: status shows it where it fails.
const FILTER: u16 = 1;
/// The message that says which error the forbidden call had; 0 for none.
const TRIED: u32 = 1;

struct Filtered {
    /// Made in the master, once, and copied by every fork.
    program: BpfProgram,
    refused: bool,
}

impl Filtered {
    fn set_up(&self, worker: &Worker) -> Result<(), SetupError> {
        let mut setup = Setup::begin(worker).keep_identity();
        setup.no_new_privileges()?; // or the kernel takes a filter from root alone
        setup.then(FILTER, || {
            apply_filter(&self.program).map_err(|_| Errno::INVAL)
        })?;
        Ok(())
    }
}

impl Service for Filtered {
    fn work(&mut self, worker: &mut Worker) -> Exit {
        let Ok(mut poller) = Poller::new(worker) else {
            return Exit::FAILURE;
        };
        // The last step before it serves: whatever is opened, is open.
        if let Err(error) = self.set_up(worker) {
            return worker.fails(error);
        }
        worker.ready();
        let error = match socket(AddressFamily::INET, SocketType::STREAM, None) {
            Ok(_) => 0,
            Err(errno) => errno.raw_os_error(),
        };
        let mut payload = [0; 16];
        payload[..4].copy_from_slice(&error.to_ne_bytes());
        let _ = worker.tell_master(Message::new(TRIED, payload));
        loop {
            while let Some(event) = worker.receive() {
                if let Event::Quit | Event::Terminate = event {
                    return Exit::SUCCESS;
                }
            }
            if poller.wait(worker, None).is_err() {
                return Exit::FAILURE;
            }
        }
    }

    fn notice(&mut self, workers: &mut Workers<'_>, notice: Notice) {
        match notice {
            Notice::Message { message, .. } if message.tag == TRIED => {
                let [a, b, c, d, ..] = message.payload;
                let error = i32::from_ne_bytes([a, b, c, d]);
                self.refused = error == Errno::PERM.raw_os_error();
                println!("a socket in a worker: error {error}");
                workers.quit();
            }
            Notice::Report(Report::Parked(..)) => workers.terminate(),
            _ => {}
        }
    }
}

fn main() -> Result<(), Box<dyn core::error::Error>> {
    let rules: BTreeMap<_, _> = FORBIDDEN.map(|call| (call, Vec::new())).into();
    let refuse = SeccompAction::Errno(Errno::PERM.raw_os_error() as u32);
    let here = std::env::consts::ARCH.try_into()?;
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refuse, here)?;
    let mut service = Filtered {
        program: filter.try_into()?,
        refused: false,
    };
    Master::new(Config::new().workers(1))?.run(&mut service)?;
    if !service.refused {
        return Err("the worker could open a socket".into());
    }
    Ok(())
}
