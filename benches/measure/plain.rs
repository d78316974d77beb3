//! The baseline: libc's `send` and `recv`, as one would write them by hand.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use forkmesh::channel::Alone;

use super::process::{self, Forked, checked};
use super::waiting::something;
use super::{Contender, FRAME, Received, Receives, Sends};

const FLAGS: i32 = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;

/// `BATCH` frames a `send`; one `recv` takes `READ` bytes.
#[derive(Debug)]
pub(crate) struct Frames<const BATCH: usize, const READ: usize>;

/// `N` descriptors a `sendmsg`; one `recvmsg` takes one message.
#[derive(Debug)]
pub(crate) struct Descriptors<const N: usize>;

/// An end.
#[derive(Debug)]
pub(crate) struct End<const BATCH: usize, const READ: usize>(pub(crate) OwnedFd);

/// An end that descriptors are sent from, and the descriptor.
#[derive(Debug)]
pub(crate) struct Bearing<const N: usize>(OwnedFd, OwnedFd);

impl<const BATCH: usize, const READ: usize> Contender for Frames<BATCH, READ> {
    const NAME: &'static str = match (BATCH, READ) {
        (1, FRAME) => "libc send, recv",
        (1, _) => "libc send, recv of 4 KiB",
        (_, _) => "libc send of 16, recv of 4 KiB",
    };
    const EACH: usize = BATCH;
    type Near = End<BATCH, READ>;
    type Far = End<BATCH, READ>;

    fn fork(_: &mut Alone, child: impl FnOnce(Self::Far) -> u8) -> (Self::Near, Forked) {
        fork(End, End, child)
    }
}

impl<const N: usize> Contender for Descriptors<N> {
    const NAME: &'static str = match N {
        1 => "libc sendmsg, recvmsg: 1",
        _ => "libc sendmsg, recvmsg: 32",
    };
    const EACH: usize = N;
    type Near = Bearing<N>;
    type Far = Bearing<N>;

    fn fork(_: &mut Alone, child: impl FnOnce(Self::Far) -> u8) -> (Self::Near, Forked) {
        let bearing = |end| Bearing(end, something());
        fork(bearing, bearing, child)
    }
}

/// A pair, and a child that has one end of it.
pub(crate) fn fork<N, F>(
    near: impl FnOnce(OwnedFd) -> N,
    far: impl FnOnce(OwnedFd) -> F,
    child: impl FnOnce(F) -> u8,
) -> (N, Forked) {
    let (end0, end1) = pair();
    let mut ends = (Some(end0), Some(end1));
    let forked = process::fork(|| {
        ends.0 = None;
        child(far(ends.1.take().expect("taken once")))
    });
    (near(ends.0.take().expect("taken once")), forked)
}

/// Two connected stream sockets.
pub(crate) fn pair() -> (OwnedFd, OwnedFd) {
    let kind = libc::SOCK_STREAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    let mut ends = [-1; 2];
    // SAFETY: there is room for two numbers.
    let done = unsafe { libc::socketpair(libc::AF_UNIX, kind, 0, ends.as_mut_ptr()) };
    checked(done, "socketpair");
    let [end0, end1] = ends.map(|end| {
        // SAFETY: the kernel made this descriptor just now, for us alone.
        unsafe { OwnedFd::from_raw_fd(end) }
    });
    (end0, end1)
}

impl<const BATCH: usize, const READ: usize> Sends for End<BATCH, READ> {
    fn send(&mut self, number: u32) -> bool {
        let mut bytes = [[0_u8; FRAME]; BATCH];
        for (next, frame) in (number..).zip(&mut bytes) {
            frame[..4].copy_from_slice(&next.to_ne_bytes());
        }
        let bytes = bytes.as_flattened();
        // SAFETY: the bytes live through the call, and are as many as the third argument says.
        let sent = unsafe { libc::send(self.fd(), bytes.as_ptr().cast(), bytes.len(), FLAGS) };
        sent == bytes.len() as isize
    }

    fn writable(&self) -> i32 {
        self.fd()
    }
}

impl<const BATCH: usize, const READ: usize> End<BATCH, READ> {
    fn fd(&self) -> i32 {
        self.0.as_raw_fd()
    }
}

impl<const BATCH: usize, const READ: usize> Receives for End<BATCH, READ> {
    fn receive(&mut self) -> Received {
        let mut bytes = [0_u8; READ];
        let flags = libc::MSG_DONTWAIT;
        // SAFETY: the room is as large as the third argument says, and lives through the call.
        let got = unsafe { libc::recv(self.fd(), bytes.as_mut_ptr().cast(), READ, flags) };
        if got <= 0 {
            return Received::NOTHING;
        }
        let frames = bytes[..got as usize].as_chunks::<FRAME>().0;
        for frame in frames {
            core::hint::black_box(frame);
        }
        Received::some(frames.len())
    }

    fn readable(&self) -> i32 {
        self.fd()
    }
}

/// A control message with room for `N` descriptors.
#[repr(C, align(8))]
struct Control<const N: usize> {
    header: libc::cmsghdr,
    descriptors: [i32; N],
}

impl<const N: usize> Control<N> {
    fn new(descriptor: i32) -> Self {
        Self {
            header: libc::cmsghdr {
                cmsg_len: size_of::<libc::cmsghdr>() + N * size_of::<i32>(),
                cmsg_level: libc::SOL_SOCKET,
                cmsg_type: libc::SCM_RIGHTS,
            },
            descriptors: [descriptor; N],
        }
    }

    /// Calls `call` with a message of one frame and this control message.
    fn call(&mut self, bytes: &mut [u8; FRAME], call: impl FnOnce(&mut libc::msghdr)) {
        let mut vector = libc::iovec {
            iov_base: bytes.as_mut_ptr().cast(),
            iov_len: FRAME,
        };
        // SAFETY: a message is numbers and pointers, all of which may be zero.
        let mut message: libc::msghdr = unsafe { core::mem::zeroed() };
        message.msg_iov = &raw mut vector;
        message.msg_iovlen = 1;
        message.msg_control = core::ptr::from_mut(self).cast();
        message.msg_controllen = size_of::<Self>();
        call(&mut message);
    }
}

impl<const N: usize> Sends for Bearing<N> {
    fn send(&mut self, number: u32) -> bool {
        let mut bytes = [0; FRAME];
        bytes[..4].copy_from_slice(&number.to_ne_bytes());
        let mut sent = 0;
        Control::<N>::new(self.1.as_raw_fd()).call(&mut bytes, |message| {
            // SAFETY: the message's vector and control message live through the call.
            sent = unsafe { libc::sendmsg(self.0.as_raw_fd(), message, FLAGS) };
        });
        sent == FRAME as isize
    }

    fn writable(&self) -> i32 {
        self.0.as_raw_fd()
    }
}

impl<const N: usize> Receives for Bearing<N> {
    fn receive(&mut self) -> Received {
        let mut bytes = [0; FRAME];
        let mut control = Control::<N>::new(-1);
        let flags = libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC;
        let mut got = 0;
        control.call(&mut bytes, |message| {
            // SAFETY: the message's vector and control message live through the call.
            got = unsafe { libc::recvmsg(self.0.as_raw_fd(), message, flags) };
        });
        if got <= 0 {
            return Received::NOTHING;
        }
        for descriptor in control.descriptors {
            // SAFETY: the kernel installed this descriptor during the call, for us alone.
            drop(unsafe { OwnedFd::from_raw_fd(descriptor) });
        }
        Received::some(N)
    }

    fn readable(&self) -> i32 {
        self.0.as_raw_fd()
    }
}
