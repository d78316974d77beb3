//! What is measured, the same for every contender: frames one way, frames there and back, and the
//! processes, clocks, rounds and tables for it.
//!
//! ```text
//!   CPU 0: the parent                        CPU 1: the child, forked for this one measurement
//!   send until full, then epoll  ──────────► epoll, then receive until nothing waits
//!        start                                     stop, when the last one is in
//! ```
//!
//! A contender is a pair of ends; everything else here is common to all of them, so what differs
//! between two rows is what happens between a value and the kernel.
//!
//! # Why not criterion
//!
//! It measures one thing for seconds, and then the next. This machine may have changed by then. Here
//! contenders take turns within each round, and what is compared are two figures of one round.

pub(crate) mod comparison;
pub(crate) mod forkmesh;
pub(crate) mod plain;
pub(crate) mod process;
pub(crate) mod rounds;
pub(crate) mod stream;
pub(crate) mod waiting;

use ::forkmesh::channel::Alone;
use process::{Forked, now_ns};
use waiting::{Clock, Waiter, pin};

/// How many bytes a frame has, for every contender.
pub(crate) const FRAME: usize = 32;

/// A pair of ends, in two processes.
pub(crate) trait Contender {
    /// What the row is called.
    const NAME: &'static str;
    /// How many units (frames, or descriptors) one send moves.
    const EACH: usize = 1;
    /// The end of the parent.
    type Near: Sends;
    /// The end of the child.
    type Far: Receives;

    /// Forks a child that runs `child` with its end, and ends.
    fn fork(alone: &mut Alone, child: impl FnOnce(Self::Far) -> u8) -> (Self::Near, Forked);
}

/// An end that sends.
pub(crate) trait Sends {
    /// Sends one message, of `EACH` units, the first of which has this number; whether there was
    /// room for it.
    fn send(&mut self, number: u32) -> bool;

    /// What to wait for when there was none; -1 for an end whose `send` waits by itself.
    fn writable(&self) -> i32;
}

/// An end that receives.
pub(crate) trait Receives {
    /// Receives once; how many units that brought.
    fn receive(&mut self) -> Received;

    /// What to wait for when nothing waits; -1 for an end whose `receive` waits by itself.
    fn readable(&self) -> i32;
}

/// What one call brought.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Received {
    /// How many frames, or descriptors.
    pub(crate) units: usize,
    /// Whether to ask again before waiting.
    pub(crate) more: bool,
}

impl Received {
    /// Nothing waits.
    pub(crate) const NOTHING: Self = Self {
        units: 0,
        more: false,
    };

    /// This many, and perhaps there are others.
    pub(crate) const fn some(units: usize) -> Self {
        Self { units, more: true }
    }
}

/// Sends `units` units from CPU 0 to a child on CPU 1; nanoseconds a unit, until the last is in.
pub(crate) fn one_way<C: Contender>(alone: &mut Alone, units: usize) -> f64 {
    let clock = Clock::new();
    let (mut near, child) = C::fork(alone, |mut far| {
        pin(1);
        let waiter = Waiter::to_read(far.readable());
        clock.ready();
        take(&mut far, &waiter, units);
        clock.stop();
        0
    });
    pin(0);
    let waiter = Waiter::to_write(near.writable());
    clock.until_ready();
    let start = now_ns();
    let mut sent = 0;
    while sent < units {
        if near.send(sent as u32) {
            sent += C::EACH;
        } else {
            waiter.wait();
        }
    }
    child.reap();
    (clock.stopped() - start) as f64 / sent as f64
}

/// Sends `trips` frames there and back, one at a time, to a child on this CPU; the median of the
/// times of all of them, in nanoseconds.
pub(crate) fn round_trip<C>(alone: &mut Alone, trips: usize, far_cpu: usize) -> f64
where
    C: Contender<Near: Receives, Far: Sends>,
{
    let clock = Clock::new();
    let (mut near, child) = C::fork(alone, |mut far| {
        pin(far_cpu);
        let waiter = Waiter::to_read(far.readable());
        clock.ready();
        for trip in 0..trips {
            take(&mut far, &waiter, 1);
            assert!(far.send(trip as u32), "one frame fits");
        }
        0
    });
    pin(0);
    let waiter = Waiter::to_read(near.readable());
    clock.until_ready();
    let mut times = Vec::with_capacity(trips);
    for trip in 0..trips {
        let start = now_ns();
        assert!(near.send(trip as u32), "one frame fits");
        take(&mut near, &waiter, 1);
        times.push((now_ns() - start) as f64);
    }
    child.reap();
    rounds::median(&mut times)
}

/// Receives this many units, and sleeps whenever none waits.
fn take(end: &mut impl Receives, waiter: &Waiter, units: usize) {
    let mut got = 0;
    while got < units {
        let received = end.receive();
        got += received.units;
        if !received.more && got < units {
            waiter.wait();
        }
    }
}
