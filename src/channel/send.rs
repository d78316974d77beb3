//! Sending: what each end may say, at once or not at all.

use core::fmt;

use rustix::fd::{AsFd, BorrowedFd};
use rustix::io::Errno;

use crate::channel::ends::{Child, Control, End0, End1, Parent, Peer};
use crate::sys::socket;
use crate::table::SlotId;
use crate::wire::{Command, FRAME_SIZE, Frame, Message, Resync};

/// What a master may say to a worker.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum FromMaster {
    /// Finish what was begun, then exit.
    Quit,
    /// Exit now.
    Terminate,
    /// Open the log files again.
    Reopen,
    /// Something of the user's own.
    User(Message),
}

/// What a worker may say to its master.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum FromWorker {
    /// It serves.
    Ready,
    /// It missed something.
    Resync(Resync),
    /// It cannot serve: which step failed, and the error.
    Failed(u32, i32),
    /// Something of the user's own.
    User(Message),
}

/// A send that did not happen, and what was to be sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SendError<T> {
    /// What was to be sent.
    pub value: T,
    /// Why it was not.
    pub fault: SendFault,
}

/// Why a send did not happen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum SendFault {
    /// The other side has not read what it was sent: try again when the end is writable.
    Full,
    /// The other side is gone, or nobody by this name is known.
    Gone,
    /// The kernel refused, and will not say when it no longer does: ETOOMANYREFS, ENOBUFS, ENOMEM
    /// are worth another try after a while.
    Refused(Errno),
}

impl Parent<End0, Control> {
    /// Tells the worker. Cost: one system call.
    ///
    /// # Errors
    ///
    /// [`SendError`], with what was to be sent.
    pub fn send(&self, said: FromMaster) -> Result<(), SendError<FromMaster>> {
        send_one(self, said.into(), Some(SlotId::MASTER)).map_err(with(said))
    }

    /// Sends the worker a message with a descriptor. Cost: one system call.
    ///
    /// # Errors
    ///
    /// [`SendError`], with the message.
    pub fn send_with(
        &self,
        message: Message,
        descriptor: impl AsFd,
    ) -> Result<(), SendError<Message>> {
        send_carrier(self, message, descriptor, Some(SlotId::MASTER)).map_err(with(message))
    }

    /// Sends the worker up to 128 messages in one call, all of them or none. Cost: one system
    /// call, and 32 bytes copied a message.
    ///
    /// # Errors
    ///
    /// [`SendError`], with the messages; EMSGSIZE where there are more than 128.
    pub fn send_all<'m>(&self, messages: &'m [Message]) -> Result<(), SendError<&'m [Message]>> {
        send_batch(self, messages, Some(SlotId::MASTER)).map_err(with(messages))
    }

    /// Sends the worker up to 253 descriptors in one message, which arrives as
    /// [`Command::Descriptors`]; what they are is said in the messages before it. Cost: one system
    /// call.
    ///
    /// # Errors
    ///
    /// [`SendFault`]; EINVAL where there is none, or more than 253.
    pub fn send_descriptors(&self, descriptors: &[BorrowedFd<'_>]) -> Result<(), SendFault> {
        match u8::try_from(descriptors.len()) {
            Ok(count @ 1..) => {
                let bearer = Command::Descriptors { count };
                send_bearer(self, bearer, descriptors, Some(SlotId::MASTER))
            }
            _ => Err(SendFault::Refused(Errno::INVAL)),
        }
    }
}

impl Child<End1, Control> {
    /// Tells the master. Cost: one system call.
    ///
    /// # Errors
    ///
    /// [`SendError`], with what was to be sent.
    pub fn send(&self, said: FromWorker) -> Result<(), SendError<FromWorker>> {
        send_one(self, said.into(), None).map_err(with(said))
    }

    /// Sends the master a message with a descriptor. Cost: one system call.
    ///
    /// # Errors
    ///
    /// [`SendError`], with the message.
    pub fn send_with(
        &self,
        message: Message,
        descriptor: impl AsFd,
    ) -> Result<(), SendError<Message>> {
        send_carrier(self, message, descriptor, None).map_err(with(message))
    }

    /// Sends the master up to 128 messages in one call, all of them or none. Cost: one system
    /// call, and 32 bytes copied a message.
    ///
    /// # Errors
    ///
    /// [`SendError`], with the messages; EMSGSIZE where there are more than 128.
    pub fn send_all<'m>(&self, messages: &'m [Message]) -> Result<(), SendError<&'m [Message]>> {
        send_batch(self, messages, None).map_err(with(messages))
    }
}

impl Peer<End0> {
    /// Sends the sibling a message, in the name of `sender`. Cost: one system call.
    ///
    /// # Errors
    ///
    /// [`SendError`], with the message.
    pub fn send(&self, message: Message, sender: Option<SlotId>) -> Result<(), SendError<Message>> {
        let plain = Message {
            carries: false,
            ..message
        };
        send_one(self, Command::User(plain), sender).map_err(with(message))
    }

