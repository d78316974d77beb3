//! Signals without handlers that run: blocked, then read from a descriptor like anything else.

use core::mem::size_of;

use rustix::fd::{AsFd, FromRawFd, OwnedFd, RawFd};
use rustix::io::{Errno, read};
use rustix::process::Signal;
use syscalls::{Sysno, syscall};

use crate::sys::errno;

/// A set of signals, as the kernel has it: bit n - 1 for signal n.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(transparent)]
pub(crate) struct SignalSet(u64);

/// A signal that was waited for, and who sent it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Caught {
    pub(crate) signal: i32,
    /// Whether a process sent it, and not the kernel for a terminal.
    pub(crate) by_process: bool,
}

impl SignalSet {
    pub(crate) const fn of(signals: &[Signal]) -> Self {
        let mut bits = 0;
        let mut rest = signals;
        while let [signal, others @ ..] = rest {
            bits |= 1 << (signal.as_raw() - 1);
            rest = others;
        }
        Self(bits)
    }

    /// The set that this word stands for: bit n - 1 for signal n.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "no room sets another's mask yet")
    )]
    pub(crate) const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// The word that stands for this set.
    pub(crate) const fn bits(self) -> u64 {
        self.0
    }

    /// These signals, and those.
    pub(crate) const fn with(self, those: Self) -> Self {
        Self(self.0 | those.0)
    }

    /// Blocks these signals too, and says which ones were blocked before.
    pub(crate) fn block(self) -> Result<Self, Errno> {
        self.change_mask(SIG_BLOCK)
    }

    /// Blocks these signals and no other.
    pub(crate) fn set_mask(self) -> Result<(), Errno> {
        self.change_mask(SIG_SETMASK).map(drop)
    }

    fn change_mask(self, how: i32) -> Result<Self, Errno> {
        let mut old = Self(0);
        // SAFETY: both sets are eight bytes, as the last argument says, and live through the call.
        let done = unsafe {
            syscall!(
                Sysno::rt_sigprocmask,
                how,
                &raw const self,
                &raw mut old,
                size_of::<Self>()
            )
        };
        done.map(|_| old).map_err(errno)
    }

    /// A descriptor that reads the blocked signals of this set.
    pub(crate) fn descriptor(self) -> Result<OwnedFd, Errno> {
        let flags = SFD_CLOEXEC | SFD_NONBLOCK;
        // SAFETY: the set is eight bytes, as the third argument says, and lives through the call.
        let made = unsafe {
            syscall!(
                Sysno::signalfd4,
                NEW,
                &raw const self,
                size_of::<Self>(),
                flags
            )
        };
        let number = made.map_err(errno)? as RawFd;
        // SAFETY: the kernel made this descriptor just now, for us alone.
        Ok(unsafe { OwnedFd::from_raw_fd(number) })
    }
}

/// The next pending signal of a descriptor that [`SignalSet::descriptor`] made; `None` if there is
/// none.
pub(crate) fn next(descriptor: impl AsFd) -> Option<Caught> {
    let mut info = [0; SIGINFO_SIZE];
    match read(descriptor, &mut info) {
        Ok(SIGINFO_SIZE) => Some(Caught {
            signal: field(&info, 0),
            by_process: field(&info, SSI_CODE) <= 0,
        }),
        _ => None,
    }
}

fn field(info: &[u8; SIGINFO_SIZE], offset: usize) -> i32 {
    let bytes = info[offset..]
        .first_chunk()
        .expect("both fields lie inside");
    i32::from_ne_bytes(*bytes)
}

/// Gives a signal its default meaning back, whatever was inherited.
pub(crate) fn set_default(signal: Signal) -> Result<(), Errno> {
    set_disposition(signal, SIG_DFL)
}

/// Has the kernel drop a signal.
pub(crate) fn ignore(signal: Signal) -> Result<(), Errno> {
    set_disposition(signal, SIG_IGN)
}

/// Gives a signal a handler that does nothing: for those who look in /proc whether there is one, as
/// systemd does before it takes a process for a daemon that can reload. A signal that is blocked
/// never runs it, and one that is not would do no harm. exec takes it away.
#[cfg_attr(not(test), expect(dead_code, reason = "no room shows a handler yet"))]
pub(crate) fn install_handler(signal: Signal) -> Result<(), Errno> {
    let handler: extern "C" fn(i32) = nothing;
    set_disposition(signal, handler as usize)
}

extern "C" fn nothing(_: i32) {}

/// How a handler returns where the kernel does not know by itself: `rt_sigreturn`, from a frame that
/// nobody has pushed anything on.
#[cfg(target_arch = "x86_64")]
#[unsafe(naked)]
extern "C" fn restorer() {
    core::arch::naked_asm!("mov eax, 15", "syscall")
}

/// The restorer, and the flag that says there is one.
#[cfg(target_arch = "x86_64")]
fn way_back() -> (usize, usize) {
    let restorer: extern "C" fn() = restorer;
    (restorer as usize, SA_RESTORER)
}

/// Elsewhere the kernel returns by code of its own, in the vDSO.
#[cfg(not(target_arch = "x86_64"))]
fn way_back() -> (usize, usize) {
    (0, 0)
}

/// A disposition: default, ignore, or the address of a function.
fn set_disposition(signal: Signal, handler: usize) -> Result<(), Errno> {
    #[repr(C)]
    struct Disposition {
        handler: usize,
        flags: usize,
        restorer: usize,
        mask: u64,
    }
    let (restorer, flag) = way_back();
    let new = Disposition {
        handler,
        flags: SA_RESTART | flag,
        restorer,
        mask: 0,
    };
    // SAFETY: `new` is the kernel's `struct sigaction`, with a mask of eight bytes as the last
    // argument says; what it names is no function, or one of this module that touches no memory and
    // returns by the restorer beside it; no old disposition is asked for.
    let done = unsafe {
        syscall!(
            Sysno::rt_sigaction,
            signal.as_raw(),
            &raw const new,
            0,
            size_of::<u64>()
        )
    };
    done.map(drop).map_err(errno)
}

const SIG_BLOCK: i32 = 0;
const SIG_SETMASK: i32 = 2;
const SIG_DFL: usize = 0;
const SIG_IGN: usize = 1;
const SA_RESTART: usize = 0x1000_0000;
#[cfg(target_arch = "x86_64")]
const SA_RESTORER: usize = 0x0400_0000;
const NEW: i32 = -1;
const SFD_CLOEXEC: i32 = 0o2_000_000;
const SFD_NONBLOCK: i32 = 0o4_000;
const SIGINFO_SIZE: usize = 128;
const SSI_CODE: usize = 8;
