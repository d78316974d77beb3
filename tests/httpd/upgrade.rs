//! How another program takes over: without a lost request, or not at all.

use core::sync::atomic::{AtomicBool, AtomicUsize};
use std::fs;

use rustix::fd::OwnedFd;
use rustix::process::{Signal, pidfd_send_signal};

use crate::drain::{End, kept_connections, short_connections};
use crate::server::{Server, binary, pid_in, pidfd};
use crate::settings::Folder;
use crate::support;

/// A master that the test has not started itself: killed when it is still there at the end.
struct Successor {
    pid: i32,
    pidfd: OwnedFd,
}

impl Successor {
    fn new(pid: i32) -> Self {
        let pidfd = pidfd(pid);
        Self { pid, pidfd }
    }

    fn signal(&self, signal: Signal) {
        pidfd_send_signal(&self.pidfd, signal).expect("it lives");
    }
}

impl Drop for Successor {
    fn drop(&mut self) {
        let _ = pidfd_send_signal(&self.pidfd, Signal::KILL);
    }
}

/// Which program says that it answers.
fn program(home: &str) -> &str {
    let line = home.lines().find_map(|line| line.strip_prefix("binary "));
    line.unwrap_or_else(|| panic!("no program in {home:?}"))
}

pub(crate) fn another_program_takes_over_and_nothing_is_lost() {
    let folder = Folder::new("upgrade");
    let (pid, next) = (folder.file("pid"), folder.file("next"));
    fs::copy(binary(), &next).expect("a program can be copied");
    let mut server = Server::start(2, &["--pid-file", &pid, "--binary", &next]);
    let before = server.ask("/").content;
    let address = server.address;
    let over = AtomicBool::new(false);
    let [short, kept, closed] = [const { AtomicUsize::new(0) }; 3];
    let successor = std::thread::scope(|scope| {
        let clients = [
            scope.spawn(|| short_connections(address, &over, &short)),
            scope.spawn(|| kept_connections(address, &over, &kept, &closed)),
        ];
        let end = End(&over);
        server.signal(Signal::USR2);
        let successor = Successor::new(pid_in(&server.notice("upgraded, pid ")));
        assert_eq!(server.end().code(), Some(0));
        drop(end);
        for client in clients {
            client.join().expect("no client lost anything");
        }
        successor
    });
    let counts = [short, kept, closed].map(AtomicUsize::into_inner);
    println!("asked on short connections, on kept ones, of which ended: {counts:?}");
    let after = server.ask("/").content;
    assert_ne!(program(&before), program(&after), "the new one answers");
    let content = fs::read_to_string(&pid).expect("it is there");
    assert_eq!(content, format!("{}\n", successor.pid));
    successor.signal(Signal::QUIT);
    support::wait_readable(&successor.pidfd, "the end of the successor");
}

pub(crate) fn an_upgrade_that_fails_changes_nothing() {
    let folder = Folder::new("failed");
    let pid = folder.file("pid");
    let not_a_program = folder.write("text", "text");
    for next in [folder.file("none"), not_a_program, "/bin/false".to_owned()] {
        let mut server = Server::start(1, &["--pid-file", &pid, "--binary", &next]);
        let mut kept = server.connect();
        let before = kept.ask("/").content;
        server.signal(Signal::USR2);
        server.notice("not upgraded");
        assert_eq!(kept.ask("/").content, before, "{next}");
        assert_eq!(server.ask("/").content, before, "{next}");
        let content = fs::read_to_string(&pid).expect("it is there");
        assert_eq!(content, format!("{}\n", server.pid()));
        drop(kept);
        server.signal(Signal::QUIT);
        assert_eq!(server.end().code(), Some(0));
    }
}
