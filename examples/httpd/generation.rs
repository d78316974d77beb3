//! `Generation`: the settings of one epoch, and what was opened by them.

use std::path::PathBuf;

use crate::log::Log;
use crate::settings::{Said, Settings};

/// What workers of one epoch go by.
pub(crate) struct Generation {
    pub(crate) epoch: u32,
    pub(crate) settings: Settings,
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
        let log = settings.log.as_deref().map(Log::open).transpose()?;
        Ok(Generation {
            epoch,
            settings,
            log,
        })
    }
}
