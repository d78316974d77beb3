//! Socket pairs whose ends have types, so that who holds what after a fork is checked by the
//! compiler.
//!
//! ```text
//!   Pair ──fork(&mut Alone)──┬── in the parent ──► Parent<End0>      End1 is closed here, by type
//!                            └── in the child ───► Child<End1>       End0 is closed here, by type
//!
//!   two pairs a worker
//!   control   Parent<End0>        the master's alone     orders down, reports up
//!   mesh      Parent<End0, Mesh>  later siblings inherit a copy, earlier ones are sent one: Peer<End0>
//!             Child<End1, Mesh>   receives only; the kernel can be asked to name the sender
//! ```
//!
//! Authority is who holds the end: an order counts only where it came by the control pair, whose
//! `End0` nobody but the master has. What a hostile sibling writes to a mesh pair can look like an
//! order; `run` refuses and counts it. `Parent<End1>` and `Child<End0>` do not exist.
//!
//! Sending never blocks, is all or nothing, and gives back what it could not send. Receiving fills
//! an [`Inbox`] with up to 128 frames a call and hands them out one by one, each with the
//! descriptors that came with it.
//!
//! # Invariants
//!
//! - **A message that carries descriptors is one frame.** Then the descriptors of a read belong to
//!   its last frame: the kernel glues plain frames in front of such a message and stops behind it
//!   (test `descriptors_belong_to_the_last_frame_of_a_read`).
//! - No descriptor leaks: what nobody takes is closed (test `unexpected_descriptors_are_closed`).
//! - A descriptor that could not be installed is missing from its entry; the channel lives
//!   (test `a_full_descriptor_table_costs_an_entry_and_not_the_channel`).
//! - No end can be used for what it is not for (the compile-fail tests, `tests/ui`).
//!
//! # Limits
//!
//! The kernel lets a sender with CAP_SYS_ADMIN name another process than itself: where workers keep
//! that capability, a sender's name is its own claim. A fork inherits what the parent holds of earlier
//! forks; [`run`](crate::run) closes it.
//!
//! # Why not one pair a worker, and SOCK_SEQPACKET
//!
//! With one pair, as nginx has it, every sibling holds the end that the master gives its orders on:
//! it can fill it, shut it down, or give orders of its own. With SEQPACKET every read is one
//! message; a stream reads many frames at once, and costs a tenth less for one.
//!
//! # Example
//!
//! ```
//! use forkmesh::channel::{Alone, FromMaster, Inbox, Pair};
//! use forkmesh::wire::{Command, Message};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let alone = &mut unsafe { Alone::assume() }; // a doctest has threads, and its child needs none
//! let pair = Pair::new().expect("two descriptors");
//! let (parent, process) = pair.fork(alone, |child| {
//!     let mut inbox = Inbox::new();
//!     while child.receive(&mut inbox).is_err() {}
//!     match inbox.take() {
//!         Some(Ok(parcel)) if parcel.command == Command::User(Message::new(1, [7; 16])) => 0,
//!         _ => 1,
//!     }
//! })?;
//! parent.send(FromMaster::User(Message::new(1, [7; 16])))?;
//! # let _ = process;
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

mod announce;
mod ends;
mod fork;
mod inbox;
mod send;

pub use crate::sys::process::{Alone, ForkError, NotAlone, Process};
pub(crate) use announce::Entry;
pub use ends::{Child, Control, End0, End1, KeptByChild, KeptByParent, Mesh, Pair, Parent, Peer};
pub use fork::{Split, Unforked, fork};
pub use inbox::{Faults, Filled, Inbox, Parcel, ReceiveError};
pub use send::{FromMaster, FromWorker, SendError, SendFault};
