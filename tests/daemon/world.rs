//! A start, as whoever asks for it sees it: a process, its standard error, and a folder.

use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use rustix::fd::OwnedFd;
use rustix::io::{Errno, read};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, getpid, kill_process, pidfd_open,
    set_child_subreaper, waitid,
};

use crate::foreign::owned;
use crate::program::{FOLDER, PORT, ROLE, make_go};
use crate::support::{in_time, wait_readable};

/// The start of a program in a role. Whatever it leaves behind becomes a child of this process.
pub(crate) struct Start {
    pub(crate) foreground: Child,
    stdout: OwnedFd,
    stderr: OwnedFd,
    pub(crate) folder: PathBuf,
    go: fs::File,
    /// Of the foreground, to wait by.
    pidfd: OwnedFd,
}

impl Start {
    pub(crate) fn of(role: &str) -> Self {
        Self::with(role, |_| {})
    }

    /// At a port that is asked for.
    pub(crate) fn at(role: &str, port: u16) -> Self {
        Self::with(role, |command| {
            command.env(PORT, port.to_string());
        })
    }

    fn with(role: &str, more: impl FnOnce(&mut Command)) -> Self {
        set_child_subreaper(Some(getpid())).expect("it may");
        let folder = std::env::temp_dir().join(format!("forkmesh-daemon-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder); // of a process that had this number and was killed
        fs::create_dir(&folder).expect("a folder");
        make_go(&folder);
        let mut go = fs::File::options();
        let go = go
            .read(true)
            .write(true)
            .open(folder.join("go"))
            .expect("a FIFO");
        let mut command = Command::new(std::env::current_exe().expect("/proc"));
        command.env(ROLE, role).env(FOLDER, &folder);
        command.env_remove("RUST_BACKTRACE");
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        more(&mut command);
        let mut foreground = command.spawn().expect("a process");
        let pid = Pid::from_raw(foreground.id() as i32).expect("a pid");
        Self {
            pidfd: pidfd_open(pid, PidfdFlags::empty()).expect("a child"),
            stdout: owned(foreground.stdout.take().expect("a pipe")),
            stderr: owned(foreground.stderr.take().expect("a pipe")),
            foreground,
            folder,
            go,
        }
    }

    /// Waits until the foreground leaves, and says how.
    pub(crate) fn code(&mut self) -> Option<i32> {
        wait_readable(&self.pidfd, "the foreground to leave");
        self.foreground.wait().expect("a child").code()
    }

    pub(crate) fn has_left(&mut self) -> bool {
        self.foreground.try_wait().expect("a child").is_some()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.foreground.id() as i32).expect("a pid");
        kill_process(pid, signal).expect("it is there");
    }

    /// All that is written to standard error until nobody is left who could.
    pub(crate) fn errors(&mut self) -> String {
        read_all(&self.stderr)
    }

    pub(crate) fn output(&mut self) -> String {
        read_all(&self.stdout)
    }

    /// The process that the pid file names.
    pub(crate) fn daemon(&self) -> i32 {
        in_time("a pid file", || {
            let text = fs::read_to_string(self.folder.join("pid")).ok()?;
            text.trim().parse().ok()
        })
    }

    pub(crate) fn has_pid_file(&self) -> bool {
        let names = fs::read_dir(&self.folder).expect("a folder");
        let mut names = names.map(|name| name.expect("listed").file_name());
        names.any(|name| name.to_string_lossy().contains("pid"))
    }

    /// Writes what workers read before they are ready, a byte each.
    pub(crate) fn go(&self) {
        (&self.go).write_all(b"go!!").expect("a FIFO");
    }

    /// What the port says to whoever connects.
    pub(crate) fn answer(&self) -> String {
        let port = fs::read_to_string(self.folder.join("port")).expect("a port");
        let port: u16 = port.parse().expect("a number");
        let connection = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
        read_all(&owned(connection))
    }

    /// Ends a daemon that serves, and waits until nobody is left.
    pub(crate) fn end(self) {
        let daemon = self.daemon();
        let daemon = Pid::from_raw(daemon).expect("a pid");
        kill_process(daemon, Signal::TERM).expect("it is there");
        in_time("the end of everybody", || reap().then_some(()));
        assert!(!self.has_pid_file(), "{:?}", fs::read_dir(&self.folder));
    }
}

/// All that is written there until nobody is left who could.
fn read_all(from: &OwnedFd) -> String {
    let mut bytes = Vec::new();
    loop {
        wait_readable(from, "its end");
        let mut some = [0; 4096];
        match read(from, &mut some).expect("readable") {
            0 => return String::from_utf8(bytes).expect("text"),
            length => bytes.extend_from_slice(&some[..length]),
        }
    }
}

/// Reaps whoever has ended; whether nobody is left at all.
pub(crate) fn reap() -> bool {
    loop {
        match waitid(WaitId::All, WaitIdOptions::EXITED | WaitIdOptions::NOHANG) {
            Ok(Some(_)) => {}
            Ok(None) => return false,
            Err(Errno::CHILD) => return true,
            Err(errno) => panic!("waitid: {errno}"),
        }
    }
}

/// The processes that are children of this one, by its own word.
pub(crate) fn children_of(pid: i32) -> Vec<i32> {
    let path = format!("/proc/{pid}/task/{pid}/children");
    let text = fs::read_to_string(path).expect("it runs");
    let numbers = text.split_whitespace().map(str::parse);
    numbers.map(|number| number.expect("a pid")).collect()
}

/// A test that fails ends whoever is left, too: they are all children of this process, or will be.
impl Drop for Start {
    fn drop(&mut self) {
        let own = std::process::id() as i32;
        while !reap() {
            for child in children_of(own) {
                let _ = kill_process(Pid::from_raw(child).expect("a pid"), Signal::KILL);
            }
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}
