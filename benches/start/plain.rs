//! The same protocol in plain calls: no table, no state, nothing that could be restarted.
//!
//! ```text
//!   3…      the master's pidfd, signalfd, epoll
//!   6…      End0 of every mesh pair            End1 of every mesh pair, moved up: `HIGH`…
//!   6 + n…  control End0, pidfd, control End0, pidfd, …
//! ```

use core::mem::{size_of, zeroed};
use core::ptr::null;
use core::sync::atomic::Ordering::SeqCst;

use crate::process::{checked, fork, now_ns};
use crate::{Progress, Until};

const FRAME: usize = 32;
const OPEN: u64 = 1;
const READY: u64 = 16;
const BATCH: usize = 128;
const FLAGS: i32 = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;

/// What the master has before the first fork.
struct Master {
    pidfd: i32,
    signals: i32,
    epoll: i32,
    /// End0 of each mesh pair.
    mesh: Vec<i32>,
    /// End1 of the first; the others follow.
    high: i32,
}

/// What it has of each worker.
struct Worker {
    pid: i32,
    pidfd: i32,
    control: i32,
}

/// Starts that many workers, and ends them.
pub(crate) fn start(workers: usize, until: Until, progress: &Progress) {
    let since = now_ns();
    let master = Master::new(workers);
    let started: Vec<_> = (0..workers)
        .map(|number| master.spawn(number, progress))
        .collect();
    master.hear(workers);
    progress.is_ready(since);
    if until == Until::Told {
        tell(&started);
        while !progress.is_told(workers, since) {
            std::thread::sleep(core::time::Duration::from_millis(1));
        }
    }
    for worker in &started {
        kill(worker.pidfd);
    }
    for worker in &started {
        let mut status = 0;
        // SAFETY: `status` lives through the call.
        let done = unsafe { libc::waitpid(worker.pid, &raw mut status, 0) };
        checked(done, "waitpid");
    }
}

impl Master {
    fn new(workers: usize) -> Self {
        let limit = raise_limit();
        // SAFETY: the call has no requirement.
        let pidfd = pidfd_open(unsafe { libc::getpid() });
        let signals = signalfd();
        let epoll = epoll();
        watch(epoll, signals);
        // Behind everything else: three descriptors a worker, and some.
        let high = (workers as i32 * 3 + 64).min(limit as i32 - workers as i32);
        let mesh = (0..workers).map(|_| mesh_pair(high)).collect();
        Self {
            pidfd,
            signals,
            epoll,
            mesh,
            high,
        }
    }

    fn spawn(&self, number: usize, progress: &Progress) -> Worker {
        let [end0, end1] = pair();
        let child = fork(|| self.work(number, [end0, end1], progress));
        close(end1);
        close(self.high + number as i32);
        let pidfd = pidfd_open(child.0);
        watch(self.epoll, pidfd);
        watch(self.epoll, end0);
        Worker {
            pid: child.0,
            pidfd,
            control: end0,
        }
    }

    /// A worker: what is not its own is closed, the rest watched.
    fn work(&self, number: usize, [end0, end1]: [i32; 2], progress: &Progress) -> u8 {
        let workers = self.mesh.len();
        close_range(self.signals, self.epoll);
        close_range(self.mesh[workers - 1] + 1, end0);
        close_range(self.high + number as i32 + 1, self.high + workers as i32);
        close(self.mesh[number]);
        let epoll = epoll();
        for source in [self.pidfd, signalfd(), end1, self.high + number as i32] {
            watch(epoll, source);
        }
        send(end1, &frame(READY, 0, 0));
        let later = workers - 1 - number;
        let mut heard = 0;
        loop {
            if heard == later {
                progress.told.fetch_add(1, SeqCst);
                heard = usize::MAX;
            }
            if wait(epoll).any(|source| source == end1) {
                heard = heard.wrapping_add(receive(end1));
            }
        }
    }

    /// Until every worker is ready.
    fn hear(&self, workers: usize) {
        let mut ready = 0;
        while ready < workers {
            ready += wait(self.epoll).map(receive).sum::<usize>();
        }
    }
}

/// Tells each worker of those that were forked after it: it has their descriptors already.
fn tell(workers: &[Worker]) {
    for (number, worker) in workers.iter().enumerate() {
        let later: Vec<_> = (number + 1..workers.len()).collect();
        for batch in later.chunks(BATCH) {
            let mut bytes = [0; BATCH * FRAME];
            for (slot, place) in batch.iter().zip(bytes.as_chunks_mut::<FRAME>().0) {
                *place = frame(OPEN, workers[*slot].pid, *slot as i64);
            }
            send(worker.control, &bytes[..batch.len() * FRAME]);
        }
    }
}

fn frame(command: u64, pid: i32, slot: i64) -> [u8; FRAME] {
    let mut bytes = [0; FRAME];
    bytes[..8].copy_from_slice(&command.to_ne_bytes());
    bytes[8..12].copy_from_slice(&pid.to_ne_bytes());
    bytes[16..24].copy_from_slice(&slot.to_ne_bytes());
    bytes[24..28].copy_from_slice(&(-1_i32).to_ne_bytes());
    bytes
}

