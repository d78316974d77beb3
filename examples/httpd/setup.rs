//! Who a worker is, and where it runs: its user, and its processor.
//!
//! The master looks the user up when it reads its settings, and stays what it is. A worker that cannot
//! become what it is to be ends with a reason, and is not started again until a reload.

use forkmesh::run::{Accounts, Identity, Setup, SetupError, Worker};

use crate::settings::{Affinity, Settings};

/// The identity that is asked for; `None` for the master's own. Only root can give another one.
pub(crate) fn identity(settings: &Settings) -> Result<Option<Identity>, String> {
    let Some(user) = &settings.user else {
        return Ok(None);
    };
    if !rustix::process::geteuid().is_root() {
        return Err(format!("user {user}: this master is not root"));
    }
    let found = match user.split_once(':') {
        Some((user, group)) => Accounts::SYSTEM.user_and_group(user, group),
        None => Accounts::SYSTEM.user(user),
    };
    found.map(Some).map_err(|why| format!("user {user}: {why}"))
}

/// To be called before the worker serves.
pub(crate) fn set_up(
    worker: &Worker,
    settings: &Settings,
    identity: Option<&Identity>,
) -> Result<(), SetupError> {
    let setup = Setup::begin(worker);
    let mut setup = match identity {
        Some(identity) => setup.drop_to(identity)?,
        None => setup.keep_identity(),
    };
    match &settings.affinity {
        None => {}
        Some(Affinity::Auto) => drop(setup.own_processor()?),
        Some(Affinity::Of(processors)) => drop(setup.own_processor_of(processors)?),
    }
    setup.no_new_privileges()?;
    Ok(())
}
