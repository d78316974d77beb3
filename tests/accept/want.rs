//! Workers that cannot accept: they wait, and burn nothing.

use core::time::Duration;
use std::fs;
use std::time::Instant;

use forkmesh::run::{Acceptor, AddFault, Exclusive, Load, Own, Sharing, Worker};
use rustix::io::Errno;
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};

use crate::clients::{ACCEPTED, Client, MOST, REFUSED, at, copy, datagrams, listeners, serve};
use crate::support::in_time;
use crate::world::World;

/// User and system time, in hundredths of a second.
fn cpu(pid: i32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
    let fields = stat.rsplit_once(')').expect("a name").1.split_whitespace();
    let times = fields.skip(11).take(2);
    times
        .map(|time| time.parse::<u64>().expect("a number"))
        .sum()
}

fn limit(pid: i32, descriptors: u64) {
    let limit = Rlimit {
        current: Some(descriptors),
        ..getrlimit(Resource::Nofile)
    };
    prlimit(Pid::from_raw(pid), Resource::Nofile, limit).expect("allowed");
}

fn served(clients: &[Client]) -> usize {
    clients.iter().filter(|client| client.is_served()).count()
}

/// More clients than a worker has descriptors for, and they come without end: it accepts what it can,
/// says why it does no more, sleeps, and goes on when a client leaves, or when there are descriptors.
pub(crate) fn no_descriptors_no_spinning() {
    const CLIENTS: usize = 100;
    const WINDOW: Duration = Duration::from_secs(2);
    let (listener, address) = listeners(1);
    let work = |worker: &mut Worker| {
        let load = Load::new(1_000);
        let shared = copy(&listener[0], Sharing::Shared);
        serve(worker, at(&load, Exclusive::new(), [shared]), None)
    };
    let mut world = World::new(1, false, work);
    let pid = world.live(1)[0].1;
    let open = crate::support::open_in(pid);
    let mut free = (0..).filter(|number| !open.contains_key(number));
    limit(pid, free.nth(20).expect("numbers do not end") as u64);
    let mut clients: Vec<Client> = (0..CLIENTS).map(|_| Client::new(address)).collect();
    world.until("a refusal", |world| !world.values(REFUSED).is_empty());
    let (start, before) = (Instant::now(), cpu(pid));
    let first = served(&clients);
    while start.elapsed() < WINDOW {
        clients.push(Client::new(address)); // each would wake who watches
        world.turn(10);
    }
    let used = cpu(pid) - before;
    let window = start.elapsed().as_millis() as u64 / 10;
    let said = world.values(REFUSED);
    println!(
        "{first} of {CLIENTS} served, {} more came; {used} of {window} hundredths of a second of \
         CPU; refused {} times",
        clients.len() - CLIENTS,
        said.len()
    );
    assert_eq!(first, 20, "as many as there are descriptors for");
    assert!(used * 5 <= window, "it does not spin");
    assert!(
        (2..=8).contains(&said.len()),
        "it says so each time that it tries: {said:?}"
    );
    assert!(
        said.iter()
            .all(|errno| *errno == Errno::MFILE.raw_os_error() as u64)
    );
    // Who hangs up makes room for one, and at once: a pause would take half a second each.
    let start = Instant::now();
    for turn in 0..10 {
        clients.remove(clients.iter().position(Client::is_served).expect("one is"));
        in_time("the next", || {
            (served(&clients) >= first - 1 + usize::from(turn > 0)).then_some(())
        });
    }
    assert!(
        start.elapsed() < Duration::from_secs(4),
        "{:?}",
        start.elapsed()
    );
    // With descriptors, everybody is served, though nobody hangs up.
    limit(pid, 4_096);
    clients.iter().for_each(Client::greeted);
    drop(clients);
    world.quit();
    world.until_ended();
}

/// There are never more than were allowed; each that leaves lets one in.
pub(crate) fn a_full_worker_leaves_the_rest() {
    const ROOM: usize = 4;
    const CLIENTS: usize = 40;
    let (listener, address) = listeners(1);
    let work = |worker: &mut Worker| {
        let load = Load::new(ROOM as u32);
        let shared = copy(&listener[0], Sharing::Shared);
        serve(worker, at(&load, Exclusive::new(), [shared]), None)
    };
    let mut world = World::new(1, false, work);
    let pid = world.live(1)[0].1;
    let mut clients: Vec<Client> = (0..CLIENTS).map(|_| Client::new(address)).collect();
    let before = cpu(pid);
    let start = Instant::now();
    in_time("as many as there is room for", || {
        (served(&clients) == ROOM).then_some(())
    });
    while start.elapsed() < Duration::from_millis(700) {
        world.turn(50);
    }
    assert_eq!(served(&clients), ROOM);
    assert!((cpu(pid) - before) * 5 <= 70, "it does not spin");
    while !clients.is_empty() {
        clients.remove(0).served();
    }
    world.quit();
    world.until_ended();
    assert_eq!(world.values(MOST), [ROOM as u64]);
    assert_eq!(world.values(ACCEPTED), [CLIENTS as u64]);
}

/// No listener, no room for another, and what is accepted from is made non-blocking.
pub(crate) fn what_cannot_be_accepted_from_is_refused() {
    let load = Load::new(1);
    let mut acceptor = Acceptor::new(&load, Own);
    let deaf = copy(&crate::world::pair().0, Sharing::Own);
    let error = acceptor.add(deaf).expect_err("nobody connects to it");
    assert_eq!(error.fault, AddFault::Kernel(Errno::INVAL));
    assert_eq!(error.listening.place, 3, "it comes back");
    let (listener, _) = listeners(1);
    for _ in 0..63 {
        acceptor
            .add(copy(&listener[0], Sharing::Own))
            .expect("room");
    }
    let door = acceptor
        .add(copy(&datagrams().0, Sharing::Shared))
        .expect("room");
    assert!(acceptor.socket(door).is_some());
    let error = acceptor
        .add(copy(&listener[0], Sharing::Own))
        .expect_err("64 at the most");
    assert_eq!(error.fault, AddFault::TooMany);
    let flags = rustix::fs::fcntl_getfl(&listener[0]).expect("flags");
    assert!(flags.contains(rustix::fs::OFlags::NONBLOCK));
    println!("Acceptor {} B", size_of_val(&acceptor));
    assert!(size_of_val(&acceptor) <= 6 * 1024);
}
