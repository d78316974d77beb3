//! The program that takes over, in the roles that the tests give it. What it finds wrong is a panic,
//! and so another exit code than 0.

use std::collections::BTreeSet;

use forkmesh::run::{Handover, Heard};
use rustix::fd::AsFd;
use rustix::net::{SendFlags, send};
use rustix::process::getppid;

use crate::support::{in_time, inode, is_close_on_exec, open_count, wait_readable};
use crate::world::{ROLE, STANDING, slots};

/// What a hand-over has that nothing was taken from: the socket and the predecessor's pidfd.
const OWN: usize = 2;

/// How many descriptors came in another way.
fn standing() -> usize {
    let standing = std::env::var(STANDING).expect("a count");
    standing.parse().expect("a count")
}

/// Plays a role and ends, if this process was asked to.
pub(crate) fn run_if_asked() {
    let Ok(role) = std::env::var(ROLE) else {
        return;
    };
    match role.as_str() {
        "takes all" => takes_all(),
        "takes half" => takes_half(),
        "takes groups" => takes_groups(),
        "looks at variables" => looks_at_variables(),
        "looks at signals" => looks_at_signals(),
        "converses" => converses(),
        "babbles" => babbles(),
        "comes late" => comes_late(),
        "looks at stdio" => looks_at_stdio(),
        "relays" => crate::links::relays(),
        "is a link" => crate::links::is_a_link(),
        "waits" => crate::links::waits(),
        role => panic!("nobody plays {role:?}"),
    }
    std::process::exit(0);
}

/// What was handed over, by either way to receive it.
pub(crate) fn received() -> Handover {
    #[cfg(feature = "std")]
    let received = Handover::receive();
    #[cfg(not(feature = "std"))]
    let received = {
        use std::os::unix::ffi::OsStrExt;
        let value = std::env::var_os(Handover::VARIABLE).expect("a hand-over");
        Handover::receive_from(value.as_bytes())
    };
    received.expect("nothing is wrong").expect("a hand-over")
}

pub(crate) fn hear(handover: &mut Handover) -> Heard {
    loop {
        if let Some(heard) = handover.hear() {
            return heard;
        }
        wait_readable(&*handover, "what a predecessor says");
    }
}

/// The inodes of what is handed over, in the order of its names.
fn marks() -> Vec<u64> {
    let marks = std::env::var("MARKS").expect("the marks");
    let each = marks.split(',').map(|mark| mark.parse().expect("an inode"));
    each.collect()
}

fn takes_all() {
    let mut handover = received();
    assert_eq!(handover.predecessor().as_i32(), parent());
    assert_eq!(handover.slots(), &slots());
    let marks = marks();
    assert_eq!(handover.names().count(), marks.len());
    let mut taken = Vec::new();
    for (number, mark) in marks.iter().enumerate() {
        let fd = handover.take(&format!("mark {number}")).expect("its mark");
        assert_eq!(inode(&fd).1, *mark);
        assert!(is_close_on_exec(&fd));
        assert!(handover.take(&format!("mark {number}")).is_none());
        taken.push(fd);
    }
    assert!(is_close_on_exec(&handover));
    assert!(is_close_on_exec(handover.pidfd()));
    assert_eq!(open_count(), standing() + OWN + marks.len());
    handover.ready().expect("a predecessor");
}

fn takes_groups() {
    let mut handover = received();
    let marks = marks();
    let names: Vec<&str> = handover.names().collect();
    assert_eq!(names, ["many", "alone", "one"]);
    assert!(handover.take("many").is_none());
    assert!(handover.take("one").is_none());
    let mut taken = Vec::new();
    for name in ["alone", "one", "many"] {
        let group = handover.take_group(name).expect("it was handed over");
        assert!(handover.take_group(name).is_none());
        taken.extend(group);
    }
    assert!(taken.iter().all(is_close_on_exec));
    let inodes: Vec<u64> = taken.iter().map(|fd| inode(fd).1).collect();
    assert_eq!(inodes, marks);
    assert_eq!(open_count(), standing() + OWN + marks.len());
    handover.ready().expect("a predecessor");
}

