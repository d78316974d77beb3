//! A prefork HTTP/1.1 server on forkmesh: this file starts the master and says what it does.
//!
//! ```text
//!   main ── bind ── Master::new ── pid file ── run ──┬── notice: one line each        the master
//!                                                    └── work: server::Server::run    each worker
//!
//!   server ─┬─ acceptor      new connections, in turn with the siblings
//!           ├─ connection    bytes in, bytes out, never blocking
//!           │    ├─ request, body    what was asked
//!           │    └─ response         what is answered
//!           └─ pages         /  /mesh  /tell
//!                └─ mesh, diag       who holds which descriptor
//! ```
//!
//! Try `cargo run --release --example httpd -- --workers 2`.
#![forbid(unsafe_code)]

mod acceptor;
mod arguments;
mod body;
mod connection;
mod diag;
mod listener;
mod mesh;
mod notices;
mod pages;
mod pid_file;
mod request;
mod response;
mod server;

use core::net::SocketAddr;
use std::io::{self, Write};
use std::process::ExitCode;

use forkmesh::machine::{Backoff, Config};
use forkmesh::run::{Exit, Master, Notice, Service, Worker, Workers};
use rustix::fd::OwnedFd;

use crate::arguments::{Arguments, Asked, Restart};
use crate::pid_file::PidFile;
use crate::server::Server;

/// What a master hands to each worker: a copy of this.
struct Httpd {
    /// `None` in a worker that has taken it.
    listener: Option<OwnedFd>,
    idle_s: u64,
}

impl Service for Httpd {
    fn work(&mut self, worker: &mut Worker) -> Exit {
        let Some(listener) = self.listener.take() else {
            return Exit::FATAL;
        };
        match Server::new(worker, listener, self.idle_s) {
            Ok(mut server) => server.run(),
            Err(errno) => {
                let _ = worker.failed(1, errno);
                Exit::FAILURE
            }
        }
    }

    fn notice(&mut self, _workers: &mut Workers<'_>, notice: Notice) {
        if let Notice::Phase(_) = notice {
            self.listener = None; // else who connects now would wait for nobody
        }
        // A master outlives whoever reads its lines.
        let _ = writeln!(io::stderr(), "{}", notices::Line(&notice));
    }
}

fn main() -> ExitCode {
    match arguments::parse(std::env::args_os().skip(1)) {
        Ok(Asked::Help) => {
            let _ = write!(io::stdout(), "{}", arguments::HELP);
            ExitCode::SUCCESS
        }
        Ok(Asked::Serve(arguments)) => match serve(&arguments) {
            Ok(()) => ExitCode::SUCCESS,
            Err(why) => {
                let _ = writeln!(io::stderr(), "httpd: {why}");
                ExitCode::FAILURE
            }
        },
        Err(wrong) => {
            let _ = writeln!(io::stderr(), "httpd: {wrong} (--help says more)");
            ExitCode::from(2)
        }
    }
}

fn serve(arguments: &Arguments) -> Result<(), String> {
    let bound = listener::bind(arguments.listen);
    let (listener, address) =
        bound.map_err(|errno| format!("cannot listen on {}: {errno}", arguments.listen))?;
    let backoff = match arguments.restart {
        Restart::Always => Backoff::new().eager(),
        Restart::Backoff => Backoff::new(),
    };
    let config = Config::new().workers(arguments.workers).backoff(backoff);
    let mut master = Master::new(config).map_err(|error| error.to_string())?;
    let _pid_file = match &arguments.pid_file {
        Some(path) => Some(
            PidFile::write(path)
                .map_err(|error| format!("cannot write {}: {error}", path.display()))?,
        ),
        None => None,
    };
    greet(address, arguments.workers);
    let mut httpd = Httpd {
        listener: Some(listener),
        idle_s: arguments.idle_s,
    };
    master
        .run(&mut httpd)
        .map_err(|errno| format!("the master cannot wait: {errno}"))
}

fn greet(address: SocketAddr, workers: usize) {
    let pid = std::process::id();
    // All of it before the first fork, so that no worker has a copy of it in a buffer.
    let mut out = io::stdout().lock();
    let _ = write!(
        out,
        "listening on http://{address}/ with {workers} workers, master pid {pid}\n\
         try:  curl http://{address}/\n      \
               curl http://{address}/mesh\n      \
               curl 'http://{address}/tell?slot=1&text=hello%20there'\n      \
               kill -QUIT {pid}    (ends gracefully; -TERM at once)\n"
    );
    let _ = out.flush();
}
