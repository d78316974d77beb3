//! The bytes on a channel: 32 of them, and what they mean.
//!
//! ```text
//!        0               8       12      16              24      28      32
//!        ┌───────────────┬───────┬───────┬───────────────┬───────┬───────┐
//!        │ command   u64 │ pid   │ gener.│ slot      i64 │ fd    │ sender│   native endian
//!        │ number│ tag   │ i32   │ u32   │               │ i32   │ u32   │
//!        └───────────────┴───────┴───────┴───────────────┴───────┴───────┘
//!  nginx   command         pid     (hole)  slot            fd      (hole)
//! ```
//!
//! This is nginx's `ngx_channel_t` on a 64-bit Linux. What is ours lies in its two holes and in the
//! upper half of the command, which are zero in a frame from nginx, and zero means "unknown" there;
//! and -2 is a word of ours for a descriptor that follows. (On a big-endian machine the tag comes
//! before the number, as the upper half of a u64 does.)
//!
//! | number | command | pid, generation, slot | tag | fd |
//! |---|---|---|---|---|
//! | 1 | OPEN | who has this place now; to that worker itself: here is your new mesh end | version | ≥ 0: comes with it · -1: none, you hold it · -2: follows |
//! | 2 | CLOSE | whose place nobody has now; the generation is the next life's, which has not begun | version | |
//! | 3, 4, 5 | QUIT, TERMINATE, REOPEN | | | |
//! | 16 | READY | | | |
//! | 17 | RESYNC | slot 0: of the table · slot -1: of the mesh pair | lowest version | |
//! | 18 | FAILED | pid: errno | stage | |
//! | 19 | DESCRIPTORS | | how many, 1 to 253 | ≥ 0 |
//! | 32 | USER | 16 bytes of payload | the user's | ≥ 0: comes with it · -1: none |
//!
//! Reading has two stages: [`Frame`] is the shape, [`Command`] the meaning. Both are total: no byte
//! from a channel can panic, and what is not understood is a typed error. A field that a command does
//! not use is not looked at.
//!
//! # Invariants
//!
//! - What is written is read back as the same command (test `every_command_survives_the_wire`).
//! - nginx's own frames are read; a frame of ours that names no sender, generation or version has
//!   nginx's bytes, but for the descriptor's number (test `golden_bytes`).
//! - No bytes panic (fuzz target `channel_decode`, test `no_bytes_panic`).
//!
//! # Why not a length, a magic number, a checksum
//!
//! Both ends of a channel run one image: between them lies a fork, never an exec. And the kernel does
//! not damage bytes. What can be wrong is a sender, and a hostile one computes checksums too. (The
//! letters of a hand-over cross an exec, and have a magic number and a version; a [`board`] is read
//! while it is written, and has a checksum.)
//!
//! # Example
//!
//! ```
//! use forkmesh::wire::{Command, Frame, Message};
//!
//! let said = Command::User(Message::new(7, *b"sixteen bytes ok"));
//! let bytes = Frame::new(said, None).to_bytes();
//! assert_eq!(Frame::read(&bytes).unwrap().command(), Ok(said));
//! ```
#![forbid(unsafe_code)]
#![deny(clippy::indexing_slicing)]

pub mod board;
mod command;
mod frame;
mod handover;

pub use command::{Attached, Command, MOST_DESCRIPTORS, Malformed, Message, Resync, Subject};
pub use frame::{FRAME_SIZE, Frame, Short, frames};
pub use handover::{
    Hello, LETTER_VERSION, LONGEST_LETTER, LONGEST_NAME, Letter, LetterBytes, MOST_GROUPED,
    MOST_NAMED, MOST_PASSED, Name, STAGE_EXEC, Unreadable,
};
