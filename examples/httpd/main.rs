//! A prefork HTTP/1.1 server on forkmesh: this file starts the master and says what it does.
//!
//! ```text
//!   main ─┬─ generation ── daemon ── listener ── Master::new ── pid file ── run ── relay, if it is to stay
//!         │    └─ settings, log       └─ the predecessor's, or bound; holders says by whom not
//!         └─ -s: control ── status         asks a master that runs
//!
//!   service ─┬─ notice                     a line each                                  the master
//!            ├─ reload: generation         the settings to be, beside those in force
//!            ├─ upgrade: program           what takes over, with the listener
//!            └─ work: setup, server        its user and processor, then its loop       each worker
//!                ├─ connection             bytes in, bytes out, never blocking
//!                │    ├─ request, body     what was asked
//!                │    └─ response          what is answered
//!                └─ pages                  /  /mesh  /tell
//!                     └─ mesh, diag        who holds which descriptor
//! ```
//!
//! Try `cargo run --release --example httpd -- --workers 2 --pid-file /tmp/httpd.pid`, and then the
//! same with `-s status` behind it, or `-s reload`.
#![forbid(unsafe_code)]

mod arguments;
mod body;
mod build;
mod connection;
mod control;
mod diag;
mod generation;
mod holders;
mod listener;
mod log;
mod mesh;
mod pages;
mod program;
mod request;
mod response;
mod server;
mod service;
mod settings;
mod setup;
mod status;

use core::fmt;
use std::ffi::CString;
use std::io::{self, Write};
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::process::ExitCode;

use forkmesh::machine::ExitStatus;
use forkmesh::run::{
    Address, Daemon, Detached, Exit, Handover, Listeners, Master, PidFile, Relay, Silent, Single,
    Tries,
};

use crate::arguments::{Arguments, Asked};
use crate::generation::Source;
use crate::program::Program;
use crate::service::Httpd;

fn main() -> ExitCode {
    match arguments::parse(std::env::args_os().skip(1)) {
        Ok(Asked::Help) => {
            let _ = write!(io::stdout(), "{}", arguments::HELP);
            ExitCode::SUCCESS
        }
        Ok(Asked::Serve(arguments)) => serve(*arguments).unwrap_or_else(failed),
        Ok(Asked::Order(order, pid_file)) => ended(control::obey(order, &pid_file)),
        Err(wrong) => {
            let _ = writeln!(io::stderr(), "httpd: {wrong} (--help says more)");
            ExitCode::from(2)
        }
    }
}

/// What there is to print goes to where it belongs.
fn ended(result: Result<String, String>) -> ExitCode {
    match result {
        Ok(text) => {
            let _ = write!(io::stdout(), "{text}");
            ExitCode::SUCCESS
        }
        Err(why) => failed(why),
    }
}

fn failed(why: String) -> ExitCode {
    let _ = writeln!(io::stderr(), "httpd: {why}");
    ExitCode::FAILURE
}

/// Serves, and then stays as a relay if that is wanted.
fn serve(arguments: Arguments) -> Result<ExitCode, String> {
    let stays = arguments.relay || std::process::id() == 1;
    let Some(relay) = run(arguments, stays)? else {
        return Ok(ExitCode::SUCCESS);
    };
    let ended = relay.run().map_err(|why| format!("the relay: {why}"))?;
    Ok(match ended {
        ExitStatus::Code(code) => ExitCode::from(code),
        // As a shell says it: PID 1 cannot be killed by itself.
        ExitStatus::Killed { signal, .. } => ExitCode::from(128 + signal),
    })
}

