//! Who is found by a pid file, what he is asked, and what comes of it.

use std::fs;

use forkmesh::run::{Answer, Board, FindError, Instance, PidFile, Request, StatusError, WaitError};
use forkmesh::table::Pid;
use forkmesh::wire::board::{Header, Outcome, Tally};
use rustix::io::Errno;
use rustix::process::Signal;

use crate::support::{lowest_free, opened_by, wait_readable};
use crate::world::{Folder, Line, Other, would_be_refused_to_another};

/// Longer than anything takes here.
const LONG_MS: u64 = 30_000;

fn find(folder: &Folder, name: &str) -> Result<Instance, FindError> {
    Instance::find(folder.path(name).as_c_str())
}

fn why_not(folder: &Folder, name: &str) -> FindError {
    let before = lowest_free();
    let why = find(folder, name).expect_err("nobody");
    assert_eq!(lowest_free(), before);
    why
}

pub(crate) fn a_stale_file_finds_nobody() {
    let folder = Folder::new();
    assert_eq!(why_not(&folder, "pid"), FindError::NoPidFile);
    let mut other = Other::with_pid_file(&folder, "pid");
    let pid = Pid::new(other.pid()).expect("a pid");
    let (instance, opened) = opened_by(|| find(&folder, "pid").expect("it runs"));
    assert_eq!(opened.len(), 1, "a pidfd: {opened:?}");
    assert!(opened.values().all(|one| one.close_on_exec));
    assert_eq!(instance.pid(), pid);
    assert!(!instance.is_gone());
    other.kill();
    assert_eq!(why_not(&folder, "pid"), FindError::NotRunning { pid });
    assert!(instance.is_gone());
    assert_eq!(instance.request(Request::Stop).err(), Some(Errno::SRCH));

    for garbled in [
        "",
        "4711",
        "a\n",
        "-4\n",
        "0\n",
        "99999999999\n",
        "4711\n\n",
    ] {
        fs::write(folder.at("garbled"), garbled).expect("a file");
        assert_eq!(
            why_not(&folder, "garbled"),
            FindError::Garbled,
            "{garbled:?}"
        );
    }
    fs::create_dir(folder.at("folder")).expect("a folder");
    assert_eq!(why_not(&folder, "folder"), FindError::Garbled);
    assert_eq!(Instance::find("a\0b").err(), Some(FindError::BadPath));
}

pub(crate) fn only_its_own_master_is_found() {
    let folder = Folder::new();
    let other = Other::with_pid_file(&folder, "pid");
    let own = Pid::new(std::process::id() as i32).expect("a pid");
    fs::write(folder.at("pid"), format!("{own}\n")).expect("by hand");
    let holder = Pid::new(other.pid());
    let written = own;
    assert_eq!(
        why_not(&folder, "pid"),
        FindError::Disagrees { written, holder }
    );
    fs::write(folder.at("copy"), format!("{}\n", other.pid())).expect("a copy");
    let pid = holder.expect("a pid");
    assert_eq!(why_not(&folder, "copy"), FindError::NotRunning { pid });
    other.finish();
}

pub(crate) fn nobody_finds_himself() {
    let folder = Folder::new();
    let file = PidFile::create(folder.path("pid").as_c_str()).expect("nobody's");
    assert_eq!(why_not(&folder, "pid"), FindError::Oneself);
    assert!(
        would_be_refused_to_another(&folder, "pid"),
        "it is still locked"
    );
    drop(file);
}

/// Blocks what a master reads, so that it can wait for it.
fn block() -> libc::sigset_t {
    let mut set = core::mem::MaybeUninit::uninit();
    // SAFETY: the call writes the whole set.
    unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    // SAFETY: the set was written just now.
    let mut set = unsafe { set.assume_init() };
    for (_, signal) in REQUESTS {
        // SAFETY: the set is one, and the signal has a number.
        unsafe { libc::sigaddset(&raw mut set, signal.as_raw()) };
    }
    // SAFETY: the set is one; no old set is asked for.
    unsafe { libc::sigprocmask(libc::SIG_BLOCK, &raw const set, core::ptr::null_mut()) };
    set
}

fn next_signal(set: &libc::sigset_t) -> i32 {
    // SAFETY: the set is one; no information is asked for.
    unsafe { libc::sigwaitinfo(set, core::ptr::null_mut()) }
}

const REQUESTS: [(Request, Signal); 8] = [
    (Request::Stop, Signal::TERM),
    (Request::Quit, Signal::QUIT),
    (Request::Reload, Signal::HUP),
    (Request::Reopen, Signal::USR1),
    (Request::Upgrade, Signal::USR2),
    (Request::Rest, Signal::WINCH),
    (Request::More, Signal::TTIN),
    (Request::Fewer, Signal::TTOU),
];

/// A process with a pid file and a board, which answers signals as it is told here: `false` ends it.
fn master(folder: &Folder, mut answer: impl FnMut(&Line, &mut Board, i32) -> bool) -> Other {
    let path = folder.path("pid");
    let other = Other::start(|line| {
        let signals = block();
        let _file = PidFile::create(path.as_c_str()).expect("nobody's");
        let mut board = Board::new(&header()).expect("memory");
        line.say(b'!');
        while answer(line, &mut board, next_signal(&signals)) {}
    });
    assert_eq!(other.said(), Some(b'!'));
    other
}

