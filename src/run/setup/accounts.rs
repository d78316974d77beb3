//! `Accounts`: users and groups by name, from two files.
//!
//! ```text
//!   passwd   name:password:uid:gid:comment:home:shell
//!   group    name:password:gid:member,member,…
//! ```
//!
//! # Invariants
//!
//! - What is found is what initgroups(3) would set: the user's group, and each that lists it (test
//!   `users_and_groups_by_name`).
//! - A file that cannot be understood where it matters is an error, never a group less (test
//!   `accounts_that_cannot_be_read`).
//!
//! # Why not libc's getpwnam_r
//!
//! It allocates, and loads whatever nsswitch.conf names into the master: modules that open sockets and
//! start threads, after which fork is not safe. And without `std` there is no libc. Users that only such a
//! module knows are named by number: `id NAME` shows them, and [`Identity::new`] takes them.

use core::ffi::CStr;
use core::fmt;

use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;

use crate::run::setup::Identity;
use crate::sys::{file, identity};

/// The longest line that is understood. A group with a thousand members takes half of it.
const LONGEST_LINE: usize = 16 * 1024;

/// The files that name users and groups.
#[derive(Clone, Copy, Debug)]
pub struct Accounts<'p> {
    passwd: &'p CStr,
    group: &'p CStr,
}

/// Why a name has no number.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum AccountError {
    /// There is no user of this name.
    NoUser,
    /// There is no group of this name.
    NoGroup,
    /// The user is in more than 64 groups.
    TooManyGroups,
    /// The line of this user or group has no number where one belongs.
    Malformed,
    /// A line has more than 16 KiB.
    LineTooLong,
    /// A file cannot be read.
    Unreadable(Errno),
}

impl<'p> Accounts<'p> {
    /// /etc/passwd and /etc/group.
    pub const SYSTEM: Accounts<'static> = Accounts::new(c"/etc/passwd", c"/etc/group");

    /// Two files with these paths.
    #[must_use]
    pub const fn new(passwd: &'p CStr, group: &'p CStr) -> Self {
        Self { passwd, group }
    }

    /// A user, its group, and every group that lists it. Cost: a few system calls a file, and 16 KiB
    /// of stack.
    ///
    /// # Errors
    ///
    /// [`AccountError`].
    pub fn user(&self, name: &str) -> Result<Identity, AccountError> {
        let (uid, gid) = self.find_user(name)?;
        self.with_memberships(Identity::new(uid, gid), name)
    }

    /// As [`Accounts::user`], with this group in place of the user's own.
    ///
    /// # Errors
    ///
    /// [`AccountError`].
    pub fn user_and_group(&self, user: &str, group: &str) -> Result<Identity, AccountError> {
        let (uid, _) = self.find_user(user)?;
        let gid = self.find_group(group)?;
        self.with_memberships(Identity::new(uid, gid), user)
    }

    fn find_user(&self, name: &str) -> Result<(u32, u32), AccountError> {
        let mut lines = Lines::open(self.passwd)?;
        while let Some(line) = lines.next()? {
            let mut fields = line.split(|byte| *byte == b':');
            if fields.next() == Some(name.as_bytes()) {
                let uid = number(fields.nth(1))?;
                return Ok((uid, number(fields.next())?));
            }
        }
        Err(AccountError::NoUser)
    }

    fn find_group(&self, name: &str) -> Result<u32, AccountError> {
        let mut lines = Lines::open(self.group)?;
        while let Some(line) = lines.next()? {
            let mut fields = line.split(|byte| *byte == b':');
            if fields.next() == Some(name.as_bytes()) {
                return number(fields.nth(1));
            }
        }
        Err(AccountError::NoGroup)
    }

    fn with_memberships(&self, mut who: Identity, name: &str) -> Result<Identity, AccountError> {
        let full = |_| AccountError::TooManyGroups;
        who.join(who.gid()).map_err(full)?;
        let mut lines = Lines::open(self.group)?;
        while let Some(line) = lines.next()? {
            let mut fields = line.split(|byte| *byte == b':').skip(2);
            let gid = fields.next();
            let members = fields.next().unwrap_or_default();
            let mut members = members.split(|byte| *byte == b',');
            if members.any(|member| member == name.as_bytes()) {
                who.join(number(gid)?).map_err(full)?;
            }
        }
        Ok(who)
    }
}

/// The highest number means "none" to the kernel, and is nobody's.
fn number(field: Option<&[u8]>) -> Result<u32, AccountError> {
    let text = field.and_then(|field| core::str::from_utf8(field).ok());
    let number = text.and_then(|text| text.parse().ok());
    number
        .filter(|number| *number != u32::MAX)
        .ok_or(AccountError::Malformed)
}

/// A file, line by line.
struct Lines {
    file: OwnedFd,
    /// How much of the file was read.
    offset: usize,
    buffer: [u8; LONGEST_LINE],
    filled: usize,
    /// Where in the buffer the next line begins.
    next: usize,
}

impl Lines {
    fn open(path: &CStr) -> Result<Self, AccountError> {
        let file = identity::open_linked(path).map_err(AccountError::Unreadable)?;
        Ok(Self {
            file,
            offset: 0,
            buffer: [0; LONGEST_LINE],
            filled: 0,
            next: 0,
        })
    }

    /// The next line, without its end; `None` after the last.
    fn next(&mut self) -> Result<Option<&[u8]>, AccountError> {
        if self.line_end().is_none() {
            self.refill()?;
        }
        let (start, end) = (self.next, self.line_end());
        match end {
            Some(end) => self.next = end + 1,
            None if self.filled - start == LONGEST_LINE => return Err(AccountError::LineTooLong),
            None if self.filled == start => return Ok(None),
            None => self.next = self.filled, // the last line, and it has no end
        }
        Ok(Some(&self.buffer[start..end.unwrap_or(self.filled)]))
    }

    fn line_end(&self) -> Option<usize> {
        let rest = &self.buffer[self.next..self.filled];
        let length = rest.iter().position(|byte| *byte == b'\n')?;
        Some(self.next + length)
    }

    /// Moves the rest to the front, and reads until the buffer is full or the file at its end.
    fn refill(&mut self) -> Result<(), AccountError> {
        self.buffer.copy_within(self.next..self.filled, 0);
        self.filled -= self.next;
        self.next = 0;
        loop {
            let free = &mut self.buffer[self.filled..];
            match file::read_at(self.file.as_fd(), free, self.offset) {
                Ok(0) => return Ok(()),
                Ok(length) => {
                    self.filled += length;
                    self.offset += length;
                }
                Err(Errno::INTR) => {}
                Err(errno) => return Err(AccountError::Unreadable(errno)),
            }
        }
    }
}

impl fmt::Display for AccountError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoUser => f.write_str("there is no such user"),
            Self::NoGroup => f.write_str("there is no such group"),
            Self::TooManyGroups => f.write_str("the user is in more than 64 groups"),
            Self::Malformed => f.write_str("an account has no number where one belongs"),
            Self::LineTooLong => f.write_str("a line of the accounts has more than 16 KiB"),
            Self::Unreadable(errno) => write!(f, "the accounts cannot be read: {errno}"),
        }
    }
}

impl core::error::Error for AccountError {}
