//! Serving, draining, done; and what it costs to have nothing to do.

use core::net::{Ipv4Addr, SocketAddrV4};
use core::sync::atomic::Ordering::Relaxed;
use core::time::Duration;
use std::fs;
use std::time::Instant;

use forkmesh::machine::Config;
use forkmesh::run::{
    Acceptor, Arrival, Exclusive, Exit, Happened, Interest, Listening, Load, Loop, Over, Own,
    Sharing, Worker,
};
use rustix::fd::OwnedFd;
use rustix::net::{
    AddressFamily, SocketFlags, SocketType, bind, connect as connect_to, getsockname, listen,
    socket_with,
};

use crate::allocations::ASKED;
use crate::world::{World, pair, tell};

const OVER: u32 = 1;
const DRAINS: u32 = 2;
const COUNT: u32 = 3;
const ALLOCATED: u32 = 4;

fn socket() -> OwnedFd {
    let flags = SocketFlags::CLOEXEC;
    socket_with(AddressFamily::INET, SocketType::STREAM, flags, None).expect("a socket")
}

/// A listener of one's own, at any port.
pub(crate) fn listener() -> (Listening, SocketAddrV4) {
    let socket = socket();
    bind(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)).expect("bound");
    listen(&socket, 128).expect("it listens");
    let address = getsockname(&socket).expect("an address");
    let listening = Listening {
        socket,
        place: 0,
        sharing: Sharing::Own,
    };
    (listening, address.try_into().expect("IPv4"))
}

pub(crate) fn connect(address: SocketAddrV4) -> OwnedFd {
    let socket = socket();
    connect_to(&socket, &address).expect("connected");
    socket
}

fn number(over: Over) -> u64 {
    match over {
        Over::Drained => 1,
        Over::Deadline => 2,
        Over::Terminated => 3,
        _ => 4,
    }
}

/// A timer that never ends and a connection that does: at QUIT the worker waits for the connection, then
/// for its work, and not for the timer.
pub(crate) fn connections_decide_and_not_timers() {
    let work = |worker: &mut Worker| {
        let load = Load::new(8);
        let mut turns = Loop::<_, 4, 4>::new(worker, Acceptor::new(&load, Own)).expect("a loop");
        let mut connection = load.open(pair().0).ok();
        let mut flush = Some(load.begin());
        turns.after(600_000, 1).expect("room");
        worker.ready();
        let mut drains = 0;
        loop {
            match turns.next(worker).expect("epoll") {
                Happened::Drain => {
                    drains += 1;
                    turns.after(50, 2).expect("room");
                }
                Happened::Due(2) => {
                    connection = None;
                    turns.after(50, 3).expect("room");
                }
                Happened::Due(3) => flush = None,
                Happened::Over(over) => {
                    let early = connection.is_some() || flush.is_some();
                    tell(worker, DRAINS, drains);
                    tell(worker, OVER, number(over) + 10 * u64::from(early));
                    let again = turns.next(worker).expect("epoll");
                    return Exit(u8::from(!matches!(again, Happened::Over(Over::Drained))));
                }
                _ => {}
            }
        }
    };
    let mut world = World::new(1, false, work);
    let pid = world.live(1)[0].1;
    // Once by a signal and once by the master: it is told once.
    world.signal(pid, rustix::process::Signal::QUIT);
    world.quit();
    world.until_ended();
    assert_eq!(world.values(OVER), [1], "drained, and nothing was left");
    assert_eq!(world.values(DRAINS), [1]);
}

pub(crate) fn a_deadline_ends_a_drain() {
    const MS: u64 = 200;
    let work = |worker: &mut Worker| {
        let load = Load::new(8);
        let acceptor = Acceptor::new(&load, Own);
        let turns = Loop::<_, 4, 4>::new(worker, acceptor).expect("a loop");
        let mut turns = turns.shutdown_ms(MS);
        let _connection = load.open(pair().0).expect("room");
        worker.ready();
        let mut since = None;
        loop {
            match turns.next(worker).expect("epoll") {
                Happened::Drain => since = Some(Instant::now()),
                Happened::Over(over) => {
                    let took = since.expect("it drained").elapsed();
                    tell(worker, COUNT, took.as_millis() as u64);
                    tell(worker, OVER, number(over));
                    return Exit::SUCCESS;
                }
                _ => {}
            }
        }
    };
    let mut world = World::new(1, false, work);
    world.live(1);
    world.quit();
    world.until_ended();
    assert_eq!(world.values(OVER), [2]);
    assert!(
        world.values(COUNT)[0] >= MS - 1,
        "{:?}",
        world.values(COUNT)
    );
}

pub(crate) fn a_worker_that_is_told_to_end_ends() {
    let work = |worker: &mut Worker| {
        let load = Load::new(8);
        let mut turns = Loop::<_, 4, 4>::new(worker, Acceptor::new(&load, Own)).expect("a loop");
        let _connection = load.open(pair().0).expect("room");
        worker.ready();
        loop {
            if let Happened::Over(over) = turns.next(worker).expect("epoll") {
                tell(worker, OVER, number(over));
                return Exit::SUCCESS;
            }
        }
    };
    let mut world = World::new(1, false, work);
    world.live(1);
    world.master.workers().terminate();
    world.until_ended();
    assert_eq!(world.values(OVER), [3]);
}

