//! The steps, each with the state that it belongs to.

use core::ffi::CStr;
use core::marker::PhantomData;

use rustix::fd::{AsRawFd, BorrowedFd};
use rustix::io::Errno;

use crate::channel::Alone;
use crate::run::Worker;
use crate::run::setup::{Dropped, Identity, Privileged, Setup, SetupError, SetupStep};
use crate::sys::{descriptor, environment, identity, resources};

impl Setup<Privileged> {
    /// Begins; nothing is changed yet.
    pub const fn begin(worker: &Worker) -> Self {
        Self {
            number: worker.number(),
            state: PhantomData,
        }
    }

    /// Has exactly these variables, each `NAME=value`, up to 1024: what `getenv` and `std::env::var` find
    /// (with `std`; without it libc, where there is one, finds rubbish), what `/proc/PID/environ` shows, with
    /// zeros behind the last, and what an executed program inherits. They are copied to where the old ones
    /// were. Nobody may hold on to a string of the old environment that `getenv` has lent; what was copied
    /// from it, as `std::env::var` does, is safe. Cost: four system calls.
    ///
    /// # Errors
    ///
    /// [`SetupStep::Environment`]: ENOSPC where they are longer than the old ones were together, E2BIG for too
    /// many, EINVAL for one without a name or an equals sign, EBUSY where another thread could be reading
    /// there, or where the room is a title's ([`Title::claim_with_environment`](crate::run::Title)).
    pub fn environment(&mut self, variables: &[&CStr]) -> Result<&mut Self, SetupError> {
        let replaced = match Alone::verify() {
            Ok(_) => environment::replace(variables),
            Err(_) => Err(Errno::BUSY),
        };
        self.did(SetupStep::Environment, replaced)
    }

    /// The nice value, from -20 (first) to 19 (last). To lower it takes CAP_SYS_NICE, or
    /// RLIMIT_NICE. Cost: one system call.
    ///
    /// # Errors
    ///
    /// [`SetupStep::Priority`].
    pub fn priority(&mut self, nice: i32) -> Result<&mut Self, SetupError> {
        self.did(SetupStep::Priority, resources::set_priority(nice))
    }

    /// How many descriptors it may have: the soft and the hard limit. To raise the hard one takes
    /// CAP_SYS_RESOURCE. Cost: one system call.
    ///
    /// # Errors
    ///
    /// [`SetupStep::Descriptors`]; EPERM above fs.nr_open for everybody.
    pub fn descriptors(&mut self, most: u64) -> Result<&mut Self, SetupError> {
        let limited = resources::limit_descriptors(finite(most));
        self.did(SetupStep::Descriptors, limited)
    }

    /// How long a core may be, in bytes: the soft and the hard limit; `u64::MAX` for no limit. See
    /// [`Setup::dumpable`]. Cost: one system call.
    ///
    /// # Errors
    ///
    /// [`SetupStep::Core`].
    pub fn core_bytes(&mut self, most: u64) -> Result<&mut Self, SetupError> {
        self.did(SetupStep::Core, resources::limit_core(finite(most)))
    }

    /// Becomes somebody else, for good: supplementary groups, then the group, then the user, each with
    /// its real, effective and saved number; then exactly the capabilities that are kept. All of it
    /// is read back, and going back is tried and has to fail. Cost: about fifteen system calls.
    ///
    /// It is one-way for this process and its descendants, unless one executes a set-user-ID program
    /// ([`Setup::no_new_privileges`]). To be called while the process has one thread: the kernel
    /// changes the calling one.
    ///
    /// # Errors
    ///
    /// The step that failed. The process may have dropped a part by then: end it
    /// ([`Worker::fails`]). EPERM for who is not root: see [`Setup::keep_identity`]. EINVAL for
    /// root as the identity: that is no drop.
    pub fn drop_to(self, who: &Identity) -> Result<Setup<Dropped>, SetupError> {
        who.become_it()?;
        Ok(self.keep_identity())
    }

    /// Goes on as whoever it is: for a master that is no root, and has nothing to drop.
    pub const fn keep_identity(self) -> Setup<Dropped> {
        Setup {
            number: self.number,
            state: PhantomData,
        }
    }
}

impl Setup<Dropped> {
    /// Runs on these processors alone, by the kernel's numbers, below 1024. Cost: one system call.
    ///
    /// # Errors
    ///
    /// [`SetupStep::Processors`]; EINVAL if none of them is there.
    pub fn processors(&mut self, numbers: &[usize]) -> Result<&mut Self, SetupError> {
        let set = resources::set_processors(numbers.iter().copied());
        self.did(SetupStep::Processors, set)
    }

