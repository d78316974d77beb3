//! A pair is used up by its fork: two children with one end would read each other's orders.

use forkmesh::channel::{Alone, Pair};

fn main() {
    let mut alone = Alone::verify().unwrap();
    let pair = Pair::new().unwrap();
    let _first = pair.fork(&mut alone, |_| 0);
    let _second = pair.fork(&mut alone, |_| 0);
}
