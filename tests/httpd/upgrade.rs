//! How another program takes over: without a lost request, or not at all.

use core::sync::atomic::{AtomicBool, AtomicUsize};
use std::fs;

use rustix::process::Signal;

use crate::drain::{End, kept_connections, short_connections};
use crate::server::{Server, Stray, binary, children, pid_in, run};
use crate::settings::Folder;
use crate::support;

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
        let successor = Stray::new(pid_in(&server.notice("upgraded, pid ")));
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
    assert_eq!(named(&pid), successor.pid);
    successor.signal(Signal::QUIT);
    successor.is_over();
}

pub(crate) fn an_upgrade_that_fails_changes_nothing() {
    let folder = Folder::new("failed");
    let pid = folder.file("pid");
    let not_a_program = folder.write("text", "text");
    let programs = [
        (folder.file("none"), "the program cannot be executed: "),
        (not_a_program, "the program cannot be executed: "),
        (
            "/bin/false".to_owned(),
            "the new master ended with code 1 before it was ready\n",
        ),
    ];
    for (next, why) in programs {
        let mut server = Server::start(1, &["--pid-file", &pid, "--binary", &next]);
        let mut kept = server.connect();
        let before = kept.ask("/").content;
        let said = fails(&server, &pid);
        let expected = format!("httpd: master {} goes on as before: {why}", server.pid());
        assert!(said.starts_with(&expected), "{said}");
        server.notice("not upgraded");
        let status = run(&["-s", "status", "--pid-file", &pid]).stdout;
        let status = String::from_utf8_lossy(&status).into_owned();
        let expected = format!("\nupgrades 0 done, 1 failed, the last: {why}");
        assert!(status.contains(&expected), "{status}");
        assert_eq!(kept.ask("/").content, before, "{next}");
        assert_eq!(server.ask("/").content, before, "{next}");
        assert_eq!(named(&pid), server.pid());
        drop(kept);
        server.signal(Signal::QUIT);
        assert_eq!(server.end().code(), Some(0));
    }
}

pub(crate) fn a_successor_has_its_time() {
    let folder = Folder::new("time");
    let (pid, config) = (folder.file("pid"), folder.write("config", ""));
    let times = ["--upgrade-ms", "2000", "--probation-ms", "3600000"];
    let files = ["--pid-file", &pid, "--config", &config];
    let mut server = Server::start(1, &[times, files].concat());
    folder.write("config", "fail = hang");
    let said = fails(&server, &pid);
    assert!(
        said.ends_with(": the new master was not ready in time\n"),
        "{said}"
    );
    server.notice("not upgraded");

    folder.write("config", "");
    server.signal(Signal::USR2);
    server.notice("worker 0.1 exited"); // the successor is ready
    let successor = Stray::new(named(&pid));
    assert_ne!(successor.pid, server.pid());
    successor.signal(Signal::KILL);
    let notice = server.notice("not upgraded");
    assert!(
        notice.ends_with(": the new master was killed by signal 9 when it was ready"),
        "{notice}"
    );
    server.notice("worker 0.2 ready");
    assert_eq!(named(&pid), server.pid());
    assert_eq!(server.ask("/").status, 200);
}

pub(crate) fn both_serve_where_upgrades_are_manual() {
    let folder = Folder::new("manual");
    let pid = folder.file("pid");
    let mut server = Server::start(1, &["--pid-file", &pid, "--manual-upgrades"]);
    // The successor is a child of the old master, too.
    let worker_of = |master: i32| {
        let mut children = children(master).into_iter();
        children
            .find(|child| *child != named(&pid))
            .expect("it has one")
    };
    let begin = |server: &mut Server| {
        server.signal(Signal::USR2);
        server.notice("takes over");
        let successor = Stray::new(named(&pid));
        for master in [server.pid(), successor.pid] {
            drop(server.connect_to(worker_of(master)));
        }
        successor
    };
    let successor = begin(&mut server);
    successor.signal(Signal::QUIT);
    successor.is_over();
    support::in_time("the pid file to be the old one's", || {
        // For a moment there is none.
        let text = fs::read_to_string(&pid).ok()?;
        (text == format!("{}\n", server.pid())).then_some(())
    });
    server.notice("not upgraded");
    assert_eq!(server.ask("/").status, 200);

    let successor = begin(&mut server);
    server.signal(Signal::QUIT);
    assert_eq!(server.end().code(), Some(0));
    assert_eq!(named(&pid), successor.pid);
    assert_eq!(server.ask("/").status, 200);
    successor.signal(Signal::QUIT);
    successor.is_over();
}

/// Asks for an upgrade that fails; what is said of it.
fn fails(server: &Server, pid_file: &str) -> String {
    let output = run(&["-s", "upgrade", "--pid-file", pid_file]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{}: {said}", server.pid());
    said
}

/// Whom a pid file names.
fn named(pid_file: &str) -> i32 {
    let text = fs::read_to_string(pid_file).expect("it is there");
    text.trim().parse().expect("a pid")
}
