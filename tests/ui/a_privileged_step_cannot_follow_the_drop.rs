//! Who has dropped its identity has no privileges left.

use forkmesh::run::{Identity, Setup, SetupError, Worker};

fn set_up(worker: &Worker, nobody: &Identity) -> Result<(), SetupError> {
    let mut setup = Setup::begin(worker).drop_to(nobody)?;
    setup.priority(-5)?;
    Ok(())
}

fn main() {
    let _ = set_up;
}
