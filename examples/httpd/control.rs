//! `-s`: asks the master of a pid file for something, and says what came of it.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use forkmesh::run::{Answer, FindError, Instance, Reason, Request, WaitError};

use crate::status;

/// How long an outcome is waited for: longer than a master tries.
const PATIENCE_MS: u64 = 120_000;

/// What is asked for.
#[derive(Clone, Copy)]
pub(crate) enum Order {
    Ask(Request),
    Status,
}

impl Order {
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        match name {
            "status" => Some(Self::Status),
            _ => Request::from_name(name).map(Self::Ask),
        }
    }
}

/// Does it; what is to be printed, or why it was not done.
pub(crate) fn obey(order: Order, pid_file: &Path) -> Result<String, String> {
    let instance = match find(pid_file) {
        Ok(instance) => instance,
        Err(why @ FindError::NoPidFile) => {
            return Err(format!("{}: {why}: no master runs", pid_file.display()));
        }
        Err(why) => return Err(format!("{}: {why}", pid_file.display())),
    };
    let request = match order {
        Order::Status => return status::page(&instance).map_err(|why| why.to_string()),
        Order::Ask(request) => request,
    };
    let master = instance.pid();
    let asked = instance.request(request);
    let asked = asked.map_err(|errno| format!("master {master} cannot be asked: {errno}"))?;
    let (done, reason): (_, fn(u8, i32) -> Reason) = match request {
        Request::Reload => ("reloaded", Reason::reload),
        Request::Upgrade => ("upgraded: another has taken over", Reason::upgrade),
        _ => return Ok(format!("master {master} was told\n")),
    };
    match instance.wait(asked, PATIENCE_MS) {
        Ok(Answer::Done) => Ok(format!("master {master} {done}\n")),
        Ok(Answer::Failed { why, detail }) => {
            let why = reason(why, detail);
            Err(format!("master {master} goes on as before: {why}"))
        }
        // A master that has handed over may be gone before anybody looks.
        Ok(Answer::Ended) if request == Request::Upgrade && succeeded(pid_file, &instance) => {
            Ok(format!("master {master} {done}\n"))
        }
        Ok(Answer::Ended) => Err(format!("master {master} has ended")),
        Err(WaitError::TimedOut) => Err(format!("master {master} says nothing")),
        Err(why) => Err(format!("master {master}: {why}")),
    }
}

/// Whether the pid file is another master's.
fn succeeded(pid_file: &Path, before: &Instance) -> bool {
    find(pid_file).is_ok_and(|now| now.pid() != before.pid())
}

fn find(pid_file: &Path) -> Result<Instance, FindError> {
    let path = CString::new(pid_file.as_os_str().as_bytes()).map_err(|_| FindError::BadPath)?;
    Instance::find(path.as_c_str())
}
