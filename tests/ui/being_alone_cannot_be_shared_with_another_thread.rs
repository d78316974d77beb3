//! Nor can another thread look at it.

use forkmesh::channel::Alone;

fn in_another_thread(_: impl FnOnce() + Send) {}

fn main() {
    let alone = Alone::verify().unwrap();
    in_another_thread(|| drop(&alone));
}
