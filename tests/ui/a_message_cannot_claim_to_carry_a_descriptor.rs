//! Only sending one makes it so.

use forkmesh::wire::Message;

fn main() {
    let _lie = Message {
        tag: 1,
        payload: [0; 16],
        carries: true,
    };
}
