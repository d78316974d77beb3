//! What the master is told, as one line each.

use core::fmt;

use forkmesh::machine::{ExitStatus, Report, Why};
use forkmesh::run::{Notice, Reason};

/// A notice, to be printed.
pub(crate) struct Line<'n>(pub(crate) &'n Notice);

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Notice::Report(report) => write_report(f, *report),
            Notice::SpawnRefused { slot, why } => write!(f, "worker {slot}: {why}"),
            Notice::Phase(phase) => write!(f, "master {phase:?}"),
            Notice::Reopen => write!(f, "logs are opened anew"),
            Notice::Message { from, message, .. } => {
                write!(f, "worker {from} sent {:?}", message.payload)
            }
            Notice::Failed {
                worker,
                stage,
                errno,
            } => write!(
                f,
                "worker {worker} cannot serve: step {stage}, error {errno}"
            ),
            Notice::Ignored { signal } => write!(f, "signal {signal} means nothing here"),
            other => write!(f, "{other:?}"),
        }
    }
}

fn write_report(f: &mut fmt::Formatter<'_>, report: Report) -> fmt::Result {
    match report {
        Report::Spawned(id, pid) => write!(f, "worker {id} spawned, pid {}", pid.as_i32()),
        Report::SpawnFailed(id) => write!(f, "worker {id} could not be spawned"),
        Report::Ready(id, pid) => write!(f, "worker {id} ready, pid {}", pid.as_i32()),
        Report::Exited(id, pid, status) => {
            write!(f, "worker {id} exited, pid {}, ", pid.as_i32())?;
            match status {
                ExitStatus::Code(code) => write!(f, "with code {code}"),
                ExitStatus::Killed { signal, core } => {
                    let core = if core { ", core dumped" } else { "" };
                    write!(f, "killed by signal {signal}{core}")
                }
            }
        }
        Report::Delayed(id, ms) => write!(f, "worker {id} delayed, its slot waits {ms} ms"),
        Report::Reloaded(epoch) => write!(f, "epoch {epoch} serves"),
        Report::ReloadFailed(epoch, why) => {
            let why = Reason::from(why);
            write!(f, "epoch {epoch} does not serve, all is as it was: {why}")
        }
        Report::Upgraded(pid) => write!(f, "upgraded, pid {} takes over", pid.as_i32()),
        Report::UpgradeFailed(why) => {
            let why = Reason::from(why);
            write!(f, "not upgraded, all is as it was: {why}")
        }
        Report::Parked(id, Why::Fatal) => write!(f, "worker {id} parked, it can never succeed"),
        Report::Parked(id, Why::NeverReady) => {
            write!(
                f,
                "worker {id} parked, it died too often before it was ready"
            )
        }
        other => write!(f, "{other:?}"),
    }
}