/// Is the master until it ends, and gives up all that it had; the relay behind its successor, if it
/// has one and is to stay.
fn run(arguments: Arguments, stays: bool) -> Result<Option<Relay>, String> {
    // First of all: this path is to be that of the program that is running now.
    let program = Program::capture(arguments.binary.as_deref());
    let source = Source {
        line: arguments.said,
        file: arguments.config,
    };
    let serving = source.generation(0)?;
    let mut handover = handover()?;
    let workers = if arguments.single {
        1
    } else {
        serving.settings.workers
    };
    // Before the listeners: whoever opens them removes the files of unix sockets.
    let detached = match &handover {
        None if arguments.daemon => Some(detach()?),
        _ => None,
    };
    let mut listeners = Listeners::new();
    let list = &serving.settings.listen;
    let wait = arguments.bind_wait;
    listener::open(&mut listeners, list, workers, handover.as_mut(), wait)?;
    let mut httpd = Httpd {
        listeners,
        tries: Tries::new(),
        serving,
        next: None,
        source,
        program,
        name: arguments.name.unwrap_or_else(build::id),
    };
    if arguments.single {
        greet(&httpd.listeners, workers, false);
        return single(&mut httpd).map(|()| None);
    }
    let config = arguments.master.workers(workers);
    let mut master = Master::new(config).map_err(|error| error.to_string())?;
    master.observed_by(&Silent); // what is of interest here, the service prints itself
    if let Some(handover) = handover {
        // The listeners that nobody has taken are closed here.
        master.succeed(handover);
    }
    if let Some(path) = &arguments.pid_file {
        master.keep(pid_file(path)?);
    }
    greet(&httpd.listeners, workers, detached.is_some());
    if let Some(detached) = detached {
        master.report_to(detached);
    }
    let ended = master.run(&mut httpd);
    ended.map_err(|why| format!("the master: {why}"))?;
    if !stays {
        return Ok(None);
    }
    master.relay().map_err(|why| format!("the relay: {why}"))
}

/// Goes on without the terminal; who started it waits until the workers are ready.
fn detach() -> Result<Detached, String> {
    let detached = Daemon::new().detach();
    detached.map_err(|why| format!("no daemon: {why}"))
}

/// One worker and no master, for a debugger.
fn single(httpd: &mut Httpd) -> Result<(), String> {
    match Single::new().run(httpd) {
        Ok(Exit::SUCCESS) => Ok(()),
        Ok(Exit(code)) => Err(format!("it cannot serve: {code}")),
        Err(why) => Err(format!("it cannot serve: {why}")),
    }
}

/// What the master that this one takes over from has left.
fn handover() -> Result<Option<Handover>, String> {
    let value = std::env::var_os(Handover::VARIABLE).unwrap_or_default();
    let received = Handover::receive_from(value.as_encoded_bytes());
    received.map_err(|why| why.to_string())
}

/// The file stays this process's wherever that goes.
fn pid_file(path: &Path) -> Result<PidFile, String> {
    let cannot = |why: &dyn fmt::Display| format!("pid file {}: {why}", path.display());
    let whole = std::path::absolute(path).map_err(|why| cannot(&why))?;
    let whole = CString::new(whole.into_os_string().into_vec()).map_err(|why| cannot(&why))?;
    PidFile::create(whole.as_c_str()).map_err(|why| cannot(&why))
}

/// Says where it listens and what to try; a daemon's standard output is nobody's.
fn greet(listeners: &Listeners, workers: usize, is_daemon: bool) {
    let pid = std::process::id();
    let all = (0..listeners.count() as u16).filter_map(|place| listeners.address(place));
    let all: Vec<Address> = all.collect();
    let shown: Vec<String> = all.iter().map(listener::shown).collect();
    let mut text = format!(
        "listening on {} with {workers} workers, master pid {pid}\n",
        shown.join(", ")
    );
    let tcp = all.iter().find(|at| !matches!(at, Address::Unix(_)));
    if let Some(url) = tcp.map(listener::shown) {
        text += &format!(
            "try:  curl {url}\n      \
                   curl {url}mesh\n      \
                   curl '{url}tell?slot=1&text=hello%20there'\n      \
                   kill -QUIT {pid}    (ends gracefully; -TERM at once)\n"
        );
    }
    // All of it before the first fork, so that no worker has a copy of it in a buffer.
    let _ = match is_daemon {
        true => io::stderr().write_all(text.as_bytes()),
        false => io::stdout()
            .write_all(text.as_bytes())
            .and_then(|()| io::stdout().flush()),
    };
}
