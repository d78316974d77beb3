//! Socket pairs: bytes, and descriptors beside them.
//!
//! `recvmsg` is made here and not by rustix, whose type for a sender's credentials cannot say pid 0:
//! the pid that the kernel names for a sender in another pid namespace.

use core::mem::{MaybeUninit, offset_of, size_of};

use heapless::Vec;
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use rustix::io::{Errno, FdFlags, IoSlice, fcntl_setfd};
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, Shutdown, SocketFlags,
    SocketType, sendmsg, shutdown, socketpair, sockopt,
};
use syscalls::{Sysno, syscall};

use crate::sys::errno;

/// How many descriptors one message can carry: SCM_MAX_FD.
pub(crate) const MOST_DESCRIPTORS: usize = 253;

const SEND: SendFlags = SendFlags::DONTWAIT.union(SendFlags::NOSIGNAL);

/// Two connected stream sockets, non-blocking and close-on-exec.
pub(crate) fn pair() -> Result<(OwnedFd, OwnedFd), Errno> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None)
}

/// Two connected sockets that keep messages apart, non-blocking and close-on-exec.
pub(crate) fn letter_pair() -> Result<(OwnedFd, OwnedFd), Errno> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)
}

/// Who made the pair that this end is of; 0 for a process that cannot be seen from here.
pub(crate) fn made_by(fd: impl AsFd) -> Result<i32, Errno> {
    option(fd.as_fd().as_raw_fd(), SO_PEERCRED)
}

/// A number under which a socket for messages came through an exec. It is nobody's descriptor until
/// it is taken.
#[derive(Debug)]
pub(crate) struct Inherited(RawFd);

impl Inherited {
    /// Looks whether there is such a socket: AF_UNIX and SOCK_SEQPACKET, and not close-on-exec, as
    /// what this process has made or taken for itself would be. Standard input, output and error are
    /// none.
    pub(crate) fn find(number: RawFd) -> Option<Self> {
        // SAFETY: the call reads no memory; a number that is no descriptor is an error.
        let flags = unsafe { syscall!(Sysno::fcntl, number, F_GETFD) }.ok()?;
        let is_one = number > LAST_OF_STDIO
            && flags & FD_CLOEXEC == 0
            && option(number, SO_DOMAIN) == Ok(AF_UNIX)
            && option(number, SO_TYPE) == Ok(SOCK_SEQPACKET);
        is_one.then_some(Self(number))
    }

    /// The first message, which stays where it is.
    pub(crate) fn peek(&self, bytes: &mut [u8]) -> Result<usize, Errno> {
        // SAFETY: the bytes are borrowed mutably for the call, and as long as it is told.
        let length = unsafe {
            syscall!(
                Sysno::recvfrom,
                self.0,
                bytes.as_mut_ptr(),
                bytes.len(),
                MSG_PEEK | MSG_DONTWAIT,
                0,
                0
            )
        };
        length.map_err(errno)
    }

    /// Takes it, and has the next exec close it.
    pub(crate) fn take(self) -> Result<OwnedFd, Errno> {
        // SAFETY: it is open, and came from another program, which left it to this one; whoever of
        // this process had taken it would have made it close-on-exec.
        let socket = unsafe { OwnedFd::from_raw_fd(self.0) };
        fcntl_setfd(&socket, FdFlags::CLOEXEC)?;
        Ok(socket)
    }
}

/// An option of a socket that is an int, or begins with one.
fn option(number: RawFd, option: i32) -> Result<i32, Errno> {
    let mut value = [0_i32; 3]; // `struct ucred` is the longest
    let mut length = size_of_val(&value) as u32;
    // SAFETY: the value has the length that is named, and both live through the call; a number that
    // is no socket is an error.
    let done = unsafe {
        syscall!(
            Sysno::getsockopt,
            number,
            SOL_SOCKET,
            option,
            &raw mut value,
            &raw mut length
        )
    };
    done.map(|_| value[0]).map_err(errno)
}

