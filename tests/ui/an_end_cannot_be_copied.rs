//! One owner each.

use forkmesh::channel::{End0, Parent};

fn twice(end: &Parent<End0>) -> (Parent<End0>, Parent<End0>) {
    (end.clone(), end.clone())
}

fn main() {
    let _ = twice;
}
