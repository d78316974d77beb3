//! Siblings hold copies of this end, so the master gives no orders by it.

use forkmesh::channel::{End0, FromMaster, Mesh, Parent};

fn order(end: &Parent<End0, Mesh>) {
    let _ = end.send(FromMaster::Quit);
}

fn main() {
    let _ = order;
}
