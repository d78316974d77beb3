//! `Generation`: the settings of one epoch, and what was opened by them.

use std::path::PathBuf;

use forkmesh::run::Identity;

use crate::log::Log;
use crate::settings::{Said, Settings};
use crate::setup;

/// What workers of one epoch go by.
pub(crate) struct Generation {
    pub(crate) epoch: u32,
    pub(crate) settings: Settings,
    /// `None` for the master's own.
    pub(crate) identity: Option<Identity>,
    /// `None` in a worker that has taken it, and where none is asked for.
    pub(crate) log: Option<Log>,
}

/// Where settings come from.
pub(crate) struct Source {
    pub(crate) line: Said,
    pub(crate) file: Option<PathBuf>,
}

impl Source {
    /// The generation of this epoch, as the file is now; or what is wrong with it.
    pub(crate) fn generation(&self, epoch: u32) -> Result<Generation, String> {
        let settings = Settings::read(&self.line, self.file.as_deref())?;
        let identity = setup::identity(&settings)?;
        let owner = identity.as_ref();
        let log = settings.log.as_deref().map(|path| Log::open(path, owner));
        Ok(Generation {
            epoch,
            settings,
            identity,
            log: log.transpose()?,
        })
    }
}
