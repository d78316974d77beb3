//! std's `UnixStream`, non-blocking.

use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;

use forkmesh::channel::Alone;

use super::process::Forked;
use super::{Contender, FRAME, Received, Receives, Sends, plain};

/// One frame a write, one frame a read.
#[derive(Debug)]
pub(crate) struct Std;

/// An end.
#[derive(Debug)]
pub(crate) struct End(pub(crate) UnixStream);

impl Contender for Std {
    const NAME: &'static str = "std UnixStream";
    type Near = End;
    type Far = End;

    fn fork(_: &mut Alone, child: impl FnOnce(Self::Far) -> u8) -> (Self::Near, Forked) {
        plain::fork(|end| End(end.into()), |end| End(end.into()), child)
    }
}

impl Sends for End {
    fn send(&mut self, number: u32) -> bool {
        let mut bytes = [0; FRAME];
        bytes[..4].copy_from_slice(&number.to_ne_bytes());
        self.0.write(&bytes).is_ok()
    }

    fn writable(&self) -> i32 {
        self.0.as_raw_fd()
    }
}

impl Receives for End {
    fn receive(&mut self) -> Received {
        let mut bytes = [0; FRAME];
        match self.0.read(&mut bytes) {
            Ok(FRAME) => {
                core::hint::black_box(&bytes);
                Received::some(1)
            }
            _ => Received::NOTHING,
        }
    }

    fn readable(&self) -> i32 {
        self.0.as_raw_fd()
    }
}
