//! A package: the path, the arguments and the variables of a program, one after the other in a memfd,
//! for another process to execute. Each string ends with a zero, as it does in memory.

use core::ffi::CStr;

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::{Errno, pread, write};

use crate::sys::exec::{MOST_ARGUMENTS, MOST_VARIABLES, exec};

/// How many bytes a package can have. It is read to the stack, of which there are eight MiB.
const LONGEST: usize = 128 * 1024;

/// Makes a package.
pub(crate) fn pack(
    path: &CStr,
    arguments: &[&CStr],
    environment: &[&CStr],
) -> Result<OwnedFd, Errno> {
    let package = memfd_create(c"forkmesh-launch", MemfdFlags::CLOEXEC)?;
    let strings = arguments.iter().chain(environment);
    for string in core::iter::once(&path).chain(strings) {
        let mut rest = string.to_bytes_with_nul();
        while !rest.is_empty() {
            rest = &rest[write(&package, rest)?..];
        }
    }
    Ok(package)
}

/// Becomes the program of a package, as [`exec`] does; returns only the error. To be called in a
/// child: it takes 150 KiB of the stack.
pub(crate) fn exec_packed(
    package: impl AsFd,
    arguments: usize,
    variables: usize,
    extra: &CStr,
) -> Errno {
    if arguments > MOST_ARGUMENTS || variables > MOST_VARIABLES {
        return Errno::TOOBIG;
    }
    let mut bytes = [0; LONGEST + 1];
    let length = match read_all(package, &mut bytes) {
        Ok(length) if length > LONGEST => return Errno::TOOBIG,
        Ok(length) => length,
        Err(errno) => return errno,
    };
    let mut rest = &bytes[..length];
    let mut argv = [c""; MOST_ARGUMENTS];
    let mut envp = [c""; MOST_VARIABLES];
    let Some(path) = next(&mut rest) else {
        return Errno::INVAL;
    };
    for place in argv[..arguments].iter_mut().chain(&mut envp[..variables]) {
        match next(&mut rest) {
            Some(string) => *place = string,
            None => return Errno::INVAL,
        }
    }
    exec(path, &argv[..arguments], &envp[..variables], Some(extra))
}

fn read_all(file: impl AsFd, bytes: &mut [u8]) -> Result<usize, Errno> {
    let mut length = 0;
    while length < bytes.len() {
        match pread(&file, &mut bytes[length..], length as u64)? {
            0 => break,
            more => length += more,
        }
    }
    Ok(length)
}

/// The next string; what lies behind it is left.
fn next<'b>(rest: &mut &'b [u8]) -> Option<&'b CStr> {
    let string = CStr::from_bytes_until_nul(rest).ok()?;
    *rest = &rest[string.count_bytes() + 1..];
    Some(string)
}