/// Has the kernel name the sender of each message that arrives here.
pub(crate) fn name_senders(fd: impl AsFd) -> Result<(), Errno> {
    sockopt::set_socket_passcred(fd, true)
}

/// Nothing can be sent from this end any more.
pub(crate) fn shut_for_writing(fd: impl AsFd) -> Result<(), Errno> {
    shutdown(fd, Shutdown::Write)
}

/// Sends bytes; how many were taken.
pub(crate) fn send(fd: impl AsFd, bytes: &[u8]) -> Result<usize, Errno> {
    rustix::net::send(fd, bytes, SEND)
}

/// Sends bytes with descriptors beside them, 253 at the most; how many bytes were taken.
pub(crate) fn send_with(
    fd: impl AsFd,
    bytes: &[u8],
    descriptors: &[BorrowedFd<'_>],
) -> Result<usize, Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !ancillary.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(Errno::INVAL);
    }
    sendmsg(fd, &[IoSlice::new(bytes)], &mut ancillary, SEND)
}

/// How many bytes the kernel holds for sends from this end that nobody has read yet.
pub(crate) fn unread(fd: impl AsFd) -> Result<usize, Errno> {
    let mut bytes: i32 = 0;
    let fd = fd.as_fd().as_raw_fd();
    // SAFETY: SIOCOUTQ writes one int, which lives through the call.
    let done = unsafe { syscall!(Sysno::ioctl, fd, SIOCOUTQ, &raw mut bytes) };
    done.map(|_| bytes.max(0) as usize).map_err(errno)
}

/// Closes descriptors that nobody asked for, the last `count` of them. A socket that lingers when it
/// is closed would hold up the one who closes it: these do not.
pub(crate) fn discard(descriptors: &mut Vec<OwnedFd, MOST_DESCRIPTORS>, count: usize) {
    for _ in 0..count {
        if let Some(descriptor) = descriptors.pop() {
            let _ = sockopt::set_socket_linger(&descriptor, None); // where it is a socket at all
        }
    }
}

/// What came beside the bytes of one read.
#[derive(Debug)]
pub(crate) struct Ancillary {
    /// The descriptors, close-on-exec, in the order in which they were sent.
    pub(crate) descriptors: Vec<OwnedFd, MOST_DESCRIPTORS>,
    /// Who sent the bytes, where the kernel was asked; 0 for a sender in a pid namespace that
    /// cannot be seen from here.
    pub(crate) sender: Option<i32>,
    /// There were more descriptors than could be installed.
    pub(crate) truncated: bool,
    control: Control,
}

/// Room for 253 descriptors and one sender, aligned as the kernel's headers are.
#[derive(Debug)]
#[repr(C, align(8))]
struct Control([u8; CONTROL_SIZE]);

impl Ancillary {
    pub(crate) const fn new() -> Self {
        Self {
            descriptors: Vec::new(),
            sender: None,
            truncated: false,
            control: Control([0; CONTROL_SIZE]),
        }
    }

    /// Sorts out what the kernel wrote to the first `length` bytes of the control buffer.
    fn read(&mut self, length: usize) {
        let mut rest = &self.control.0[..length.min(CONTROL_SIZE)];
        while let Some((kind, data, behind)) = next_message(rest) {
            match kind {
                (SOL_SOCKET, SCM_RIGHTS) => {
                    for number in data.as_chunks().0 {
                        // SAFETY: the kernel installed this descriptor during the call whose result
                        // this is, for us alone, and names it once.
                        let fd = unsafe { OwnedFd::from_raw_fd(RawFd::from_ne_bytes(*number)) };
                        let _ = self.descriptors.push(fd); // there is room for all; else it is closed
                    }
                }
                (SOL_SOCKET, SCM_CREDENTIALS) => {
                    self.sender = data.first_chunk().map(|pid| i32::from_ne_bytes(*pid));
                }
                _ => {}
            }
            rest = behind;
        }
    }
}

