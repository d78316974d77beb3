//! A peer's end is for sending: what comes back would be another's.

use forkmesh::channel::{End0, Inbox, Peer};

fn listen(end: &Peer<End0>) {
    let _ = end.receive(&mut Inbox::new());
}

fn main() {
    let _ = listen;
}
