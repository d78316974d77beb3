//! The environment of this process: the memory that /proc shows, and the pointers that libc goes by.
//!
//! ```text
//!   env_start                                    env_end
//!   ┌──────────────┬─────────────┬───────────────┐
//!   │ PATH=/bin\0  │ LANG=C\0    │ zeros         │     made by the kernel at exec
//!   └──────────────┴─────────────┴───────────────┘
//!   ▲              ▲
//!   POINTERS[0]    POINTERS[1]   null                  what libc's `environ` points to
//! ```

use core::ffi::CStr;
#[cfg(feature = "std")]
use core::ffi::c_char;
#[cfg(feature = "std")]
use core::sync::atomic::{AtomicPtr, Ordering::Relaxed};

use rustix::io::Errno;

use crate::sys::title::Room;

/// How many variables there can be.
const MOST_VARIABLES: usize = 1024;

/// Replaces all of it. The process has one thread, by the caller's word, and nobody holds on to a string of
/// the old one.
pub(crate) fn replace(variables: &[&CStr]) -> Result<(), Errno> {
    if variables.len() > MOST_VARIABLES {
        return Err(Errno::TOOBIG);
    }
    let named = |variable: &&CStr| variable.to_bytes().iter().skip(1).any(|byte| *byte == b'=');
    if !variables.iter().all(named) {
        return Err(Errno::INVAL);
    }
    let lengths = variables.iter().map(|variable| variable.count_bytes() + 1);
    let mut room = Room::of_environment()?;
    if lengths.clone().sum::<usize>() > room.length() {
        return Err(Errno::NOSPC);
    }
    point_at(&room, lengths.clone());
    room.clear();
    let mut offset = 0;
    for (variable, length) in variables.iter().zip(lengths) {
        room.put(offset, variable.to_bytes());
        offset += length;
    }
    Ok(())
}

/// Where libc finds the variables: a null pointer behind the last.
#[cfg(feature = "std")]
static POINTERS: [AtomicPtr<c_char>; MOST_VARIABLES + 1] =
    [const { AtomicPtr::new(core::ptr::null_mut()) }; MOST_VARIABLES + 1];

#[cfg(feature = "std")]
fn point_at(room: &Room, lengths: impl Iterator<Item = usize>) {
    unsafe extern "C" {
        static mut environ: *mut *mut c_char;
    }
    let mut offset = 0;
    let mut behind = 0;
    for (pointer, length) in POINTERS.iter().zip(lengths) {
        pointer.store(room.address(offset).cast(), Relaxed);
        offset += length;
        behind += 1;
    }
    POINTERS[behind].store(core::ptr::null_mut(), Relaxed);
    // SAFETY: libc takes any list of strings with a null pointer at its end, as long as the process runs,
    // and lets a program change `environ`; no other thread looks at it, by the caller's word.
    unsafe { environ = POINTERS.as_ptr().cast_mut().cast() };
}

/// Without `std` nobody is known who goes by pointers.
#[cfg(not(feature = "std"))]
fn point_at(_: &Room, _: impl Iterator<Item = usize>) {}
