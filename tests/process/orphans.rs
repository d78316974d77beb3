//! Those who are left: workers whose master is gone, and orphans that a master takes in.

use core::sync::atomic::{AtomicI32, AtomicU32, Ordering::Relaxed};

use forkmesh::channel::Pair;
use forkmesh::machine::{Config, ExitStatus, Orphans};
use forkmesh::run::{Event, Exit, Master, Poller, Worker};
use forkmesh::table::Pid;
use forkmesh::wire::Message;
use rustix::fd::{AsFd, BorrowedFd, IntoRawFd, OwnedFd};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{PidfdFlags, Signal, pidfd_open};

use crate::heir::Heir;
use crate::reload::is_stopped;
use crate::support::{self, in_child, in_time, wait_readable};
use crate::world::{DO, World, obey, say};

/// Where a worker says to the test how it is doing: it outlives its master.
static LINE: AtomicI32 = AtomicI32::new(-1);
/// Which of the forks of the master's is stopped before it has done anything.
static STOPPED: AtomicU32 = AtomicU32::new(0);
static FORKS: AtomicU32 = AtomicU32::new(0);

fn line() -> BorrowedFd<'static> {
    // SAFETY: the descriptor was given up to this place, and is closed by the process's end.
    unsafe { BorrowedFd::borrow_raw(LINE.load(Relaxed)) }
}

/// Says that it has no master, and what it was told, until it is told to go.
fn tells(worker: &mut Worker) -> Exit {
    let mut poller = Poller::new(worker).expect("a poller");
    let say = |what: &[u8]| assert_eq!(rustix::io::write(line(), what), Ok(1));
    if worker.number() == 2 && STOPPED.load(Relaxed) == 0 {
        say(b"n");
        loop {
            std::thread::park(); // never ready
        }
    }
    worker.ready();
    loop {
        match worker.receive() {
            Some(Event::Orphaned) => say(b"o"),
            Some(Event::Quit) => {
                say(b"q");
                return Exit::SUCCESS;
            }
            Some(_) => {}
            None => drop(poller.wait(worker, None)),
        }
    }
}

extern "C" fn count_forks() {
    if FORKS.fetch_add(1, Relaxed) + 1 == STOPPED.load(Relaxed) {
        // SAFETY: the call reads no memory.
        unsafe { libc::raise(libc::SIGSTOP) };
    }
}

/// The parent counts, too, so that each child has another number.
extern "C" fn counted() {
    FORKS.fetch_add(1, Relaxed);
}

/// A master whose workers tell: two are ready, and the third is not, or is stopped; all three, and the
/// line.
fn master_to_lose(orphans: Orphans, stopped: u32) -> (support::Kept, Vec<Heir>, OwnedFd) {
    let (pids, theirs) = pipe_with(PipeFlags::CLOEXEC).expect("a pipe");
    let (ours, line) = pipe_with(PipeFlags::CLOEXEC).expect("a pipe");
    let pair = Pair::new().expect("a pair");
    let forked = pair.fork(&mut support::alone(), move |_| {
        LINE.store(line.into_raw_fd(), Relaxed);
        STOPPED.store(stopped, Relaxed);
        if stopped > 0 {
            // SAFETY: both functions touch an atomic and raise a signal.
            let done = unsafe { libc::pthread_atfork(None, Some(counted), Some(count_forks)) };
            assert_eq!(done, 0);
        }
        let mut world = World::new(Config::new().workers(3).orphans(orphans), tells);
        world.until("two are ready", |world| world.live().len() == 2);
        for (_, slot) in world.master.table().occupied() {
            let pid = slot.state().pid().expect("a process").as_i32();
            rustix::io::write(&theirs, &pid.to_ne_bytes()).expect("said");
        }
        loop {
            world.turn();
        }
    });
    let master = support::Kept::new(forked.expect("a child").1);
    let workers = (0..3).map(|_| {
        let mut pid = [0; 4];
        wait_readable(&pids, "a worker's pid");
        assert_eq!(rustix::io::read(&pids, &mut pid), Ok(4));
        Heir::new(i32::from_ne_bytes(pid))
    });
    let workers = workers.collect();
    (master, workers, ours)
}

