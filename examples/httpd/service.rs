//! `Httpd`: the service: what the master keeps, and what a worker begins with.

use std::io::{self, Write};

use forkmesh::run::{Exit, Notice, Service, Worker, Workers};
use rustix::fd::OwnedFd;

use crate::generation::Generation;
use crate::notices;
use crate::pages::Site;
use crate::server::Server;

/// The master's; each worker begins with a copy of it.
pub(crate) struct Httpd {
    /// `None` in a worker that has taken it, and in a master that ends.
    pub(crate) listener: Option<OwnedFd>,
    pub(crate) serving: Generation,
    /// What this program is called.
    pub(crate) name: String,
}

impl Service for Httpd {
    fn work(&mut self, worker: &mut Worker) -> Exit {
        let Some(listener) = self.listener.take() else {
            return Exit::FATAL;
        };
        let site = Site::new(worker, &mut self.serving, &self.name);
        match Server::new(worker, listener, site) {
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