    /// Sends the sibling a message with a descriptor. Cost: one system call.
    ///
    /// # Errors
    ///
    /// [`SendError`], with the message.
    pub fn send_with(
        &self,
        message: Message,
        descriptor: impl AsFd,
        sender: Option<SlotId>,
    ) -> Result<(), SendError<Message>> {
        send_carrier(self, message, descriptor, sender).map_err(with(message))
    }

    /// Sends the sibling up to 128 messages in one call, all of them or none. Cost: one system
    /// call, and 32 bytes copied a message.
    ///
    /// # Errors
    ///
    /// [`SendError`], with the messages; EMSGSIZE where there are more than 128.
    pub fn send_all<'m>(
        &self,
        messages: &'m [Message],
        sender: Option<SlotId>,
    ) -> Result<(), SendError<&'m [Message]>> {
        send_batch(self, messages, sender).map_err(with(messages))
    }
}

fn with<T>(value: T) -> impl FnOnce(SendFault) -> SendError<T> {
    move |fault| SendError { value, fault }
}

fn send_one(end: impl AsFd, command: Command, sender: Option<SlotId>) -> Result<(), SendFault> {
    send_bytes(end, &Frame::new(command, sender).to_bytes())
}

fn send_batch(
    end: impl AsFd,
    messages: &[Message],
    sender: Option<SlotId>,
) -> Result<(), SendFault> {
    let mut batch = heapless::Vec::<u8, { 128 * FRAME_SIZE }>::new();
    for message in messages {
        let plain = Message {
            carries: false,
            ..*message
        };
        let frame = Frame::new(Command::User(plain), sender).to_bytes();
        if batch.extend_from_slice(&frame).is_err() {
            return Err(SendFault::Refused(Errno::MSGSIZE));
        }
    }
    send_bytes(end, &batch)
}

fn send_carrier(
    end: impl AsFd,
    message: Message,
    descriptor: impl AsFd,
    sender: Option<SlotId>,
) -> Result<(), SendFault> {
    let command = Command::User(Message {
        carries: true,
        ..message
    });
    send_bearer(end, command, &[descriptor.as_fd()], sender)
}

/// Sends whole frames that carry nothing.
pub(super) fn send_bytes(end: impl AsFd, bytes: &[u8]) -> Result<(), SendFault> {
    outcome(socket::send(end, bytes), bytes.len())
}

/// Sends the one frame of a message that carries descriptors.
pub(super) fn send_bearer(
    end: impl AsFd,
    command: Command,
    descriptors: &[BorrowedFd<'_>],
    sender: Option<SlotId>,
) -> Result<(), SendFault> {
    let bytes = Frame::new(command, sender).to_bytes();
    outcome(socket::send_with(end, &bytes, descriptors), FRAME_SIZE)
}

/// The kernel takes up to 4 KiB as a whole or not at all; should it ever take a part, the other side
/// can no longer tell frames apart, and EMSGSIZE says so.
fn outcome(sent: Result<usize, Errno>, whole: usize) -> Result<(), SendFault> {
    match sent {
        Ok(bytes) if bytes == whole => Ok(()),
        Ok(_) => Err(SendFault::Refused(Errno::MSGSIZE)),
        Err(Errno::AGAIN) => Err(SendFault::Full),
        Err(Errno::PIPE | Errno::CONNRESET | Errno::NOTCONN) => Err(SendFault::Gone),
        Err(errno) => Err(SendFault::Refused(errno)),
    }
}

impl From<FromMaster> for Command {
    fn from(said: FromMaster) -> Self {
        match said {
            FromMaster::Quit => Self::Quit,
            FromMaster::Terminate => Self::Terminate,
            FromMaster::Reopen => Self::Reopen,
            FromMaster::User(message) => Self::User(Message {
                carries: false,
                ..message
            }),
        }
    }
}

impl From<FromWorker> for Command {
    fn from(said: FromWorker) -> Self {
        match said {
            FromWorker::Ready => Self::Ready,
            FromWorker::Resync(missed) => Self::Resync(missed),
            FromWorker::Failed(stage, errno) => Self::Failed { stage, errno },
            FromWorker::User(message) => Self::User(Message {
                carries: false,
                ..message
            }),
        }
    }
}

impl<T> fmt::Display for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fault.fmt(f)
    }
}

impl fmt::Display for SendFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str("the channel is full"),
            Self::Gone => f.write_str("nobody is there"),
            Self::Refused(errno) => write!(f, "refused: {errno}"),
        }
    }
}

impl<T: fmt::Debug> core::error::Error for SendError<T> {}
impl core::error::Error for SendFault {}
