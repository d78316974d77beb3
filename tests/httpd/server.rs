//! A server process under test: started, listened to, signalled; gone by the end of the test.

use core::net::SocketAddr;
use core::time::Duration;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};

use rustix::fd::OwnedFd;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open, pidfd_send_signal};

use crate::client::{Answer, Client};
use crate::support;

/// How long a test waits for what must happen: so long that only a hang takes it.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// A master and its workers. What the master says is kept, and shown when the test fails.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
    greeting: Receiver<String>,
    notices: Receiver<String>,
    heard: Vec<String>,
}

impl Server {
    /// Starts a server on a free port, with so many workers, and waits until all of them are ready.
    pub(crate) fn start(workers: usize, arguments: &[&str]) -> Self {
        let mut server = Self::start_unready(workers, arguments);
        for _ in 0..workers {
            server.notice("ready");
        }
        server
    }

    pub(crate) fn start_unready(workers: usize, arguments: &[&str]) -> Self {
        let mut server = Self::spawn(workers, arguments);
        server.greeted();
        server
    }

    /// Starts a server, and waits for nothing: it has no address yet.
    pub(crate) fn spawn(workers: usize, arguments: &[&str]) -> Self {
        Self::spawn_by(Command::new(binary()), workers, arguments)
    }

    /// The same by a command that executes what is appended to it.
    pub(crate) fn spawn_by(mut command: Command, workers: usize, arguments: &[&str]) -> Self {
        if !arguments.contains(&"--listen") {
            command.args(["--listen", "127.0.0.1:0"]);
        }
        command.args(["--workers", &workers.to_string()]);
        command.args(arguments);
        Self::of(command)
    }

    /// With these arguments alone, and its address known.
    pub(crate) fn with(arguments: &[&str]) -> Self {
        let mut command = Command::new(binary());
        command.args(arguments);
        let mut server = Self::of(command);
        server.greeted();
        server
    }

    fn of(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the example can be started");
        let greeting = lines(child.stdout.take().expect("it is piped"));
        let notices = lines(child.stderr.take().expect("it is piped"));
        Self {
            child,
            address: SocketAddr::from(([0; 4], 0)),
            greeting,
            notices,
            heard: Vec::new(),
        }
    }

    /// Waits until it says where it listens.
    pub(crate) fn greeted(&mut self) {
        let greeting = self.greeting.recv_timeout(DEADLINE);
        let greeting = greeting.expect("it says where it listens");
        self.address = greeting
            .split_once("http://")
            .and_then(|(_, rest)| rest.split_once('/'))
            .and_then(|(address, _)| address.parse().ok())
            .unwrap_or_else(|| panic!("no address in {greeting:?}"));
    }

    pub(crate) fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    /// Waits for the next notice with this word, and returns it.
    pub(crate) fn notice(&mut self, word: &str) -> String {
        loop {
            let notice = self.notices.recv_timeout(DEADLINE);
            let notice = notice.unwrap_or_else(|why| panic!("no notice says {word:?}: {why}"));
            self.heard.push(notice.clone());
            if notice.contains(word) {
                return notice;
            }
        }
    }

    /// The pids of all workers that ever were spawned, as far as their notices have been waited for;
    /// at first that is the order of their slots.
    pub(crate) fn workers(&self) -> Vec<i32> {
        let spawned = self
            .heard
            .iter()
            .filter(|notice| notice.contains("spawned"));
        spawned.map(|notice| pid_in(notice)).collect()
    }

    pub(crate) fn connect(&self) -> Client {
        Client::connect(self.address)
    }

    /// Asks for a page over a connection of its own.
    pub(crate) fn ask(&self, path: &str) -> Answer {
        self.connect().ask(path)
    }

    /// A connection to the worker with this pid.
    pub(crate) fn connect_to(&self, worker: i32) -> Client {
        support::in_time("a connection to a certain worker", || {
            let mut client = self.connect();
            (pid_in(&client.ask("/").content) == worker).then_some(client)
        })
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.pid(), signal);
    }

    /// Waits until the master has ended; how.
    pub(crate) fn end(&mut self) -> ExitStatus {
        support::wait_readable(pidfd(self.pid()), "the end of the master");
        let status = self.child.wait().expect("it is ours to reap");
        self.heard.extend(self.notices.try_iter());
        status
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Workers end when their master is gone.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            self.heard.extend(self.notices.try_iter());
            eprintln!("the server said:\n  {}", self.heard.join("\n  "));
        }
    }
}

/// A process that the test has not started itself: killed when it is still there at the end.
pub(crate) struct Stray {
    pub(crate) pid: i32,
    pub(crate) pidfd: OwnedFd,
}

impl Stray {
    pub(crate) fn new(pid: i32) -> Self {
        let pidfd = pidfd(pid);
        Self { pid, pidfd }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        pidfd_send_signal(&self.pidfd, signal).expect("it lives");
    }

    pub(crate) fn is_over(&self) {
        support::wait_readable(&self.pidfd, "the end of a stray");
    }
}

impl Drop for Stray {
    fn drop(&mut self) {
        let _ = pidfd_send_signal(&self.pidfd, Signal::KILL);
    }
}

/// The children of a process, the oldest first.
pub(crate) fn children(pid: i32) -> Vec<i32> {
    let list = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    let list = list.unwrap_or_default();
    let each = list.split_whitespace();
    each.map(|child| child.parse().expect("a pid")).collect()
}

/// Runs the server to its end: for command lines that do not serve.
pub(crate) fn run(arguments: &[&str]) -> Output {
    let mut command = Command::new(binary());
    let output = command.args(arguments).stdin(Stdio::null()).output();
    output.expect("the example can be started")
}

/// The pid of a process that lives, signalled.
pub(crate) fn kill(pid: i32, signal: Signal) {
    kill_process(raw(pid), signal).expect("it lives");
}

/// Readable when that process has ended.
pub(crate) fn pidfd(pid: i32) -> OwnedFd {
    pidfd_open(raw(pid), PidfdFlags::empty()).expect("it has not been reaped")
}

pub(crate) fn raw(pid: i32) -> Pid {
    Pid::from_raw(pid).expect("a pid is not 0")
}

/// The number behind the word `pid` in a text.
pub(crate) fn pid_in(text: &str) -> i32 {
    let number = text.split_once("pid ").map(|(_, rest)| rest);
    let number = number.and_then(|rest| rest.split(|next: char| !next.is_ascii_digit()).next());
    let number = number.and_then(|digits| digits.parse().ok());
    number.unwrap_or_else(|| panic!("no pid in {text:?}"))
}

/// `cargo test` builds examples beside the tests, and does not say where.
pub(crate) fn binary() -> PathBuf {
    let test = std::env::current_exe().expect("a test knows where it is");
    let folder = test.parent().and_then(|deps| deps.parent());
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

/// What comes from there, line by line; read by a thread, so that it can be waited for with an end.
fn lines(from: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let lines = BufReader::new(from).lines().map_while(Result::ok);
        lines.for_each(|line| drop(sender.send(line)));
    });
    receiver
}
