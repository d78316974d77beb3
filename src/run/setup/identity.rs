//! `Identity`: whom a worker becomes, and how.
//!
//! # Why in this order
//!
//! Each step needs the privileges that the next one takes away: only root may set its groups and its
//! group freely, and changing the user from root clears the capabilities unless they are asked to stay.

use core::fmt;

use heapless::Vec;
use rustix::io::Errno;

use crate::run::setup::{AccountError, Accounts, SetupError, SetupStep};
use crate::sys::identity;

/// How many supplementary groups an identity has room for.
const MOST_GROUPS: usize = 64;

bitflags::bitflags! {
    /// Capabilities that a worker may keep though it is not root (capabilities(7)). Those not named
    /// here are there by their bits.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
    pub struct Capabilities: u64 {
        /// Bind ports below 1024.
        const NET_BIND_SERVICE = 1 << 10;
        /// Set addresses, routes and filters.
        const NET_ADMIN = 1 << 12;
        /// Raw sockets, and the transparent proxying that nginx keeps it for.
        const NET_RAW = 1 << 13;
        /// Lock memory.
        const IPC_LOCK = 1 << 14;
        /// Raise priorities.
        const SYS_NICE = 1 << 23;
        /// Raise limits.
        const SYS_RESOURCE = 1 << 24;
        /// Use performance counters.
        const PERFMON = 1 << 38;
        /// Load BPF programs.
        const BPF = 1 << 39;
        const _ = !0;
    }
}

/// A user, a group, up to 64 supplementary groups, and the capabilities that it keeps. To be made
/// in the master, before the fork: looking a user up takes files.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Identity {
    uid: u32,
    gid: u32,
    groups: Vec<u32, MOST_GROUPS>,
    kept: Capabilities,
}

/// More than 64 supplementary groups.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct TooManyGroups;

impl Identity {
    /// A user and a group by number, without supplementary groups.
    #[must_use]
    pub const fn new(uid: u32, gid: u32) -> Self {
        Self {
            uid,
            gid,
            groups: Vec::new(),
            kept: Capabilities::empty(),
        }
    }

    /// The user with this name, its group, and every group that lists it; by /etc/passwd and
    /// /etc/group: see [`Accounts`].
    ///
    /// # Errors
    ///
    /// [`AccountError`].
    pub fn of_user(name: &str) -> Result<Self, AccountError> {
        Accounts::SYSTEM.user(name)
    }

    /// As [`Identity::of_user`], with this group in place of the user's own.
    ///
    /// # Errors
    ///
    /// [`AccountError`].
    pub fn of_user_and_group(user: &str, group: &str) -> Result<Self, AccountError> {
        Accounts::SYSTEM.user_and_group(user, group)
    }

    /// These supplementary groups, in place of any before.
    ///
    /// # Errors
    ///
    /// [`TooManyGroups`].
    pub fn with_groups(mut self, groups: &[u32]) -> Result<Self, TooManyGroups> {
        self.groups = Vec::from_slice(groups).map_err(|_| TooManyGroups)?;
        Ok(self)
    }

    /// Keeps these capabilities, of those that the master has.
    #[must_use]
    pub fn keeping(mut self, kept: Capabilities) -> Self {
        self.kept = kept;
        self
    }

    /// The number of the user.
    #[must_use]
    pub const fn uid(&self) -> u32 {
        self.uid
    }

    /// The number of the group.
    #[must_use]
    pub const fn gid(&self) -> u32 {
        self.gid
    }

    /// The supplementary groups.
    #[must_use]
    pub fn groups(&self) -> &[u32] {
        &self.groups
    }

    /// One more supplementary group, unless it is among them.
    pub(super) fn join(&mut self, group: u32) -> Result<(), TooManyGroups> {
        if self.groups.contains(&group) {
            return Ok(());
        }
        self.groups.push(group).map_err(|_| TooManyGroups)
    }

    /// Makes the process this one.
    pub(super) fn become_it(&self) -> Result<(), SetupError> {
        if self.uid == ROOT {
            return failed(SetupStep::Uid)(Errno::INVAL);
        }
        let verification = failed(SetupStep::Verification);
        let before = identity::uids().or_else(verification)?;
        let tie = identity::Tie::remember().or_else(failed(SetupStep::Verification))?;
        identity::set_groups(&self.groups).or_else(failed(SetupStep::Groups))?;
        identity::set_gid(self.gid).or_else(failed(SetupStep::Gid))?;
        let kept = !self.kept.is_empty();
        if kept {
            identity::keep_capabilities(true).or_else(failed(SetupStep::Capabilities))?;
        }
        identity::set_uid(self.uid).or_else(failed(SetupStep::Uid))?;
        // Also where none are kept: one who drops from a user that is not root loses none by it.
        identity::set_capabilities_to(self.kept.bits()).or_else(failed(SetupStep::Capabilities))?;
        if kept {
            identity::keep_capabilities(false).or_else(failed(SetupStep::Capabilities))?;
        }
        self.verify(before)
            .and_then(|()| tie.restore())
            .or_else(failed(SetupStep::Verification))
    }

    /// What the kernel says is what was asked for, and there is no way back.
    fn verify(&self, before: [u32; 3]) -> Result<(), Errno> {
        let is_it = identity::uids()? == [self.uid; 3]
            && identity::gids()? == [self.gid; 3]
            && identity::has_groups(&self.groups)?
            && identity::has_capabilities(self.kept.bits())?;
        let others = before.into_iter().chain([ROOT]);
        let mut others = others.filter(|user| *user != self.uid);
        if !is_it || others.any(|user| identity::set_uid(user).is_ok()) {
            return Err(Errno::PERM);
        }
        Ok(())
    }
}

fn failed<T>(step: SetupStep) -> impl FnOnce(Errno) -> Result<T, SetupError> {
    move |errno| Err(SetupError { step, errno })
}

impl fmt::Display for TooManyGroups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "more than {MOST_GROUPS} supplementary groups")
    }
}

impl core::error::Error for TooManyGroups {}

const ROOT: u32 = 0;
