//! The slab against a simple model: its words and its layout, one process that does everything, and
//! many that die. What can only go wrong between two instructions is for `tests/loom.rs`.

#[path = "slab/dying.rs"]
mod dying;
#[path = "slab/errors.rs"]
mod errors;
#[path = "slab/hostile.rs"]
mod hostile;
#[path = "slab/model.rs"]
mod model;
#[path = "slab/words.rs"]
mod words;
#[path = "slab/zone.rs"]
mod zone;

use forkmesh::slab::{Geometry, Layout};
use zone::Zone;

/// An empty zone of so many pages, for so many children.
fn zone_of(geometry: &'static Geometry, pages: usize, slots: usize) -> Zone {
    Zone::new(Layout::with_pages(geometry, pages, slots).unwrap())
}
