//! The child never leaves its function, so its end cannot either.

use forkmesh::channel::{Alone, Pair};

fn main() {
    let mut alone = Alone::verify().unwrap();
    let _ = Pair::new().unwrap().fork(&mut alone, |child| child);
}
