//! Reports go up only.

use forkmesh::channel::{End0, FromWorker, Parent};

fn pretend(end: &Parent<End0>) {
    let _ = end.send(FromWorker::Ready);
}

fn main() {
    let _ = pretend;
}
