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
    /// The room of the arguments, and of the environment if that follows them and is given up.
    pub(crate) fn find(environment: bool) -> Result<Self, Errno> {
        let stat = identity::open_linked(c"/proc/self/stat")?;
        let mut bytes = [0; 1024];
        let length = file::read_at(stat.as_fd(), &mut bytes, 0)?;
        let [start, arg_end, env_start, env_end] = bounds(&bytes[..length]).ok_or(Errno::NOTSUP)?;
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

    /// How many bytes a title can have.
    pub(crate) const fn most(&self) -> usize {
        self.length - 1
    }

    /// Writes a title, as much of it as there is room for, and zeros behind it. The process has one
    /// thread, by the caller's word: another one could be reading the arguments.
    pub(crate) fn write(&mut self, title: &[u8]) {
        let title = &title[..title.len().min(self.most())];
        let room: *mut u8 = ptr::with_exposed_provenance_mut(self.start);
        // SAFETY: the kernel made these bytes at exec, writable, and nothing unmaps them. No Rust
        // object lies there; who reads the strings by libc's pointers copies them, in this thread
        // alone, and finds a zero at the end of what it reads.
        unsafe { ptr::write_bytes(room, 0, self.length) };
        // SAFETY: as above; the title is shorter than the room, and lies elsewhere, since Rust lends
        // nothing of the room.
        unsafe { ptr::copy(title.as_ptr(), room, title.len()) };
    }
}

fn bounds(stat: &[u8]) -> Option<[usize; 4]> {
    let after = stat.iter().rposition(|byte| *byte == b')')? + 2;
    let mut fields = core::str::from_utf8(stat.get(after..)?).ok()?.split(' ');
    let mut next = fields.by_ref().skip(ARG_START);
    let mut field = || next.next()?.trim_end().parse().ok();
    Some([field()?, field()?, field()?, field()?])
}

/// What the thread is called: its first 15 bytes.
pub(crate) fn name_thread(name: &CStr) -> Result<(), Errno> {
    set_name(name)
}
