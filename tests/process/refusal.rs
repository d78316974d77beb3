//! Calls that the kernel refuses, by order of a test: the n-th of a kind, or all of them.
//!
//! A seccomp filter traps the calls; the handler of the trap refuses those that are to be refused, and
//! makes the others, with a mark by which the filter lets them pass. Only the process that said so is
//! refused anything; what it executes would die of such a call.

use core::ffi::{c_int, c_long, c_void};
use core::sync::atomic::{AtomicI32, AtomicU32, Ordering::Relaxed};
use std::collections::BTreeMap;

use rustix::io::Errno;
use seccompiler::{
    SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};

/// What a call is marked with that is to pass: in its last argument, which none of these calls has.
const PASS: u64 = 0x7a55_ed0f_f0de_5a7e;
const MARK: u8 = 5;

static OF: AtomicI32 = AtomicI32::new(0);
static ERRNO: AtomicI32 = AtomicI32::new(0);
static SKIPPED: AtomicU32 = AtomicU32::new(0);
static TIMES: AtomicU32 = AtomicU32::new(0);

/// Where the registers of a call lie in a signal's frame: its number, six arguments, its result.
#[cfg(target_arch = "x86_64")]
fn registers(context: &mut libc::ucontext_t) -> (c_long, [c_long; 5], &mut i64) {
    let all = &mut context.uc_mcontext.gregs;
    let at = |register: c_int| all[register as usize];
    let arguments = [
        at(libc::REG_RDI),
        at(libc::REG_RSI),
        at(libc::REG_RDX),
        at(libc::REG_R10),
        at(libc::REG_R8),
    ];
    let number = at(libc::REG_RAX);
    (number, arguments, &mut all[libc::REG_RAX as usize])
}

#[cfg(target_arch = "aarch64")]
fn registers(context: &mut libc::ucontext_t) -> (c_long, [c_long; 5], &mut u64) {
    let all = &mut context.uc_mcontext.regs;
    let arguments = core::array::from_fn(|at| all[at] as c_long);
    (all[8] as c_long, arguments, &mut all[0])
}

extern "C" fn trapped(_: c_int, _: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel hands the frame of this trap to its handler, which alone uses it.
    let context = unsafe { &mut *context.cast::<libc::ucontext_t>() };
    let (number, [a, b, c, d, e], result) = registers(context);
    let counted = |left: &AtomicU32| {
        left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1))
            .is_ok()
    };
    let refused =
        OF.load(Relaxed) == std::process::id() as i32 && !counted(&SKIPPED) && counted(&TIMES);
    *result = if refused {
        -i64::from(ERRNO.load(Relaxed))
    } else {
        // SAFETY: the call is the one that was trapped, with the arguments that it came with.
        match unsafe { libc::syscall(number, a, b, c, d, e, PASS) } {
            -1 => -i64::from(std::io::Error::last_os_error().raw_os_error().unwrap_or(0)),
            done => done,
        }
    } as _;
}

fn filter(rules: BTreeMap<i64, Vec<SeccompRule>>, action: SeccompAction) {
    let architecture = std::env::consts::ARCH
        .try_into()
        .expect("one that is known");
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, action, architecture);
    let program: seccompiler::BpfProgram = filter.and_then(TryInto::try_into).expect("a filter");
    seccompiler::apply_filter(&program).expect("the kernel has seccomp");
}

fn when(argument: u8, is: SeccompCmpOp, value: u64) -> SeccompCondition {
    SeccompCondition::new(argument, SeccompCmpArgLen::Qword, is, value).expect("a condition")
}

/// From now on [`refuse`] can refuse these calls in this process; of epoll_ctl only those that add.
pub(crate) fn prepare(calls: &[c_long]) {
    // SAFETY: zeros are an action without flags and with an empty mask.
    let mut action: libc::sigaction = unsafe { core::mem::zeroed() };
    let handler: extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) = trapped;
    action.sa_sigaction = handler as usize;
    action.sa_flags = libc::SA_SIGINFO | libc::SA_NODEFER;
    // SAFETY: the action lives through the call; the handler touches atomics and makes one call.
    let done = unsafe { libc::sigaction(libc::SIGSYS, &raw const action, core::ptr::null_mut()) };
    assert_eq!(done, 0);
    let rules = calls.iter().map(|call| {
        let mut conditions = vec![when(MARK, SeccompCmpOp::Ne, PASS)];
        if *call == libc::SYS_epoll_ctl {
            conditions.push(when(1, SeccompCmpOp::Eq, libc::EPOLL_CTL_ADD as u64));
        }
        (*call, vec![SeccompRule::new(conditions).expect("a rule")])
    });
    filter(rules.collect(), SeccompAction::Trap);
}

/// Lets `skipped` of the prepared calls pass, and refuses as many as `times` says after that.
pub(crate) fn refuse(errno: Errno, skipped: u32, times: u32) {
    OF.store(std::process::id() as i32, Relaxed);
    ERRNO.store(errno.raw_os_error(), Relaxed);
    SKIPPED.store(skipped, Relaxed);
    TIMES.store(times, Relaxed);
}

/// How many refusals nobody has met with yet.
pub(crate) fn left() -> u32 {
    TIMES.load(Relaxed)
}

/// Refuses these calls for the rest of this process, and of what it makes.
pub(crate) fn refuse_for_good(calls: &[c_long], errno: Errno) {
    let rules = calls.iter().map(|call| (*call, Vec::new()));
    filter(
        rules.collect(),
        SeccompAction::Errno(errno.raw_os_error() as u32),
    );
}
