//! What the parent gets of a fork is its own end.

use forkmesh::channel::{Alone, Child, End1, Pair};

fn main() {
    let mut alone = Alone::verify().unwrap();
    let (end, _process) = Pair::new().unwrap().fork(&mut alone, |_| 0).unwrap();
    let _theirs: Child<End1> = end;
}
