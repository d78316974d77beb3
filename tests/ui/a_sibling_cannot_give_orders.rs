//! What a sibling sends is a message, whatever is in it.

use forkmesh::channel::{End0, FromMaster, Peer};

fn rebel(end: &Peer<End0>) {
    let _ = end.send(FromMaster::Quit, None);
}

fn main() {
    let _ = rebel;
}
