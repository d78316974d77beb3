//! `SetupError`: which step of setting up a worker failed, and why.

use core::fmt;

use rustix::io::Errno;

/// A step of setting up a worker.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum SetupStep {
    /// The environment.
    Environment,
    /// The nice value.
    Priority,
    /// The limit on descriptors.
    Descriptors,
    /// The limit on the size of a core.
    Core,
    /// The supplementary groups.
    Groups,
    /// The group.
    Gid,
    /// The user.
    Uid,
    /// The capabilities that are kept.
    Capabilities,
    /// The look at what the drop has made of the process: it is not what was asked for, or can go
    /// back (EPERM), or its master has ended meanwhile (ESRCH).
    Verification,
    /// The processors to run on.
    Processors,
    /// Whether it dumps core.
    Dumpable,
    /// The working directory.
    Directory,
    /// The end of new privileges.
    NoNewPrivileges,
    /// The descriptors that are not kept.
    Inherited,
    /// A step of the service's, by its number.
    Own(u16),
}

/// Why a worker could not be set up.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct SetupError {
    /// What failed.
    pub step: SetupStep,
    /// The system's error.
    pub errno: Errno,
}

/// The steps by their stages, in the order in which they came to be: the first is `FIRST_STAGE`.
const STEPS: [SetupStep; 14] = [
    SetupStep::Priority,
    SetupStep::Descriptors,
    SetupStep::Core,
    SetupStep::Groups,
    SetupStep::Gid,
    SetupStep::Uid,
    SetupStep::Capabilities,
    SetupStep::Verification,
    SetupStep::Processors,
    SetupStep::Dumpable,
    SetupStep::Directory,
    SetupStep::NoNewPrivileges,
    SetupStep::Environment,
    SetupStep::Inherited,
];

/// Above the service's own steps, which are their numbers.
const FIRST_STAGE: u32 = 100_000;

impl SetupStep {
    /// The number that a worker reports it under: that of a step of the service's own, or 100000 and
    /// up.
    #[must_use]
    pub fn stage(self) -> u32 {
        if let Self::Own(number) = self {
            return number.into();
        }
        let place = STEPS.iter().position(|step| *step == self);
        FIRST_STAGE + place.unwrap_or(STEPS.len()) as u32
    }

    /// The step behind a number that was reported; `None` for a number that none has.
    #[must_use]
    pub fn of_stage(stage: u32) -> Option<Self> {
        if let Ok(number) = u16::try_from(stage) {
            return Some(Self::Own(number));
        }
        let place = stage.checked_sub(FIRST_STAGE)?;
        STEPS.get(place as usize).copied()
    }
}

impl fmt::Display for SetupStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Environment => "environment",
            Self::Priority => "priority",
            Self::Descriptors => "limit on descriptors",
            Self::Core => "limit on the size of a core",
            Self::Groups => "supplementary groups",
            Self::Gid => "group",
            Self::Uid => "user",
            Self::Capabilities => "capabilities",
            Self::Verification => "verification of the drop",
            Self::Processors => "processors",
            Self::Dumpable => "dumpable",
            Self::Directory => "directory",
            Self::NoNewPrivileges => "no new privileges",
            Self::Inherited => "inherited descriptors",
            Self::Own(number) => return write!(f, "step {number}"),
        })
    }
}

impl fmt::Display for SetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.step, self.errno)
    }
}

impl core::error::Error for SetupError {}
