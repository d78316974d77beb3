//! The fork that splits pairs: afterwards each process holds its own end of each, and no other.

use core::fmt;

use crate::channel::ends::{Child, End0, End1, Pair, Parent};
use crate::sys::process::{self, Alone, ForkError, Forked, Process};

/// What a fork splits: a pair, perhaps a pair, or two of these.
pub trait Split: sealed::Sealed + Sized {
    /// What the parent keeps.
    type Parent;
    /// What the child keeps.
    type Child;

    #[doc(hidden)]
    fn in_parent(self, forked: sealed::Forked) -> Self::Parent;
    #[doc(hidden)]
    fn in_child(self, forked: sealed::Forked) -> Self::Child;
}

/// There is no child; here are the pairs.
pub struct Unforked<P> {
    /// Why.
    pub why: ForkError,
    /// What was to be split.
    pub pairs: P,
}

impl<L> Pair<L> {
    /// Forks. The parent goes on with `End0` and the new process; the child runs `child` with
    /// `End1`, and ends with the code that it returns: it never leaves the function. A panic there
    /// ends it with 101, without a destructor of the parent's frames having run.
    ///
    /// Cost: the fork, one close in each process, a look at the number of threads and, with `std`, one
    /// more call for the pidfd. (Where panics abort, a panic ends the child with SIGABRT.)
    ///
    /// # Errors
    ///
    /// [`Unforked`], with the pair: where another thread runs, or the kernel refuses.
    pub fn fork(
        self,
        alone: &mut Alone,
        child: impl FnOnce(Child<End1, L>) -> u8,
    ) -> Result<(Parent<End0, L>, Process), Unforked<Self>> {
        fork(alone, self, child)
    }
}

/// Forks, and splits several pairs at once: see [`Pair::fork`].
///
/// # Errors
///
/// [`Unforked`], with the pairs: where another thread runs, or the kernel refuses.
pub fn fork<P: Split>(
    alone: &mut Alone,
    pairs: P,
    child: impl FnOnce(P::Child) -> u8,
) -> Result<(P::Parent, Process), Unforked<P>> {
    match process::fork(alone) {
        Ok(Forked::Child(leash)) => leash.run(|| child(pairs.in_child(sealed::Forked))),
        Ok(Forked::Parent(process)) => Ok((pairs.in_parent(sealed::Forked), process)),
        Err(why) => Err(Unforked { why, pairs }),
    }
}

/// Only a fork splits: nobody else can name the proof that there was one.
mod sealed {
    pub trait Sealed {}

    #[derive(Clone, Copy, Debug)]
    pub struct Forked;
}

impl<L> sealed::Sealed for Pair<L> {}
impl<L> Split for Pair<L> {
    type Parent = Parent<End0, L>;
    type Child = Child<End1, L>;

    fn in_parent(self, _: sealed::Forked) -> Self::Parent {
        self.into_parent()
    }
    fn in_child(self, _: sealed::Forked) -> Self::Child {
        self.into_child()
    }
}

impl<P: Split> sealed::Sealed for Option<P> {}
impl<P: Split> Split for Option<P> {
    type Parent = Option<P::Parent>;
    type Child = Option<P::Child>;

    fn in_parent(self, forked: sealed::Forked) -> Self::Parent {
        self.map(|pair| pair.in_parent(forked))
    }
    fn in_child(self, forked: sealed::Forked) -> Self::Child {
        self.map(|pair| pair.in_child(forked))
    }
}

impl<A: Split, B: Split> sealed::Sealed for (A, B) {}
impl<A: Split, B: Split> Split for (A, B) {
    type Parent = (A::Parent, B::Parent);
    type Child = (A::Child, B::Child);

    fn in_parent(self, forked: sealed::Forked) -> Self::Parent {
        (self.0.in_parent(forked), self.1.in_parent(forked))
    }
    fn in_child(self, forked: sealed::Forked) -> Self::Child {
        (self.0.in_child(forked), self.1.in_child(forked))
    }
}

impl<P> fmt::Debug for Unforked<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unforked")
            .field("why", &self.why)
            .finish_non_exhaustive()
    }
}

impl<P> fmt::Display for Unforked<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.why.fmt(f)
    }
}

impl<P> core::error::Error for Unforked<P> {}
