//! execve: a child becomes another program. It allocates nothing, so that a child may do it between a
//! fork and whatever the parent's allocator was doing.

use core::ffi::{CStr, c_char};
use core::ptr;

use rustix::io::Errno;
use syscalls::{Sysno, syscall};

use crate::sys::errno;

/// How many arguments a program can be given.
pub(crate) const MOST_ARGUMENTS: usize = 256;
/// How many variables a program can be given, `extra` beside them.
pub(crate) const MOST_VARIABLES: usize = 1024;

/// Pointers to strings, and a null pointer behind the last.
struct Strings<const N: usize> {
    pointers: [*const c_char; N],
    length: usize,
}

impl<const N: usize> Strings<N> {
    const fn new() -> Self {
        Self {
            pointers: [ptr::null(); N],
            length: 0,
        }
    }

    /// E2BIG where only the place of the null pointer is left: the kernel's word for too many.
    fn push(&mut self, string: &CStr) -> Result<(), Errno> {
        if self.length + 1 >= N {
            return Err(Errno::TOOBIG);
        }
        self.pointers[self.length] = string.as_ptr();
        self.length += 1;
        Ok(())
    }
}

/// Becomes the program at `path`, with these arguments (its path where there are none) and these
/// variables, of which `extra`, if there is one, replaces all of its own name. Returns only the error.
///
/// The mask of blocked signals, what is ignored, and every descriptor that is not close-on-exec stay.
pub(crate) fn exec(
    path: &CStr,
    arguments: &[&CStr],
    environment: &[&CStr],
    extra: Option<&CStr>,
) -> Errno {
    let (argv, envp) = match strings(path, arguments, environment, extra) {
        Ok(both) => both,
        Err(errno) => return errno,
    };
    // SAFETY: the path is a C string. Both lists name C strings that are borrowed through the call,
    // and end with a null pointer, since `push` never fills the last place.
    let done = unsafe {
        syscall!(
            Sysno::execve,
            path.as_ptr(),
            argv.pointers.as_ptr(),
            envp.pointers.as_ptr()
        )
    };
    done.map_or_else(errno, |_| Errno::NOSYS) // a success does not return
}

type Both = (
    Strings<{ MOST_ARGUMENTS + 1 }>,
    Strings<{ MOST_VARIABLES + 2 }>,
);

fn strings(
    path: &CStr,
    arguments: &[&CStr],
    environment: &[&CStr],
    extra: Option<&CStr>,
) -> Result<Both, Errno> {
    let mut argv = Strings::new();
    let mut envp = Strings::new();
    for argument in arguments {
        argv.push(argument)?;
    }
    if arguments.is_empty() {
        argv.push(path)?;
    }
    for variable in environment {
        if Some(name(variable)) != extra.map(name) {
            envp.push(variable)?;
        }
    }
    if let Some(extra) = extra {
        envp.push(extra)?;
    }
    Ok((argv, envp))
}

/// What stands before the `=` of a variable.
fn name(variable: &CStr) -> &[u8] {
    let bytes = variable.to_bytes();
    bytes.split(|byte| *byte == b'=').next().unwrap_or(bytes)
}
