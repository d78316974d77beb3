//! nix: `sendmsg` and `recvmsg`, the control buffer made once.

use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use forkmesh::channel::Alone;
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};

use crate::measure::process::Forked;
use crate::measure::waiting::something;
use crate::measure::{Contender, FRAME, Received, Receives, Sends, plain};

/// A frame with `CARRIED` descriptors, which is 0 or 1; room to receive one.
#[derive(Debug)]
pub(crate) struct Frames<const CARRIED: usize>;

/// An end, what it sends, and the control buffer.
#[derive(Debug)]
pub(crate) struct End<const CARRIED: usize>(OwnedFd, OwnedFd, Vec<u8>);

impl<const CARRIED: usize> Contender for Frames<CARRIED> {
    const NAME: &'static str = ["nix", "nix: 1"][CARRIED];
    type Near = End<CARRIED>;
    type Far = End<CARRIED>;

    fn fork(_: &mut Alone, child: impl FnOnce(Self::Far) -> u8) -> (Self::Near, Forked) {
        let end = |end| End(end, something(), nix::cmsg_space!([RawFd; 1]));
        plain::fork(end, end, child)
    }
}

impl<const CARRIED: usize> Sends for End<CARRIED> {
    fn send(&mut self, number: u32) -> bool {
        let mut bytes = [0; FRAME];
        bytes[..4].copy_from_slice(&number.to_ne_bytes());
        let descriptors = [self.1.as_raw_fd()];
        let messages = [ControlMessage::ScmRights(&descriptors)];
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        let fd = self.0.as_raw_fd();
        sendmsg::<()>(
            fd,
            &[IoSlice::new(&bytes)],
            &messages[..CARRIED],
            flags,
            None,
        )
        .is_ok()
    }

    fn writable(&self) -> i32 {
        self.0.as_raw_fd()
    }
}

impl<const CARRIED: usize> Receives for End<CARRIED> {
    fn receive(&mut self) -> Received {
        let mut bytes = [0; FRAME];
        let mut vectors = [IoSliceMut::new(&mut bytes)];
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_CMSG_CLOEXEC;
        let room = Some(self.2.as_mut_slice());
        let Ok(message) = recvmsg::<()>(self.0.as_raw_fd(), &mut vectors, room, flags) else {
            return Received::NOTHING;
        };
        for control in message.cmsgs().expect("the control buffer is large enough") {
            if let ControlMessageOwned::ScmRights(descriptors) = control {
                for descriptor in descriptors {
                    // SAFETY: the kernel installed this descriptor during the call, for us alone.
                    drop(unsafe { OwnedFd::from_raw_fd(descriptor) });
                }
            }
        }
        core::hint::black_box(&bytes);
        Received::some(1)
    }

    fn readable(&self) -> i32 {
        self.0.as_raw_fd()
    }
}
