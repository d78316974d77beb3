//! How a worker drains: nobody who keeps a connection is hung up on without a word.

use core::net::SocketAddr;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use core::time::Duration;
use std::net::TcpStream;
use std::time::Instant;

use rustix::process::Signal;

use crate::client::{Client, get};
use crate::server::{Server, kill, pid_in, pidfd};
use crate::support;

pub(crate) fn quit_finishes_what_was_begun() {
    let mut server = Server::start(1, &["--drain-idle", "60"]);
    let mut idle = server.connect();
    assert!(!idle.ask("/").closes());
    let mut busy = server.connect();
    assert!(!busy.ask("/").closes());
    let (first, second) = ("GET / HTTP/1.1\r\nHo", "st: test\r\n\r\n");
    busy.send(first);
    let mut fresh = server.connect();
    // By now the worker has read the half request, too.
    assert_eq!(idle.ask("/").status, 200);

    server.signal(Signal::QUIT);
    support::in_time("nobody listens any more", || {
        TcpStream::connect(server.address).is_err().then_some(())
    });
    busy.send(second);
    for client in [&mut idle, &mut fresh] {
        assert!(!client.has_more(), "hung up on without a word");
        client.send(&get("/"));
    }
    for client in [&mut busy, &mut idle, &mut fresh] {
        let answer = client.answer();
        assert_eq!(answer.status, 200);
        assert!(answer.closes());
        client.is_over();
    }
    drop((busy, idle, fresh));
    assert_eq!(server.end().code(), Some(0));
}

pub(crate) fn who_says_nothing_gets_the_grace() {
    let mut server = Server::start(1, &["--drain-idle", "1"]);
    let worker = server.workers()[0];
    let mut kept = server.connect();
    assert_eq!(kept.ask("/").status, 200);
    let mut silent = server.connect();
    let start = Instant::now();
    kill(worker, Signal::QUIT);
    for client in [&mut kept, &mut silent] {
        client.is_over();
        let passed = start.elapsed();
        assert!(passed >= Duration::from_secs(1), "{passed:?}");
    }
    // It does not read to the end for ever, either.
    support::wait_readable(pidfd(worker), "the end of the worker");
    server.notice("exited, pid");
    drop((kept, silent));
}

pub(crate) fn what_was_sent_together_is_answered_together() {
    let server = Server::start(1, &["--drain-idle", "60"]);
    let mut client = server.connect();
    let body = "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nhello";
    let (page, none) = (get("/"), get("/nothing"));
    assert_eq!(client.ask("/").status, 200);
    kill(server.workers()[0], Signal::QUIT);
    client.send(
        &[&page, body, &none]
            .map(|request| request.repeat(3))
            .concat(),
    );
    let answers: Vec<_> = (0..9).map(|_| client.answer()).collect();
    let statuses: Vec<_> = answers.iter().map(|answer| answer.status).collect();
    assert_eq!(statuses, [200, 200, 200, 405, 405, 405, 404, 404, 404]);
    let closing = answers.iter().position(|answer| answer.closes());
    assert_eq!(closing, Some(8), "the last of them, and no other");
    client.is_over();
}

pub(crate) fn a_long_row_of_requests_is_answered_to_its_end() {
    let server = Server::start(1, &["--drain-idle", "60"]);
    let mut client = server.connect();
    assert_eq!(client.ask("/").status, 200);
    kill(server.workers()[0], Signal::QUIT);
    // More than the server reads at once, cut anywhere, and less than the kernel cuts itself.
    let many = 600;
    client.send(&get("/").repeat(many));
    for number in 1..=many {
        let answer = client.answer();
        assert_eq!(answer.closes(), number == many, "answer {number}");
    }
    client.is_over();
}

pub(crate) fn nothing_is_lost_while_workers_come_and_go() {
    const QUITS: usize = 30;
    let mut server = Server::start(2, &["--restart", "always"]);
    let address = server.address;
    let over = AtomicBool::new(false);
    let counts = [const { AtomicUsize::new(0) }; 3];
    std::thread::scope(|scope| {
        let [short, kept, closed] = &counts;
        let clients: Vec<_> = (0..4)
            .map(|client| {
                let over = &over;
                scope.spawn(move || match client {
                    0 => short_connections(address, over, short),
                    _ => kept_connections(address, over, kept, closed),
                })
            })
            .collect();
        let end = End(&over);
        let mut workers = server.workers();
        for quit in 0..QUITS {
            let worker = &mut workers[quit % 2];
            kill(*worker, Signal::QUIT);
            server.notice("exited");
            *worker = pid_in(&server.notice("ready"));
        }
        drop(end);
        for client in clients {
            client.join().expect("no client lost anything");
        }
    });
    let [short, kept, closed] = counts.map(AtomicUsize::into_inner);
    println!("{QUITS} workers quit: {short} requests alone, {kept} on {closed} connections");
    assert!(short > 0 && closed >= QUITS, "there were clients to lose");
}

/// Ends the clients, even where the test fails.
pub(crate) struct End<'o>(pub(crate) &'o AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Asks once on each connection, again and again; panics if an answer does not come.
pub(crate) fn short_connections(address: SocketAddr, over: &AtomicBool, asked: &AtomicUsize) {
    while !over.load(Ordering::Relaxed) {
        assert_eq!(Client::connect(address).ask("/").status, 200);
        asked.fetch_add(1, Ordering::Relaxed);
    }
}

/// Asks on one connection until an answer says that it was the last, again and again.
pub(crate) fn kept_connections(
    address: SocketAddr,
    over: &AtomicBool,
    asked: &AtomicUsize,
    closed: &AtomicUsize,
) {
    while !over.load(Ordering::Relaxed) {
        let mut client = Client::connect(address);
        loop {
            let answer = client.ask("/");
            assert!(pid_in(&answer.content) > 0);
            asked.fetch_add(1, Ordering::Relaxed);
            if answer.closes() {
                client.is_over();
                closed.fetch_add(1, Ordering::Relaxed);
                break;
            }
            if over.load(Ordering::Relaxed) {
                return;
            }
        }
    }
}
