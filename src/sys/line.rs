//! A line on standard error, from a process that must not wait for whoever reads it.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, BorrowedFd};
use rustix::io::{Errno, IoSlice, ReadWriteFlags, pwritev2, write};

/// Where a file stands, to `pwritev2`.
const WHERE_IT_IS: u64 = u64::MAX;

/// Writes a line by one call, if there is room for it: a pipe or a terminal that nobody reads takes no
/// more, and the line is lost. A pipe takes a line of up to 4 KiB whole, beside whatever others write.
pub(crate) fn to_stderr(line: &[u8]) -> Result<(), Errno> {
    // SAFETY: the number is that of standard error as long as the process runs: it is replaced, and not
    // given away. Where it was closed before, the calls say so.
    let stderr = unsafe { BorrowedFd::borrow_raw(2) };
    put(stderr, line)
}

pub(super) fn put(file: impl AsFd, line: &[u8]) -> Result<(), Errno> {
    let now = pwritev2(
        &file,
        &[IoSlice::new(line)],
        WHERE_IT_IS,
        ReadWriteFlags::NOWAIT,
    );
    match now {
        Ok(_) => Ok(()),
        // A pipe that is full, a file whose page is not at hand, or what knows nothing of "now": a
        // terminal, a pipe before Linux 6.5. Of these, whatever has room takes the line without a wait.
        Err(Errno::AGAIN | Errno::OPNOTSUPP | Errno::INVAL | Errno::NOSYS) => {
            if !has_room(&file) {
                return Err(Errno::AGAIN);
            }
            write(file, line).map(drop)
        }
        Err(errno) => Err(errno),
    }
}

fn has_room(file: impl AsFd) -> bool {
    let mut waiting = [PollFd::new(&file, PollFlags::OUT)];
    let ready = poll(&mut waiting, Some(&Timespec::default()));
    matches!(ready, Ok(1..)) && waiting[0].revents().contains(PollFlags::OUT)
}
