//! Launching: what is executed, what it gets, and what is left behind.

use std::ffi::CString;

use forkmesh::machine::Config;
use forkmesh::run::{LaunchError, Master, Offer, OfferError, Said, Successor};
use forkmesh::table::{CHILDREN, SlotSet};
use rustix::fd::{AsRawFd, OwnedFd};
use rustix::io::{Errno, fcntl_dupfd_cloexec, read, write};
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, recv, socketpair};

use crate::support::{Marks, alone, in_child, inode, open_count, wait_readable};
use crate::world::{Program, launch, slots};

const MOST: usize = 64;

pub(crate) fn a_program_is_executed() {
    for (path, code) in [(c"/bin/true", 0), (c"/bin/false", 1)] {
        let mut offer = Offer::new();
        offer.program(path, &[], &[]).expect("an absolute path");
        let mut kept = launch(&offer);
        assert_eq!(kept.hear(), Said::Gone, "it knows nothing of a hand-over");
        assert_eq!(kept.end(), code);
    }
}

pub(crate) fn a_missing_program_is_told() {
    let mut offer = Offer::new();
    let path = c"/nowhere/is/a/program";
    offer.program(path, &[], &[]).expect("an absolute path");
    let mut kept = launch(&offer);
    assert_eq!(kept.hear(), Said::ExecFailed(Errno::NOENT));
    assert_eq!(kept.hear(), Said::Gone);
    assert_eq!(kept.end(), 1);
}

pub(crate) fn a_file_that_is_no_program_is_told() {
    let marks = Marks::new(1);
    let file = &marks.fds()[0];
    write(file, b"neither a format nor a script\n").expect("room");
    let path = CString::new(format!("/proc/self/fd/{}", file.as_raw_fd())).expect("a path");
    let mut offer = Offer::new();
    offer.program(&path, &[], &[]).expect("an absolute path");
    let mut kept = launch(&offer);
    assert_eq!(kept.hear(), Said::ExecFailed(Errno::NOEXEC));
    assert_eq!(kept.end(), 1);
}

pub(crate) fn last_words_are_heard() {
    let mut offer = Offer::new();
    offer
        .program(c"/nowhere", &[], &[])
        .expect("an absolute path");
    let mut kept = launch(&offer);
    assert_eq!(kept.end(), 1); // with all that was handed over unread
    assert_eq!(kept.hear(), Said::ExecFailed(Errno::NOENT));
    assert_eq!(kept.hear(), Said::Gone);
}

pub(crate) fn too_many_arguments_are_told() {
    let arguments = [c"argument"; 257];
    let variables = [c"VARIABLE=1"; 1025];
    let within = (&arguments[..256], &variables[..1024]);
    let beyond = [(&arguments[..], &[][..]), (&[][..], &variables[..])];
    for (arguments, variables) in beyond {
        let mut offer = Offer::new();
        let offered = offer.program(c"/bin/true", arguments, variables);
        offered.expect("an absolute path");
        let mut kept = launch(&offer);
        assert_eq!(kept.hear(), Said::ExecFailed(Errno::TOOBIG));
        assert_eq!(kept.end(), 1);
    }
    let mut offer = Offer::new();
    let offered = offer.program(c"/bin/true", within.0, within.1);
    offered.expect("an absolute path");
    assert_eq!(launch(&offer).end(), 0);
}

pub(crate) fn an_offer_without_a_program_is_an_error() {
    let launched = Successor::launch(&mut alone(), &Offer::new(), &SlotSet::EMPTY, 0);
    assert_eq!(launched.err(), Some(LaunchError::NoProgram));
}

/// Descriptors with the names that the program knows them by.
fn named(marks: &Marks) -> Vec<(String, &OwnedFd)> {
    let fds = marks.fds().iter().enumerate();
    fds.map(|(number, fd)| (format!("mark {number}"), fd))
        .collect()
}

pub(crate) fn sixty_four_descriptors_arrive() {
    let marks = Marks::new(MOST);
    let inodes: Vec<String> = marks
        .fds()
        .iter()
        .map(|fd| inode(fd).1.to_string())
        .collect();
    let program = Program::new("takes all").with("MARKS", &inodes.join(","));
    program.launch(&named(&marks)).does_well();
}

/// One group needs three letters, one is a group of one, and one descriptor is alone.
pub(crate) fn a_group_arrives_in_its_order() {
    let marks = Marks::new(2 * 253 + 3);
    let each = marks.fds().iter().map(|fd| inode(fd).1.to_string());
    let inodes: Vec<String> = each.collect();
    let program = Program::new("takes groups").with("MARKS", &inodes.join(","));
    let [alone, one, many @ ..] = marks.fds() else {
        panic!("there are marks")
    };
    let nothing: [(String, OwnedFd); 0] = [];
    let launched = program.offered(&nothing, |offer| {
        let mut offer = offer.clone();
        offer.group("many", many).expect("room");
        offer.descriptor("alone", alone).expect("room");
        let group = core::slice::from_ref(one);
        offer.group("one", group).expect("room");
        launch(&offer)
    });
    let mut launched = launched;
    launched.does_well();
}

pub(crate) fn what_is_not_taken_is_closed() {
    let marks = Marks::new(9);
    let program = Program::new("takes half");
    program.launch(&named(&marks)).does_well();
}

