//! Who this process is: its user, groups and capabilities, and what it can never become again.
//!
//! The kernel keeps all of it for each thread; a worker that sets itself up has one.

use core::ffi::CStr;

use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;
use rustix::process::{DumpableBehavior, Gid, Signal, Uid, getppid, set_dumpable_behavior};
use rustix::process::{parent_process_death_signal, set_parent_process_death_signal};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, set_capabilities, set_keep_capabilities,
    set_no_new_privs, set_thread_groups, set_thread_res_gid, set_thread_res_uid,
};
use syscalls::{Sysno, syscall};

use crate::sys::errno;

/// How many supplementary groups are asked for; a process with more has others than it was given.
const MOST_GROUPS: usize = 64;

/// The number by which the kernel understands "leave it as it is".
const UNCHANGED: u32 = u32::MAX;

pub(crate) fn set_groups(groups: &[u32]) -> Result<(), Errno> {
    let mut list = heapless::Vec::<Gid, MOST_GROUPS>::new();
    for group in groups {
        list.push(gid(*group)?).map_err(|_| Errno::INVAL)?;
    }
    set_thread_groups(&list)
}

/// Sets the real, the effective and the saved group.
pub(crate) fn set_gid(group: u32) -> Result<(), Errno> {
    let group = gid(group)?;
    set_thread_res_gid(group, group, group)
}

/// Sets the real, the effective and the saved user.
pub(crate) fn set_uid(user: u32) -> Result<(), Errno> {
    if user == UNCHANGED {
        return Err(Errno::INVAL);
    }
    let user = Uid::from_raw(user);
    set_thread_res_uid(user, user, user)
}

fn gid(group: u32) -> Result<Gid, Errno> {
    if group == UNCHANGED {
        return Err(Errno::INVAL);
    }
    Ok(Gid::from_raw(group))
}

/// The real, the effective and the saved user.
pub(crate) fn uids() -> Result<[u32; 3], Errno> {
    three(Sysno::getresuid)
}

/// The real, the effective and the saved group.
pub(crate) fn gids() -> Result<[u32; 3], Errno> {
    three(Sysno::getresgid)
}

fn three(which: Sysno) -> Result<[u32; 3], Errno> {
    let [mut real, mut effective, mut saved] = [UNCHANGED; 3];
    // SAFETY: both calls that this is used for write one u32 to each of these three places.
    let done = unsafe { syscall!(which, &raw mut real, &raw mut effective, &raw mut saved) };
    done.map(|_| [real, effective, saved]).map_err(errno)
}

/// Whether these are the supplementary groups, whatever their order; the kernel sorts them.
pub(crate) fn has_groups(groups: &[u32]) -> Result<bool, Errno> {
    let mut list = [UNCHANGED; MOST_GROUPS];
    // SAFETY: the list has room for as many u32 as the first argument says; with more groups than
    // that the kernel writes nothing, and says EINVAL.
    let done = unsafe { syscall!(Sysno::getgroups, MOST_GROUPS, &raw mut list) };
    let held = list.get(..done.map_err(errno)?).ok_or(Errno::INVAL)?;
    let same = held.iter().all(|group| groups.contains(group));
    Ok(same && groups.iter().all(|group| held.contains(group)))
}

/// Whether the next change of the user leaves the permitted capabilities alone.
pub(crate) fn keep_capabilities(keep: bool) -> Result<(), Errno> {
    set_keep_capabilities(keep)
}

/// Has these capabilities, effective and permitted, and no other.
pub(crate) fn set_capabilities_to(kept: u64) -> Result<(), Errno> {
    set_capabilities(None, sets(kept))
}

/// Whether these capabilities are all that there are.
pub(crate) fn has_capabilities(kept: u64) -> Result<bool, Errno> {
    Ok(capabilities(None)? == sets(kept))
}

fn sets(kept: u64) -> CapabilitySets {
    let kept = CapabilitySet::from_bits_retain(kept);
    CapabilitySets {
        effective: kept,
        permitted: kept,
        inheritable: CapabilitySet::empty(),
    }
}

/// Whether it dumps core and can be traced by others of its user.
pub(crate) fn set_dumpable(dumpable: bool) -> Result<(), Errno> {
    set_dumpable_behavior(if dumpable {
        DumpableBehavior::Dumpable
    } else {
        DumpableBehavior::NotDumpable
    })
}

/// No exec gives more rights than there are now; for ever, and for every descendant.
pub(crate) fn give_up_new_privileges() -> Result<(), Errno> {
    set_no_new_privs(true)
}

/// What becomes of this process when its parent ends, which the kernel forgets when the user changes.
pub(crate) struct Tie {
    signal: Option<Signal>,
    parent: Option<rustix::process::Pid>,
}

impl Tie {
    pub(crate) fn remember() -> Result<Self, Errno> {
        Ok(Self {
            signal: parent_process_death_signal()?,
            parent: getppid(),
        })
    }

    /// Makes it what it was; ESRCH if the parent has ended in the meantime, unseen.
    pub(crate) fn restore(self) -> Result<(), Errno> {
        set_parent_process_death_signal(self.signal)?;
        if self.signal.is_some() && getppid() != self.parent {
            return Err(Errno::SRCH);
        }
        Ok(())
    }
}

/// Opens a file that may be named by a link.
pub(crate) fn open_linked(path: &CStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY;
    open(path, flags, Mode::empty())
}
