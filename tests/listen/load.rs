//! Clients that come while workers come and go: each gets its answer.

use core::net::SocketAddr;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use core::time::Duration;
use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Mutex;

use forkmesh::channel::Pair;
use forkmesh::run::{Listen, Tries};
use rustix::fd::OwnedFd;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use seccompiler::{
    SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};

use crate::support::{Kept, alone, in_child, wait_readable};
use crate::tools::{Few, address, local, socket_address, sockets};
use crate::world::{ADOPTED, CLOSED, World};

const CLIENTS: usize = 24;
const RELOADS: &str = "FORKMESH_TEST_RELOADS";

/// A process of clients, one beside the other, that come again and again until it is told to stop.
struct Load {
    process: Kept,
    end: OwnedFd,
}

impl Load {
    fn start(server: SocketAddr) -> Self {
        let flags = SocketFlags::CLOEXEC;
        let pair = socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None);
        let (here, there) = pair.expect("a pair");
        let forked = Pair::new().expect("a pair").fork(&mut alone(), |_| {
            clients(server, &there);
            0
        });
        let (_end0, process) = forked.expect("a child");
        Self {
            process: Kept::new(process),
            end: here,
        }
    }

    /// Ends it; how many were answered, and by whom.
    fn stop(mut self) -> BTreeMap<u8, u64> {
        rustix::io::write(&self.end, b"stop").expect("it runs");
        self.process.ends_well();
        let mut counts = [0_u8; 8 * 16];
        let read = rustix::io::read(&self.end, &mut counts);
        assert_eq!(read, Ok(counts.len()));
        let (counts, _) = counts.as_chunks();
        let counts = counts.iter().map(|count| u64::from_ne_bytes(*count));
        (0..).zip(counts).filter(|(_, count)| *count > 0).collect()
    }
}

/// Each connects, sends, and must get an answer; what goes wrong is said, and fails the test.
fn clients(server: SocketAddr, end: &OwnedFd) {
    let stop = AtomicBool::new(false);
    let counts = [const { AtomicU64::new(0) }; 16];
    let failures = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                while !stop.load(Relaxed) {
                    match ask(server) {
                        Ok(number) => {
                            counts[usize::from(number)].fetch_add(1, Relaxed);
                        }
                        Err(why) => failures.lock().expect("no panic").push(why),
                    }
                }
            });
        }
        wait_readable(end, "the order to stop");
        stop.store(true, Relaxed);
    });
    let failures = failures.into_inner().expect("no panic");
    assert!(
        failures.is_empty(),
        "{} failures: {:?}",
        failures.len(),
        failures.first()
    );
    let counts = counts.map(|count| count.into_inner().to_ne_bytes());
    rustix::io::write(end, counts.as_flattened()).expect("somebody reads");
}

fn ask(server: SocketAddr) -> Result<u8, (&'static str, ErrorKind)> {
    let failed = |step| move |error: std::io::Error| (step, error.kind());
    let mut client = TcpStream::connect(server).map_err(failed("connect"))?;
    let patience = Some(Duration::from_secs(20));
    client.set_read_timeout(patience).map_err(failed("set"))?;
    client.write_all(b"?").map_err(failed("send"))?;
    let mut answer = [0];
    client.read_exact(&mut answer).map_err(failed("read"))?;
    Ok(answer[0])
}

fn reloads(few: u32) -> u32 {
    let asked = std::env::var(RELOADS).ok();
    asked.map_or(few, |asked| asked.parse().expect("a number"))
}

/// Reloads with more and fewer workers, TTIN and TTOU between them.
fn come_and_go(world: &mut World, reloads: u32) {
    let counts = [4, 1, 3, 2, 4, 2, 1, 1, 3];
    let mut workers = world.live(2).len();
    for round in 0..reloads {
        workers = counts[round as usize % counts.len()];
        assert!(world.reload(workers));
        world.live(workers);
        if round % 3 == 1 {
            for more in [true, true, false, true, false, false] {
                match more {
                    true => world.master.workers().more(),
                    false => world.master.workers().fewer(),
                }
                workers = if more { workers + 1 } else { workers - 1 };
                world.live(workers);
            }
        }
    }
    world.live(workers);
}

pub(crate) fn no_connection_is_lost() {
    let mut world = World::new(vec![local().per_worker(true)], 2);
    let server = socket_address(address(&world.lab.listeners, 0));
    let load = Load::start(server);
    let rounds = reloads(12);
    come_and_go(&mut world, rounds);
    let sent = world
        .lab
        .told
        .iter()
        .filter(|(_, what, _)| *what == ADOPTED);
    let sent = sent.count();
    let answered = load.stop();
    let all: u64 = answered.values().sum();
    println!("{rounds} reloads, {sent} sockets sent, {all} answers: {answered:?}");
    assert!(sent > rounds as usize / 2, "sockets were adopted");
    assert!(all > CLIENTS as u64 && answered.len() >= 3);
    world.end();
}

/// The kernel takes no program: every socket that was made is somebody's for good.
pub(crate) fn no_connection_is_lost_without_programs() {
    in_child(|| {
        refuse_programs();
        let mut world = World::new(vec![local().per_worker(true)], 2);
        let server = socket_address(address(&world.lab.listeners, 0));
        let load = Load::start(server);
        come_and_go(&mut world, reloads(5));
        let answered = load.stop();
        println!("{answered:?}");
        assert!(answered.values().sum::<u64>() > CLIENTS as u64);
        let closed = world.lab.told.iter().filter(|(_, what, _)| *what == CLOSED);
        assert_eq!(closed.count(), 0);
        world.end();
    });
}

