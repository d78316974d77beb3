//! The memory that the kernel shows as the command line of this process.
//!
//! ```text
//!   arg_start          arg_end = env_start          env_end
//!   ┌─────────────────┬─────────────────────────────┐
//!   │ argv's strings  │ environ's strings           │     made by the kernel at exec, on the stack's bottom
//!   └─────────────────┴─────────────────────────────┘
//! ```

use core::ffi::CStr;
use core::ptr;
use core::sync::atomic::{AtomicU8, Ordering::Relaxed};

use rustix::fd::AsFd;
use rustix::io::Errno;
use rustix::thread::set_name;

use crate::sys::{file, identity};

/// Where the strings lie that a title replaces.
#[derive(Debug)]
pub(crate) struct Room {
    start: usize,
    length: usize,
}

/// Fields 48 to 51 of /proc/self/stat; the first two lie before the last parenthesis.
const ARG_START: usize = 48 - 3;

impl Room {
    /// The room of the arguments, and of the environment if that follows them and is given up: EBUSY
    /// where it has been set to something.
    pub(crate) fn find(environment: bool) -> Result<Self, Errno> {
        let [start, arg_end, env_start, env_end] = bounds()?;
        if environment {
            claim(OF_A_TITLE)?;
        }
        let end = if environment && env_start == arg_end {
            env_end
        } else {
            arg_end
        };
        let length = end.checked_sub(start).filter(|length| *length > 1);
        match length {
            Some(length) if start != 0 => Ok(Self { start, length }),
            _ => Err(Errno::NOTSUP),
        }
    }

    /// The room of the environment: EBUSY where a title has it.
    pub(crate) fn of_environment() -> Result<Self, Errno> {
        let [_, _, start, end] = bounds()?;
        claim(OF_THE_ENVIRONMENT)?;
        let length = end.checked_sub(start).filter(|_| start != 0);
        let length = length.ok_or(Errno::NOTSUP)?;
        Ok(Self { start, length })
    }

    /// How many bytes a title can have.
    pub(crate) const fn most(&self) -> usize {
        self.length - 1
    }

    /// How many bytes there are.
    pub(crate) const fn length(&self) -> usize {
        self.length
    }

    /// Where a byte lies.
    pub(crate) fn address(&self, offset: usize) -> *mut u8 {
        ptr::with_exposed_provenance_mut(self.start + offset)
    }

    /// Writes a title, as much of it as there is room for, and zeros behind it. The process has one
    /// thread, by the caller's word: another one could be reading the arguments.
    pub(crate) fn write(&mut self, title: &[u8]) {
        self.clear();
        self.put(0, &title[..title.len().min(self.most())]);
    }

    /// Makes all of it zeros; as above.
    pub(crate) fn clear(&mut self) {
        // SAFETY: the kernel made these bytes at exec, writable, and nothing unmaps them. No Rust
        // object lies there; who reads the strings by libc's pointers copies them, in this thread
        // alone, and finds a zero at the end of what it reads.
        unsafe { ptr::write_bytes(self.address(0), 0, self.length) };
    }

    /// Writes these bytes from here on; as above. The last byte stays zero.
    ///
    /// # Panics
    ///
    /// If there is no room for them.
    pub(crate) fn put(&mut self, offset: usize, bytes: &[u8]) {
        assert!(offset + bytes.len() < self.length, "it was measured");
        // SAFETY: as above; the bytes fit behind the offset, and lie elsewhere, since Rust lends nothing of
        // the room.
        unsafe { ptr::copy(bytes.as_ptr(), self.address(offset), bytes.len()) };
    }
}

/// Where the arguments begin and end, and where the environment does.
fn bounds() -> Result<[usize; 4], Errno> {
    let stat = identity::open_linked(c"/proc/self/stat")?;
    let mut bytes = [0; 1024];
    let length = file::read_at(stat.as_fd(), &mut bytes, 0)?;
    parse(&bytes[..length]).ok_or(Errno::NOTSUP)
}

fn parse(stat: &[u8]) -> Option<[usize; 4]> {
    let after = stat.iter().rposition(|byte| *byte == b')')? + 2;
    let mut fields = core::str::from_utf8(stat.get(after..)?).ok()?.split(' ');
    let mut next = fields.by_ref().skip(ARG_START);
    let mut field = || next.next()?.trim_end().parse().ok();
    Some([field()?, field()?, field()?, field()?])
}

/// What the room of the environment is for, once that is decided; a child has its parent's word, as it has
/// its memory.
static CLAIMED: AtomicU8 = AtomicU8::new(UNCLAIMED);
const UNCLAIMED: u8 = 0;
const OF_A_TITLE: u8 = 1;
const OF_THE_ENVIRONMENT: u8 = 2;

fn claim(wanted: u8) -> Result<(), Errno> {
    // Relaxed: it orders nothing, and its process has one thread when the room is written.
    match CLAIMED.compare_exchange(UNCLAIMED, wanted, Relaxed, Relaxed) {
        Err(other) if other != wanted => Err(Errno::BUSY),
        _ => Ok(()),
    }
}

/// What the thread is called: its first 15 bytes.
pub(crate) fn name_thread(name: &CStr) -> Result<(), Errno> {
    set_name(name)
}
