//! A directory is entered with the rights that the worker serves with.

use forkmesh::run::{Setup, SetupError, Worker};

fn set_up(worker: &Worker) -> Result<(), SetupError> {
    let mut setup = Setup::begin(worker);
    setup.directory(c"/root")?;
    Ok(())
}

fn main() {
    let _ = set_up;
}
