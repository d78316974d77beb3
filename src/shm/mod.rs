//! Shared memory that has a name, an owner and types, and that outlives those who use it: a reload, an
//! upgrade, and a process that is killed at any instant.
//!
//! ```text
//!   Mapping          Zone                                          Joined             ShmBox<T> · Link<T>
//!   pages between ─► header · fixed part · slab ──join(my slot)──► allocate in it ──► objects, held · linked
//!   two guards       └──────── Zones: a service's, by name ──────┘
//!                              over reloads and upgrades                 RosterMemory: who has which slot,
//!                              recover(dead), a few pages a step                       and what it may hold
//! ```
//!
//! What is in the memory is checked once, when it is attached to, and never trusted again: no bytes that
//! a process can write there make another read or write elsewhere, panic, or go on for ever. Wrong
//! data is what a hostile process can give, to those who share data with it.
//!
//! This is the one room, beside `sys`, that has unsafe code: where memory becomes references
//! (`region.rs`), and where types are vouched for (`plain.rs`). Its users need none.
//!
//! # What lives there
//!
//! | | is | used | example |
//! |---|---|---|---|
//! | [`ShmPod`] | plain data, declared by [`shm_struct!`](crate::shm_struct) | by copies | what a cache has of a key |
//! | [`ShmSync`] | atomics, mutexes, links; `shm_struct!` with `sync` | where they lie | a table of links |
//!
//! # What a master does
//!
//! ```text
//!   start        RosterMemory::create ─► claim_master;  Zones::new;  prepare ─► declare … ─► commit
//!   spawn        roster.claim(id) ─► fork ─► roster.started(id, pid)
//!   reap         roster.died ─► roster.reclaim ─► sync::recover(held) ─► zones.recover, step … ─► roster.finish
//!   reload       zones.prepare(epoch) ─► declare … ─► commit, or roll_back; settle, when an epoch is gone
//!   hand over    roster.descriptor, zones.descriptors
//!   take over    RosterMemory::attach ─► claim_master ─► Zones::inherit … ─► for those who are over: reap, as above
//! ```
//!
//! # Invariants
//!
//! - Killed at any instant, workers leave nothing that is corrupt, lost, or that another waits for
//!   (test `kills_at_random_instants`).
//! - Scribbled memory is an error at worst (tests `no_header_leads_astray`, `a_box_outlives_its_block`,
//!   `any_bits_are_a_roster`).
//! - A process that dies is recovered in every zone that it may have used (test
//!   `a_dropped_zone_is_recovered`).
//!
//! # Why not a segment with a name (`shm_open`)
//!
//! It stays when nobody is left to remove it, anybody who may open it may make it shorter, and two
//! services that choose one name share it. What is inherited, or handed over, needs no name.
//!
//! # Why not references, as in nginx
//!
//! There an address means the same in every process, as all of them are forks of one. It does not
//! in the program that comes after an upgrade, so that nginx begins with empty zones; and an address in
//! memory that another can write leads anywhere.
//!
//! # Example
//!
//! ```
//! use forkmesh::shm::{Link, Origin, RosterMemory, Tag, ZoneConfig, Zones};
//! use forkmesh::shm_struct;
//! use forkmesh::sync::{AtomicU64, Ordering};
//! use forkmesh::table::SlotIndex;
//!
//! shm_struct! {
//!     struct Page { key: u64, hits: u64, length: u64 }
//! }
//! shm_struct! {
//!     sync struct Cache { stored: AtomicU64, buckets: [Link<Page>; 256] }
//! }
//!
//! // The master, before it forks.
//! let roster = RosterMemory::create().unwrap();
//! let mut zones = Zones::new(roster.claim_master(1).unwrap());
//! let cache = ZoneConfig::new("cache", Tag::of("cache 1"), 1 << 20).fixed(size_of::<Cache>());
//! zones.prepare(1);
//! zones
//!     .declare(&cache, |zone, origin| match origin {
//!         Origin::Replaces(old) => Ok(println!("{} was {} bytes", zone.name(), old.size())),
//!         _ => Ok(()),
//!     })
//!     .unwrap();
//! zones.commit();
//!
//! // A worker, in its slot.
//! let id = roster.life(SlotIndex::new(0).unwrap());
//! roster.claim(id, 1, 0).unwrap();
//! let zone = zones.find("cache", 1).unwrap();
//! let joined = zone.join(id).unwrap();
//! let cache: &Cache = zone.fixed().unwrap();
//! let page = Page { key: 4711, hits: 0, length: 5 };
//! let mut block = joined.alloc_with_tail(page, 5).unwrap();
//! block.write_tail(0, b"hello").unwrap();
//! cache.buckets[17].insert(block).unwrap(); // the cache's, and no longer the worker's
//! cache.stored.fetch_add(1, Ordering::Relaxed);
//! let held = joined.alloc(page).unwrap(); // dropped, it is freed; killed, it is recovered
//! # core::mem::forget(held);
//! # drop(joined);
//!
//! // The worker has died. The master has reaped it.
//! let master = roster.life(SlotIndex::LAST);
//! roster.died(id).unwrap();
//! roster.reclaim(id, master).unwrap();
//! let mut recovering = zones.recover(id);
//! while !zones.step(&mut recovering) {
//!     // something else has its turn
//! }
//! assert!(recovering.recovered().blocks > 0);
//! let next = roster.finish(id).unwrap();
//! let joined = zone.join(next).unwrap();
//! let mut tail = [0; 5];
//! let page = cache.buckets[17].read_with_tail(&joined, &mut tail).unwrap();
//! assert_eq!((page.key, &tail), (4711, b"hello"));
//! ```
#![allow(unsafe_code)] // references into memory that others write are made here

mod header;
mod joined;
mod link;
mod mapping;
mod plain;
mod recovering;
mod region;
mod roster;
mod tag;
mod zone;
mod zones;

pub use joined::{Joined, Outside, ShmBox};
pub use link::{Link, NotInserted};
pub use mapping::{Backing, HugePages, MapConfig, Mapping, NotMapped};
pub use plain::{ShmPod, ShmSync};
pub use recovering::Recovering;
pub use roster::{NoRoster, NotTurned, RosterMemory, RosterRow, RosterWord, Standing, Turn};
pub use tag::Tag;
pub use zone::{NoRoom, NotAttached, NotMade, Zone, ZoneConfig};
pub use zones::{NotDeclared, NotInherited, Origin, Vetoed, Zones};
