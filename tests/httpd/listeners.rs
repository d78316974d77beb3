//! Where the server listens: at several addresses, by a file, with a socket for each worker.

use core::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::thread;

use rustix::process::Signal;

use crate::client::{Client, get};
use crate::server::{Server, binary, children, kill};
use crate::settings::Folder;
use crate::support;

/// The answer to a request by a unix socket.
fn ask_by(path: &str) -> String {
    let mut stream = UnixStream::connect(path).expect("somebody listens");
    let request = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    answer
}

/// A port that is free, as far as one can know.
fn free_port() -> u16 {
    let probe = TcpListener::bind("127.0.0.1:0").expect("a free port");
    probe.local_addr().expect("it has one").port()
}

pub(crate) fn a_reload_adds_and_drops_addresses() {
    let folder = Folder::new("listeners");
    let (one, two) = (folder.file("one"), folder.file("two"));
    let (kept, other) = (free_port(), free_port());
    let said = format!("listen = 127.0.0.1:{kept}\nlisten = unix:{one}\n");
    let file = folder.write("config", &said);
    let mut server = Server::with(&["--config", &file]);
    assert!(ask_by(&one).starts_with("HTTP/1.1 200"));
    assert_eq!(server.ask("/").status, 200);

    let said =
        format!("listen = 127.0.0.1:{kept}\nlisten = 127.0.0.1:{other}\nlisten = unix:{two}");
    fs::write(&file, said).expect("a file can be written");
    server.signal(Signal::HUP);
    server.notice("epoch 1 serves");
    assert!(ask_by(&two).starts_with("HTTP/1.1 200"));
    let mut client = Client::connect(([127, 0, 0, 1], other).into());
    assert_eq!(client.ask("/").status, 200);
    assert_eq!(server.ask("/").status, 200);
    assert!(
        !fs::exists(&one).expect("it can be looked at"),
        "its file is gone"
    );

    // An address that another has is tried five times, and then everything stays.
    let holder = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let held = holder.local_addr().expect("it has one");
    fs::write(&file, format!("listen = {held}")).expect("a file can be written");
    server.signal(Signal::HUP);
    for _ in 0..4 {
        server.notice("epoch 2 is put off");
        assert_eq!(server.ask("/").status, 200);
    }
    server.notice("epoch 2 is refused");
    assert!(ask_by(&two).starts_with("HTTP/1.1 200"));

    server.signal(Signal::QUIT);
    assert_eq!(server.end().code(), Some(0));
    assert!(
        !fs::exists(&two).expect("it can be looked at"),
        "the last removes it"
    );
}

/// Workers come and go, with a socket each, under clients that want one answer each.
pub(crate) fn a_socket_for_each_worker_loses_nobody() {
    let folder = Folder::new("reuseport");
    let file = folder.write("config", "workers = 2");
    let mut server = Server::with(&["--config", &file, "--listen", "127.0.0.1:0", "--reuseport"]);
    let address = server.address;
    let (over, answered) = (AtomicBool::new(false), AtomicU32::new(0));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !over.load(Relaxed) {
                    let answer = Client::connect(address).ask("/");
                    assert_eq!(answer.status, 200);
                    answered.fetch_add(1, Relaxed);
                }
            });
        }
        for (epoch, workers) in (1..).zip([4, 1, 3, 2, 4, 1]) {
            fs::write(&file, format!("workers = {workers}")).expect("a file can be written");
            server.signal(Signal::HUP);
            server.notice(&format!("epoch {epoch} serves"));
            let so_far = answered.load(Relaxed);
            support::in_time("clients", || {
                (answered.load(Relaxed) > so_far + 20).then_some(())
            });
        }
        for signal in [Signal::TTIN, Signal::TTIN, Signal::TTOU, Signal::TTOU] {
            server.signal(signal);
            server.notice(if signal == Signal::TTIN {
                "ready"
            } else {
                "exited"
            });
        }
        over.store(true, Relaxed);
    });
    println!("{} answers, none lost", answered.load(Relaxed));
}

pub(crate) fn a_daemon_serves_when_its_start_returns() {
    let folder = Folder::new("daemon");
    let (pid_file, path) = (folder.file("pid"), folder.file("socket"));
    let start = |listen: &str| {
        let mut command = Command::new(binary());
        command.args([
            "--daemon",
            "--workers",
            "2",
            "--pid-file",
            &pid_file,
            "--listen",
            listen,
        ]);
        command
            .stdin(Stdio::null())
            .output()
            .expect("it can be started")
    };
    let started = start(&format!("unix:{path}"));
    assert_eq!(started.status.code(), Some(0), "{started:?}");
    assert!(ask_by(&path).starts_with("HTTP/1.1 200"), "at once");
    let daemon = fs::read_to_string(&pid_file).expect("there is one");
    let daemon: i32 = daemon.trim().parse().expect("a pid");
    assert_eq!(children(daemon).len(), 2);
    kill(daemon, Signal::QUIT);
    support::in_time("the end of the daemon, and of what it made", || {
        let gone = |path| !fs::exists(path).expect("it can be looked at");
        (gone(&pid_file) && gone(&path)).then_some(())
    });

    let failed = start("unix:/nowhere/socket");
    assert_eq!(failed.status.code(), Some(1), "{failed:?}");
    let said = String::from_utf8_lossy(&failed.stderr);
    assert!(
        said.contains("cannot listen at unix:/nowhere/socket"),
        "{said}"
    );
}

pub(crate) fn one_process_is_worker_and_all() {
    let mut server = Server::with(&["--single", "--listen", "127.0.0.1:0"]);
    assert_eq!(server.ask("/").status, 200);
    assert_eq!(children(server.pid()), [0; 0], "nobody is forked");
    let mut kept = server.connect();
    kept.send(&get("/"));
    assert_eq!(kept.answer().status, 200);
    server.signal(Signal::QUIT);
    drop(kept);
    assert_eq!(server.end().code(), Some(0));
}
