//! An allocator in memory that processes share, and that a kill at any instant harms nothing in. It
//! hands out places; what is in them it never touches.
//!
//! ```text
//!   in the zone, shared                                              in each process
//!
//!   ┌────────┬───────────────────────────────┬──────────────────┐    Heap  ┌─────────────────────────┐
//!   │ pages  │ Class(64) │ Free │ Run(2)│Tail│ a word each      │◄─────────│ magazines: blocks that  │
//!   ├────────┼───────────────────────────────┼──────────────────┤          │ this slot already holds │
//!   │ blocks │ Private(3).7 │ Free.2 │ ...   │ a word each      │◄─────────│                         │
//!   ├────────┼───────────────────────────────┼──────────────────┤          └───────────▲─────────────┘
//!   │ hints  │ where to look first           │ a bit a page     │             alloc, free
//!   ├────────┼───────────────────────────────┼──────────────────┤
//!   │ data   │ pages, cut into blocks        │ nobody looks here│◄─ ─ ─ Handle ─► Extent: offset, length
//!   └────────┴───────────────────────────────┴──────────────────┘
//! ```
//!
//! One idea carries everything: **the whole truth about a block is one word that names its holder and
//! its generation, and every change of hands is one store or one compare-and-exchange of that word.**
//! There is no list to be found half-linked, no counter to be found wrong, and no log. What a dead
//! process held is found by looking for its name ([`Heap::recover`]).
//!
//! The room sees words that somebody else has cast ([`Words`]), so it is safe code, and a model sees
//! every one of them.
//!
//! # The life of a block
//!
//! ```text
//!             alloc              publish, insert
//!    free ──────────► private ───────────────────► published        ends with its holder: private, offered
//!     ▲                │ ▲ ▲ ▲                        │             ends with the zone:   published
//!     └──── free ──────┘ │ │ └──── claim, take ───────┘
//!     ▲           offer  ▼ │ accept
//!     │                offered
//!     └── the holder is dead: recover
//! ```
//!
//! # Who may change what
//!
//! | word | from | by whom |
//! |---|---|---|
//! | block | unused | the one who is busy with its page: a store |
//! | block | free, published, offered | anybody: compare-and-exchange, one wins |
//! | block | private | its holder: a store; when it is dead, the one who recovers it |
//! | page | free | anybody: compare-and-exchange |
//! | page | cut into blocks | one who holds every block of it: a store |
//! | page | busy, run, freeing | its owner: a store; when it is dead, the one who recovers it |
//!
//! Whoever has won the first block of a page looks at the page again: it may be another page by now.
//! Once a block of it is held, it stays what it is.
//!
//! # Invariants
//!
//! - A block has one holder at a time, whatever else happens to its page (models `two_allocate`,
//!   `three_allocate`, `a_page_changes_its_class_at_every_step`, `runs_overlap`).
//! - Killed at any store, a process leaves nothing that recovery does not find, and nobody waits for
//!   it (every model whose name ends with `killed_at_every_step`; test `whatever_was_done_is_recovered`).
//! - A published block is one that a link leads to, if links are used (model `linking_killed_at_every_step`).
//! - Every operation ends after a number of steps that the size of the zone bounds, whatever is in
//!   the words; none leads out of the zone, and none panics (test `scribbled_words_harm_nobody`).
//! - Full means full: no block of the class is free, and no page; for runs, no pages in a row (test
//!   `a_zone_does_what_a_list_does`), unless others are at work at that instant.
//! - A kill lands between two instructions, and the compiler may have moved a store. Every store that
//!   comes after another one in a protocol is therefore Release or stronger; a model takes the order
//!   of the source and cannot see this rule broken, it is kept by reading.
//!
//! # What it cannot know
//!
//! That a process has been reaped says that no processor stores for it any more, but not that the
//! kernel does not: a transfer into a block that was begun and not ended may still land. Nor does it
//! hold for a process that shares its memory with another one.
//!
//! # Why not nginx's slab, with a robust mutex
//!
//! One lock for every allocation of every process; and a kill inside leaves lists and bitmaps that
//! somebody has to repair, from nothing but themselves.
//!
//! # Why not the free lists of a fast allocator
//!
//! A list is a chain of addresses in shared memory: a kill between two of its stores loses the rest,
//! and whoever can write there leads everybody anywhere. Words at fixed places cost four bytes a
//! block, and have neither fault. What such allocators are fast by, a private stock of blocks, is
//! here, too.
//!
//! # Example
//!
//! ```
//! use forkmesh::slab::{Heap, Layout, Link, STANDARD, Section, Slab, Words, ZoneTag};
//! use forkmesh::sync::{AtomicU32, AtomicU64};
//! use forkmesh::table::{Generation, SlotId, SlotIndex};
//!
//! // In a real zone these lie in a mapping, each at `layout.range(section)`.
//! let layout = Layout::new(&STANDARD, 1 << 20, 4).unwrap();
//! let longs = |section| -> Vec<AtomicU64> {
//!     (0..layout.count(section)).map(|_| AtomicU64::new(0)).collect()
//! };
//! let words = |section| -> Vec<AtomicU32> {
//!     (0..layout.count(section)).map(|_| AtomicU32::new(0)).collect()
//! };
//! let roots: Vec<Link> = (0..layout.count(Section::Roots)).map(|_| Link::new()).collect();
//! let words = Words {
//!     header: &longs(Section::Header),
//!     roots: &roots,
//!     rows: &words(Section::Rows),
//!     statistics: &words(Section::Statistics),
//!     pages: &longs(Section::Pages),
//!     blocks: &words(Section::Blocks),
//!     free_hints: &longs(Section::FreeHints),
//!     part_hints: &longs(Section::PartHints),
//! };
//! let slab = Slab::create(words, layout, ZoneTag::of(0)).unwrap();
//!
//! // A worker puts an object into the zone, and dies.
//! let worker = SlotId::new(SlotIndex::new(0).unwrap(), Generation::FIRST);
//! let mut heap = Heap::join(slab, worker).unwrap();
//! let object = heap.alloc(100, 16).unwrap();
//! assert!(slab.extent(object).unwrap().length >= 100); // write it there
//! heap.insert(&slab.roots()[0], object).unwrap();
//! let lost = heap.alloc(5000, 4096).unwrap();
//!
//! // The master has reaped it: what it held is free, what it left to the zone is there.
//! let mut master = Heap::join(slab, SlotId::MASTER).unwrap();
//! master.recover(worker).unwrap();
//! assert!(slab.state(lost).is_err());
//! let taken = master.take(&slab.roots()[0]).unwrap();
//! master.free(taken).unwrap();
//! assert!(master.free(taken).is_err()); // a stale handle: refused, and nothing is harmed
//! ```
#![forbid(unsafe_code)]

mod census;
mod geometry;
mod handle;
mod heap;
mod hints;
mod layout;
mod link;
mod magazine;
mod page;
mod recover;
mod refill;
mod retire;
mod run;
mod statistics;
mod transfer;
mod word;
mod zone;

pub use census::{Census, Count, Holding};
pub use geometry::{Class, Fit, Geometry, STANDARD};
pub use handle::{Handle, ZoneTag};
pub use heap::{Heap, NotAllocated, NotJoined};
pub use layout::{Layout, NoLayout, Section};
pub use link::{Link, NotLinked};
pub use page::{Page, PageWord};
pub use recover::{NotRecovered, Recovered, Recovery};
pub use statistics::Statistics;
pub use word::{BlockWord, Change, State};
pub use zone::{Extent, NoZone, Refused, Slab, Words};
