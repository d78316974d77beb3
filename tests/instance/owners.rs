//! Whose a pid file is: of many who want it, of the dead, of children.

use std::fs;

use forkmesh::run::{FindError, Instance, PidFile, PidFileError};
use forkmesh::table::Pid;
use rustix::event::{EventfdFlags, eventfd};
use rustix::fd::OwnedFd;
use rustix::io::{read, write};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{
    Signal, WaitOptions, getpid, kill_process, set_child_subreaper, test_kill_process, waitpid,
};

use crate::support::{in_child, in_time, is_close_on_exec, lowest_free, opened_by};
use crate::world::{Folder, Line, Other, would_be_refused_to_another};

const ROUNDS: u32 = 100;

const WON: u8 = b'w';
const LOST: u8 = b'l';

/// Waits for the start, runs, and says how it went; keeps what it won until it is told.
fn run(line: &Line, start: &OwnedFd, folder: &Folder) {
    read(start, &mut [0; 8]).expect("a start");
    let made = PidFile::create(folder.path("pid").as_c_str());
    line.say(match made {
        Ok(_) => WON,
        Err(PidFileError::AlreadyRunning { pid: Some(_) }) => LOST,
        Err(_) => b'?',
    });
    line.hear();
}

/// Has two processes run for one file, while it is looked for; returns what was found on the way.
fn race(folder: &Folder) -> Vec<FindError> {
    let start = eventfd(0, EventfdFlags::SEMAPHORE | EventfdFlags::CLOEXEC).expect("an eventfd");
    let two = [(); 2].map(|()| Other::start(|line| run(line, &start, folder)));
    let pids = [two[0].pid(), two[1].pid()];
    write(&start, &2_u64.to_ne_bytes()).expect("two starts");
    let mut missed = Vec::new();
    let path = folder.path("pid");
    let found = in_time("a winner", || match Instance::find(path.as_c_str()) {
        Ok(instance) => Some(instance.pid().as_i32()),
        Err(why) => {
            missed.push(why);
            None
        }
    });
    let said = [two[0].said(), two[1].said()];
    let winner = match said {
        [Some(WON), Some(LOST)] => pids[0],
        [Some(LOST), Some(WON)] => pids[1],
        _ => panic!("one wins and one loses: {said:?}"),
    };
    assert_eq!(found, winner);
    assert_eq!(folder.text("pid"), format!("{winner}\n"));
    assert_eq!(folder.names(), ["pid"]);
    for other in two {
        other.finish();
    }
    assert_eq!(folder.names(), [""; 0], "the winner removed its file");
    missed
}

pub(crate) fn one_of_two_wins() {
    let folder = Folder::new();
    for _ in 0..ROUNDS {
        let missed = race(&folder);
        let odd = missed.iter().find(|why| **why != FindError::NoPidFile);
        assert_eq!(odd, None, "it is not there before it is locked and written");
    }
}

/// The number of a process that is dead.
fn dead() -> Pid {
    let mut other = Other::start(|_| {});
    other.kept.ends_well();
    Pid::new(other.pid()).expect("a pid")
}

pub(crate) fn one_of_two_wins_over_a_stale_file() {
    let folder = Folder::new();
    let pid = dead();
    for _ in 0..ROUNDS {
        fs::write(folder.at("pid"), format!("{pid}\n")).expect("a file");
        for why in race(&folder) {
            // One of the two can have the lock of the dead one's file, before it puts its own there.
            let allowed = match why {
                FindError::NotRunning { pid: written } => written == pid,
                FindError::Disagrees { written, .. } => written == pid,
                _ => false,
            };
            assert!(allowed, "{why:?}");
        }
    }
}

