//! The child's copy of `End0` is closed by the fork; there is no type for using it.

use forkmesh::channel::{Child, End0};

fn use_it(_: &Child<End0>) {}

fn main() {
    let _ = use_it;
}
