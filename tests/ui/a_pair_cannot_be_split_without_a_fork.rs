//! What splits a pair cannot be called by hand, nor can the proof of a fork that it asks for be named.

use forkmesh::channel::{Pair, Split};

fn main() {
    let pair = Pair::new().unwrap();
    let _parent = pair.in_parent(());
}
