//! The master's end of a control pair is never handed to a sibling as one.

use forkmesh::channel::{End0, Parent, Peer};

fn leak(end: Parent<End0>) -> Peer<End0> {
    end.into_peer()
}

fn main() {
    let _ = leak;
}