/// The next words, in order of the alphabet.
fn words(line: &OwnedFd, count: usize) -> String {
    let mut words = Vec::new();
    while words.len() < count {
        let mut word = [0];
        wait_readable(line, "a word");
        assert_eq!(rustix::io::read(line, &mut word), Ok(1), "somebody is left");
        words.push(word[0]);
    }
    words.sort_unstable();
    String::from_utf8(words).expect("letters")
}

pub(crate) fn orphans_serve_on_or_drain() {
    for orphans in [Orphans::Drain, Orphans::Serve] {
        in_child(|| {
            let (master, workers, line) = master_to_lose(orphans, 0);
            assert_eq!(words(&line, 1), "n");
            master.signal(Signal::KILL);
            workers[2].wait(); // who was not ready goes with its master
            if orphans == Orphans::Serve {
                assert_eq!(words(&line, 2), "oo");
                assert!(workers[0].lives() && workers[1].lives());
                for worker in &workers[..2] {
                    worker.signal(Signal::QUIT);
                }
            }
            assert_eq!(words(&line, 2), "qq");
            workers[0].wait();
            workers[1].wait();
        });
    }
}

/// Stopped between its fork and its first step, a child holds all that its master holds: no end is
/// seen by anybody, and the death is noticed all the same.
pub(crate) fn a_child_that_is_stopped_at_its_fork_hides_no_death() {
    if !cfg!(feature = "std") {
        return; // fork has no handlers then
    }
    for stopped in [1, 2, 3] {
        in_child(|| {
            let (master, workers, line) = master_to_lose(Orphans::Drain, stopped);
            let stopped = stopped as usize - 1;
            in_time("it is stopped", || {
                is_stopped(workers[stopped].pid).then_some(())
            });
            master.signal(Signal::KILL);
            for (number, worker) in workers.iter().enumerate() {
                if number != stopped {
                    worker.wait(); // it drains
                }
            }
            assert!(is_stopped(workers[stopped].pid));
            workers[stopped].signal(Signal::CONT);
            workers[stopped].wait(); // it goes as soon as it can
            drop(line);
        });
    }
}

/// Leaves a process behind that ends when its worker has; says which one.
fn breeds(worker: &mut Worker) -> Exit {
    obey(worker, |worker, message| {
        if message.tag != DO {
            return;
        }
        let parent = rustix::process::getpid();
        let own = pidfd_open(parent, PidfdFlags::empty()).expect("a pidfd");
        let pair = Pair::new().expect("a pair");
        let forked = pair.fork(&mut support::alone(), |_| {
            wait_readable(&own, "the end of the parent");
            0
        });
        let (_, process) = forked.expect("a child");
        let mut payload = [0; 16];
        payload[..4].copy_from_slice(&process.pid().to_ne_bytes());
        say(worker, Message::new(DO, payload));
    })
}

fn is_there(pid: i32) -> bool {
    std::path::Path::new(&format!("/proc/{pid}")).exists()
}

pub(crate) fn a_master_reaps_orphans_and_knows_its_own() {
    in_child(|| {
        // One that ended before there was a master to hear of it.
        let pair = Pair::new().expect("a pair");
        let (_, early) = pair.fork(&mut support::alone(), |_| 0).expect("a child");
        wait_readable(&early, "its end");
        let master = Master::with(Config::new().workers(2), support::alone());
        let mut master = Box::new(master.expect("a master"));
        master.adopt_orphans().expect("it may");
        let mut world = World::of(master, breeds);
        world.all_live(2);
        world.until("the early one is reaped", |_| !is_there(early.pid()));
        for round in 0..10 {
            let (worker, pid) = world.live()[round % 2];
            world.tell(worker, DO, [0; 16]);
            let said = world.hear(worker, DO).message.payload;
            let orphan = Pid::new(i32::from_ne_bytes(said[..4].try_into().expect("four")));
            let orphan = orphan.expect("a pid").as_i32();
            assert!(is_there(orphan));
            world.replace(pid);
            world.until("it is reaped", |_| !is_there(orphan));
            let killed = ExitStatus::Killed {
                signal: 9,
                core: false,
            };
            assert_eq!(world.exits(), [killed], "its own are known");
        }
        world.end();
        in_time("nobody is left", || {
            crate::upgrade::children(std::process::id() as i32)
                .is_empty()
                .then_some(())
        });
        let _ = early.as_fd();
    });
}
