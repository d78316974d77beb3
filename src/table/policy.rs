//! What is to happen to a slot when its process ends, as bits; and nginx's five spawn modes in
//! these terms.
//!
//! | nginx | [`Policy`] | what else |
//! |---|---|---|
//! | `NGX_PROCESS_NORESPAWN` (-1) | none | runs once |
//! | `NGX_PROCESS_JUST_SPAWN` (-2) | none | runs once; of the new epoch |
//! | `NGX_PROCESS_RESPAWN` (-3) | `RESTART` | |
//! | `NGX_PROCESS_JUST_RESPAWN` (-4) | `RESTART` | of the new epoch |
//! | `NGX_PROCESS_DETACHED` (-5) | `DETACHED` | no channel and no slot; outlives the master: the new binary of an upgrade |
//! | slot number (≥ 0) | keeps its own | the slot is spawned again by [`Change::Elapsed`](super::Change) |
//!
//! nginx's `just_spawn` bit spares a new worker the QUIT that a reload sends to the old ones. Here
//! each slot carries its epoch, and the bit is a comparison of epochs.

bitflags::bitflags! {
    /// What is to happen when the process of a slot ends.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
    pub struct Policy: u8 {
        /// Start it again after a failure: a signal, or an exit code other than 0 and 2.
        const RESTART_ON_FAILURE = 1 << 0;
        /// Start it again after an exit with code 0.
        const RESTART_ON_SUCCESS = 1 << 1;
        /// Start it again, whatever it died of (but exit code 2).
        const RESTART = Self::RESTART_ON_FAILURE.bits() | Self::RESTART_ON_SUCCESS.bits();
        /// It has no channel, is told nothing, and outlives the master: the new binary of an upgrade. A
        /// worker is never made so.
        const DETACHED = 1 << 2;
    }
}

/// nginx's `respawn` argument, where it is negative.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(i8)]
pub enum SpawnMode {
    /// Run once: the cache loader at first start.
    NoRespawn = -1,
    /// Run once, as part of a reload: the cache loader.
    JustSpawn = -2,
    /// Keep running: workers and the cache manager at first start.
    Respawn = -3,
    /// Keep running, as part of a reload: workers and the cache manager.
    JustRespawn = -4,
    /// On its own: the new binary of an upgrade.
    Detached = -5,
}

impl SpawnMode {
    /// The policy that says the same.
    #[must_use]
    pub const fn policy(self) -> Policy {
        match self {
            Self::NoRespawn | Self::JustSpawn => Policy::empty(),
            Self::Respawn | Self::JustRespawn => Policy::RESTART,
            Self::Detached => Policy::DETACHED,
        }
    }

    /// Whether the process belongs to the epoch that is being started, and so is spared when older
    /// ones are retired.
    #[must_use]
    pub const fn of_new_epoch(self) -> bool {
        matches!(self, Self::JustSpawn | Self::JustRespawn)
    }
}
