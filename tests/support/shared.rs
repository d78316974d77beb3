//! Memory that processes share, and who lives in which slot of it.
#![allow(dead_code)] // each test binary uses its own part

use core::ptr::null_mut;

use forkmesh::channel::Pair;
use forkmesh::sync::{
    AtomicU32, AtomicU64, Held,
    Ordering::{Acquire, Relaxed, Release},
    Owner, Roster,
};
use forkmesh::table::{Generation, SlotId, SlotIndex};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::support::{Kept, alone};

/// Zeros, in memory that children share; it stays for as long as the process does.
///
/// # Safety
///
/// All of it is atomics, for which zero is a value.
pub(crate) unsafe fn map<T>() -> &'static T {
    let access = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: a mapping at an address of the kernel's choice replaces nothing.
    let memory = unsafe { mmap_anonymous(null_mut(), size_of::<T>(), access, MapFlags::SHARED) };
    let memory = memory.expect("a page").cast::<T>();
    // SAFETY: the mapping is aligned to a page, large enough and never unmapped; its bytes are a value
    // by the caller's word, and others change them only as atomics.
    unsafe { &*memory }
}

/// The first life of a slot.
pub(crate) fn id(slot: usize) -> SlotId {
    SlotId::new(SlotIndex::new(slot).unwrap(), Generation::FIRST)
}

/// Runs this in a process of its own.
pub(crate) fn spawn(body: impl FnOnce()) -> Kept {
    let pair = Pair::new().expect("two descriptors");
    let forked = pair.fork(&mut alone(), |_| {
        body();
        0
    });
    Kept::new(forked.expect("a child").1)
}

/// Who lives, and what they may hold; zeros: nobody, and nothing.
#[repr(C)]
pub(crate) struct Slots<const SLOTS: usize> {
    rows: [Row; SLOTS],
    held: [Held; SLOTS],
}

/// Who lives in a slot, and in which process; 0 for nobody, and for nobody knows which.
#[repr(C)]
struct Row {
    life: AtomicU32,
    pid: AtomicU32,
    start: AtomicU64,
}

impl<const SLOTS: usize> Slots<SLOTS> {
    /// This life begins.
    pub(crate) fn settle(&self, id: SlotId) {
        self.row(id).life.store(id.as_u32(), Release);
    }

    /// It is this process that does: what a waiter can ask the kernel about.
    pub(crate) fn move_in(&self, id: SlotId) {
        let pid = std::process::id();
        let row = self.row(id);
        row.start
            .store(start_time(pid as i32).expect("one's own"), Relaxed);
        row.pid.store(pid, Release);
    }

    /// The process of this life has been reaped. (Its successor may have settled already.)
    pub(crate) fn bury(&self, dead: SlotId) {
        let row = self.row(dead);
        let _ = row
            .life
            .compare_exchange(dead.as_u32(), 0, Release, Relaxed);
    }

    fn row(&self, id: SlotId) -> &Row {
        &self.rows[id.index().as_usize()]
    }
}

impl<const SLOTS: usize> Roster for Slots<SLOTS> {
    fn is_dead(&self, owner: Owner) -> bool {
        let row = self.rows.get(owner.index().as_usize());
        let lives = row.and_then(|row| SlotId::from_u32(row.life.load(Acquire)));
        lives.is_none_or(|id| Owner::of(id) != owner)
    }

    fn look_for(&self, owner: Owner) -> bool {
        if self.is_dead(owner) {
            return true;
        }
        let row = &self.rows[owner.index().as_usize()];
        let life = row.life.load(Acquire);
        let (pid, start) = (row.pid.load(Relaxed), row.start.load(Relaxed));
        // What was read belongs to one life, and is that of the owner.
        let id = SlotId::from_u32(life).filter(|id| Owner::of(*id) == owner);
        if pid == 0 || id.is_none() || !is_over(pid as i32, start) {
            return false;
        }
        let died = row.life.compare_exchange(life, 0, Release, Relaxed);
        died.is_ok() || self.is_dead(owner)
    }

    fn held(&self, index: SlotIndex) -> &Held {
        &self.held[index.as_usize()]
    }
}

/// Whether the process that had this pid, and was started then, runs no more.
fn is_over(pid: i32, start: u64) -> bool {
    let process = match pidfd_open(Pid::from_raw(pid).unwrap(), PidfdFlags::empty()) {
        Ok(process) => process,
        Err(errno) => return errno == Errno::SRCH,
    };
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    let mut ended = [PollFd::new(&process, PollFlags::IN)];
    let ended = matches!(poll(&mut ended, Some(&now)), Ok(1));
    ended || start_time(pid).is_some_and(|started| started != start)
}

fn start_time(pid: i32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(19)?.parse().ok()
}

/// The same numbers in every run.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) const fn new() -> Self {
        Self(0x9E37_79B9_7F4A_7C15)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}
