//! The proof belongs to the thread that made it: a second thread is what it excludes.

use forkmesh::channel::Alone;

fn in_another_thread(_: impl FnOnce() + Send) {}

fn main() {
    let alone = Alone::verify().unwrap();
    in_another_thread(move || drop(alone));
}