/// From now on, in this process and its children, no program can be attached to a group.
pub(crate) fn refuse_programs() {
    let is = |argument, value: libc::c_int| {
        let length = SeccompCmpArgLen::Dword;
        SeccompCondition::new(argument, length, SeccompCmpOp::Eq, value as u64)
            .expect("a condition")
    };
    let level = is(1, libc::SOL_SOCKET);
    let rule = SeccompRule::new(vec![level, is(2, libc::SO_ATTACH_REUSEPORT_CBPF)]);
    let rules = [(libc::SYS_setsockopt, vec![rule.expect("a rule")])];
    let architecture = std::env::consts::ARCH
        .try_into()
        .expect("one that is known");
    let refused = SeccompAction::Errno(libc::EPERM as u32);
    let filter = SeccompFilter::new(rules.into(), SeccompAction::Allow, refused, architecture);
    let program: seccompiler::BpfProgram = filter.and_then(TryInto::try_into).expect("a filter");
    seccompiler::apply_filter(&program).expect("the kernel has seccomp");
}

/// What becomes of those who wait at a socket that nobody adopts: the reason for all of it.
pub(crate) fn closing_at_once_resets() {
    let mut few = Few::new();
    few.open(&[local().per_worker(true)], 2, None)
        .expect("free");
    let server = socket_address(address(&few, 0));
    let mut clients: Vec<TcpStream> = (0..64)
        .map(|_| TcpStream::connect(server).expect("somebody listens"))
        .collect();
    let left = few.take(0, 0); // the other's is closed
    let mut reset = 0;
    for client in &mut clients {
        client.set_nonblocking(true).expect("a socket");
        let read = client.read(&mut [0]).expect_err("nobody answers");
        reset += usize::from(read.kind() == ErrorKind::ConnectionReset);
    }
    assert!((1..64).contains(&reset), "{reset} of 64");
    drop(left);
}

/// Who waits at a socket without a worker waits for its adopter, and for the adopter's successor.
pub(crate) fn a_killed_adopter_is_replaced() {
    let mut world = World::new(vec![local().per_worker(true)], 3);
    let before = world.live(3);
    assert!(world.reload(1));
    // What was told by who lives still.
    let told = |world: &World, what: u32| -> Vec<i32> {
        let told = world.lab.told.iter().filter(|(_, it, _)| *it == what);
        told.filter_map(|(from, ..)| world.pid(*from)).collect()
    };
    world.until("two are adopted", |world| told(world, ADOPTED).len() == 2);
    let after = world.live(1);
    assert_ne!(after[&0], before[&0]);
    world.kill(after[&0]);
    world.until("two are adopted again", |world| {
        let adopters = told(world, ADOPTED);
        adopters.len() == 2 && !adopters.contains(&after[&0])
    });
    let own = world.live(1)[&0];
    let held = |pid| crate::tools::sockets_of(pid);
    let masters = sockets();
    let shared = |pid| held(pid).intersection(&masters).count();
    world.until("both are empty", |world| told(world, CLOSED).len() == 2);
    assert_eq!(shared(own), 1, "it drained them, and closed them");
    assert_eq!(masters, sockets(), "the master keeps them");
    // A worker that comes has its socket by its fork.
    let sent = world.lab.told.len();
    assert!(world.reload(3));
    for pid in world.live(3).into_values() {
        assert_eq!(shared(pid), 1);
    }
    assert_eq!(world.lab.told.len(), sent);
    world.end();
}

/// Helpers have numbers of their own: no socket is theirs, and none is made for them.
pub(crate) fn helpers_get_no_sockets() {
    let mut world = World::with_helpers(vec![local().per_worker(true)], 2, 3);
    let helpers = |world: &World| world.helpers() == 3;
    world.until("the helpers are ready", helpers);
    let held = sockets().len();
    assert!(world.reload(1));
    world.live(1);
    world.until("the helpers are ready", helpers);
    world.until("one is adopted and drained", |world| {
        world.lab.told.iter().any(|(_, what, _)| *what == CLOSED)
    });
    let told: Vec<u32> = world.lab.told.iter().map(|(_, what, _)| *what).collect();
    assert_eq!(told, [ADOPTED, CLOSED]);
    let control = 1; // one worker less, and its control end
    assert_eq!(sockets().len() + control, held);
    world.end();
}

/// An address that is in use is asked for again, while the old workers serve.
pub(crate) fn a_reload_waits_for_its_address() {
    let mut world = World::new(vec![local()], 1);
    // After the fork, so that it is this process's alone.
    let held = TcpListener::bind("127.0.0.1:0").expect("a port");
    let wanted = held.local_addr().expect("an address");
    let server = socket_address(address(&world.lab.listeners, 0));
    world.lab.list.push(Listen::new(wanted.into()));
    world.lab.tries = Tries::new().most(3).pause_ms(1);
    assert!(!world.reload(1), "it is in use for too long");
    assert_eq!(world.lab.asked, 3);
    world.lab.tries = Tries::new().most(u16::MAX).pause_ms(1);
    world.begin_reload(1);
    world.until("it is asked again", |world| world.lab.asked > 6);
    assert_eq!(ask(server), Ok(0), "nothing has stopped");
    assert_eq!(world.lab.outcome, None);
    drop(held);
    world.until("it is free", |world| world.lab.outcome == Some(true));
    world.live(1);
    assert_eq!((ask(server), ask(wanted)), (Ok(0), Ok(0)));
    world.end();
}
