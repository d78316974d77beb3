//! Forks: who holds what afterwards, when there is none, and how a child ends.

use std::sync::mpsc::channel;

use forkmesh::channel::{
    Alone, ForkError, FromMaster, FromWorker, Inbox, NotAlone, Pair, SendFault, Unforked, fork,
};
use forkmesh::wire::Command;
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Resource, Rlimit, WaitId, WaitIdOptions, getrlimit, setrlimit, waitid};

use crate::support::{
    Ended, Kept, Limit, alone, in_child, inode, lowest_free, open_in, opened_by, wait_readable,
};

/// The sockets among these that a process holds.
fn held(pid: i32, sockets: &[u64]) -> Vec<u64> {
    let open = open_in(pid);
    let mut held: Vec<_> = open.values().filter_map(|open| open.socket).collect();
    held.retain(|socket| sockets.contains(socket));
    held
}

pub(crate) fn each_side_holds_exactly_its_own_end() {
    let own = std::process::id() as i32;
    let (pair, opened) = opened_by(|| Pair::new().expect("a pair"));
    let sockets: Vec<_> = opened.values().filter_map(|open| open.socket).collect();
    assert_eq!(sockets.len(), 2);

    let forked = pair.fork(&mut alone(), |child| {
        let (_, socket) = inode(&child);
        child
            .send(FromWorker::Failed(socket as u32, 0))
            .expect("somebody is there");
        wait_readable(&child, "the word to end");
        0
    });
    let (parent, process) = forked.expect("a child");
    let mut child = Kept::new(process);
    wait_readable(&parent, "the word that it runs");
    let mut inbox = Inbox::new();
    parent.receive(&mut inbox).expect("it was sent");
    let said = inbox
        .take()
        .expect("a frame")
        .expect("with a meaning")
        .command;
    let Command::Failed { stage, .. } = said else {
        panic!("{said:?} is something else");
    };

    let (_, mine) = inode(&parent);
    assert_eq!(held(own, &sockets), [mine]);
    let theirs = held(child.pid(), &sockets);
    assert_eq!(theirs.len(), 1);
    assert_ne!(theirs, [mine]);
    assert_eq!(theirs[0] as u32, stage);
    parent.send(FromMaster::Quit).expect("somebody is there");
    child.ends_well();
    drop(parent);
    assert_eq!(held(own, &sockets), []);
}

pub(crate) fn several_pairs_are_split_by_one_fork() {
    let own = std::process::id() as i32;
    let (pairs, opened) = opened_by(|| {
        let control = Pair::new().expect("a pair");
        let mesh = Some(Pair::mesh(true).expect("a pair"));
        (control, (mesh, None::<Pair>))
    });
    let sockets: Vec<_> = opened.values().filter_map(|open| open.socket).collect();
    assert_eq!(sockets.len(), 4);
    let forked = fork(&mut alone(), pairs, |(control, (mesh, none))| {
        assert!(mesh.is_some() && none.is_none());
        control.send(FromWorker::Ready).expect("somebody is there");
        wait_readable(&control, "the word to end");
        0
    });
    let ((control, (mesh, none)), process) = forked.expect("a child");
    let mut child = Kept::new(process);
    wait_readable(&control, "the word that it runs");
    let mesh = mesh.expect("there was one");
    assert!(none.is_none());
    let mut mine = vec![inode(&control).1, inode(&mesh).1];
    mine.sort_unstable();
    let mut here = held(own, &sockets);
    here.sort_unstable();
    assert_eq!(here, mine);
    let there = held(child.pid(), &sockets);
    assert_eq!(there.len(), 2);
    assert!(there.iter().all(|socket| !mine.contains(socket)));
    control.send(FromMaster::Quit).expect("somebody is there");
    child.ends_well();
}

pub(crate) fn a_second_thread_makes_fork_an_error() {
    let mut alone = alone();
    let (go_on, wait) = channel::<()>();
    let second = std::thread::spawn(move || wait.recv().is_err());
    assert_eq!(Alone::verify().err(), Some(NotAlone::Threads(2)));
    let pair = Pair::new().expect("a pair");
    let lowest = lowest_free();
    let Err(Unforked { why, pairs }) = pair.fork(&mut alone, |_| 0) else {
        panic!("a fork beside another thread");
    };
    assert_eq!(why, ForkError::NotAlone(NotAlone::Threads(2)));
    assert_eq!(lowest_free(), lowest, "nothing was closed");
    drop(go_on);
    assert!(second.join().expect("it does not panic"));

    // The same proof and the same pair serve once the thread is gone.
    let _now_alone = crate::support::alone();
    let forked = pairs.fork(&mut alone, |child| {
        u8::from(child.send(FromWorker::Ready).is_err())
    });
    let (parent, process) = forked.expect("a child");
    Kept::new(process).ends_well();
    assert!(parent.receive(&mut Inbox::new()).is_ok());
}

/// Says so in a pipe when it is dropped.
struct Tell(OwnedFd);

impl Drop for Tell {
    fn drop(&mut self) {
        let _ = rustix::io::write(&self.0, b"dropped");
    }
}

/// What was written to the pipe of `tell` while the child lived.
fn told(tell: Tell, read: OwnedFd) -> Vec<u8> {
    let write = rustix::io::dup(&tell.0).expect("a copy");
    core::mem::forget(tell);
    rustix::io::write(&write, b".").expect("an empty pipe takes it");
    let mut bytes = [0; 64];
    let length = rustix::io::read(&read, &mut bytes).expect("the dot at least");
    bytes[..length].to_vec()
}

