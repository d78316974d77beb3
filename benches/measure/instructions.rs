//! What the clock cannot settle: the instructions that a frame costs in user space, counted one by
//! one by callgrind, the same in every run.
//!
//! Only what runs inside of [`counted_region`] counts. Both ends are in one process, because
//! valgrind does not know every call that a fork here makes.

use core::hint::black_box;
use core::mem::transmute;
use std::os::fd::OwnedFd;

use forkmesh::channel::{Child, End0, End1, Inbox, Parent};

use crate::callgrind::{self, counted_region};
use crate::measure::forkmesh::{Master, Worker};
use crate::measure::plain::{self, End};
use crate::measure::rounds::bar;
use crate::measure::{FRAME, Receives, Sends, stream};

/// How many frames are counted: as many as one read brings.
const FRAMES: u32 = 128;

/// The most that a frame may cost, on each of the two paths.
const MOST: f64 = 200.0;

/// Counts every path in a process of its own under callgrind, and prints what each costs a frame.
pub(crate) fn print() {
    println!("\ninstructions in user space, a frame (callgrind)");
    if !callgrind::is_there() {
        return;
    }
    for (name, ours, _) in PATHS {
        match callgrind::count(name).map(|total| total / f64::from(FRAMES)) {
            Ok(each) if *ours => bar(name, Some(each), MOST),
            Ok(each) => println!("  {name:64} {each:>8.1}"),
            Err(why) => println!("  {name:64} not counted: {why}"),
        }
    }
}

type Path = (&'static str, bool, fn());

/// What is counted, and whether it is bounded.
#[rustfmt::skip]
const PATHS: &[Path] = &[
    ("send: libc", false, || sending(&mut plain_ends().0)),
    ("send: std", false, || sending(&mut std_ends().0)),
    ("send: forkmesh control", true, || sending(&mut control_ends().0)),
    ("receive one that waits: libc", false, || one_by_one(plain_ends())),
    ("receive one that waits: std", false, || one_by_one(std_ends())),
    ("receive one that waits: forkmesh control, receive and take", true, receive_and_take),
    ("receive one that waits: forkmesh control, until none is left", false, || one_by_one(control_ends())),
    ("receive 128 that wait: libc", false, || all_at_once(plain_ends())),
    ("receive 128 that wait: std", false, || all_at_once(std_ends())),
    ("receive 128 that wait: forkmesh control", true, || all_at_once(control_ends())),
];

/// In the process under callgrind: runs the path of this name.
pub(crate) fn run(name: &str) {
    let path = PATHS.iter().find(|path| path.0 == name);
    path.expect("a path of this name").2();
}

fn sending(near: &mut impl Sends) {
    counted_region(|| {
        for number in 0..FRAMES {
            assert!(near.send(number), "128 frames fit");
        }
    });
}

fn one_by_one((mut near, mut far): (impl Sends, impl Receives)) {
    for number in 0..FRAMES {
        assert!(near.send(number), "one frame fits");
        counted_region(|| assert_eq!(far.receive().units, 1));
    }
}

/// The two calls that bring one frame, and nothing of a loop around them.
fn receive_and_take() {
    let (mut near, Worker(end1, mut inbox)) = control_ends();
    for number in 0..FRAMES {
        assert!(near.send(number), "one frame fits");
        counted_region(|| {
            let _ = black_box(end1.receive(&mut inbox));
            let _ = black_box(inbox.take());
        });
    }
}

fn all_at_once((mut near, mut far): (impl Sends, impl Receives)) {
    for number in 0..FRAMES {
        assert!(near.send(number), "128 frames fit");
    }
    counted_region(|| {
        let mut got = 0;
        while got < FRAMES as usize {
            got += far.receive().units;
        }
    });
}

fn plain_ends() -> (End<1, FRAME>, End<1, FRAME>) {
    let (end0, end1) = plain::pair();
    (End(end0), End(end1))
}

fn std_ends() -> (stream::End, stream::End) {
    let (end0, end1) = plain::pair();
    (stream::End(end0.into()), stream::End(end1.into()))
}

fn control_ends() -> (Master<1>, Worker) {
    let (end0, end1) = plain::pair();
    // SAFETY: an end is transparent over its descriptor.
    let end0 = unsafe { transmute::<OwnedFd, Parent<End0>>(end0) };
    // SAFETY: likewise.
    let end1 = unsafe { transmute::<OwnedFd, Child<End1>>(end1) };
    (Master(end0, Inbox::new()), Worker(end1, Inbox::new()))
}
