//! Nothing ever comes up a mesh pair.

use forkmesh::channel::{End0, Inbox, Mesh, Parent};

fn listen(end: &Parent<End0, Mesh>) {
    let _ = end.receive(&mut Inbox::new());
}

fn main() {
    let _ = listen;
}
