//! Programs that take over: this binary in a role, and others.

use core::ffi::CStr;
use std::ffi::CString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use forkmesh::machine::{Config, Report};
use forkmesh::run::{Exit, Handover, Master, Offer, PidFile, Worker};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::{read, write};
use rustix::net::{SendFlags, send};
use rustix::process::{Pid, PidfdFlags, Signal, getpid, getppid, kill_process, pidfd_open};
use rustix::process::{WaitId, WaitIdOptions, pidfd_send_signal, waitid};

use crate::support::{alone, wait_readable};
use crate::world::{World, obedient};

/// The variable that makes this binary another program than the tests.
const ROLE: &str = "FORKMESH_TEST_PROGRAM";
/// Where it puts its pid file.
pub(crate) const PID_FILE: &str = "FORKMESH_TEST_PID_FILE";
/// Who takes over from it: the same once more, or a program that is not there.
pub(crate) const NEXT: &str = "FORKMESH_TEST_NEXT";
/// Whether it asks itself for an upgrade as soon as it serves.
pub(crate) const EAGER: &str = "FORKMESH_TEST_EAGER";
/// Whether it stays for a while when its master has ended: until a USR1.
pub(crate) const LINGERS: &str = "FORKMESH_TEST_LINGERS";
/// Its probation_ms.
pub(crate) const PROBATION: &str = "FORKMESH_TEST_PROBATION";

/// Longer than any test; it ends what a failed test leaves behind.
const LONGEST_LIFE_SECONDS: u32 = 120;

/// What is executed, and what it gets. The strings are leaked: they live as long as a test.
pub(crate) struct Program {
    path: CString,
    arguments: Vec<&'static CStr>,
    variables: Vec<&'static CStr>,
    report: Option<OwnedFd>,
}

fn leaked(text: String) -> &'static CStr {
    Box::leak(CString::new(text).expect("no zero").into_boxed_c_str())
}

impl Program {
    pub(crate) fn new(role: &str) -> Self {
        let path = std::env::current_exe().expect("/proc");
        let path = CString::new(path.as_os_str().as_bytes()).expect("no zero");
        Self::at(&path).with(ROLE, role)
    }

    pub(crate) fn at(path: &CStr) -> Self {
        Self {
            path: path.to_owned(),
            arguments: Vec::new(),
            variables: Vec::new(),
            report: None,
        }
    }

    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.variables.push(leaked(format!("{name}={value}")));
        self
    }

    pub(crate) fn argument(mut self, argument: &str) -> Self {
        if self.arguments.is_empty() {
            self.arguments.push(leaked("program".to_owned()));
        }
        self.arguments.push(leaked(argument.to_owned()));
        self
    }

    /// It writes down here what happens to it: see [`News`].
    pub(crate) fn reporting(mut self, to: impl AsFd) -> Self {
        self.report = Some(rustix::io::fcntl_dupfd_cloexec(to, 3).expect("a descriptor"));
        self
    }

    pub(crate) fn offer<'s>(&'s self, offer: &mut Offer<'s>) {
        let program = offer.program(&self.path, &self.arguments, &self.variables);
        program.expect("an absolute path");
        if let Some(report) = &self.report {
            offer.descriptor("report", report).expect("room");
        }
    }
}

/// A process that a test has to end.
pub(crate) struct Heir {
    pub(crate) pid: i32,
    pidfd: OwnedFd,
}

impl Heir {
    pub(crate) fn new(pid: i32) -> Self {
        let process = Pid::from_raw(pid).expect("a pid");
        let pidfd = pidfd_open(process, PidfdFlags::empty()).expect("it is there");
        Self { pid, pidfd }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        pidfd_send_signal(&self.pidfd, signal).expect("it lives");
    }

    pub(crate) fn lives(&self) -> bool {
        let mut waiting = [PollFd::new(&self.pidfd, PollFlags::IN)];
        poll(&mut waiting, Some(&Timespec::default())) == Ok(0)
    }

