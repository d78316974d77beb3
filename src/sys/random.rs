//! Bytes that nobody can guess.

use rustix::io::Errno;
use rustix::rand::{GetRandomFlags, getrandom};

/// Fills 32 bytes; the kernel gives up to 256 at once.
pub(crate) fn seed() -> Result<[u8; 32], Errno> {
    let mut seed = [0; 32];
    loop {
        match getrandom(&mut seed, GetRandomFlags::empty()) {
            Ok(32) => return Ok(seed),
            Ok(_) | Err(Errno::INTR) => {} // while the kernel still gathers, a signal may cut it short
            Err(errno) => return Err(errno),
        }
    }
}
