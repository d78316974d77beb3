//! The parent's copy of `End1` is closed by the fork; there is no type for keeping it.

use forkmesh::channel::{End1, Parent};

fn keep(_: &Parent<End1>) {}

fn main() {
    let _ = keep;
}