    pub(crate) fn wait(&self) {
        wait_readable(&self.pidfd, "its end");
    }

    /// Waits for its end; its exit code.
    pub(crate) fn end(self) -> Option<i32> {
        self.wait();
        let status = waitid(WaitId::PidFd(self.pidfd.as_fd()), WaitIdOptions::EXITED);
        status
            .expect("it is ours to reap")
            .and_then(|status| status.exit_status())
    }
}

impl Drop for Heir {
    fn drop(&mut self) {
        let _ = pidfd_send_signal(&self.pidfd, Signal::KILL);
    }
}

/// What a program that takes over writes down: what happened, to which process, and whether its
/// predecessor was its parent still.
pub(crate) type News = (u8, i32, bool);
/// Its workers are ready.
pub(crate) const READY: u8 = b'r';
/// Its own upgrade is done, or failed.
pub(crate) const UPGRADED: u8 = b'u';
pub(crate) const FAILED: u8 = b'f';

/// Its master has ended, and it has not.
pub(crate) const LINGERING: u8 = b'l';

/// Writes news down.
pub(crate) fn tell(to: impl AsFd, what: u8, with_parent: bool) {
    let mut bytes = [what, 0, 0, 0, 0, u8::from(with_parent)];
    bytes[1..5].copy_from_slice(&getpid().as_raw_nonzero().get().to_ne_bytes());
    assert_eq!(write(to, &bytes), Ok(6));
}

/// The next news; `None` when nobody is left to write any.
pub(crate) fn news(from: impl AsFd) -> Option<News> {
    wait_readable(&from, "news");
    let mut bytes = [0; 6];
    match read(from, &mut bytes).expect("a pipe") {
        6 => {
            let pid = i32::from_ne_bytes(bytes[1..5].try_into().expect("four bytes"));
            Some((bytes[0], pid, bytes[5] != 0))
        }
        _ => None,
    }
}

fn parent() -> i32 {
    getppid().map_or(0, |pid| pid.as_raw_nonzero().get())
}

/// Plays a role and ends, if this process was asked to.
pub(crate) fn run_if_asked() {
    let Ok(role) = std::env::var(ROLE) else {
        return;
    };
    // SAFETY: the call has no requirement.
    unsafe { libc::alarm(LONGEST_LIFE_SECONDS) };
    let handover = received();
    match role.as_str() {
        "serves" => serves(handover),
        "serves briefly" => serves_briefly(handover),
        "dies" => std::process::exit(3),
        "hangs" => hangs(&handover),
        "cannot serve" => cannot_serve(handover),
        "cannot watch" => cannot_watch(handover),
        "never stops talking" => never_stops_talking(&handover),
        role => panic!("nobody plays {role:?}"),
    }
    std::process::exit(0);
}

fn received() -> Handover {
    #[cfg(feature = "std")]
    let received = Handover::receive();
    #[cfg(not(feature = "std"))]
    let received = {
        let value = std::env::var_os(Handover::VARIABLE).expect("a hand-over");
        Handover::receive_from(value.as_bytes())
    };
    received.expect("nothing is wrong").expect("a hand-over")
}

fn heir(handover: Handover, work: fn(&mut Worker) -> Exit) -> World {
    let probation = std::env::var(PROBATION).map_or(50, |ms| ms.parse().expect("a number"));
    let config = Config::new().workers(2).probation_ms(probation);
    let mut master = Box::new(Master::with(config, alone()).expect("a master"));
    if let Some(path) = std::env::var_os(PID_FILE) {
        let path = CString::new(path.as_bytes()).expect("no zero");
        master.keep(PidFile::create(path.as_c_str()).expect("it was set aside"));
    }
    master.succeed(handover);
    World::unstarted(master, work)
}

