//! Many clients: they are shared out, and none of them can hold up another.

use core::time::Duration;
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::time::Instant;

use rustix::process::{Resource, Rlimit, getrlimit, prlimit, setrlimit};

use crate::client::{Client, get};
use crate::server::{Server, raw};
use crate::support;

pub(crate) fn new_connections_go_round() {
    let server = Server::start(2, &[]);
    let workers = server.workers();
    let mut spread = BTreeMap::new();
    for _ in 0..200 {
        // With both asleep it is the kernel's order of waking alone that decides who answers.
        support::in_time("both workers sleep", || {
            workers.iter().all(|pid| sleeps(*pid)).then_some(())
        });
        *spread.entry(server.ask("/").content).or_insert(0) += 1;
    }
    println!(
        "200 connections, one after the other: {:?}",
        spread.values()
    );
    assert_eq!(spread.len(), 2, "{spread:?}");
    // An order that never changes gives one of them all.
    assert!(spread.values().all(|answers| *answers >= 70), "{spread:?}");
}

fn sleeps(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("it lives");
    let behind_the_name = stat.rsplit(')').next().unwrap_or_default();
    behind_the_name.split_whitespace().next() == Some("S")
}

pub(crate) fn a_client_that_does_not_read_holds_up_nobody() {
    let server = Server::start(1, &[]);
    let mut greedy = server.connect();
    let mut writer = greedy.stream.try_clone().expect("a descriptor");
    let many = 60_000;
    let writing = std::thread::spawn(move || {
        let requests = get("/").repeat(100);
        (0..many / 100).try_for_each(|_| writer.write_all(requests.as_bytes()))
    });
    // Whether its answers still fit into the kernel's buffers or not: others are served.
    for _ in 0..200 {
        assert_eq!(server.ask("/").status, 200);
    }
    for _ in 0..many {
        assert_eq!(greedy.answer().status, 200);
    }
    let written = writing.join().expect("the writer does not panic");
    written.expect("the server reads");
}

pub(crate) fn a_full_worker_waits_for_room() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    setrlimit(Resource::Nofile, raised).expect("up to the hard limit is allowed");
    let server = Server::start(1, &[]);
    let mut clients: Vec<Client> = (0..1024)
        .map(|_| {
            let mut client = server.connect();
            assert_eq!(client.ask("/").status, 200);
            client
        })
        .collect();
    let mut late = server.connect();
    late.send(&get("/"));
    for client in &mut clients {
        assert_eq!(client.ask("/").status, 200);
    }
    assert!(!late.has_more(), "there was room for one more");
    drop(clients.swap_remove(500));
    assert_eq!(late.answer().status, 200);
}

pub(crate) fn a_worker_without_descriptors_waits_for_one() {
    let server = Server::start(1, &[]);
    let pid = server.workers()[0];
    let mut client = server.connect_to(pid);
    let open = support::open_in(pid);
    let lowest = (0..)
        .find(|number| !open.contains_key(number))
        .expect("numbers do not end");
    let limit = Rlimit {
        current: Some(lowest as u64),
        ..getrlimit(Resource::Nofile)
    };
    let before = prlimit(Some(raw(pid)), Resource::Nofile, limit).expect("it is our process");

    let mut late = server.connect();
    late.send(&get("/"));
    // The worker sees the new connection no later than this request, and cannot take it.
    assert_eq!(client.ask("/").status, 200);
    assert!(!late.has_more());
    let used = cpu_time(pid);
    prlimit(Some(raw(pid)), Resource::Nofile, before).expect("it is our process");
    assert_eq!(late.answer().status, 200);
    let used = cpu_time(pid) - used;
    println!("CPU time used while out of descriptors: {used:?}");
    assert!(
        used < Duration::from_millis(100),
        "{used:?} used while waiting"
    );
}

pub(crate) fn a_connection_that_does_nothing_is_closed() {
    let server = Server::start(1, &["--idle", "1"]);
    let start = Instant::now();
    let mut silent = server.connect();
    let mut kept = server.connect();
    assert_eq!(kept.ask("/").status, 200);
    let mut slow = server.connect();
    slow.send("GET / HTTP/1.1\r\n");
    for client in [&mut silent, &mut kept, &mut slow] {
        client.is_over();
    }
    assert!(
        start.elapsed() >= Duration::from_secs(1),
        "{:?}",
        start.elapsed()
    );
    assert_eq!(server.ask("/").status, 200);
}

/// How long a process has run so far.
fn cpu_time(pid: i32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/schedstat")).expect("/proc");
    let nanoseconds = stat.split(' ').next().and_then(|first| first.parse().ok());
    Duration::from_nanos(nanoseconds.expect("the first number is the time on a CPU"))
}
