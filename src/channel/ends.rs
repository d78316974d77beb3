//! The ends of a pair, and who may hold them.

use core::marker::PhantomData;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;

use crate::sys::descriptor::Sweep;
use crate::sys::socket;

/// The end that the parent keeps.
#[derive(Debug)]
pub enum End0 {}

/// The end that the child keeps.
#[derive(Debug)]
pub enum End1 {}

/// The pair that orders and reports go over: its `End0` is held by the master alone.
#[derive(Debug)]
pub enum Control {}

/// The pair that a worker's messages from its siblings come over: each of them holds its `End0`.
#[derive(Debug)]
pub enum Mesh {}

/// An end that a parent may keep: `End0`.
#[diagnostic::on_unimplemented(
    message = "a parent keeps `End0`; `{Self}` is the child's",
    label = "the parent's copy of this end is closed by the fork"
)]
pub trait KeptByParent: sealed::Sealed {}
impl KeptByParent for End0 {}

/// An end that a child may keep: `End1`.
#[diagnostic::on_unimplemented(
    message = "a child keeps `End1`; `{Self}` is the parent's",
    label = "the child's copy of this end is closed by the fork"
)]
pub trait KeptByChild: sealed::Sealed {}
impl KeptByChild for End1 {}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::End0 {}
    impl Sealed for super::End1 {}
}

/// Both ends, before the fork.
#[derive(Debug)]
#[must_use = "a pair that is dropped is closed"]
pub struct Pair<L = Control> {
    end0: OwnedFd,
    end1: OwnedFd,
    line: PhantomData<L>,
}

/// An end in the parent.
#[derive(Debug)]
#[repr(transparent)]
pub struct Parent<E: KeptByParent, L = Control> {
    fd: OwnedFd,
    kind: PhantomData<(E, L)>,
}

/// An end in the child.
#[derive(Debug)]
#[repr(transparent)]
pub struct Child<E: KeptByChild, L = Control> {
    fd: OwnedFd,
    kind: PhantomData<(E, L)>,
}

/// A copy of a sibling's mesh `End0`: what is sent here, that sibling reads. User messages only.
#[derive(Debug)]
#[repr(transparent)]
pub struct Peer<E: KeptByParent> {
    fd: OwnedFd,
    kind: PhantomData<E>,
}

impl Pair<Control> {
    /// A new control pair. Cost: one system call, two descriptors.
    ///
    /// # Errors
    ///
    /// EMFILE or ENFILE where there is no room for two descriptors; ENOMEM.
    pub fn new() -> Result<Self, Errno> {
        let (end0, end1) = socket::pair()?;
        Ok(Self {
            end0,
            end1,
            line: PhantomData,
        })
    }
}

impl Pair<Mesh> {
    /// A new mesh pair: `End1` cannot be written to, and where `credentials` is true the kernel
    /// names the sender of each message to it. Cost: three system calls, two descriptors.
    ///
    /// # Errors
    ///
    /// As [`Pair::new`].
    pub fn mesh(credentials: bool) -> Result<Self, Errno> {
        let (end0, end1) = socket::pair()?;
        if credentials {
            socket::name_senders(&end1)?;
        }
        socket::shut_for_writing(&end1)?;
        Ok(Self {
            end0,
            end1,
            line: PhantomData,
        })
    }

    /// In a child that the pair is not for: its end to send by.
    pub(crate) fn into_peer(self, sweep: &mut Sweep) -> Peer<End0> {
        sweep.add(self.end1);
        Peer::adopt(self.end0)
    }

    /// `End1` leaves for a worker that has been forked already.
    pub(crate) fn hand_over(self) -> (Parent<End0, Mesh>, OwnedFd) {
        (Parent::adopt(self.end0), self.end1)
    }
}

impl<L> Pair<L> {
    /// `End1` at a number not below `least`, so that many pairs made in a row lie in two runs.
    pub(crate) fn apart(self, least: i32) -> Self {
        Self {
            end1: crate::sys::descriptor::moved_up(self.end1, least),
            ..self
        }
    }

    pub(super) fn into_parent(self) -> Parent<End0, L> {
        Parent::adopt(self.end0)
    }

    pub(super) fn into_child(self) -> Child<End1, L> {
        Child::adopt(self.end1)
    }

    pub(crate) fn end0(&self) -> BorrowedFd<'_> {
        self.end0.as_fd()
    }
}

impl<L> Parent<End0, L> {
    fn adopt(fd: OwnedFd) -> Self {
        Self {
            fd,
            kind: PhantomData,
        }
    }
}

impl Parent<End0, Control> {
    /// In a child that the end is not for: gone.
    pub(crate) fn renounce(self, sweep: &mut Sweep) {
        sweep.add(self.fd);
    }
}

impl Parent<End0, Mesh> {
    /// The end as what it is to everyone but the worker: an end to send messages by.
    #[must_use = "an end that is dropped is closed"]
    pub fn into_peer(self) -> Peer<End0> {
        Peer::adopt(self.fd)
    }
}

impl<L> Child<End1, L> {
    pub(crate) fn adopt(fd: OwnedFd) -> Self {
        Self {
            fd,
            kind: PhantomData,
        }
    }
}

#[cfg(fuzzing)]
impl<L> Child<End1, L> {
    /// An end without a fork, which a fuzz target cannot make.
    #[doc(hidden)]
    #[must_use]
    pub fn from_fd(fd: OwnedFd) -> Self {
        Self::adopt(fd)
    }
}

impl Peer<End0> {
    /// A sibling's end that came over the control pair.
    pub(crate) fn adopt(fd: OwnedFd) -> Self {
        Self {
            fd,
            kind: PhantomData,
        }
    }
}

impl<E: KeptByParent, L> AsFd for Parent<E, L> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl<E: KeptByChild, L> AsFd for Child<E, L> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl<E: KeptByParent> AsFd for Peer<E> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