fn header() -> Header {
    Header::new(Pid::new(std::process::id() as i32).expect("a pid"))
}

pub(crate) fn what_is_asked_arrives() {
    let folder = Folder::new();
    let mut other = master(&folder, |line, _, signal| {
        line.say(signal as u8);
        signal != Signal::QUIT.as_raw()
    });
    let instance = find(&folder, "pid").expect("it runs");
    for (request, signal) in REQUESTS {
        if request == Request::Quit {
            continue;
        }
        instance.request(request).expect("sent");
        assert_eq!(other.said(), Some(signal.as_raw() as u8), "{request:?}");
    }
    let asked = instance.request(Request::Quit).expect("sent");
    assert_eq!(other.said(), Some(Signal::QUIT.as_raw() as u8));
    assert_eq!(instance.wait(asked, LONG_MS), Ok(Answer::Ended));
    wait_readable(&instance, "its end");
    other.kept.ends_well();
    assert_eq!(why_not(&folder, "pid"), FindError::NoPidFile);

    let names = ["stop", "quit", "reload", "reopen", "upgrade"];
    for (name, (request, _)) in names.iter().zip(REQUESTS) {
        assert_eq!(Request::from_name(name), Some(request));
    }
    assert_eq!(Request::from_name("rest"), None);
    assert_eq!(Request::from_name("Stop"), None);
}

/// What a master answers to one reload after the other; then it ends without an answer.
const OUTCOMES: [Outcome; 3] = [
    Outcome::Done,
    Outcome::Failed { why: 3, detail: 98 },
    Outcome::Done,
];

pub(crate) fn the_outcome_of_a_reload() {
    let folder = Folder::new();
    let mut reloads = Tally::default();
    let mut outcomes = OUTCOMES.iter();
    let mut other = master(&folder, |_, board, _| {
        let Some(outcome) = outcomes.next() else {
            return false;
        };
        match outcome {
            Outcome::Done => reloads.done += 1,
            Outcome::Failed { .. } => reloads.failed += 1,
        }
        reloads.last = Some(*outcome);
        let header = Header {
            reloads,
            ..header()
        };
        board.write_header(&header).expect("written");
        true
    });
    let instance = find(&folder, "pid").expect("it runs");
    for outcome in OUTCOMES {
        let asked = instance.request(Request::Reload).expect("sent");
        let answer = match outcome {
            Outcome::Done => Answer::Done,
            Outcome::Failed { why, detail } => Answer::Failed { why, detail },
        };
        assert_eq!(instance.wait(asked, LONG_MS), Ok(answer));
    }
    let asked = instance.request(Request::Reload).expect("sent");
    assert_eq!(instance.wait(asked, LONG_MS), Ok(Answer::Ended));
    other.kept.ends_well();
}

/// An old master ends soon after it has said that the upgrade is done: that is not missed.
pub(crate) fn the_outcome_of_an_upgrade() {
    let folder = Folder::new();
    let mut other = master(&folder, |_, board, _| {
        let upgrades = Tally {
            done: 1,
            failed: 0,
            last: Some(Outcome::Done),
        };
        let header = Header {
            upgrades,
            ..header()
        };
        board.write_header(&header).expect("written");
        false
    });
    let instance = find(&folder, "pid").expect("it runs");
    let asked = instance.request(Request::Upgrade).expect("sent");
    other.kept.ends_well();
    assert_eq!(instance.wait(asked, LONG_MS), Ok(Answer::Done));
}

pub(crate) fn a_wait_ends_in_time() {
    let folder = Folder::new();
    let mut other = master(&folder, |_, _, signal| signal != Signal::TERM.as_raw());
    let instance = find(&folder, "pid").expect("it runs");
    let asked = instance.request(Request::Reload).expect("sent");
    assert_eq!(instance.wait(asked, 20), Err(WaitError::TimedOut));
    assert_eq!(instance.wait(asked, 0), Err(WaitError::TimedOut));
    let asked = instance.request(Request::Quit).expect("sent");
    assert_eq!(instance.wait(asked, 1), Err(WaitError::TimedOut));
    let asked = instance.request(Request::Reopen).expect("sent");
    assert_eq!(instance.wait(asked, LONG_MS), Err(WaitError::Unanswered));
    let asked = instance.request(Request::Stop).expect("sent");
    assert_eq!(instance.wait(asked, LONG_MS), Ok(Answer::Ended));
    other.kept.ends_well();

    let other = Other::with_pid_file(&folder, "pid"); // it has no board
    let instance = find(&folder, "pid").expect("it runs");
    other.kept.signal(Signal::STOP); // so that it does not end by the next
    let asked = instance.request(Request::Reload).expect("sent");
    let unseen = WaitError::Status(StatusError::NoBoard);
    assert_eq!(instance.wait(asked, LONG_MS), Err(unseen));
}
