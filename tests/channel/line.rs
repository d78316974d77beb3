//! Both ends of a pair in one process, and raw sends into one of them.
//!
//! The library splits every pair by a fork, so a test that wants to write odd bytes at one end and
//! read them with types at the other has the sender's end handed back as a descriptor.

use core::mem::MaybeUninit;

use forkmesh::channel::{Child, End0, End1, Filled, Inbox, Mesh, Pair, Parent, ReceiveError, fork};
use forkmesh::table::{Generation, Pid, SlotId, SlotIndex};
use forkmesh::wire::{Attached, Command, FRAME_SIZE, Frame, Message, Subject};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::{Errno, IoSlice};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

use crate::support::{Kept, alone, in_child, wait_readable};

/// A pair with its sender's end in raw hands.
pub(crate) struct Line {
    pub(crate) kind: Kind,
    pub(crate) sender: OwnedFd,
    reader: Reader,
}

/// Which pair, and in which direction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// The control pair, from the master.
    Orders,
    /// The control pair, from the worker.
    Reports,
    /// The mesh pair, without credentials.
    Mesh,
    /// The mesh pair, with credentials.
    Named,
}

enum Reader {
    Orders(Child<End1>),
    Reports(Parent<End0>),
    Mesh(Child<End1, Mesh>),
}

impl Line {
    pub(crate) fn receive(&self, inbox: &mut Inbox) -> Result<Filled, ReceiveError> {
        match &self.reader {
            Reader::Orders(end) => end.receive(inbox),
            Reader::Reports(end) => end.receive(inbox),
            Reader::Mesh(end) => end.receive(inbox),
        }
    }

    pub(crate) fn reader(&self) -> BorrowedFd<'_> {
        match &self.reader {
            Reader::Orders(end) => end.as_fd(),
            Reader::Reports(end) => end.as_fd(),
            Reader::Mesh(end) => end.as_fd(),
        }
    }

    /// Sends bytes with descriptors beside them, all at once.
    pub(crate) fn send(&self, bytes: &[u8], descriptors: &[OwnedFd]) {
        let descriptors: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
        let sent = send_raw(&self.sender, bytes, &descriptors);
        assert_eq!(sent, Ok(bytes.len()), "the socket takes the message");
    }
}

/// Runs the body on each kind of line, in a process of its own.
pub(crate) fn on_each_line(body: impl Fn(&Line)) {
    for kind in [Kind::Orders, Kind::Reports, Kind::Mesh, Kind::Named] {
        on_line(kind, &body);
    }
}

/// Runs the body on one kind of line, in a process of its own, which alone holds both ends.
pub(crate) fn on_line(kind: Kind, body: impl FnOnce(&Line)) {
    match kind {
        Kind::Reports => in_child(|| body(&reports())),
        _ => orders_or_mesh(kind, body),
    }
}

fn orders_or_mesh(kind: Kind, body: impl FnOnce(&Line)) {
    let pairs = (
        Pair::new().expect("a pair"),
        Pair::mesh(kind == Kind::Named).expect("a mesh pair"),
    );
    let forked = fork(&mut alone(), pairs, |(control, mesh)| {
        let sender = handed(&control, |inbox| control.receive(inbox));
        // The second message says that the parent's copy is closed.
        wait_readable(&control, "the word of the parent");
        let mut inbox = Inbox::new();
        assert_eq!(
            control.receive(&mut inbox).map(|filled| filled.frames),
            Ok(1)
        );
        let reader = match kind {
            Kind::Orders => Reader::Orders(control),
            _ => Reader::Mesh(mesh),
        };
        body(&Line {
            kind,
            sender,
            reader,
        });
        0
    });
    let ((control, mesh), process) = forked.expect("a child");
    let mut child = Kept::new(process);
    if kind == Kind::Orders {
        control
            .send_with(nothing(), &control)
            .expect("an empty channel takes it");
    } else {
        control
            .send_with(nothing(), &mesh)
            .expect("an empty channel takes it");
    }
    drop(mesh);
    send_raw(&control, &plain(0), &[]).expect("and this");
    drop(control);
    child.ends_well();
}

fn reports() -> Line {
    let forked = Pair::new().expect("a pair").fork(&mut alone(), |control| {
        u8::from(control.send_with(nothing(), &control).is_err())
    });
    let (control, process) = forked.expect("a child");
    let sender = handed(&control, |inbox| control.receive(inbox));
    Kept::new(process).ends_well();
    Line {
        kind: Kind::Reports,
        sender,
        reader: Reader::Reports(control),
    }
}

/// The descriptor that comes with the next message.
fn handed(end: impl AsFd, receive: impl Fn(&mut Inbox) -> Result<Filled, ReceiveError>) -> OwnedFd {
    wait_readable(end, "a descriptor");
    let mut inbox = Inbox::new();
    receive(&mut inbox).expect("something waits");
    let parcel = inbox.take().expect("a frame").expect("with a meaning");
    assert_eq!(parcel.descriptors, 1);
    inbox.descriptor().expect("the descriptor that was counted")
}

/// sendmsg, as any process could call it.
pub(crate) fn send_raw(
    to: impl AsFd,
    bytes: &[u8],
    descriptors: &[BorrowedFd<'_>],
) -> Result<usize, Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(253))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() {
        let fits = ancillary.push(SendAncillaryMessage::ScmRights(descriptors));
        assert!(fits, "no message carries more than 253");
    }
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    sendmsg(to, &[IoSlice::new(bytes)], &mut ancillary, flags)
}

/// A message with nothing in it.
pub(crate) fn nothing() -> Message {
    Message::new(0, [0; 16])
}

/// The bytes of a user's message that carries nothing.
pub(crate) fn plain(tag: u32) -> [u8; FRAME_SIZE] {
    Frame::new(Command::User(Message::new(tag, [0xA5; 16])), None).to_bytes()
}

/// A frame that speaks of descriptors.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Bearer {
    /// A user's message with one.
    User,
    /// The announcement of a sibling with one.
    Open,
    /// The one frame for many.
    Descriptors(u8),
}

impl Bearer {
    /// How many descriptors it speaks of.
    pub(crate) fn count(self) -> usize {
        match self {
            Self::User | Self::Open => 1,
            Self::Descriptors(count) => count.into(),
        }
    }

    pub(crate) fn bytes(self) -> [u8; FRAME_SIZE] {
        match self {
            Self::User => {
                let mut bytes = plain(0);
                bytes[24..28].copy_from_slice(&0_i32.to_ne_bytes());
                bytes
            }
            Self::Open => Frame::new(open(), None).to_bytes(),
            Self::Descriptors(count) => Frame::new(Command::Descriptors { count }, None).to_bytes(),
        }
    }

    /// Whether a command is this.
    pub(crate) fn is(self, command: Command) -> bool {
        match (self, command) {
            (Self::User, Command::User(message)) => message.carries_descriptor(),
            (Self::Open, open) => open == self::open(),
            (Self::Descriptors(count), command) => command == Command::Descriptors { count },
            _ => false,
        }
    }
}

fn open() -> Command {
    let index = SlotIndex::new(3).expect("a child's slot");
    Command::Open {
        subject: Subject::new(SlotId::new(index, Generation::FIRST), Pid::new(4711)),
        version: 9,
        attached: Attached::Here,
    }
}
