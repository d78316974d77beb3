//! Only counting makes the proof, or an `unsafe` word for it.

use forkmesh::channel::Alone;

fn main() {
    let _alone = Alone::assume();
}
