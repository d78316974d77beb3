//! Settings from a file and from the command line, and the log that they name.

use std::fs;
use std::path::PathBuf;

use rustix::process::Signal;

use crate::server::{Server, kill, run};
use crate::support;

/// A folder of a test's own, gone with its end.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new(test: &str) -> Self {
        let name = format!("forkmesh-httpd-{}-{test}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).expect("a folder can be made");
        Self(path)
    }

    /// The path of a file in it.
    pub(crate) fn file(&self, name: &str) -> String {
        let path = self.0.join(name);
        path.to_str().expect("a path of ours is text").to_owned()
    }

    /// A file in it, with this content; its path.
    pub(crate) fn write(&self, name: &str, content: &str) -> String {
        let path = self.file(name);
        fs::write(&path, content).expect("a file can be written");
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

pub(crate) fn the_command_line_wins_over_the_file() {
    let folder = Folder::new("settings");
    let content = "# a comment\n\n workers = 7\nidle=1\ntext = of the file # and this, too\n";
    let file = folder.write("config", content);
    let server = Server::start(1, &["--config", &file]);
    let home = server.ask("/").content;
    assert!(home.ends_with("\nof the file # and this, too\n"), "{home}");
    let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", server.pid()));
    let children = children.expect("the master lives");
    assert_eq!(children.split_whitespace().count(), 1, "{children}");
    server.connect().is_over();

    let line = ["--config", &file, "--text", "of the line", "--name", "A"];
    let home = Server::start(1, &line).ask("/").content;
    assert!(home.ends_with("\nof the line\n"), "{home}");
}

pub(crate) fn wrong_lines_of_the_file_are_named() {
    let folder = Folder::new("wrong");
    let wrong = [
        ("workers = 1\n\nworkers=2", "line 3: workers: said before"),
        ("workers = 1023", "line 1: workers: not a number"),
        ("workers = -1", "line 1: workers: not a number"),
        ("# x\nidle = 0", "line 2: idle: not a number"),
        ("drain_idle = 1s", "line 1: drain_idle: not a number"),
        ("fail = sometimes", "line 1: fail: none of exit2, die, hang"),
        ("log =", "line 1: log: not a path"),
        ("= 1", "line 1: : no such setting"),
        ("drain-idle = 1", "line 1: drain-idle: no such setting"),
        ("workers 1", "line 1: workers 1: not KEY = VALUE"),
    ];
    for (content, named) in wrong {
        let file = folder.write("config", content);
        let output = run(&["--listen", "127.0.0.1:0", "--config", &file]);
        assert_eq!(output.status.code(), Some(1), "{content:?}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(named) && said.contains(&file), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
    let output = run(&["--config", &folder.file("none")]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains(&folder.file("none")));
}

pub(crate) fn the_first_page_says_who_answers() {
    let server = Server::start(1, &["--name", "a program", "--text", "hello"]);
    let pid = server.workers()[0];
    let home = server.ask("/").content;
    let expected = format!("epoch 0\nworker 0\nslot 0\npid {pid}\nbinary a program\nhello\n");
    assert!(home.ends_with(&expected), "{home}");
    assert!(home.starts_with(&format!("hello from slot 0.1, worker 0, pid {pid}\n")));
}

pub(crate) fn every_request_is_logged() {
    let folder = Folder::new("log");
    let log = folder.file("log");
    let mut server = Server::start(2, &["--log", &log]);
    for _ in 0..20 {
        server.ask("/");
        server.ask("/nothing");
    }
    let mut client = server.connect();
    client.send("nonsense\r\n\r\n");
    assert_eq!(client.answer().status, 400);
    drop(client);
    server.signal(Signal::QUIT);
    assert_eq!(server.end().code(), Some(0));
    let lines = lines(&log);
    let with = |end: &str| lines.iter().filter(|line| line.ends_with(end)).count();
    assert_eq!(with(" GET / 200"), 20, "{lines:?}");
    assert_eq!(with(" GET /nothing 404"), 20, "{lines:?}");
    assert_eq!(with(" - - 400"), 1, "{lines:?}");
    assert_eq!(lines.len(), 41);
}

pub(crate) fn a_log_that_was_moved_is_opened_anew() {
    let folder = Folder::new("reopen");
    let (log, moved) = (folder.file("log"), folder.file("log.1"));
    let mut server = Server::start(1, &["--log", &log]);
    let worker = server.workers()[0];
    server.ask("/before");
    wait_for_lines(&log, 1);
    fs::rename(&log, &moved).expect("it is there");
    server.ask("/moved");
    wait_for_lines(&moved, 2);
    kill(worker, Signal::USR1);
    server.ask("/after");
    wait_for_lines(&log, 1);
    assert!(lines(&log)[0].ends_with(" GET /after 404"));
    assert_eq!(lines(&moved).len(), 2);

    // Where it cannot be: the worker goes on in the old one, and says so.
    fs::rename(&log, &moved).expect("it is there");
    fs::create_dir(&log).expect("a folder can be made");
    kill(worker, Signal::USR1);
    server.notice(&format!("pid {worker}: log {log}: "));
    server.ask("/still");
    wait_for_lines(&moved, 2);
    assert!(lines(&moved)[1].ends_with(" GET /still 404"));
}

/// The lines of a turn are written at its end, and that is after the answers.
pub(crate) fn wait_for_lines(path: &str, count: usize) {
    support::in_time("lines in the log", || {
        (lines(path).len() == count).then_some(())
    });
}

pub(crate) fn lines(path: &str) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}
