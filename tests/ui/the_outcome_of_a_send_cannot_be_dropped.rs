//! A message that was not sent comes back: to ignore that is to lose it.

#![deny(unused_must_use)]

use forkmesh::channel::{End0, FromMaster, Parent};

fn careless(end: &Parent<End0>) {
    end.send(FromMaster::Quit);
}

fn main() {
    let _ = careless;
}
