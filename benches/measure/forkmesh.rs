//! forkmesh: the control pair and the mesh pair, frames one by one, in batches, with descriptors.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use forkmesh::channel::{
    Alone, Child, Control, End0, End1, Filled, FromMaster, FromWorker, Inbox, Pair, Parent, Peer,
    ReceiveError,
};
use forkmesh::wire::{Command, Message};

use super::process::Forked;
use super::waiting::something;
use super::{Contender, Received, Receives, Sends};

/// A control pair; `BATCH` frames a send.
#[derive(Debug)]
pub(crate) struct OverControl<const BATCH: usize>;

/// A mesh pair, with the kernel's word for who sent; `BATCH` frames a send.
#[derive(Debug)]
pub(crate) struct OverMesh<const BATCH: usize>;

/// A control pair; `N` descriptors a frame.
#[derive(Debug)]
pub(crate) struct Descriptors<const N: usize>;

/// The master's end.
#[derive(Debug)]
pub(crate) struct Master<const BATCH: usize>(pub(crate) Parent<End0>, pub(crate) Inbox);

/// The worker's end, of a control pair or of a mesh pair.
#[derive(Debug)]
pub(crate) struct Worker<L = Control>(pub(crate) Child<End1, L>, pub(crate) Inbox);

/// A sibling's end.
#[derive(Debug)]
pub(crate) struct Sibling<const BATCH: usize>(Peer<End0>);

/// The master's end, and a descriptor to send by it.
#[derive(Debug)]
pub(crate) struct Bearing<const N: usize>(Parent<End0>, OwnedFd);

impl<const BATCH: usize> Contender for OverControl<BATCH> {
    const NAME: &'static str = match BATCH {
        1 => "forkmesh control",
        _ => "forkmesh control, batches of 16",
    };
    const EACH: usize = BATCH;
    type Near = Master<BATCH>;
    type Far = Worker;

    fn fork(alone: &mut Alone, child: impl FnOnce(Self::Far) -> u8) -> (Self::Near, Forked) {
        let pair = Pair::new().expect("a pair");
        let forked = pair.fork(alone, |end1| child(Worker(end1, Inbox::new())));
        let (end0, process) = forked.expect("a child");
        (Master(end0, Inbox::new()), Forked(process.pid()))
    }
}

impl<const BATCH: usize> Contender for OverMesh<BATCH> {
    const NAME: &'static str = match BATCH {
        1 => "forkmesh mesh, credentials",
        _ => "forkmesh mesh, batches of 16",
    };
    const EACH: usize = BATCH;
    type Near = Sibling<BATCH>;
    type Far = Worker<forkmesh::channel::Mesh>;

    fn fork(alone: &mut Alone, child: impl FnOnce(Self::Far) -> u8) -> (Self::Near, Forked) {
        let pair = Pair::mesh(true).expect("a pair");
        let forked = pair.fork(alone, |end1| child(Worker(end1, Inbox::new())));
        let (end0, process) = forked.expect("a child");
        (Sibling(end0.into_peer()), Forked(process.pid()))
    }
}

impl<const N: usize> Contender for Descriptors<N> {
    const NAME: &'static str = match N {
        1 => "forkmesh sendmsg: 1",
        _ => "forkmesh sendmsg: 32",
    };
    const EACH: usize = N;
    type Near = Bearing<N>;
    type Far = Unpacking;

    fn fork(alone: &mut Alone, child: impl FnOnce(Self::Far) -> u8) -> (Self::Near, Forked) {
        let (Master(end0, _), forked) =
            OverControl::<1>::fork(alone, |worker| child(Unpacking(worker)));
        (Bearing(end0, something()), forked)
    }
}

fn message(number: u32) -> Message {
    Message::new(number, [0; 16])
}

fn messages<const BATCH: usize>(number: u32) -> [Message; BATCH] {
    core::array::from_fn(|at| message(number + at as u32))
}

impl<const BATCH: usize> Sends for Master<BATCH> {
    fn send(&mut self, number: u32) -> bool {
        match BATCH {
            1 => self.0.send(FromMaster::User(message(number))).is_ok(),
            _ => self.0.send_all(&messages::<BATCH>(number)).is_ok(),
        }
    }

    fn writable(&self) -> i32 {
        self.0.as_fd().as_raw_fd()
    }
}

impl<const BATCH: usize> Sends for Sibling<BATCH> {
    fn send(&mut self, number: u32) -> bool {
        match BATCH {
            1 => self.0.send(message(number), None).is_ok(),
            _ => self.0.send_all(&messages::<BATCH>(number), None).is_ok(),
        }
    }

    fn writable(&self) -> i32 {
        self.0.as_fd().as_raw_fd()
    }
}

impl Sends for Worker {
    fn send(&mut self, number: u32) -> bool {
        self.0.send(FromWorker::User(message(number))).is_ok()
    }

    fn writable(&self) -> i32 {
        self.0.as_fd().as_raw_fd()
    }
}

impl<const N: usize> Sends for Bearing<N> {
    fn send(&mut self, number: u32) -> bool {
        match N {
            1 => self.0.send_with(message(number), &self.1).is_ok(),
            _ => self.0.send_descriptors(&[self.1.as_fd(); N]).is_ok(),
        }
    }

    fn writable(&self) -> i32 {
        self.0.as_fd().as_raw_fd()
    }
}

/// Takes the frames of a read out of the inbox.
pub(crate) fn unpack(filled: Result<Filled, ReceiveError>, inbox: &mut Inbox) -> Received {
    if filled.is_err() {
        return Received::NOTHING;
    }
    let mut units = 0;
    while let Some(parcel) = inbox.take() {
        if let Ok(parcel) = parcel
            && let Command::User(message) = &parcel.command
        {
            core::hint::black_box(message);
            units += 1;
        }
    }
    Received {
        units,
        more: true, // until nothing is left, as a worker reads
    }
}

impl<const BATCH: usize> Receives for Master<BATCH> {
    fn receive(&mut self) -> Received {
        unpack(self.0.receive(&mut self.1), &mut self.1)
    }

    fn readable(&self) -> i32 {
        self.0.as_fd().as_raw_fd()
    }
}

impl<L> Receives for Worker<L> {
    fn receive(&mut self) -> Received {
        unpack(self.0.receive(&mut self.1), &mut self.1)
    }

    fn readable(&self) -> i32 {
        self.0.as_fd().as_raw_fd()
    }
}

/// A worker's end that takes descriptors out, and closes them.
#[derive(Debug)]
pub(crate) struct Unpacking(Worker);

impl Receives for Unpacking {
    fn receive(&mut self) -> Received {
        let Worker(end1, inbox) = &mut self.0;
        if end1.receive(inbox).is_err() {
            return Received::NOTHING;
        }
        let mut units = 0;
        while let Some(parcel) = inbox.take() {
            for _ in 0..parcel.map_or(0, |parcel| parcel.descriptors) {
                drop(inbox.descriptor());
                units += 1;
            }
        }
        Received { units, more: true }
    }

    fn readable(&self) -> i32 {
        self.0.readable()
    }
}