pub(crate) fn a_launch_leaks_nothing() {
    let marks = Marks::new(MOST);
    let before = open_count();
    let program = Program::new("takes half");
    let mut kept = program.launch(&named(&marks));
    assert_eq!(open_count(), before + 2, "the pidfd and the socket");
    kept.does_well();
    drop(kept);
    assert_eq!(open_count(), before);
    let mut offer = Offer::new();
    offer
        .program(c"/nowhere", &[], &[])
        .expect("an absolute path");
    launch(&offer).end();
    assert_eq!(open_count(), before);
}

pub(crate) fn one_variable_says_where() {
    let program = Program::new("looks at variables")
        .with("FORKMESH_HANDOVER", "99")
        .with("FORKMESH_HANDOVERS", "kept")
        .with("FORKMESH_HANDOVER", "98");
    program.launch_bare().does_well();
}

pub(crate) fn signals_stay_blocked_through_the_exec() {
    in_child(|| {
        let _master = Master::with(Config::new(), alone()).expect("a master");
        let status = std::fs::read_to_string("/proc/self/status").expect("/proc");
        let line = status.lines().find_map(|line| line.strip_prefix("SigBlk:"));
        let blocked = u64::from_str_radix(line.expect("a mask").trim(), 16).expect("a mask");
        assert_ne!(blocked, 0);
        let program = Program::new("looks at signals").with("BLOCKED", &blocked.to_string());
        program.launch_bare().does_well();
    });
}

pub(crate) fn both_sides_hear_each_other() {
    let mut kept = Program::new("converses").launch_bare();
    assert_eq!(kept.hear(), Said::NoRoom { needed: 7, free: 3 });
    assert_eq!(
        kept.hear(),
        Said::Failed {
            stage: 4,
            errno: 11
        }
    );
    assert_eq!(kept.successor.hear(), None);
    let mut freed = slots();
    freed.pop_first();
    kept.successor.tell_freed(&freed).expect("a successor");
    kept.successor.tell_relays().expect("a successor");
    assert_eq!(kept.hear(), Said::Ready);
    kept.forsake();
    assert_eq!(kept.end(), 0);
}

pub(crate) fn what_makes_no_sense_is_counted() {
    let mut kept = Program::new("babbles").launch_bare();
    for number in 1..=4 {
        assert_eq!(kept.hear(), Said::Odd);
        assert_eq!(kept.successor.odd(), number);
    }
    let stage = 0;
    assert_eq!(kept.hear(), Said::Failed { stage, errno: 9999 });
    kept.does_well();
    assert_eq!(kept.successor.odd(), 4);
}

pub(crate) fn a_successor_outlives_its_predecessor() {
    let flags = SocketFlags::CLOEXEC;
    let pair = socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None);
    let (here, there) = pair.expect("a pair");
    in_child(|| {
        let own = rustix::process::getpid().as_raw_nonzero().to_string();
        let program = Program::new("comes late").with("PREDECESSOR", &own);
        let kept = program.launch(&[("report".to_owned(), &there)]);
        core::mem::forget(kept); // it is to live on
    });
    drop(there);
    wait_readable(&here, "the report");
    let mut report = [0; 32];
    let (length, _) = recv(&here, &mut report, RecvFlags::empty()).expect("a report");
    assert_eq!(&report[..length], b"all is well");
    wait_readable(&here, "the end of who reports");
    assert_eq!(read(&here, &mut report), Ok(0));
}

pub(crate) fn without_standard_descriptors() {
    in_child(|| {
        let program = Program::new("looks at stdio");
        // SAFETY: nobody in this child reads from standard input.
        drop(unsafe { <OwnedFd as rustix::fd::FromRawFd>::from_raw_fd(0) });
        let mut kept = program.launch_bare();
        kept.does_well();
    });
}

pub(crate) fn what_cannot_be_offered() {
    let marks = Marks::new(MOST + 1);
    let mut offer = Offer::new();
    assert_eq!(
        offer.program(c"true", &[], &[]),
        Err(OfferError::RelativePath)
    );
    assert_eq!(offer.program(c"", &[], &[]), Err(OfferError::RelativePath));
    let [first, rest @ .., last] = marks.fds() else {
        panic!("there are marks")
    };
    assert_eq!(offer.descriptor("", first), Err(OfferError::Name(0)));
    let long = "n".repeat(108);
    assert_eq!(offer.descriptor(&long, first), Err(OfferError::Name(108)));
    assert_eq!(offer.descriptor(&long[1..], first), Ok(()));
    assert_eq!(
        offer.descriptor(&long[1..], last),
        Err(OfferError::Duplicate)
    );
    for (number, fd) in rest.iter().enumerate() {
        assert_eq!(offer.descriptor(&number.to_string(), fd), Ok(()));
    }
    assert_eq!(offer.descriptor("one more", last), Err(OfferError::TooMany));
    let many: Vec<OwnedFd> = (0..CHILDREN + 1)
        .map(|_| fcntl_dupfd_cloexec(first, 3).expect("a descriptor"))
        .collect();
    let mut offer = Offer::new();
    assert_eq!(offer.group("none", &[]), Err(OfferError::Group(0)));
    let too_many = Err(OfferError::Group(CHILDREN + 1));
    assert_eq!(offer.group("many", &many), too_many);
    for name in ["first", "second"] {
        assert_eq!(offer.group(name, &many[1..]), Ok(()));
    }
    assert_eq!(offer.group("third", &many[..5]), Err(OfferError::TooMany));
    assert_eq!(offer.group("third", &many[..4]), Ok(()));
    assert_eq!(offer.descriptor("one more", last), Err(OfferError::TooMany));
}
