//! Who stays when masters come and go: a relay behind its successors, and workers without a master.

use std::process::Command;

use rustix::process::Signal;

use crate::server::{Server, Stray, binary, children, kill, run};
use crate::support;

/// A master of a chain, and its workers, as they were seen.
struct Link {
    master: Stray,
    workers: Vec<Stray>,
}

impl Link {
    fn is_over(&self) {
        self.master.is_over();
        self.workers.iter().for_each(Stray::is_over);
    }
}

/// PID 1 of a namespace of its own, with two workers.
fn pid_1() -> (Server, i32) {
    let mut unshare = Command::new("unshare");
    unshare.args(["--pid", "--fork", "--mount-proc", "--kill-child"]);
    unshare.arg(binary());
    let mut server = Server::spawn_by(unshare, 2, &["--probation-ms", "100"]);
    server.greeted();
    for _ in 0..2 {
        server.notice("ready");
    }
    let [first] = children(server.pid())[..] else {
        panic!("unshare has one child")
    };
    (server, first)
}

/// Upgrades what stays at this pid, and waits until nobody but the new master and its two workers is
/// behind it.
fn upgrade(server: &mut Server, stays: i32) -> Link {
    let before = children(stays);
    kill(stays, Signal::USR2);
    server.notice("upgraded, pid ");
    let link = support::in_time("one master with two workers behind the relay", || {
        let [master] = children(stays)[..] else {
            return None;
        };
        let workers = children(master);
        // A master has a board; what is left of one has none.
        let relays = !support::open_in(stays)
            .values()
            .any(|open| open.name.contains("forkmesh-status"));
        let right = relays && workers.len() == 2 && !before.contains(&master);
        right.then_some((master, workers))
    });
    assert_eq!(server.ask("/").status, 200);
    Link {
        master: Stray::new(link.0),
        workers: link.1.into_iter().map(Stray::new).collect(),
    }
}

pub(crate) fn pid_1_stays_and_the_chain_does_not_grow() {
    let (mut server, stays) = pid_1();
    let link = upgrade(&mut server, stays);
    let next = upgrade(&mut server, stays);
    assert_ne!(link.master.pid, next.master.pid);
    link.is_over();
    kill(stays, Signal::TERM);
    next.is_over();
    assert_eq!(server.end().code(), Some(0));
}

pub(crate) fn pid_1_ends_as_its_last_master_does() {
    let (mut server, stays) = pid_1();
    let link = upgrade(&mut server, stays);
    link.master.signal(Signal::KILL);
    link.is_over();
    assert_eq!(server.end().code(), Some(128 + Signal::KILL.as_raw()));
}

pub(crate) fn a_relay_stays_where_it_is_asked_for() {
    let mut server = Server::start(2, &["--probation-ms", "100", "--relay"]);
    let stays = server.pid();
    let links = [upgrade(&mut server, stays), upgrade(&mut server, stays)];
    links[0].is_over();
    server.signal(Signal::QUIT);
    links[1].is_over();
    assert_eq!(server.end().code(), Some(0));
}

pub(crate) fn workers_without_a_master_serve_on_where_they_shall() {
    let mut server = Server::start(2, &["--orphans", "serve"]);
    let workers: Vec<Stray> = server.workers().into_iter().map(Stray::new).collect();
    server.signal(Signal::KILL);
    server.end();
    let mut kept: Vec<_> = workers
        .iter()
        .map(|worker| server.connect_to(worker.pid))
        .collect();

    // Who comes next is told by whom the address is held.
    let output = run(&["--listen", &server.address.to_string(), "--bind-wait=0"]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let mut pids: Vec<i32> = workers.iter().map(|worker| worker.pid).collect();
    pids.sort_unstable();
    let held = format!(", held by pid {}, {}\n", pids[0], pids[1]);
    assert!(said.ends_with(&held), "{said}");

    for client in &mut kept {
        assert_eq!(client.ask("/").status, 200);
    }
    for worker in &workers {
        worker.signal(Signal::QUIT);
    }
    for client in &mut kept {
        support::in_time("an answer that says that it goes", || {
            client.ask("/").closes().then_some(())
        });
    }
    drop(kept);
    workers.iter().for_each(Stray::is_over);
}
