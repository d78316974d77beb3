//! What was dropped is gone, and the set-up that it was dropped from too.

use forkmesh::run::{Identity, Setup, SetupError, Worker};

fn set_up(worker: &Worker, nobody: &Identity) -> Result<(), SetupError> {
    let setup = Setup::begin(worker);
    let _dropped = setup.drop_to(nobody)?;
    let _again = setup.drop_to(nobody)?;
    Ok(())
}

fn main() {
    let _ = set_up;
}
