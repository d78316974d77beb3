//! The server under torture: its masters come and go, the address and the pid file stay.

use core::cell::Cell;
use core::net::SocketAddr;
use core::time::Duration;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::process::Signal;

use crate::process::{self, Holds, children, lives, parent, until, until_right};
use crate::sabotage::{self, Sabotage};

const WORKERS: usize = 2;

/// How long a successor has to be ready.
pub(crate) const UPGRADE: Duration = Duration::from_millis(8000);
/// What every master is told; the deadlines are short.
const ARGUMENTS: [&str; 6] = [
    "--workers",
    "2",
    "--upgrade-ms",
    "8000",
    "--probation-ms",
    "1000",
];
/// Connections that do nothing end soon when their worker drains.
const SETTINGS: &str = "drain_idle = 1\n";

/// A line of everything that a server does, and the files that it reads.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    folder: PathBuf,
    /// How many upgrades had failed, and workers been made, when the last one was prepared.
    failures_before: Cell<usize>,
    spawned_before: Cell<usize>,
}

/// A process, and what it holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Member {
    pub(crate) pid: i32,
    pub(crate) holds: Holds,
}

/// The server at one moment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Look {
    pub(crate) master: Member,
    workers: Vec<Member>,
}

impl Server {
    /// Starts the first master, and waits until its workers answer.
    #[allow(clippy::zombie_processes)] // reaped with all the others
    pub(crate) fn start() -> Self {
        process::adopt_orphans();
        let name = format!("forkmesh-torture-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir(&folder).expect("a folder");
        // Nobody else is given this port in the meantime: the kernel hands them out in turn.
        let free = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
        let address = free.expect("a free port");
        let server = Self {
            address,
            folder,
            failures_before: Cell::new(0),
            spawned_before: Cell::new(0),
        };
        fs::copy(binary(), server.path("good")).expect("the example is built");
        sabotage::restore(&server.path("program"), &server.path("good"));
        fs::write(server.path("settings"), SETTINGS).expect("a file");
        let argument = |name: &str| server.path(name).to_str().expect("text").to_owned();
        let first = Command::new(server.path("program"))
            .args(["--listen", &address.to_string()])
            .args(["--pid-file", &argument("pid")])
            .args(["--config", &argument("settings")])
            .args(["--binary", &argument("program")])
            .args(ARGUMENTS)
            .stdin(Stdio::null())
            .stdout(server.append("greetings"))
            .stderr(server.append("notices"))
            .spawn()
            .expect("the example can be started");
        let first = first.id() as i32;
        until("the first master", || {
            assert!(lives(first), "it ended:\n{}", server.said());
            // Before all are ready it may be amid a fork, and hold what it will not hold later.
            (server.named() == Some(first) && server.ready() == WORKERS).then_some(())
        });
        server.answers_by(first);
        server
    }

    /// The master that the pid file names, and its workers; who they are and what they hold.
    pub(crate) fn look(&self) -> Look {
        until_right(|| {
            let named = self.named();
            let workers = named.map(children).unwrap_or_default();
            let seen = || format!("a master with {WORKERS} workers; {named:?} has {workers:?}");
            if workers.len() != WORKERS {
                return Err(seen());
            }
            let held = workers
                .iter()
                .map(|pid| member(*pid))
                .collect::<Option<_>>();
            match (named.and_then(member), held) {
                (Some(master), Some(workers)) => Ok(Look { master, workers }),
                _ => Err(seen()),
            }
        })
    }

    pub(crate) fn signal(&self, pid: i32, signal: Signal) {
        process::signal(pid, signal);
    }

    /// Makes the next upgrade fail, or not.
    pub(crate) fn prepare(&self, sabotage: Option<Sabotage>) {
        sabotage::place(sabotage, &self.path("program"), &self.path("good"));
        let settings = format!("{SETTINGS}{}", sabotage::setting(sabotage));
        fs::write(self.path("settings"), settings).expect("a file");
        self.failures_before.set(self.failures());
        self.spawned_before.set(self.spawned());
    }

    pub(crate) fn undo(&self) {
        sabotage::restore(&self.path("program"), &self.path("good"));
        fs::write(self.path("settings"), SETTINGS).expect("a file");
    }

    /// Waits until the master has a successor, and is gone; who that is.
    pub(crate) fn is_succeeded(&self, before: &Look) -> i32 {
        let successor = until("a successor", || {
            self.named().filter(|named| *named != before.master.pid)
        });
        for member in before.workers.iter().chain([&before.master]) {
            until("the end of the predecessor", || {
                (!lives(member.pid)).then_some(())
            });
        }
        assert_eq!(
            self.failed(),
            0,
            "an upgrade that worked is said to have failed"
        );
        successor
    }

    /// Kills the successor in the time that it is watched: its workers are ready, and the first of the
    /// old ones is gone, or told so.
    pub(crate) fn kill_successor(&self, before: &Look) {
        let old = |pid: i32| before.workers.iter().any(|worker| worker.pid == pid);
        let successor = until("a successor to be killed", || {
            let successor = self.named().filter(|named| *named != before.master.pid)?;
            let retired = !before.workers.iter().all(|worker| lives(worker.pid));
            let answers = self.answers().is_some_and(|pid| !old(pid));
            let ready = children(successor).len() == WORKERS && answers;
            (ready || retired).then_some(successor)
        });
        self.signal(successor, Signal::KILL);
        until("the end of the successor", || {
            (!lives(successor)).then_some(())
        });
    }

    /// Waits until the master says that the upgrade failed: it is the master still, and nothing is left
    /// of the successor.
    pub(crate) fn fails_to_upgrade(&self, before: &Look, sabotage: Sabotage) -> i32 {
        let master = before.master.pid;
        until("the news of a failed upgrade", || {
            assert!(lives(master), "the master is gone:\n{}", self.said());
            (self.failed() > 0).then_some(())
        });
        assert_eq!(self.failed(), 1, "one upgrade fails once");
        assert_eq!(
            self.spawned() > self.spawned_before.get(),
            sabotage.has_workers(),
            "{sabotage:?} is not what happened:\n{}",
            self.said()
        );
        assert!(
            !sabotage.is_script() || sabotage::done(&self.path("program")).exists(),
            "{sabotage:?} is not what happened:\n{}",
            self.said()
        );
        until("the pid file to name the old master", || {
            (self.named() == Some(master)).then_some(())
        });
        if sabotage != Sabotage::DiesInProbation {
            for worker in &before.workers {
                assert!(lives(worker.pid), "a worker was retired for nothing");
            }
        }
        master
    }

    /// That master alone is there, holds the pid file, serves, and holds what the first one held; and so
    /// do its workers.
    pub(crate) fn holds_what_it_held(&self, master: i32, begin: &Look) {
        self.answers_by(master);
        let old = self.path("pid.oldbin");
        until("the old pid file to be gone", || {
            (!old.exists()).then_some(())
        });
        let own = std::process::id() as i32;
        until_right(|| {
            let look = self.look();
            let roots = children(own);
            if look.master.pid != master || roots != [master] {
                return Err(format!("{master} to be alone; there are {roots:?}"));
            }
            if look.master.holds != begin.master.holds {
                let (held, holds) = (&begin.master.holds, &look.master.holds);
                return Err(format!("a master with {held}; it holds {holds}"));
            }
            if holdings(&look.workers) != holdings(&begin.workers) {
                let (held, holds) = (holdings(&begin.workers), holdings(&look.workers));
                return Err(format!("workers with {held:?}; they hold {holds:?}"));
            }
            Ok(())
        });
    }

    /// Ends the server gracefully.
    pub(crate) fn end(&self) {
        let master = self.look().master.pid;
        self.signal(master, Signal::QUIT);
        until("the end of the server", || (!lives(master)).then_some(()));
        assert!(!self.path("pid").exists(), "its pid file was left");
        assert!(
            children(std::process::id() as i32).is_empty(),
            "something was left"
        );
    }

    /// Waits for an answer by a worker of this master; after that nobody else answers.
    fn answers_by(&self, master: i32) {
        until("answers by the right workers", || {
            let pid = self.answers()?;
            (parent(pid) == Some(master)).then_some(())
        });
        for _ in 0..4 * WORKERS {
            let pid = self.answers().expect("it serves");
            assert_eq!(parent(pid), Some(master), "{pid} answers:\n{}", self.said());
        }
    }

    /// Who answers a request.
    fn answers(&self) -> Option<i32> {
        let mut stream = TcpStream::connect(self.address).ok()?;
        let request = b"GET / HTTP/1.1\r\nHost: torture\r\nConnection: close\r\n\r\n";
        stream.write_all(request).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (_, behind) = answer.split_once("pid ")?;
        behind.lines().next()?.trim().parse().ok()
    }

    /// The master that the pid file names, if it lives.
    fn named(&self) -> Option<i32> {
        let text = fs::read_to_string(self.path("pid")).ok()?;
        text.trim().parse().ok().filter(|pid| lives(*pid))
    }

    /// How many upgrades have failed since the last preparation.
    fn failed(&self) -> usize {
        self.failures() - self.failures_before.get()
    }

    /// How often a master has said that an upgrade failed.
    fn failures(&self) -> usize {
        self.count(|notice| notice.starts_with("not upgraded"))
    }

    /// How many workers any master has made.
    fn spawned(&self) -> usize {
        self.count(|notice| notice.starts_with("worker ") && notice.contains(" spawned, "))
    }

    /// How many workers of any master were ready.
    fn ready(&self) -> usize {
        self.count(|notice| notice.starts_with("worker ") && notice.contains(" ready, "))
    }

    fn count(&self, is_meant: impl Fn(&str) -> bool) -> usize {
        let notices = self.notices();
        notices.lines().filter(|notice| is_meant(notice)).count()
    }

    fn notices(&self) -> String {
        fs::read_to_string(self.path("notices")).expect("a file")
    }

    /// The last of what the masters said.
    fn said(&self) -> String {
        let notices = self.notices();
        let lines: Vec<&str> = notices.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn append(&self, name: &str) -> File {
        let open = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.path(name));
        open.expect("a file")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the masters said:\n{}", self.said());
        }
        process::end_all();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// What each of them holds, whoever holds it.
fn holdings(members: &[Member]) -> Vec<&Holds> {
    let mut holdings: Vec<&Holds> = members.iter().map(|member| &member.holds).collect();
    holdings.sort();
    holdings
}

fn member(pid: i32) -> Option<Member> {
    let holds = Holds::of(pid)?;
    Some(Member { pid, holds })
}

/// The server: `HTTPD`, or the example, which lies beside the tests.
fn binary() -> PathBuf {
    if let Some(binary) = std::env::var_os("HTTPD") {
        return binary.into();
    }
    let test = std::env::current_exe().expect("a test knows where it is");
    let folder = test.parent().and_then(Path::parent);
    let binary = folder
        .expect("it lies in target/PROFILE/deps")
        .join("examples/httpd");
    let built = binary.is_file();
    assert!(
        built,
        "no {}: `cargo build --example httpd` builds it",
        binary.display()
    );
    binary
}
