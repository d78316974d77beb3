//! The program that becomes a daemon: it serves a port, or fails in the way that its role says.

use core::net::{Ipv4Addr, SocketAddrV4};
use std::ffi::CString;
use std::io::Read;
use std::net::TcpListener;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use forkmesh::machine::Config;
use forkmesh::run::{
    Daemon, Event, Exit, Handover, Interest, Master, Offer, PidFile, Poller, Ready, Refused,
    Service, Setup, Silent, Worker,
};
use rustix::fd::OwnedFd;
use rustix::fs::Mode;
use rustix::io::write;
use rustix::net::{accept, getsockname};
use rustix::process::Signal;

use crate::foreign::owned;

/// The variable that makes this binary another program than the tests, and what it is to be.
pub(crate) const ROLE: &str = "FORKMESH_TEST_DAEMON";
/// Where its files are: `pid`, `port`, `log`, and `go`, which its workers read before they are ready.
pub(crate) const FOLDER: &str = "FORKMESH_TEST_FOLDER";
/// The port to bind, if it is not any.
pub(crate) const PORT: &str = "FORKMESH_TEST_PORT";

/// The code of the role that ends by itself.
pub(crate) const OWN_CODE: u8 = 7;
/// What it is told to take from modes.
pub(crate) const UMASK: u32 = 0o027;

type Failure = Box<dyn core::error::Error>;

/// Plays a role and ends, if this process was asked to.
pub(crate) fn run_if_asked() {
    let Ok(role) = std::env::var(ROLE) else {
        return;
    };
    let folder = PathBuf::from(std::env::var_os(FOLDER).expect("a folder"));
    let code = match play(&role, &folder) {
        Ok(()) => 0,
        Err(failure) => {
            eprintln!("Error: {failure}");
            1
        }
    };
    std::process::exit(code);
}

fn play(role: &str, folder: &Path) -> Result<(), Failure> {
    let handover = received()?;
    if role == "has a thread" {
        std::thread::spawn(std::thread::park);
    }
    let start_ms = if role == "hangs" { 300 } else { 60_000 };
    let daemon = Daemon::new().umask(UMASK).start_ms(start_ms);
    let detached = match handover {
        None => Some(daemon.detach()?),
        Some(_) => None,
    };
    let detached = match (role, detached) {
        ("logs", Some(detached)) => {
            let log = std::fs::File::create(folder.join("log"))?;
            Some(detached.errors_to(owned(log)).expect("a number"))
        }
        ("has no master", Some(detached)) => {
            let _pid_file = PidFile::create(path(folder, "pid").as_c_str())?;
            detached.ready().expect("it waits");
            read_go(folder);
            return Ok(());
        }
        ("ends by itself", _) => std::process::exit(OWN_CODE.into()),
        ("ends well", _) => return Ok(()),
        (_, detached) => detached,
    };
    let listener = match &handover {
        Some(_) => None,
        None => {
            let port = std::env::var(PORT).map_or(0, |port| port.parse().expect("a port"));
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
            listener.set_nonblocking(true)?;
            Some(owned(listener))
        }
    };
    serve(role, folder, handover, detached, listener)
}

fn serve(
    role: &str,
    folder: &Path,
    mut handover: Option<Handover>,
    detached: Option<forkmesh::run::Detached>,
    listener: Option<OwnedFd>,
) -> Result<(), Failure> {
    let listener = match (listener, &mut handover) {
        (Some(listener), _) => listener,
        (None, Some(handover)) => handover.take("http").ok_or("no listener")?,
        (None, None) => return Err("nothing to listen on".into()),
    };
    let pid_file = PidFile::create(path(folder, "pid").as_c_str())?;
    let config = Config::new().workers(2);
    let config = config.probation_ms(50).terminate_ms(200);
    let mut master = Box::new(Master::new(config)?);
    if role == "is silent" {
        master.observed_by(&Silent);
    }
    if let Some(handover) = handover {
        master.succeed(handover);
    }
    if let Some(detached) = detached {
        master.report_to(detached);
    }
    master.keep(pid_file);
    let port = getsockname(&listener).expect("bound");
    let port = SocketAddrV4::try_from(port).expect("an address").port();
    std::fs::write(folder.join("port"), port.to_string())?;
    let mut server = Server {
        role: role.to_owned(),
        folder: folder.to_owned(),
        path: program(),
        listener,
    };
    Ok(master.run(&mut server)?)
}

