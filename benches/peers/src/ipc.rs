//! ipc-channel: bytes, and for descriptors its own way of sending one, a sender within a message.
//! Its sends and receives wait by themselves.

use forkmesh::channel::Alone;
use ipc_channel::ipc::{
    IpcBytesReceiver, IpcBytesSender, IpcReceiver, IpcSender, bytes_channel, channel,
};

use crate::measure::process::{self, Forked};
use crate::measure::{Contender, FRAME, Received, Receives, Sends};

/// A frame as bytes.
#[derive(Debug)]
pub(crate) struct Bytes;

/// A sender in each message.
#[derive(Debug)]
pub(crate) struct Senders;

/// An end: the way out and the way in.
#[derive(Debug)]
pub(crate) struct Both(IpcBytesSender, IpcBytesReceiver);

/// An end that sends copies of a sender.
#[derive(Debug)]
pub(crate) struct Out(IpcSender<IpcSender<()>>, IpcSender<()>);

/// An end that receives them.
#[derive(Debug)]
pub(crate) struct In(IpcReceiver<IpcSender<()>>);

impl Contender for Bytes {
    const NAME: &'static str = "ipc-channel";
    type Near = Both;
    type Far = Both;

    fn fork(_: &mut Alone, child: impl FnOnce(Self::Far) -> u8) -> (Self::Near, Forked) {
        let (out, far_in) = bytes_channel().expect("a channel");
        let (far_out, back) = bytes_channel().expect("a channel");
        let mut far = Some(Both(far_out, far_in));
        let forked = process::fork(|| child(far.take().expect("taken once")));
        (Both(out, back), forked)
    }
}

impl Contender for Senders {
    const NAME: &'static str = "ipc-channel: 1";
    type Near = Out;
    type Far = In;

    fn fork(_: &mut Alone, child: impl FnOnce(Self::Far) -> u8) -> (Self::Near, Forked) {
        let (out, far) = channel().expect("a channel");
        let (sent, _) = channel().expect("a channel");
        let mut far = Some(In(far));
        let forked = process::fork(|| child(far.take().expect("taken once")));
        (Out(out, sent), forked)
    }
}

impl Sends for Both {
    fn send(&mut self, number: u32) -> bool {
        let mut bytes = [0; FRAME];
        bytes[..4].copy_from_slice(&number.to_ne_bytes());
        self.0.send(&bytes).is_ok()
    }

    fn writable(&self) -> i32 {
        -1
    }
}

impl Receives for Both {
    fn receive(&mut self) -> Received {
        let bytes = self.1.recv().expect("a sender is left");
        core::hint::black_box(&bytes);
        Received::some(1)
    }

    fn readable(&self) -> i32 {
        -1
    }
}

impl Sends for Out {
    fn send(&mut self, _: u32) -> bool {
        self.0.send(self.1.clone()).is_ok()
    }

    fn writable(&self) -> i32 {
        -1
    }
}

impl Receives for In {
    fn receive(&mut self) -> Received {
        drop(self.0.recv().expect("a sender is left"));
        Received::some(1)
    }

    fn readable(&self) -> i32 {
        -1
    }
}
