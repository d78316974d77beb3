//! Who a worker of the server is, and where it runs.

use std::fs;

use rustix::process::Signal;

use crate::server::{Server, run};
use crate::settings::Folder;

/// What /proc says of a process under this name.
fn said(pid: i32, name: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process lives");
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let words = line.expect("the kernel says it").split_whitespace();
    words.collect::<Vec<_>>().join(" ")
}

pub(crate) fn workers_drop_to_the_user_that_is_named() {
    if !rustix::process::geteuid().is_root() {
        let output = run(&["--listen", "127.0.0.1:0", "--user", "nobody"]);
        assert_eq!(output.status.code(), Some(1));
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(error.contains("this master is not root"), "{error}");
        return;
    }
    let folder = Folder::new("user");
    let log = folder.file("log");
    let server = Server::start(2, &["--user", "daemon:nogroup", "--log", &log]);
    let accounts = fs::read_to_string("/etc/group").expect("there are groups");
    let nogroup = accounts.lines().find_map(|line| {
        let rest = line.strip_prefix("nogroup:")?;
        rest.split(':').nth(1).map(str::to_owned)
    });
    let nogroup = nogroup.expect("there is this group");
    for worker in server.workers() {
        assert_eq!(said(worker, "Uid:"), "1 1 1 1");
        assert_eq!(said(worker, "Gid:"), [nogroup.as_str(); 4].join(" "));
        assert_eq!(said(worker, "NoNewPrivs:"), "1");
    }
    assert_eq!(said(server.pid(), "Uid:"), "0 0 0 0");
    let owner = std::os::unix::fs::MetadataExt::uid(&fs::metadata(&log).expect("a log"));
    assert_eq!(owner, 1, "workers open it anew themselves");

    let output = run(&["--listen", "127.0.0.1:0", "--user", "no such user"]);
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains("there is no such user"), "{error}");
}

pub(crate) fn a_worker_that_cannot_be_set_up_waits_for_a_reload() {
    let folder = Folder::new("affinity");
    let file = folder.write("config", "affinity = 1023");
    let mut server = Server::start_unready(1, &["--config", &file]);
    server.notice("cannot serve");
    server.notice("with code 2");
    server.notice("parked");
    let own = said(server.pid(), "Cpus_allowed_list:");
    fs::write(&file, "affinity = auto").expect("a file can be written");
    server.signal(Signal::HUP);
    server.notice("epoch 1 serves");
    let worker = *server.workers().last().expect("one was spawned");
    let its = said(worker, "Cpus_allowed_list:");
    let first: String = own.chars().take_while(char::is_ascii_digit).collect();
    assert_eq!(its, first, "the first of {own}");
    assert_eq!(server.ask("/").status, 200);
}
