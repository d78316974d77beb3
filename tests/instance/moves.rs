//! A pid file steps aside for a successor, and comes back if that fails.

use std::fs;

use forkmesh::run::{Instance, PidFile, PidFileError, Step};
use forkmesh::table::Pid;
use rustix::io::Errno;

use crate::support::lowest_free;
use crate::world::{Folder, Other, would_be_refused_to_another};

pub(crate) fn a_file_steps_aside_and_comes_back() {
    let folder = Folder::new();
    let mut file = PidFile::create(folder.path("pid").as_c_str()).expect("nobody's");
    let before = lowest_free();
    file.take_back().expect("nothing to do");
    file.set_aside().expect("nobody's");
    file.set_aside().expect("nothing to do");
    assert_eq!(folder.names(), ["pid.oldbin"]);
    assert!(would_be_refused_to_another(&folder, "pid.oldbin"));
    file.take_back().expect("nobody's");
    assert_eq!(folder.names(), ["pid"]);
    assert!(would_be_refused_to_another(&folder, "pid"));

    // What a predecessor and a successor left that were killed is in nobody's way.
    fs::write(folder.at("pid.oldbin"), "1\n").expect("a file");
    file.set_aside().expect("a dead one's");
    let mut successor = Other::with_pid_file(&folder, "pid");
    assert_eq!(folder.names(), ["pid", "pid.oldbin"]);
    successor.kill();
    file.take_back().expect("a dead one's");
    assert_eq!(folder.names(), ["pid"]);
    assert!(would_be_refused_to_another(&folder, "pid"));
    assert_eq!(lowest_free(), before);
    drop(file);
    assert_eq!(folder.names(), [""; 0]);
}

pub(crate) fn a_file_does_not_come_back_while_the_successor_lives() {
    let folder = Folder::new();
    let mut file = PidFile::create(folder.path("pid").as_c_str()).expect("nobody's");
    file.set_aside().expect("nobody's");
    let successor = Other::with_pid_file(&folder, "pid");
    let pid = Pid::new(successor.pid());
    let refused = PidFileError::AlreadyRunning { pid };
    assert_eq!(file.take_back(), Err(refused));
    assert_eq!(folder.names(), ["pid", "pid.oldbin"]);
    assert!(would_be_refused_to_another(&folder, "pid.oldbin"));
    let found = Instance::find(folder.path("pid").as_c_str()).expect("the successor");
    assert_eq!(Some(found.pid()), pid);
    successor.finish();
    file.take_back().expect("nobody's");
    assert!(would_be_refused_to_another(&folder, "pid"));
}

pub(crate) fn a_living_predecessors_file_is_not_overwritten() {
    let folder = Folder::new();
    let predecessor = Other::with_pid_file(&folder, "pid.oldbin");
    let mut file = PidFile::create(folder.path("pid").as_c_str()).expect("nobody's");
    let pid = Pid::new(predecessor.pid());
    assert_eq!(file.set_aside(), Err(PidFileError::AlreadyRunning { pid }));
    assert_eq!(folder.names(), ["pid", "pid.oldbin"]);
    assert_eq!(
        folder.text("pid.oldbin"),
        format!("{}\n", predecessor.pid())
    );
    assert!(would_be_refused_to_another(&folder, "pid"));
    predecessor.finish();
    file.set_aside().expect("nobody's");
    assert_eq!(folder.names(), ["pid.oldbin"]);
}

pub(crate) fn a_file_is_removed_under_the_name_that_it_has() {
    let folder = Folder::new();
    let mut file = PidFile::create(folder.path("pid").as_c_str()).expect("nobody's");
    file.set_aside().expect("nobody's");
    let successor = Other::with_pid_file(&folder, "pid");
    drop(file);
    assert_eq!(folder.names(), ["pid"]);
    assert_eq!(folder.text("pid"), format!("{}\n", successor.pid()));
    successor.finish();
}

pub(crate) fn a_lost_file_does_not_move() {
    let folder = Folder::new();
    let path = folder.path("pid");
    let mut file = PidFile::create(path.as_c_str()).expect("nobody's");
    fs::rename(folder.at("pid"), folder.at("hidden")).expect("by hand");
    fs::write(folder.at("pid"), "1\n").expect("by hand");
    assert_eq!(file.set_aside(), Err(PidFileError::Lost));
    assert_eq!(folder.names(), ["hidden", "pid"]);
    fs::rename(folder.at("hidden"), folder.at("pid")).expect("by hand");
    file.set_aside().expect("it is found again");
}

pub(crate) fn a_file_that_cannot_move_keeps_its_name() {
    let folder = Folder::new();
    let mut file = PidFile::create(folder.path("pid").as_c_str()).expect("nobody's");
    fs::create_dir(folder.at("pid.oldbin")).expect("a folder");
    let (step, errno) = (Step::Open, Errno::ISDIR);
    assert_eq!(file.set_aside(), Err(PidFileError::Refused { step, errno }));
    fs::remove_dir(folder.at("pid.oldbin")).expect("empty");
    file.set_aside().expect("nobody's");
    fs::create_dir(folder.at("pid")).expect("a folder");
    assert_eq!(file.take_back(), Err(PidFileError::Refused { step, errno }));
    assert!(would_be_refused_to_another(&folder, "pid.oldbin"));
    drop(file);
    assert_eq!(folder.names(), ["pid"], "the folder");
}