/// Takes the file over and over, leaves it stale half of the time, and says whether anybody else was
/// there meanwhile.
fn come_and_go(line: &Line, start: &OwnedFd, folder: &Folder) {
    read(start, &mut [0; 8]).expect("a start");
    let mut had = 0;
    while had < ROUNDS {
        match PidFile::create(folder.path("pid").as_c_str()) {
            Ok(file) => {
                had += 1;
                let inside = fs::File::create_new(folder.at("inside"));
                assert!(inside.is_ok(), "somebody else is here");
                assert_eq!(folder.text_of_own(), format!("{}\n", std::process::id()));
                fs::remove_file(folder.at("inside")).expect("it was there");
                if had % 2 == 0 {
                    drop(file.renounce());
                }
            }
            Err(PidFileError::AlreadyRunning { .. }) => std::thread::yield_now(),
            Err(why) => panic!("{why}"),
        }
    }
    line.say(WON);
    line.hear();
}

impl Folder {
    /// The own pid file's text, read by a process of its own: to read it here would unlock it.
    fn text_of_own(&self) -> String {
        let output = std::process::Command::new("cat")
            .arg(self.at("pid"))
            .output();
        String::from_utf8(output.expect("cat").stdout).expect("text")
    }
}

pub(crate) fn never_two_at_once() {
    let folder = Folder::new();
    let start = eventfd(0, EventfdFlags::SEMAPHORE | EventfdFlags::CLOEXEC).expect("an eventfd");
    let three = [(); 3].map(|()| Other::start(|line| come_and_go(line, &start, &folder)));
    write(&start, &3_u64.to_ne_bytes()).expect("three starts");
    for other in &three {
        assert_eq!(other.said(), Some(WON));
    }
    for other in three {
        other.finish();
    }
    assert_eq!(folder.names(), ["pid"], "the last one left it");
}

pub(crate) fn a_dead_masters_file_is_taken_over() {
    let folder = Folder::new();
    let mut other = Other::with_pid_file(&folder, "pid");
    let path = folder.path("pid");
    let pid = Pid::new(other.pid());
    let refused = PidFile::create(path.as_c_str()).expect_err("it lives");
    assert_eq!(refused, PidFileError::AlreadyRunning { pid });
    other.kill();
    assert_eq!(folder.text("pid"), format!("{}\n", other.pid()));

    let (file, opened) = opened_by(|| PidFile::create(path.as_c_str()).expect("nobody's"));
    assert_eq!(opened.len(), 1, "{opened:?}");
    assert!(opened.values().all(|one| one.close_on_exec));
    assert_eq!(folder.names(), ["pid"]);
    assert!(would_be_refused_to_another(&folder, "pid"));
    file.remove().expect("ours");
    assert_eq!(folder.names(), [""; 0]);
}

pub(crate) fn an_orphan_does_not_keep_the_lock() {
    let folder = Folder::new();
    let path = folder.path("pid");
    // The orphan becomes a child of this child, which can so end it.
    in_child(|| {
        set_child_subreaper(Some(getpid())).expect("allowed");
        // Whatever happens, it ends when nobody is left who holds the other end.
        let (end, held) = pipe_with(PipeFlags::CLOEXEC).expect("a pipe");
        let mut held = Some(held);
        let orphans = Other::start(|line| {
            held = None;
            let _file = PidFile::create(path.as_c_str()).expect("nobody's");
            let orphan = Other::start(|_| {
                let _ = read(&end, &mut [0]);
            });
            for byte in orphan.pid().to_ne_bytes() {
                line.say(byte);
            }
            line.hear();
            std::process::abort(); // `orphan` is not to be ended by its destructor
        });
        let bytes = [(); 4].map(|()| orphans.said().expect("a byte"));
        let orphan = rustix::process::Pid::from_raw(i32::from_ne_bytes(bytes)).expect("a pid");
        let mut master = orphans;
        assert!(would_be_refused_to_another(&folder, "pid"));
        master.kill();

        test_kill_process(orphan).expect("the orphan lives");
        let file = PidFile::create(path.as_c_str()).expect("the orphan does not have it");
        test_kill_process(orphan).expect("the orphan still lives");
        file.remove().expect("ours");
        kill_process(orphan, Signal::KILL).expect("it is ours");
        waitpid(Some(orphan), WaitOptions::empty()).expect("it is ours to reap");
        drop(held);
    });
}

