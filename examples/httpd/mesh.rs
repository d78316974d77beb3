//! The page `/mesh`: which process holds which end of which socket pair, as the kernel has it now.
//!
//! No process can tell another's descriptors, so each fact has its source:
//!
//! - what this worker holds: its own `End1`s, and of each sibling the mesh `End0`, by fstat;
//! - the other end of each of these: the kernel's list of unix sockets ([`diag`]);
//! - a sibling's control pair, of which this worker holds nothing: among that sibling's sockets the
//!   one whose other end the master holds, that the master does not hold itself, and that is not the
//!   mesh `End1`;
//! - the number each has in each process: /proc/PID/fd, by inode.

use core::fmt::{self, Write};
use std::collections::BTreeMap;
use std::fs;

use forkmesh::run::{Sources, Worker};
use forkmesh::table::{Pid, SlotId};
use rustix::fd::{AsFd, BorrowedFd};

use crate::diag;

/// How many workers are shown: a row is as long as there are columns.
const MOST_WORKERS: usize = 32;

const LEGEND: &str = "
A row is a socket pair, a column a process, a cell [End0, End1]: the number that this end has in
this process, - where the process does not hold it, ? where that cannot be seen from here.
control: End0 is the master's alone, orders go down and reports up.
mesh: every sibling has a copy of End0, to send to the worker that holds End1.
";

/// A process, and the sockets that it holds: their numbers by inode; `None` where /proc is refused.
struct Process {
    name: String,
    sockets: Option<BTreeMap<u64, i32>>,
}

/// The inodes of a pair, as far as they are known.
#[derive(Clone, Copy, Default)]
struct Pair {
    end0: Option<u64>,
    end1: Option<u64>,
}

type Peers = BTreeMap<u64, u64>;

pub(crate) fn write(page: &mut String, worker: &Worker) {
    let peers = match diag::peers() {
        Ok(peers) => peers,
        Err(errno) => {
            // A String takes everything, here and below.
            let _ = writeln!(
                page,
                "the kernel does not tell which sockets are pairs: {errno}"
            );
            Peers::new()
        }
    };
    let mut workers: Vec<_> = worker
        .siblings()
        .map(|(id, pid)| (id, pid.as_i32()))
        .collect();
    let own = (worker.id(), std::process::id() as i32);
    let place = workers.partition_point(|(id, _)| id.index() < own.0.index());
    workers.insert(place, own);
    let hidden = workers.len().saturating_sub(MOST_WORKERS);
    workers.truncate(MOST_WORKERS);

    let mut processes = vec![master(worker)];
    processes.extend(workers.iter().map(|(id, pid)| Process::look(id, *pid)));
    write_head(page, &processes);
    for (column, (id, _)) in workers.iter().enumerate() {
        let (control, mesh) = if *id == own.0 {
            own_pairs(worker, &peers)
        } else {
            let mesh = sibling_mesh(worker, *id, &peers);
            let control = sibling_control(&processes[0], &processes[column + 1], mesh, &peers);
            (control, mesh)
        };
        write_row(page, &format!("{id} control"), control, &processes);
        write_row(page, &format!("{id} mesh"), mesh, &processes);
    }
    if hidden > 0 {
        let _ = writeln!(page, "... and {hidden} workers more");
    }
    page.push_str(LEGEND);
}

/// The master is this worker's parent, as long as it lives.
fn master(worker: &Worker) -> Process {
    let parent = rustix::process::getppid().filter(|_| !worker.is_orphan());
    match parent {
        Some(pid) => Process::look("master", pid.as_raw_nonzero().get()),
        None => Process {
            name: "master gone".to_owned(),
            sockets: None,
        },
    }
}

fn own_pairs(worker: &Worker, peers: &Peers) -> (Pair, Pair) {
    let pair = |source| {
        let end1 = worker.source(source).and_then(inode);
        Pair {
            end0: end1.and_then(|end1| peers.get(&end1).copied()),
            end1,
        }
    };
    (pair(Sources::CONTROL), pair(Sources::MESH))
}

fn sibling_mesh(worker: &Worker, sibling: SlotId, peers: &Peers) -> Pair {
    let end0 = worker.peer(sibling).and_then(|peer| inode(peer.as_fd()));
    Pair {
        end0,
        end1: end0.and_then(|end0| peers.get(&end0).copied()),
    }
}

fn sibling_control(master: &Process, sibling: &Process, mesh: Pair, peers: &Peers) -> Pair {
    let (Some(masters), Some(siblings)) = (&master.sockets, &sibling.sockets) else {
        return Pair::default();
    };
    let pairs = siblings
        .keys()
        .filter(|end1| !masters.contains_key(end1) && mesh.end1 != Some(**end1));
    let mut pairs = pairs.filter_map(|end1| Some((*end1, *peers.get(end1)?)));
    match pairs.find(|(_, end0)| masters.contains_key(end0)) {
        Some((end1, end0)) => Pair {
            end0: Some(end0),
            end1: Some(end1),
        },
        None => Pair::default(),
    }
}

fn inode(fd: BorrowedFd<'_>) -> Option<u64> {
    rustix::fs::fstat(fd).ok().map(|stat| stat.st_ino)
}

impl Process {
    fn look(name: impl fmt::Display, pid: i32) -> Self {
        Self {
            name: format!("{name} pid {pid}"),
            sockets: Pid::new(pid).and_then(sockets),
        }
    }

    fn cell(&self, pair: Pair) -> String {
        format!("[{}, {}]", self.number(pair.end0), self.number(pair.end1))
    }

    fn number(&self, inode: Option<u64>) -> String {
        match (&self.sockets, inode) {
            (Some(sockets), Some(inode)) => {
                sockets.get(&inode).map_or("-".to_owned(), i32::to_string)
            }
            _ => "?".to_owned(),
        }
    }
}

fn sockets(pid: Pid) -> Option<BTreeMap<u64, i32>> {
    let entries = fs::read_dir(format!("/proc/{}/fd", pid.as_i32())).ok()?;
    let sockets = entries.filter_map(|entry| {
        let entry = entry.ok()?;
        let number = entry.file_name().to_str()?.parse().ok()?;
        let target = fs::read_link(entry.path()).ok()?;
        let inode = target
            .to_str()?
            .strip_prefix("socket:[")?
            .strip_suffix(']')?;
        Some((inode.parse().ok()?, number))
    });
    Some(sockets.collect())
}

fn write_head(page: &mut String, processes: &[Process]) {
    let _ = write!(page, "{:<14}", "");
    for process in processes {
        let _ = write!(page, " {:<17}", process.name);
    }
    end_line(page);
}

fn write_row(page: &mut String, name: &str, pair: Pair, processes: &[Process]) {
    let _ = write!(page, "{name:<14}");
    for process in processes {
        let _ = write!(page, " {:<17}", process.cell(pair));
    }
    end_line(page);
}

fn end_line(page: &mut String) {
    page.truncate(page.trim_end().len());
    page.push('\n');
}
