//! Every program in the folder above is close to this one, which compiles.
#![deny(unused_must_use)]

use forkmesh::channel::{
    Alone, Child, Control, End0, End1, FromMaster, FromWorker, Inbox, Mesh, Pair, Parent, Peer,
    SendError, fork,
};
use forkmesh::wire::{Message, Resync};

fn master(end: Parent<End0, Control>, inbox: &mut Inbox) -> Result<(), SendError<FromMaster>> {
    let _ = end.receive(inbox);
    end.send(FromMaster::Quit)
}

fn worker(end: Child<End1, Control>, inbox: &mut Inbox) -> Result<(), SendError<FromWorker>> {
    let _ = end.receive(inbox);
    end.send(FromWorker::Resync(Resync::Mesh))
}

fn sibling(own: Child<End1, Mesh>, other: Peer<End0>) -> Result<(), SendError<Message>> {
    let _ = own.receive(&mut Inbox::new());
    other.send(Message::new(1, [0; 16]), None)
}

fn main() {
    let Ok(mut alone) = Alone::verify() else {
        return;
    };
    let Ok(pair) = Pair::new() else { return };
    let Ok(mesh) = Pair::mesh(true) else { return };
    let forked = fork(&mut alone, (pair, mesh), |(control, _mesh)| {
        u8::from(worker(control, &mut Inbox::new()).is_err())
    });
    let Ok(((control, mesh), _process)) = forked else {
        return;
    };
    let _ = master(control, &mut Inbox::new());
    let _peer: Peer<End0> = mesh.into_peer();
    let _ = sibling;
}
