//! What happened, in words: a line each, without its end. What others have said is not repeated in it but
//! by number: a message can be anything.

use core::fmt;

use rustix::io::Errno;

use crate::machine::{ExitStatus, Phase, Report, Why};
use crate::run::observe::{By, Observed, What};
use crate::run::reason::Reason;
use crate::run::service::Notice;
use crate::run::setup::SetupStep;
use crate::run::worker::{Event, Sender};
use crate::table::{Role, SlotId};

impl fmt::Display for Observed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.by, self.what)
    }
}

impl fmt::Display for By {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Master { pid } => write!(f, "master (pid {pid})"),
            Self::Worker {
                role,
                number,
                id,
                pid,
            } => {
                let role = match role {
                    Role::Worker => "worker",
                    Role::Helper => "helper",
                };
                write!(f, "{role} {number} ({id}, pid {pid})")
            }
        }
    }
}

impl fmt::Display for What<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Notice(notice) => notice.fmt(f),
            Self::Event(event) => event.fmt(f),
            Self::Ready => f.write_str("ready"),
            Self::Failed { stage, errno } => {
                write!(f, "cannot serve: {}, {errno}", Stage(*stage))
            }
        }
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Report(report) => report.fmt(f),
            Self::SpawnRefused { slot, why } => write!(f, "worker {slot}: {why}"),
            Self::Phase(Phase::Draining) => f.write_str("drains"),
            Self::Phase(Phase::Stopping) => f.write_str("stops"),
            Self::Phase(phase) => write!(f, "{phase:?}"),
            Self::Reopen => f.write_str("log files are opened again"),
            Self::Message {
                from,
                message,
                descriptor,
            } => {
                write!(f, "worker {from} sent message {}", message.tag)?;
                carrying(f, descriptor.is_some())
            }
            Self::Failed {
                worker,
                stage,
                errno,
            } => {
                let stage = Stage(*stage);
                write!(f, "worker {worker} cannot serve: {stage}, {}", Said(*errno))
            }
            Self::PidFile(why) => write!(f, "pid file: {why}"),
            Self::Ignored { signal } => write!(f, "signal {signal} means nothing here"),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Spawned(id, pid) => write!(f, "worker {id} spawned, pid {}", pid.as_i32()),
            Self::SpawnFailed(id) => write!(f, "worker {id} could not be spawned"),
            Self::Ready(id, pid) => write!(f, "worker {id} ready, pid {}", pid.as_i32()),
            Self::Exited(id, pid, status) => {
                write!(f, "worker {id} exited, pid {}, ", pid.as_i32())?;
                match status {
                    ExitStatus::Code(code) => write!(f, "with code {code}"),
                    ExitStatus::Killed { signal, core } => {
                        let core = if *core { ", core dumped" } else { "" };
                        write!(f, "killed by signal {signal}{core}")
                    }
                }
            }
            Self::Delayed(id, ms) => write!(f, "worker {id} delayed, its slot waits {ms} ms"),
            Self::Parked(id, Why::Fatal) => write!(f, "worker {id} parked, it can never succeed"),
            Self::Parked(id, Why::NeverReady) => {
                write!(
                    f,
                    "worker {id} parked, it died too often before it was ready"
                )
            }
            Self::Reloaded(epoch) => write!(f, "epoch {epoch} serves"),
            Self::ReloadFailed(epoch, why) => {
                let why = Reason::from(*why);
                write!(f, "epoch {epoch} does not serve, all is as it was: {why}")
            }
            Self::Upgraded(pid) => write!(f, "upgraded, pid {} takes over", pid.as_i32()),
            Self::UpgradeFailed(why) => {
                let why = Reason::from(*why);
                write!(f, "not upgraded, all is as it was: {why}")
            }
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Quit => f.write_str("told to quit"),
            Self::Terminate => f.write_str("told to end"),
            Self::Orphaned => f.write_str("the master is dead, it serves on"),
            Self::Reopen => f.write_str("log files are opened again"),
            Self::Message {
                from,
                message,
                descriptor,
            } => {
                write!(f, "message {} from {from}", message.tag)?;
                carrying(f, descriptor.is_some())
            }
            Self::Moved => f.write_str("has a mesh pair of its own again"),
        }
    }
}

impl fmt::Display for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.known, self.claimed) {
            (true, Some(SlotId::MASTER)) => return f.write_str("the master"),
            (true, Some(id)) => write!(f, "worker {id}")?,
            (_, Some(id)) => write!(f, "somebody who claims to be {id}")?,
            (_, None) => f.write_str("somebody without a name")?,
        }
        match self.pid {
            Some(pid) => write!(f, ", pid {}", pid.as_i32()),
            None => Ok(()),
        }
    }
}

fn carrying(f: &mut fmt::Formatter<'_>, descriptor: bool) -> fmt::Result {
    f.write_str(if descriptor {
        ", with a descriptor"
    } else {
        ""
    })
}

/// The step that failed: one of setting up, or one of the service's own count.
struct Stage(u32);

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match SetupStep::of_stage(self.0) {
            Some(step) => step.fmt(f),
            None => write!(f, "step {}", self.0),
        }
    }
}

/// An error that a worker has named, which can be any number.
struct Said(i32);

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            errno @ 1..4096 => Errno::from_raw_os_error(errno).fmt(f),
            number => write!(f, "error {number}"),
        }
    }
}