    /// Runs on one processor of its own: worker n on the n-th of those that the master may use, and
    /// round again where there are more workers. The successor of a worker, in its slot or in the
    /// next epoch, has its number, and so its processor. Cost: two system calls.
    ///
    /// # Errors
    ///
    /// [`SetupStep::Processors`].
    pub fn own_processor(&mut self) -> Result<&mut Self, SetupError> {
        let set = resources::processors().and_then(|allowed| self.run_on_own(allowed));
        self.did(SetupStep::Processors, set)
    }

    /// As [`Setup::own_processor`], of these processors, in this order. Cost: one system call.
    ///
    /// # Errors
    ///
    /// [`SetupStep::Processors`]; EINVAL for an empty list.
    pub fn own_processor_of(&mut self, numbers: &[usize]) -> Result<&mut Self, SetupError> {
        let set = self.run_on_own(numbers.iter().copied());
        self.did(SetupStep::Processors, set)
    }

    fn run_on_own(&self, allowed: impl Iterator<Item = usize> + Clone) -> Result<(), Errno> {
        let own = allowed.cycle().nth(self.number.into());
        resources::set_processors(own.into_iter())
    }

    /// Whether it dumps core, and others of its user may trace it. The drop has turned it off. Cost:
    /// one system call.
    ///
    /// # Errors
    ///
    /// [`SetupStep::Dumpable`].
    pub fn dumpable(&mut self, dumpable: bool) -> Result<&mut Self, SetupError> {
        self.did(SetupStep::Dumpable, identity::set_dumpable(dumpable))
    }

    /// Goes to a directory, with the rights that are left. Cost: one system call.
    ///
    /// # Errors
    ///
    /// [`SetupStep::Directory`].
    pub fn directory(&mut self, path: &CStr) -> Result<&mut Self, SetupError> {
        self.did(SetupStep::Directory, resources::enter(path))
    }

    /// Closes every descriptor but the worker's own, standard input, output and error, and those that are
    /// kept: whatever a library or an older part of the program has left open in the master. Make what the
    /// worker adds, such as its [`Poller`](crate::run::Poller), after it. Cost: one system call a gap between
    /// those that stay. A worker without a master has inherited nothing, and closes nothing.
    ///
    /// What owns one of the others, such as a `File` in the service, owns a number that is nobody's, and soon
    /// another's: `core::mem::forget` it. (Dropping it closes what has its number then; with debug assertions
    /// std ends the process for it.)
    ///
    /// # Errors
    ///
    /// [`SetupStep::Inherited`].
    pub fn keep_only(
        &mut self,
        worker: &Worker,
        kept: &[BorrowedFd<'_>],
    ) -> Result<&mut Self, SetupError> {
        let kept = kept.iter().map(|kept| kept.as_raw_fd());
        let closed = match worker.is_single() {
            true => Ok(()),
            false => descriptor::close_all_but(worker.descriptors().chain(kept)),
        };
        self.did(SetupStep::Inherited, closed)
    }

    /// From now on no program that it executes, set-user-ID or with file capabilities, has more rights
    /// than it. Cost: one system call.
    ///
    /// # Errors
    ///
    /// [`SetupStep::NoNewPrivileges`].
    pub fn no_new_privileges(&mut self) -> Result<&mut Self, SetupError> {
        let gave_up = identity::give_up_new_privileges();
        self.did(SetupStep::NoNewPrivileges, gave_up)
    }

    /// A step of one's own, under a number of one's own: a seccomp filter, a Landlock domain. Most
    /// filters want [`Setup::no_new_privileges`] first.
    ///
    /// # Errors
    ///
    /// [`SetupStep::Own`] with this number.
    pub fn then(
        &mut self,
        number: u16,
        step: impl FnOnce() -> Result<(), Errno>,
    ) -> Result<&mut Self, SetupError> {
        self.did(SetupStep::Own(number), step())
    }
}

impl<S> Setup<S> {
    fn did(&mut self, step: SetupStep, done: Result<(), Errno>) -> Result<&mut Self, SetupError> {
        done.map(|()| self)
            .map_err(|errno| SetupError { step, errno })
    }
}

/// A limit, where `u64::MAX` is none.
fn finite(most: u64) -> Option<u64> {
    (most != u64::MAX).then_some(most)
}
