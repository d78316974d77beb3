//! How servers and their workers end, and how workers are replaced.

use std::fs;
use std::net::TcpListener;
use std::time::Instant;

use rustix::process::Signal;

use crate::server::{Server, kill, pid_in, pidfd, run};
use crate::support;

pub(crate) fn a_killed_worker_is_replaced_in_no_time() {
    // One worker: whoever answers after its death is its successor.
    let mut server = Server::start(1, &["--restart", "always"]);
    let mut pid = server.workers()[0];
    let mut times = Vec::new();
    for life in 1..=50 {
        let start = Instant::now();
        kill(pid, Signal::KILL);
        let answer = server.ask("/");
        times.push(start.elapsed());
        assert_eq!(answer.status, 200);
        let successor = pid_in(&answer.content);
        assert_ne!(successor, pid);
        pid = successor;
        server.notice(&format!("worker 0.{life} exited"));
        server.notice(&format!("worker 0.{} ready, pid {pid}", life + 1));
    }
    times.sort();
    let (least, median, most) = (times[0], times[times.len() / 2], times[times.len() - 1]);
    println!("from the kill to the successor's first answer: {median:?} ({least:?} to {most:?})");
}

pub(crate) fn a_crash_loop_is_delayed() {
    let mut server = Server::start(1, &[]);
    let mut pid = server.workers()[0];
    // More deaths in a second than are taken without a delay, on any machine that is not asleep.
    for _ in 0..200 {
        kill(pid, Signal::KILL);
        server.notice("killed by signal 9");
        let next = server.notice("worker");
        pid = pid_in(&server.notice("ready"));
        if next.contains("delayed") {
            assert_eq!(pid_in(&server.ask("/").content), pid);
            return;
        }
    }
    panic!("no delay after 200 deaths");
}

pub(crate) fn terminate_ends_at_once() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut server = Server::start(2, &[]);
        let mut client = server.connect();
        client.send("GET / HTTP/1.1\r\n");
        server.signal(signal);
        assert_eq!(server.end().code(), Some(0));
        drop(client);
    }
}

pub(crate) fn no_workers_and_terminate() {
    let mut server = Server::start(0, &[]);
    server.signal(Signal::TERM);
    assert_eq!(server.end().code(), Some(0));
}

pub(crate) fn workers_end_with_their_master() {
    let server = Server::start(3, &[]);
    let workers: Vec<_> = server.workers().into_iter().map(pidfd).collect();
    server.signal(Signal::KILL);
    for worker in workers {
        support::wait_readable(worker, "the end of an orphan");
    }
}

pub(crate) fn the_pid_file_lives_as_long_as_the_master() {
    let name = format!("forkmesh-httpd-{}.pid", std::process::id());
    let path = std::env::temp_dir().join(name);
    let text = path.to_str().expect("a path of ours is text");
    let mut server = Server::start(2, &["--pid-file", text]);
    let content = fs::read_to_string(&path).expect("it is there");
    assert_eq!(content, format!("{}\n", server.pid()));

    // A worker that dies does not take it along.
    kill(server.workers()[0], Signal::TERM);
    server.notice("exited");
    server.notice("ready");
    assert!(path.exists());
    server.signal(Signal::QUIT);
    assert_eq!(server.end().code(), Some(0));
    assert!(!path.exists());
}

pub(crate) fn bad_arguments_are_named() {
    let wrong: [(&[&str], &str); 19] = [
        (&["--listen", "nowhere"], "--listen nowhere"),
        (&["--listen"], "--listen"),
        (&["--workers", "1023"], "--workers 1023"),
        (&["--workers=-1"], "--workers -1"),
        (&["--restart", "never"], "--restart never"),
        (&["--idle", "0"], "--idle 0"),
        (&["--drain-idle=x"], "--drain-idle x"),
        (&["--bind-wait", "soon"], "--bind-wait soon"),
        (&["--log", ""], "--log"),
        (&["--config="], "--config"),
        (&["--pid-file", ""], "--pid-file"),
        (&["--upgrade-ms", "soon"], "--upgrade-ms soon"),
        (&["--probation-ms=-1"], "--probation-ms -1"),
        (&["--orphans", "kill"], "--orphans kill"),
        (&["--fail", "never"], "--fail never"),
        (&["--relay=yes"], "--relay=yes"),
        (&["--manual-upgrades=no"], "--manual-upgrades=no"),
        (&["--nonsense"], "--nonsense"),
        (&["nonsense"], "nonsense"),
    ];
    for (arguments, named) in wrong {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(named), "{arguments:?}: {said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
    let help = run(&["--help"]);
    assert_eq!(help.status.code(), Some(0));
    let said = String::from_utf8_lossy(&help.stdout);
    let all = "bind-wait pid-file restart name binary upgrade-ms probation-ms \
        manual-upgrades relay daemon single orphans config workers listen reuseport idle drain-idle \
        text log user affinity fail help";
    for argument in all.split(' ') {
        assert!(said.contains(&format!("  --{argument} ")), "{argument}");
    }

    // An address that is taken is not a wrong argument, only a bad time.
    let server = Server::start(0, &[]);
    let output = run(&["--listen", &server.address.to_string(), "--bind-wait=0"]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains(&server.address.to_string()), "{said}");
    assert_eq!(pid_in(&said), server.pid(), "{said}");
}

pub(crate) fn an_address_that_is_taken_is_waited_for() {
    for holder in ["127.0.0.1:0", "[::]:0"] {
        let holder = TcpListener::bind(holder).expect("a free port");
        let address = holder.local_addr().expect("it has one");
        let wanted = format!("127.0.0.1:{}", address.port());
        let mut server = Server::spawn(1, &["--listen", &wanted, "--bind-wait", "60"]);
        server.notice(&format!(
            "{wanted} is taken, held by pid {}: ",
            std::process::id()
        ));
        drop(holder);
        server.greeted();
        server.notice("ready");
        assert_eq!(server.ask("/").status, 200);
    }

    // Who holds it is named, even where it is all addresses of this machine.
    let holder = TcpListener::bind("[::]:0").expect("a free port");
    let port = holder.local_addr().expect("it has one").port();
    let output = run(&["--bind-wait", "1", "--listen", &format!(":{port}")]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.ends_with(&format!("held by pid {}\n", std::process::id())),
        "{said}"
    );
}
