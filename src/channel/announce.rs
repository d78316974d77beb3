//! Announcing: bringing one worker up to date with the table, in as few messages as can be.
//!
//! ```text
//!   one newcomer            [OPEN here + fd]
//!   several changes         [OPEN held][CLOSE][OPEN follows]…[OPEN follows]   up to 127, one send
//!                           [DESCRIPTORS n + n fds]                           one frame, one send
//! ```
//!
//! A batch counts when its last message was taken. If a later one is refused the batch is sent
//! again, whole: the receiver forgets what was to follow when it is told anew, and a change that it
//! knows changes nothing.

use heapless::Vec;
use rustix::fd::BorrowedFd;
use rustix::io::Errno;

use crate::channel::ends::{Control, End0, Parent};
use crate::channel::send::{SendFault, send_bearer, send_bytes};
use crate::table::SlotId;
use crate::wire::{Attached, Command, FRAME_SIZE, Frame, Subject};

/// Changes a batch: with the DESCRIPTORS frame they fill one read of the receiver's.
const MOST_CHANGES: usize = 127;

/// One change of the table, as one recipient has to be told of it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Entry<'f> {
    /// A sibling lives; its descriptor, unless the recipient holds it.
    Open(Subject, u64, Option<BorrowedFd<'f>>),
    /// Nobody has a place; the subject is its next life.
    Close(Subject, u64),
}

/// What one batch told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Told {
    /// The version of its last change.
    pub(crate) through: u64,
    /// How many descriptors went with it.
    pub(crate) descriptors: usize,
}

#[derive(Default)]
struct Batch<'f> {
    plain: Vec<u8, { MOST_CHANGES * FRAME_SIZE }>,
    following: Vec<BorrowedFd<'f>, MOST_CHANGES>,
    through: u64,
}

impl Parent<End0, Control> {
    /// Tells the worker the first of these changes, as many as one batch takes and with `most`
    /// descriptors; `None` where there is nothing to tell. Cost: one or two system calls.
    pub(crate) fn announce<'f>(
        &self,
        changes: impl Iterator<Item = Entry<'f>>,
        most: usize,
    ) -> Result<Option<Told>, SendFault> {
        let mut changes = changes.peekable();
        let Some(first) = changes.next() else {
            return Ok(None);
        };
        if let (Entry::Open(subject, version, Some(descriptor)), None) = (first, changes.peek())
            && most > 0
        {
            let open = open(subject, version, Attached::Here);
            send_bearer(self, open, &[descriptor], Some(SlotId::MASTER))?;
            return Ok(Some(Told {
                through: version,
                descriptors: 1,
            }));
        }
        let mut batch = Batch::default();
        core::iter::once(first)
            .chain(changes)
            .take_while(|entry| batch.push(*entry, most))
            .count();
        if batch.plain.is_empty() {
            return Err(SendFault::Refused(Errno::TOOMANYREFS));
        }
        send_bytes(self, &batch.plain)?;
        if let count @ 1.. = batch.following.len() {
            let bearer = Command::Descriptors { count: count as u8 };
            send_bearer(self, bearer, &batch.following, Some(SlotId::MASTER))?;
        }
        Ok(Some(Told {
            through: batch.through,
            descriptors: batch.following.len(),
        }))
    }

    /// Hands a worker, as `subject`, the receiving end of its new mesh pair.
    pub(crate) fn hand_mesh(
        &self,
        subject: Subject,
        version: u64,
        end1: BorrowedFd<'_>,
    ) -> Result<(), SendFault> {
        let open = open(subject, version, Attached::Here);
        send_bearer(self, open, &[end1], Some(SlotId::MASTER))
    }
}

impl<'f> Batch<'f> {
    /// Whether the change fitted.
    fn push(&mut self, entry: Entry<'f>, most: usize) -> bool {
        let (command, version) = match entry {
            Entry::Close(subject, version) => (
                Command::Close {
                    subject,
                    version: version as u32,
                },
                version,
            ),
            Entry::Open(subject, version, None) => {
                (open(subject, version, Attached::Held), version)
            }
            Entry::Open(subject, version, Some(descriptor)) => {
                let full = self.plain.is_full() || self.following.len() >= most;
                if full || self.following.push(descriptor).is_err() {
                    return false;
                }
                (open(subject, version, Attached::Follows), version)
            }
        };
        let frame = Frame::new(command, Some(SlotId::MASTER)).to_bytes();
        let fitted = self.plain.extend_from_slice(&frame).is_ok();
        if fitted {
            self.through = version;
        }
        fitted
    }
}

fn open(subject: Subject, version: u64, attached: Attached) -> Command {
    Command::Open {
        subject,
        version: version as u32,
        attached,
    }
}