struct Server {
    role: String,
    folder: PathBuf,
    path: CString,
    listener: OwnedFd,
}

impl Service for Server {
    fn work(&mut self, worker: &mut Worker) -> Exit {
        match (self.role.as_str(), worker.number()) {
            ("waits", _) => read_go(&self.folder),
            ("cannot serve", 1) => {
                let mut setup = Setup::begin(worker).keep_identity();
                if let Err(error) = setup.directory(c"/nowhere/at/all") {
                    return worker.fails(error);
                }
            }
            ("hangs", 1) | ("hangs for long", 1) => loop {
                std::thread::park();
            },
            _ => {}
        }
        let mut poller = Poller::new(worker).expect("a poller");
        let watched = poller.add(&self.listener, 1, Interest::READ);
        watched.expect("a watch");
        worker.ready();
        loop {
            while let Some(event) = worker.receive() {
                if let Event::Quit | Event::Terminate = event {
                    return Exit::SUCCESS;
                }
            }
            let ready = poller.wait(worker, None).expect("epoll");
            ready.for_each(|_: Ready| {
                if let Ok(connection) = accept(&self.listener) {
                    let _ = write(connection, b"here");
                }
            });
        }
    }

    fn upgrade<'s>(&'s self, offer: &mut Offer<'s>) -> Result<(), Refused> {
        let variables: &'static [&'static core::ffi::CStr] = Box::leak(
            std::env::vars()
                .map(|(name, value)| {
                    let variable = CString::new(format!("{name}={value}")).expect("no zero");
                    &*Box::leak(variable.into_boxed_c_str())
                })
                .collect::<Vec<_>>()
                .into_boxed_slice(),
        );
        let offered = offer.program(&self.path, &[], variables);
        let offered = offered.and_then(|()| offer.descriptor("http", &self.listener));
        offered.map_err(|_| Refused)
    }
}

#[cfg(feature = "std")]
fn received() -> Result<Option<Handover>, Failure> {
    Ok(Handover::receive()?)
}

#[cfg(not(feature = "std"))]
fn received() -> Result<Option<Handover>, Failure> {
    match std::env::var_os(Handover::VARIABLE) {
        Some(value) => Ok(Handover::receive_from(value.as_bytes())?),
        None => Ok(None),
    }
}

fn program() -> CString {
    let path = std::env::current_exe().expect("/proc");
    CString::new(path.as_os_str().as_bytes()).expect("no zero")
}

fn path(folder: &Path, name: &str) -> CString {
    CString::new(folder.join(name).as_os_str().as_bytes()).expect("no zero")
}

/// Waits for a byte from the FIFO, or for the end of the test that it is of.
fn read_go(folder: &Path) {
    let mut go = std::fs::File::open(folder.join("go")).expect("a FIFO");
    let _ = go.read(&mut [0]);
}

/// Makes a FIFO.
pub(crate) fn make_go(folder: &Path) {
    let made = rustix::fs::mknodat(
        rustix::fs::CWD,
        path(folder, "go").as_c_str(),
        rustix::fs::FileType::Fifo,
        Mode::RUSR | Mode::WUSR,
        0,
    );
    made.expect("a FIFO");
}

/// The code of a foreground that a signal told to end.
pub(crate) fn code_of(signal: Signal) -> i32 {
    128 + signal.as_raw()
}
