//! Orders go down only.

use forkmesh::channel::{Child, End1, FromMaster};

fn rebel(end: &Child<End1>) {
    let _ = end.send(FromMaster::Quit);
}

fn main() {
    let _ = rebel;
}