/// Raises the limit on descriptors as far as it goes; how many there may be.
pub(crate) fn raise_limit() -> u64 {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` lives through the call.
    let done = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    checked(done, "getrlimit");
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: `limit` lives through the call.
    let done = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
    checked(done, "setrlimit");
    limit.rlim_cur
}

fn pair() -> [i32; 2] {
    let kind = libc::SOCK_STREAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    let mut ends = [-1; 2];
    // SAFETY: there is room for two numbers.
    let done = unsafe { libc::socketpair(libc::AF_UNIX, kind, 0, ends.as_mut_ptr()) };
    checked(done, "socketpair");
    ends
}

/// End0 of a new pair; its End1 names senders, cannot be written to, and has been moved up.
fn mesh_pair(high: i32) -> i32 {
    let [end0, end1] = pair();
    let on: i32 = 1;
    let (level, option) = (libc::SOL_SOCKET, libc::SO_PASSCRED);
    let length = size_of::<i32>() as u32;
    // SAFETY: the option is one int, as the last argument says.
    let done = unsafe { libc::setsockopt(end1, level, option, (&raw const on).cast(), length) };
    checked(done, "setsockopt");
    // SAFETY: the call reads no memory.
    checked(unsafe { libc::shutdown(end1, libc::SHUT_WR) }, "shutdown");
    // SAFETY: the call reads no memory.
    let moved = unsafe { libc::fcntl(end1, libc::F_DUPFD_CLOEXEC, high) };
    checked(moved, "fcntl");
    close(end1);
    end0
}

/// A descriptor for the signals that a master and a worker wait for.
fn signalfd() -> i32 {
    // SAFETY: a set of signals is a field of bits, which may be zero.
    let mut set: libc::sigset_t = unsafe { zeroed() };
    for signal in [libc::SIGTERM, libc::SIGQUIT, libc::SIGHUP, libc::SIGUSR1] {
        // SAFETY: `set` lives through the call.
        unsafe { libc::sigaddset(&raw mut set, signal) };
    }
    // SAFETY: `set` lives through the call; no old set is asked for.
    let done = unsafe { libc::sigprocmask(libc::SIG_BLOCK, &raw const set, core::ptr::null_mut()) };
    checked(done, "sigprocmask");
    let flags = libc::SFD_CLOEXEC | libc::SFD_NONBLOCK;
    // SAFETY: `set` lives through the call.
    checked(
        unsafe { libc::signalfd(-1, &raw const set, flags) },
        "signalfd",
    )
}

fn epoll() -> i32 {
    // SAFETY: the call reads no memory.
    checked(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) }, "epoll")
}

fn watch(epoll: i32, descriptor: i32) {
    let mut event = libc::epoll_event {
        events: libc::EPOLLIN as u32,
        u64: descriptor as u64,
    };
    // SAFETY: `event` lives through the call.
    let done = unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, descriptor, &raw mut event) };
    checked(done, "epoll_ctl");
}

/// Sleeps until something is readable; what.
fn wait(epoll: i32) -> impl Iterator<Item = i32> {
    let mut events = [libc::epoll_event { events: 0, u64: 0 }; 64];
    // SAFETY: there is room for 64 events, as the third argument says.
    let count = unsafe { libc::epoll_wait(epoll, events.as_mut_ptr(), 64, -1) };
    let count = checked(count, "epoll_wait") as usize;
    events.into_iter().take(count).map(|event| event.u64 as i32)
}

fn send(end: i32, bytes: &[u8]) {
    // SAFETY: the bytes live through the call, and are as many as the third argument says.
    let sent = unsafe { libc::send(end, bytes.as_ptr().cast(), bytes.len(), FLAGS) };
    assert_eq!(sent, bytes.len() as isize, "all of it fits");
}

/// How many frames were there.
fn receive(end: i32) -> usize {
    let mut bytes = [0_u8; BATCH * FRAME];
    let flags = libc::MSG_DONTWAIT;
    // SAFETY: the room is as large as the third argument says, and lives through the call.
    let got = unsafe { libc::recv(end, bytes.as_mut_ptr().cast(), bytes.len(), flags) };
    checked(got as i32, "recv") as usize / FRAME
}

fn close(descriptor: i32) {
    // SAFETY: nothing in this process owns the descriptor but the caller.
    unsafe { libc::close(descriptor) };
}

fn close_range(first: i32, last: i32) {
    // SAFETY: nothing in this process owns these descriptors but the caller.
    let done = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
    checked(done as i32, "close_range");
}

fn pidfd_open(pid: i32) -> i32 {
    // SAFETY: the call reads no memory.
    let made = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    checked(made as i32, "pidfd_open")
}

fn kill(pidfd: i32) {
    let none = null::<libc::siginfo_t>();
    // SAFETY: no siginfo is given.
    let done = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd, libc::SIGKILL, none, 0) };
    checked(done as i32, "pidfd_send_signal");
}
