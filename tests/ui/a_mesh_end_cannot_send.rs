//! The receiving end of a mesh pair is shut for writing, and has no way to try.

use forkmesh::channel::{Child, End1, FromWorker, Mesh};

fn report(end: &Child<End1, Mesh>) {
    let _ = end.send(FromWorker::Ready);
}

fn main() {
    let _ = report;
}
