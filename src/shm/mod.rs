//! Shared memory.
#![allow(unsafe_code)] // references into memory that others write are made here

mod header;
mod joined;
mod link;
mod mapping;
mod plain;
mod region;
mod tag;
mod zone;

pub use joined::{Joined, Outside, ShmBox};
pub use link::{Link, NotInserted};
pub use mapping::{Backing, HugePages, MapConfig, Mapping, NotMapped};
pub use plain::{ShmPod, ShmSync};
pub use tag::Tag;
pub use zone::{NoRoom, NotAttached, NotMade, Zone, ZoneConfig};
