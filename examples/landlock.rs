//! A worker that sees one folder of the whole tree, and may read there: by Landlock, which needs no
//! privileges. It reads what it may, tries what it may not, and tells its master what came of both.

use std::fs;
use std::path::{Path, PathBuf};

use forkmesh::machine::{Config, Report};
use forkmesh::run::{
    Event, Exit, Master, Notice, Poller, Service, Setup, SetupError, Worker, Workers,
};
use forkmesh::wire::Message;
use landlock::{
    ABI, Access, AccessFs, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetError, RulesetStatus,
    path_beneath_rules,
};
use rustix::io::Errno;

/// The number of the step, in the service's own count: status shows it where it fails.
const CONFINEMENT: u16 = 1;
/// The message that says whether the two files could be read: a byte each.
const READ: u32 = 1;

struct Confined {
    folder: PathBuf,
    /// Whether it could read what it may, and what it may not.
    found: Option<[bool; 2]>,
}

/// Reads beneath the folder, and nothing else of files, from now on and for every descendant.
fn confine(folder: &Path) -> Result<RulesetStatus, RulesetError> {
    let ruleset = Ruleset::default()
        .handle_access(AccessFs::from_all(ABI::V1))?
        .create()?
        .add_rules(path_beneath_rules([folder], AccessFs::from_read(ABI::V1)))?;
    Ok(ruleset.restrict_self()?.ruleset)
}

impl Confined {
    fn set_up(&self, worker: &Worker) -> Result<(), SetupError> {
        let mut setup = Setup::begin(worker).keep_identity();
        setup.directory(c"/")?.no_new_privileges()?;
        setup.then(CONFINEMENT, || match confine(&self.folder) {
            Ok(RulesetStatus::FullyEnforced) => Ok(()),
            Ok(_) => Err(Errno::OPNOTSUPP), // a kernel before 5.13, or without Landlock
            Err(_) => Err(Errno::INVAL),
        })?;
        Ok(())
    }
}

impl Service for Confined {
    fn work(&mut self, worker: &mut Worker) -> Exit {
        if let Err(error) = self.set_up(worker) {
            return worker.fails(error);
        }
        let Ok(mut poller) = Poller::new(worker) else {
            return Exit::FAILURE;
        };
        worker.ready();
        let mut payload = [0; 16];
        payload[0] = fs::read(self.folder.join("page")).is_ok().into();
        payload[1] = fs::read("/etc/passwd").is_ok().into();
        let _ = worker.tell_master(Message::new(READ, payload));
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
            Notice::Message { message, .. } if message.tag == READ => {
                let [may, may_not, ..] = message.payload.map(|byte| byte != 0);
                println!("a worker could read its own page: {may}, /etc/passwd: {may_not}");
                self.found = Some([may, may_not]);
                workers.quit();
            }
            Notice::Report(Report::Parked(..)) => workers.terminate(),
            _ => {}
        }
    }
}

fn main() -> Result<(), Box<dyn core::error::Error>> {
    let folder = std::env::temp_dir().join(format!("forkmesh-landlock-{}", std::process::id()));
    fs::create_dir(&folder)?;
    fs::write(folder.join("page"), "hello\n")?;
    let mut service = Confined {
        folder: folder.clone(),
        found: None,
    };
    let ran = Master::new(Config::new().workers(1))?.run(&mut service);
    fs::remove_dir_all(folder)?;
    ran?;
    match service.found {
        Some([true, false]) => Ok(()),
        _ => Err("the worker is not where it should be".into()),
    }
}