/// Clients, timers and posted events, and then the count.
pub(crate) fn a_loop_allocates_nothing() {
    const CLIENTS: u64 = 300;
    let (listening, address) = listener();
    let work = |worker: &mut Worker| {
        let socket = listening.socket.try_clone().expect("a copy");
        let before = ASKED.load(Relaxed);
        let load = Load::new(64);
        let mut acceptor = Acceptor::new(&load, Exclusive::new());
        let listening = Listening {
            socket,
            place: 0,
            sharing: Sharing::Shared,
        };
        acceptor.add(listening).expect("a listener");
        let mut turns = Loop::<_, 64, 64>::new(worker, acceptor).expect("a loop");
        worker.ready();
        let mut served = 0;
        loop {
            match turns.next(worker).expect("epoll") {
                Happened::Arrived(Arrival::Connection { connection, .. }) => {
                    let _ = turns.poller().add(&connection, 1, Interest::READ);
                    let timer = turns.after(5, 1).expect("room");
                    turns.put_off(timer, 1).expect("armed");
                    turns.post(1).expect("room");
                    served += 1;
                    if served == CLIENTS {
                        tell(worker, COUNT, served);
                    }
                }
                Happened::Over(_) => {
                    tell(worker, ALLOCATED, ASKED.load(Relaxed) - before);
                    return Exit::SUCCESS;
                }
                _ => {}
            }
        }
    };
    let mut world = World::new(1, false, work);
    world.live(1);
    for _ in 0..CLIENTS {
        let client = connect(address);
        // Until it is served, and closed.
        crate::support::wait_readable(&client, "an end");
    }
    world.quit();
    world.until_ended();
    assert_eq!(world.values(COUNT), [CLIENTS]);
    assert_eq!(world.values(ALLOCATED), [0]);
}

/// How often a process has slept and been woken.
fn switches(pid: i32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let fields = status.lines().filter(|line| line.contains("ctxt_switches"));
    let counts = fields.map(|line| line.split_whitespace().last().expect("a count"));
    counts
        .map(|count| count.parse::<u64>().expect("a number"))
        .sum()
}

/// 2 s, or as many as `IDLE_SECONDS` says: the waiting is what is measured. The master is a process of
/// its own here, for this one has to count.
pub(crate) fn idle_processes_sleep() {
    let seconds = std::env::var("IDLE_SECONDS").ok();
    let seconds = seconds.map_or(2, |text| text.parse().expect("a number"));
    let (ready, theirs) = pair();
    let forked =
        forkmesh::channel::Pair::new()
            .expect("a pair")
            .fork(&mut crate::support::alone(), |_| {
                idle_master(&theirs);
                0
            });
    let (_end, process) = forked.expect("a child");
    let mut master = crate::support::Kept::new(process);
    let mut pids = [0; 12];
    let mut filled = 0;
    while filled < 12 {
        crate::support::wait_readable(&ready, "workers");
        filled += rustix::io::read(&ready, &mut pids[filled..]).expect("pids");
    }
    let pids: Vec<i32> = pids
        .chunks(4)
        .map(|four| i32::from_ne_bytes(four.try_into().expect("four")))
        .collect();
    let counts = || pids.iter().map(|pid| switches(*pid)).collect::<Vec<_>>();
    // What follows READY is done when a count stands still for a while.
    let mut before = counts();
    crate::support::in_time("quiet", || {
        pause(Duration::from_millis(300));
        let now = counts();
        let quiet = now == before;
        before = now;
        quiet.then_some(())
    });
    let before = counts();
    pause(Duration::from_secs(seconds));
    let woken: Vec<u64> = counts()
        .iter()
        .zip(&before)
        .map(|(now, was)| now - was)
        .collect();
    println!("{seconds} s idle: a master and two workers woke {woken:?} times");
    assert_eq!(woken, [0, 0, 0]);
    master.signal(rustix::process::Signal::QUIT);
    master.ends_well();
}

/// The time itself is what the test is about.
fn pause(time: Duration) {
    let never = rustix::event::eventfd(0, rustix::event::EventfdFlags::CLOEXEC).expect("one");
    let mut fds = [rustix::event::PollFd::new(
        &never,
        rustix::event::PollFlags::IN,
    )];
    let time = rustix::event::Timespec {
        tv_sec: time.as_secs() as _,
        tv_nsec: time.subsec_nanos() as _,
    };
    let _ = rustix::event::poll(&mut fds, Some(&time));
}

fn idle_master(ready: &OwnedFd) {
    let (listening, _) = listener();
    let work = |worker: &mut Worker| {
        let load = Load::new(64);
        let mut acceptor = Acceptor::new(&load, Exclusive::new());
        let listening = Listening {
            socket: listening.socket.try_clone().expect("a copy"),
            place: 0,
            sharing: Sharing::Shared,
        };
        acceptor.add(listening).expect("a listener");
        let mut turns = Loop::<_, 64, 64>::new(worker, acceptor).expect("a loop");
        worker.ready();
        loop {
            if let Happened::Over(_) = turns.next(worker).expect("epoll") {
                return Exit::SUCCESS;
            }
        }
    };
    let mut world = World::with(Config::new().workers(2), work);
    let workers = world.live(2);
    let own = std::process::id() as i32;
    for pid in [own, workers[0].1, workers[1].1] {
        rustix::io::write(ready, &pid.to_ne_bytes()).expect("room");
    }
    world.master.run(&mut world.lab).expect("epoll");
}