/// The level and the type of a control message.
type Kind = (i32, i32);

/// One control message: its kind, its data, and what lies behind it.
fn next_message(control: &[u8]) -> Option<(Kind, &[u8], &[u8])> {
    let length = usize::from_ne_bytes(*control.first_chunk()?);
    let level = i32::from_ne_bytes(*control.get(8..)?.first_chunk()?);
    let of_level = i32::from_ne_bytes(*control.get(12..)?.first_chunk()?);
    let data = control.get(CMSG_HEADER..length)?;
    let behind = control
        .get(length.next_multiple_of(CMSG_ALIGN)..)
        .unwrap_or_default();
    Some(((level, of_level), data, behind))
}

/// Receives bytes, and what comes beside them; what an earlier read left there is closed.
///
/// 0 bytes mean that no sender is left.
pub(crate) fn receive(
    fd: impl AsFd,
    bytes: &mut [u8],
    ancillary: &mut Ancillary,
) -> Result<usize, Errno> {
    let left = ancillary.descriptors.len();
    discard(&mut ancillary.descriptors, left);
    ancillary.sender = None;
    let mut vector = IoVector {
        base: bytes.as_mut_ptr(),
        length: bytes.len(),
    };
    let mut message = Header {
        name: core::ptr::null_mut(),
        name_length: 0,
        vectors: &raw mut vector,
        vector_count: 1,
        control: ancillary.control.0.as_mut_ptr(),
        control_length: CONTROL_SIZE,
        flags: 0,
    };
    let fd = fd.as_fd().as_raw_fd();
    // SAFETY: `message` is the kernel's `struct user_msghdr`; the bytes and the control buffer that
    // it names are as long as it says, are borrowed mutably, and live through the call.
    let received = unsafe {
        syscall!(
            Sysno::recvmsg,
            fd,
            &raw mut message,
            MSG_CMSG_CLOEXEC | MSG_DONTWAIT
        )
    };
    let received = received.map_err(errno)?;
    ancillary.truncated = message.flags & MSG_CTRUNC != 0;
    if message.control_length > 0 {
        ancillary.read(message.control_length);
    }
    Ok(received)
}

#[repr(C)]
struct IoVector {
    base: *mut u8,
    length: usize,
}

#[repr(C)]
struct Header {
    name: *mut u8,
    name_length: u32,
    vectors: *mut IoVector,
    vector_count: usize,
    control: *mut u8,
    control_length: usize,
    flags: i32,
}

const SOL_SOCKET: i32 = 1;
const SCM_RIGHTS: i32 = 1;
const SCM_CREDENTIALS: i32 = 2;
const MSG_CTRUNC: i32 = 0x8;
const MSG_DONTWAIT: i32 = 0x40;
const MSG_CMSG_CLOEXEC: i32 = 0x4000_0000;
const MSG_PEEK: i32 = 0x2;
const AF_UNIX: i32 = 1;
const SOCK_SEQPACKET: i32 = 5;
const SO_TYPE: i32 = 3;
const SO_PEERCRED: i32 = 17;
const SO_DOMAIN: i32 = 39;
const F_GETFD: i32 = 1;
const FD_CLOEXEC: usize = 1;
const LAST_OF_STDIO: RawFd = 2;
const SIOCOUTQ: i32 = 0x5411;
const CMSG_HEADER: usize = 16;
const CMSG_ALIGN: usize = 8;
const CREDENTIALS_SPACE: usize = CMSG_HEADER + 16;
const RIGHTS_SPACE: usize =
    (CMSG_HEADER + MOST_DESCRIPTORS * size_of::<RawFd>()).next_multiple_of(CMSG_ALIGN);
const CONTROL_SIZE: usize = CREDENTIALS_SPACE + RIGHTS_SPACE;

static_assertions::const_assert_eq!(size_of::<Header>(), 56);
static_assertions::const_assert_eq!(offset_of!(Header, control_length), 40);
static_assertions::assert_eq_size!(usize, u64);
