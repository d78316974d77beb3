//! Without `Alone` nobody has counted the threads.

use forkmesh::channel::Pair;

fn main() {
    let _ = Pair::new().unwrap().fork(|_| 0);
}
