//! The environment that a worker asked for, as everybody sees it who looks.

use std::ffi::CString;
use std::fs;

use forkmesh::run::{Setup, SetupStep, Title, Worker};
use rustix::io::Errno;

use crate::support::in_child;
use crate::world::World;

/// What /proc shows, without the zeros behind the last variable.
fn shown(pid: i32) -> String {
    let bytes = fs::read(format!("/proc/{pid}/environ")).expect("it runs");
    let text = String::from_utf8(bytes).expect("as it was written");
    text.trim_end_matches('\0').to_owned()
}

pub(crate) fn an_environment_is_what_was_asked() {
    in_child(|| {
        let before = shown(std::process::id() as i32);
        let mut world = World::new(2, |worker: &mut Worker| {
            let number = CString::new(format!("NUMBER={}", worker.number())).expect("no zero");
            let path = std::env::var("PATH").expect("there is one"); // a copy, which may be used
            let path = CString::new(format!("PATH={path}")).expect("no zero");
            let asked = [&*number, &*path, c"EMPTY=", c"A=b=c"];
            let mut setup = Setup::begin(worker);
            setup
                .environment(&asked)
                .map_err(|error| worker.fails(error))?;
            libc_goes_by_it(worker.number());
            // Once more, and shorter.
            if worker.number() == 1 {
                setup
                    .environment(&[c"ONE=1"])
                    .map_err(|error| worker.fails(error))?;
            }
            Ok(())
        });
        let live = world.live(2);
        let path = std::env::var("PATH").expect("there is one");
        let expected = format!("NUMBER=0\0PATH={path}\0EMPTY=\0A=b=c");
        assert_eq!(shown(live[&0]), expected);
        assert_eq!(shown(live[&1]), "ONE=1");
        assert_eq!(shown(std::process::id() as i32), before, "the master's own");
        world.end();
    });
}

#[cfg(feature = "std")]
fn libc_goes_by_it(number: u16) {
    use std::process::Command;

    let mut names: Vec<String> = std::env::vars().map(|(name, _)| name).collect();
    names.sort();
    assert_eq!(names, ["A", "EMPTY", "NUMBER", "PATH"]);
    assert_eq!(std::env::var("NUMBER"), Ok(number.to_string()));
    assert_eq!(std::env::var("A").as_deref(), Ok("b=c"));
    assert_eq!(std::env::var("HOME"), Err(std::env::VarError::NotPresent));
    // What it executes inherits it.
    let output = Command::new("env").output().expect("a program");
    let text = String::from_utf8(output.stdout).expect("text");
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines.len(), 4, "{lines:?}");
    assert_eq!([lines[0], lines[1]], ["A=b=c", "EMPTY="]);
    // And libc can go on from there.
    // SAFETY: the worker has one thread.
    unsafe { std::env::set_var("MORE", "than there was") };
    assert_eq!(std::env::var("MORE").as_deref(), Ok("than there was"));
    assert_eq!(std::env::vars().count(), 5);
}

#[cfg(not(feature = "std"))]
fn libc_goes_by_it(_: u16) {}

pub(crate) fn an_environment_without_room_is_an_error() {
    in_child(|| {
        let room = fs::read("/proc/self/environ").expect("it runs").len();
        let long =
            |bytes: usize| CString::new(format!("X={}", "x".repeat(bytes))).expect("no zero");
        let fits = long(room - 3); // two before it, and a zero behind
        let (not, too_many) = (long(room - 2), vec![c"X=1"; 1025]);
        let mut world = World::new(1, |worker: &mut Worker| {
            let mut setup = Setup::begin(worker);
            let mut refused = |variables: &[&core::ffi::CStr]| {
                let error = setup.environment(variables).map(drop).expect_err("refused");
                assert_eq!(error.step, SetupStep::Environment);
                error.errno
            };
            assert_eq!(refused(&[&not]), Errno::NOSPC);
            assert_eq!(refused(&too_many), Errno::TOOBIG);
            assert_eq!(refused(&[c"NONE"]), Errno::INVAL);
            assert_eq!(refused(&[c"A=1", c"=none"]), Errno::INVAL);
            assert_eq!(refused(&[c"A=1", c""]), Errno::INVAL);
            let (end, wait) = std::sync::mpsc::channel::<()>();
            let other = std::thread::spawn(move || wait.recv());
            assert_eq!(refused(&[c"A=1"]), Errno::BUSY);
            drop(end);
            let _ = other.join().expect("it only waits");
            // What was refused has changed nothing.
            assert!(std::env::var("PATH").is_ok());
            // A thread that was joined may be listed for a moment longer.
            let _ = crate::support::alone();
            setup
                .environment(&[&fits])
                .map_err(|error| worker.fails(error))?;
            assert_eq!(shown(std::process::id() as i32).len(), fits.count_bytes());
            setup
                .environment(&[])
                .map_err(|error| worker.fails(error))?;
            assert_eq!(shown(std::process::id() as i32), "");
            Ok(())
        });
        world.live(1);
        world.end();
    });
}

/// There is one room, and it is a title's or the environment's.
pub(crate) fn a_title_and_an_environment_do_not_share() {
    in_child(|| {
        let mut title = Title::claim_with_environment().expect("room");
        let mut world = World::new(1, |worker: &mut Worker| {
            let refused = Setup::begin(worker).environment(&[c"A=1"]).map(drop);
            assert_eq!(refused.expect_err("it is taken").errno, Errno::BUSY);
            Ok(())
        });
        world.live(1);
        world.end();
        title.set("still").expect("alone");
    });
    in_child(|| {
        let mut world = World::new(1, |worker: &mut Worker| {
            let mut title = Title::claim().expect("the room of the arguments");
            let mut setup = Setup::begin(worker);
            setup
                .environment(&[c"A=1"])
                .map_err(|error| worker.fails(error))?;
            assert!(Title::claim_with_environment().is_err());
            title.set("t".repeat(100_000)).expect("alone");
            Ok(())
        });
        let pid = world.live(1)[&0];
        assert_eq!(shown(pid), "A=1", "a long title ends before it");
        world.end();
    });
}