pub(crate) fn a_panicking_child_ends_with_101_and_unwinds_nothing_of_the_parent() {
    let (read, write) = pipe_with(PipeFlags::CLOEXEC).expect("a pipe");
    let (own_read, own_write) = pipe_with(PipeFlags::CLOEXEC).expect("a pipe");
    let tell = Tell(write);
    let forked = Pair::new().expect("a pair").fork(&mut alone(), |_child| {
        let _own = Tell(own_write);
        std::panic::set_hook(Box::new(|_| {})); // so that nobody takes it for a failure of the test
        panic!("as meant");
    });
    let (parent, process) = forked.expect("a child");
    let mut child = Kept::new(process);
    assert_eq!(child.end(), Ended::Code(101));
    assert_eq!(told(tell, read), b".");
    let mut bytes = [0; 64];
    let own = rustix::io::read(&own_read, &mut bytes).expect("what the child's own value said");
    assert_eq!(
        &bytes[..own],
        b"dropped",
        "the child's own frames are unwound"
    );
    assert!(parent.receive(&mut Inbox::new()).is_err());
}

pub(crate) fn a_child_that_returns_ends_with_its_code() {
    for code in [0, 1, 2, 101, 255] {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC).expect("a pipe");
        let tell = Tell(write);
        let forked = Pair::new()
            .expect("a pair")
            .fork(&mut alone(), |_child| code);
        let (_parent, process) = forked.expect("a child");
        assert_eq!(Kept::new(process).end(), Ended::Code(code.into()));
        assert_eq!(told(tell, read), b".");
    }
}

/// SIGCHLD ignored, as some shells and supervisors leave it, makes the kernel reap: nothing can be
/// waited for, and a child that is gone at once may be gone before it is known. The channel does
/// not mind.
pub(crate) fn ignored_signals_do_not_harm_the_channel() {
    in_child(|| {
        set(libc::SIGCHLD, libc::SIG_IGN);
        set(libc::SIGPIPE, libc::SIG_IGN);
        let forked = Pair::new().expect("a pair").fork(&mut alone(), |child| {
            wait_readable(&child, "the word to go on");
            assert!(child.receive(&mut Inbox::new()).is_ok());
            u8::from(child.send(FromWorker::Ready).is_err())
        });
        let (parent, process) = forked.expect("a child");
        parent.send(FromMaster::Reopen).expect("it waits");
        wait_readable(&process, "the end of the child");
        assert!(parent.receive(&mut Inbox::new()).is_ok());
        let gone = parent.send(FromMaster::Quit).expect_err("nobody is there");
        assert_eq!(gone.fault, SendFault::Gone);
        let waited = waitid(WaitId::PidFd(process.as_fd()), WaitIdOptions::EXITED);
        assert_eq!(waited.err(), Some(Errno::CHILD), "the kernel has reaped it");
        for _ in 0..200 {
            match Pair::new().expect("a pair").fork(&mut alone(), |_| 0) {
                Ok((_parent, process)) => wait_readable(&process, "the end of the child"),
                Err(unforked) => assert_eq!(unforked.why, ForkError::Refused(Errno::SRCH)),
            }
        }
    });
}

pub(crate) fn a_gone_reader_is_an_error_and_not_a_signal() {
    in_child(|| {
        set(libc::SIGPIPE, libc::SIG_DFL);
        let (parent, process) = Pair::new()
            .expect("a pair")
            .fork(&mut alone(), |_| 0)
            .expect("a child");
        Kept::new(process).ends_well();
        let gone = parent.send(FromMaster::Quit).expect_err("nobody is there");
        assert_eq!(gone.fault, SendFault::Gone);
        let gone = parent
            .send_with(crate::line::nothing(), &parent)
            .expect_err("nobody is there");
        assert_eq!(gone.fault, SendFault::Gone);
    });
}

fn set(signal: i32, disposition: libc::sighandler_t) {
    // SAFETY: no function is named, so none can be called at a bad time.
    let before = unsafe { libc::signal(signal, disposition) };
    assert_ne!(before, libc::SIG_ERR);
}

/// EMFILE where there is no room for the pidfd; EAGAIN where there may be no further process. Both
/// leave the pair as it was, and no child behind.
pub(crate) fn a_refused_fork_gives_the_pair_back() {
    in_child(|| {
        let pair = Pair::new().expect("a pair");
        let mut alone = alone();
        let limit = Limit::keep();
        limit.set(Limit::with_free(0));
        let Err(Unforked { why, pairs }) = pair.fork(&mut alone, |_| 0) else {
            panic!("a process without a pidfd");
        };
        assert_eq!(why, ForkError::Refused(Errno::MFILE));
        limit.restore();
        let none = waitid(WaitId::All, WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
        assert_eq!(none.err(), Some(Errno::CHILD), "no child is left behind");

        // A limit on processes does not hold for root.
        let root = rustix::process::getuid().is_root();
        let before = getrlimit(Resource::Nproc);
        let none = Rlimit {
            current: Some(0),
            ..before
        };
        setrlimit(Resource::Nproc, none).expect("lowering a limit is allowed");
        let forked = pairs.fork(&mut alone, |_| 0);
        setrlimit(Resource::Nproc, before).expect("the limit was this before");
        match forked {
            Ok((_parent, process)) => {
                assert!(root, "a fork beyond the limit");
                Kept::new(process).ends_well();
            }
            Err(unforked) => {
                assert!(!root, "a refusal without a limit");
                assert_eq!(unforked.why, ForkError::Refused(Errno::AGAIN));
            }
        }
    });
}
