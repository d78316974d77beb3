//! sendfd: `send_with_fd` and `recv_with_fd` on std's streams.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;

use forkmesh::channel::Alone;
use sendfd::{RecvWithFd, SendWithFd};

use crate::measure::process::Forked;
use crate::measure::waiting::something;
use crate::measure::{Contender, FRAME, Received, Receives, Sends, plain};

/// A frame with `CARRIED` descriptors, which is 0 or 1; room to receive one.
#[derive(Debug)]
pub(crate) struct Frames<const CARRIED: usize>;

/// An end, and what it sends.
#[derive(Debug)]
pub(crate) struct End<const CARRIED: usize>(UnixStream, OwnedFd);

impl<const CARRIED: usize> Contender for Frames<CARRIED> {
    const NAME: &'static str = ["sendfd", "sendfd: 1"][CARRIED];
    type Near = End<CARRIED>;
    type Far = End<CARRIED>;

    fn fork(_: &mut Alone, child: impl FnOnce(Self::Far) -> u8) -> (Self::Near, Forked) {
        let end = |end: OwnedFd| End(end.into(), something());
        plain::fork(end, end, child)
    }
}

impl<const CARRIED: usize> Sends for End<CARRIED> {
    fn send(&mut self, number: u32) -> bool {
        let mut bytes = [0; FRAME];
        bytes[..4].copy_from_slice(&number.to_ne_bytes());
        let carried = [self.1.as_raw_fd(); CARRIED];
        self.0.send_with_fd(&bytes, &carried).is_ok()
    }

    fn writable(&self) -> i32 {
        self.0.as_raw_fd()
    }
}

impl<const CARRIED: usize> Receives for End<CARRIED> {
    fn receive(&mut self) -> Received {
        let mut bytes = [0; FRAME];
        let mut carried = [-1];
        let Ok((FRAME, count)) = self.0.recv_with_fd(&mut bytes, &mut carried) else {
            return Received::NOTHING;
        };
        core::hint::black_box(&bytes);
        assert_eq!(count, CARRIED);
        for descriptor in &carried[..count] {
            // SAFETY: the kernel installed this descriptor during the call, for us alone.
            drop(unsafe { OwnedFd::from_raw_fd(*descriptor) });
        }
        Received::some(1)
    }

    fn readable(&self) -> i32 {
        self.0.as_raw_fd()
    }
}