fn takes_half() {
    let mut handover = received();
    let all = open_count();
    let names: Vec<String> = handover.names().map(str::to_owned).collect();
    let mut half = names.iter().step_by(2);
    let taken: Vec<_> = half.by_ref().map(|name| handover.take(name)).collect();
    assert!(taken.iter().all(Option::is_some));
    let left: BTreeSet<&str> = handover.names().collect();
    let odd = names.iter().skip(1).step_by(2).map(String::as_str);
    assert_eq!(left, odd.collect());
    handover.ready().expect("a predecessor");
    assert_eq!(open_count(), all);
    drop(handover);
    assert_eq!(open_count(), standing() + taken.len());
}

fn looks_at_variables() {
    let named = std::env::vars().filter(|(name, _)| name == Handover::VARIABLE);
    assert_eq!(named.count(), 1);
    assert_eq!(std::env::var("FORKMESH_HANDOVERS").as_deref(), Ok("kept"));
    assert_eq!(std::env::vars().count(), 4);
    received().ready().expect("a predecessor");
}

fn looks_at_signals() {
    let status = std::fs::read_to_string("/proc/self/status").expect("/proc");
    let line = status.lines().find_map(|line| line.strip_prefix("SigBlk:"));
    let blocked = u64::from_str_radix(line.expect("a mask").trim(), 16).expect("a mask");
    let wanted = std::env::var("BLOCKED").expect("what is to be blocked");
    assert_eq!(blocked, wanted.parse().expect("a mask"));
    let handover = received();
    assert_eq!(handover.mask(), 0);
    handover.ready().expect("a predecessor");
}

fn converses() {
    let mut handover = received();
    assert_eq!(handover.hear(), None);
    handover.no_room(7, 3).expect("a predecessor");
    handover.failed(4, 11).expect("a predecessor");
    let Heard::Freed(freed) = hear(&mut handover) else {
        panic!("slots are freed")
    };
    assert_eq!(freed.len(), 2);
    assert_eq!(handover.slots().len(), slots().len() - 2);
    assert_eq!(hear(&mut handover), Heard::Relays);
    handover.ready().expect("a predecessor");
    assert_eq!(hear(&mut handover), Heard::Gone);
    assert_eq!(hear(&mut handover), Heard::Gone);
}

fn babbles() {
    let handover = received();
    let say = |bytes: &[u8]| {
        let sent = send(handover.as_fd(), bytes, SendFlags::NOSIGNAL);
        assert_eq!(sent, Ok(bytes.len()));
    };
    say(b"?");
    say(&[16, 0, 0, 0, 0]);
    say(&[b'x'; 4096]);
    say(&[3, 0, 0, 0]); // END, which is not a successor's to say
    handover.failed(0, 9999).expect("a predecessor"); // no errno, at the stage of exec
    handover.ready().expect("a predecessor");
}

/// Looks at what was handed over when who did it has gone.
fn comes_late() {
    let predecessor = std::env::var("PREDECESSOR").expect("its pid");
    let predecessor: i32 = predecessor.parse().expect("a pid");
    in_time("the predecessor's end", || {
        (parent() != predecessor).then_some(())
    });
    let mut handover = received();
    assert_eq!(handover.predecessor().as_i32(), predecessor);
    wait_readable(handover.pidfd(), "a pidfd of what has ended");
    assert!(handover.ready().is_err());
    assert_eq!(hear(&mut handover), Heard::Gone);
    let report = handover.take("report").expect("where to report to");
    let sent = send(&report, b"all is well", SendFlags::NOSIGNAL);
    assert_eq!(sent, Ok(11));
}

/// Standard input was closed: it is not the socket.
fn looks_at_stdio() {
    let handover = received();
    use rustix::fd::AsRawFd;
    assert!(handover.as_fd().as_raw_fd() > 2);
    handover.ready().expect("a predecessor");
}

pub(crate) fn parent() -> i32 {
    getppid().map_or(0, |pid| pid.as_raw_nonzero().get())
}