pub(crate) fn the_own_file_is_not_opened_again() {
    let folder = Folder::new();
    let path = folder.path("pid");
    let file = PidFile::create(path.as_c_str()).expect("nobody's");
    let before = lowest_free();
    let again = PidFile::create(path.as_c_str()).expect_err("it is there");
    let pid = Pid::new(std::process::id() as i32);
    assert_eq!(again, PidFileError::AlreadyRunning { pid });
    assert_eq!(lowest_free(), before);
    assert!(
        would_be_refused_to_another(&folder, "pid"),
        "it is still locked"
    );
    drop(file);
    assert_eq!(folder.names(), [""; 0]);
}

pub(crate) fn only_the_own_file_is_removed() {
    let folder = Folder::new();
    let path = folder.path("pid");
    let file = PidFile::create(path.as_c_str()).expect("nobody's");
    fs::write(folder.at("other"), "1\n").expect("a file");
    fs::rename(folder.at("other"), folder.at("pid")).expect("put in its place");
    assert_eq!(file.remove(), Err(PidFileError::Lost));
    assert_eq!(folder.text("pid"), "1\n");

    let file = PidFile::create(path.as_c_str()).expect("a stale one");
    fs::remove_file(folder.at("pid")).expect("by hand");
    drop(file);
    // Somebody who got in when the lock was lost, by a descriptor that was closed, is left alone.
    let file = PidFile::create(path.as_c_str()).expect("nobody's");
    drop(fs::File::open(folder.at("pid")).expect("unlocked by this"));
    let other = Other::with_pid_file(&folder, "pid");
    assert_eq!(file.remove(), Err(PidFileError::Lost));
    assert_eq!(folder.text("pid"), format!("{}\n", other.pid()));
    other.finish();
    // And where nobody got in, it is locked again, and removed.
    let file = PidFile::create(path.as_c_str()).expect("nobody's");
    drop(fs::File::open(folder.at("pid")).expect("unlocked by this"));
    file.remove().expect("still ours");
    assert_eq!(folder.names(), [""; 0]);
}

pub(crate) fn a_child_does_not_remove_it() {
    let folder = Folder::new();
    let path = folder.path("pid");
    let mut file = Some(PidFile::create(path.as_c_str()).expect("nobody's"));
    in_child(|| {
        let mut file = file.take().expect("a copy");
        assert_eq!(file.set_aside(), Err(PidFileError::Lost));
        assert_eq!(file.remove(), Err(PidFileError::Lost));
    });
    in_child(|| drop(file.take()));
    assert_eq!(folder.names(), ["pid"]);
    assert!(
        would_be_refused_to_another(&folder, "pid"),
        "it is still locked"
    );
    // Not even when the process that made it is gone.
    let orphan = Other::start(|line| {
        line.hear();
        drop(file.take());
        line.say(b'!');
        line.hear();
    });
    drop(file.take().and_then(PidFile::renounce));
    orphan.tell(b'!');
    assert_eq!(orphan.said(), Some(b'!'));
    orphan.finish();
    assert_eq!(folder.names(), ["pid"]);
}

/// Whoever closes another descriptor of the file gives up the lock; it is back before it matters.
pub(crate) fn a_lost_lock_is_taken_again() {
    let folder = Folder::new();
    let mut file = PidFile::create(folder.path("pid").as_c_str()).expect("nobody's");
    let lose = |name: &str| drop(fs::File::open(folder.at(name)).expect("a file"));
    lose("pid");
    file.set_aside().expect("nobody took it");
    assert!(would_be_refused_to_another(&folder, "pid.oldbin"));
    lose("pid.oldbin");
    file.take_back().expect("nobody took it");
    assert!(would_be_refused_to_another(&folder, "pid"));
}

pub(crate) fn a_file_can_be_given_up() {
    let folder = Folder::new();
    let path = folder.path("pid");
    let file = PidFile::create(path.as_c_str()).expect("nobody's");
    let descriptor = file.renounce().expect("it has one");
    assert!(is_close_on_exec(&descriptor));
    assert_eq!(folder.names(), ["pid"], "it is not removed");
    assert!(would_be_refused_to_another(&folder, "pid"));
    drop(descriptor);
    assert!(!would_be_refused_to_another(&folder, "pid"));
}