fn serves(mut handover: Handover) {
    let predecessor = handover.predecessor().as_i32();
    let report = handover.take("report");
    let tell = |what: u8| {
        if let Some(report) = &report {
            tell(report, what, parent() == predecessor);
        }
    };
    let mut world = heir(handover, obedient);
    world.lab.program = std::env::var(NEXT)
        .ok()
        .map(|next| next_program(&next, &report));
    world.master.start(&mut world.lab).expect("started");
    world.all_live(2);
    tell(READY);
    if std::env::var_os(EAGER).is_some() {
        kill_process(getpid(), Signal::USR2).expect("sent");
    }
    while !world.master.is_ended() {
        world.master.turn(&mut world.lab, None).expect("epoll");
        for report in core::mem::take(&mut world.lab.reports) {
            match report {
                Report::Upgraded(_) => tell(UPGRADED),
                Report::UpgradeFailed(_) => {
                    tell(FAILED);
                    world.master.workers().terminate();
                }
                _ => {}
            }
        }
    }
    if std::env::var_os(LINGERS).is_some() {
        drop(world);
        tell(LINGERING);
        let (usr1, mut caught) = (1_u64 << (libc::SIGUSR1 - 1), 0);
        // SAFETY: a set of signals begins with these eight bytes, of which alone the kernel reads.
        let waited = unsafe { libc::sigwait((&raw const usr1).cast(), &raw mut caught) };
        assert_eq!((waited, caught), (0, libc::SIGUSR1));
    }
}

fn next_program(next: &str, report: &Option<OwnedFd>) -> Program {
    let serves = || Program::new("serves").reporting(report.as_ref().expect("to hand on"));
    match next {
        "serves" => serves(),
        "is eager" => serves().with(EAGER, "1").with(NEXT, "serves"),
        _ => Program::at(c"/nowhere"),
    }
}

/// Dies as soon as it was heard that it serves.
fn serves_briefly(handover: Handover) {
    let mut world = heir(handover, obedient);
    world.master.start(&mut world.lab).expect("started");
    world.all_live(2);
    world.turn();
    std::process::exit(4);
}

/// Every signal that could end it is blocked, but for one.
fn hangs(_: &Handover) {
    loop {
        std::thread::park();
    }
}

fn cannot_serve(handover: Handover) {
    let mut world = heir(handover, |_| Exit::FATAL);
    world.master.start(&mut world.lab).expect("started");
    world.until("it is told to go", |world| world.master.is_ended());
}

/// The kernel does not let it watch its predecessor.
fn cannot_watch(handover: Handover) {
    let mut world = heir(handover, obedient);
    crate::refusal::prepare(&[libc::SYS_epoll_ctl]);
    crate::refusal::refuse(rustix::io::Errno::NOSPC, 1, 1);
    if world.master.start(&mut world.lab).is_err() {
        std::process::exit(7);
    }
    world.until("for ever", |_| false);
}

fn never_stops_talking(handover: &Handover) {
    loop {
        let _ = send(handover, b"?", SendFlags::NOSIGNAL | SendFlags::DONTWAIT);
    }
}

/// A folder of a test's own.
#[derive(Debug)]
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        let folder = std::env::temp_dir().join(format!("forkmesh-process-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder); // of a process that had this number and was killed
        fs::create_dir(&folder).expect("a folder");
        Self(folder)
    }

    pub(crate) fn path(&self) -> CString {
        CString::new(self.0.join("pid").as_os_str().as_bytes()).expect("no zero")
    }

    pub(crate) fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).expect("a folder");
        let name = |entry: fs::DirEntry| entry.file_name().to_string_lossy().into_owned();
        let mut names: Vec<String> = entries.map(|entry| name(entry.expect("listed"))).collect();
        names.sort();
        names
    }

    /// The process that the pid file names.
    pub(crate) fn pid(&self) -> i32 {
        let text = fs::read_to_string(self.0.join("pid")).expect("a pid file");
        text.trim().parse().expect("a pid")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
