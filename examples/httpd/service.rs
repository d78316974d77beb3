//! `Httpd`: the service: what the master keeps, and what a worker begins with.
//!
//! ```text
//!   serving: epoch 3 ──── reload: the file is read, the log opened ────► next: epoch 4
//!      ▲                                                                   │
//!      └──────── reloaded ◄── the new workers are ready ───────────────────┤
//!                                        one of them cannot serve: dropped ┘
//! ```

use core::fmt;
use std::io::{self, Write};

use forkmesh::machine::Report;
use forkmesh::run::{
    Exclusive, Exit, Listening, NotLoaded, Notice, Offer, Refused, Reload, Service, Sharing,
    Worker, Workers,
};
use rustix::fd::OwnedFd;

use crate::generation::{Generation, Source};
use crate::pages::Site;
use crate::program::Program;
use crate::server;
use crate::settings::Fail;
use crate::setup;

/// The master's; each worker begins with a copy of it.
pub(crate) struct Httpd {
    /// `None` in a worker that has taken it, and in a master that ends.
    pub(crate) listener: Option<OwnedFd>,
    pub(crate) listener_name: String,
    pub(crate) serving: Generation,
    /// While a reload is going on: what comes of it, if it does.
    pub(crate) next: Option<Generation>,
    pub(crate) source: Source,
    /// What an upgrade runs, or why it cannot.
    pub(crate) program: Result<Program, String>,
    /// What this program is called.
    pub(crate) name: String,
}

impl Service for Httpd {
    fn work(&mut self, worker: &mut Worker) -> Exit {
        let Some(listener) = self.listener.take() else {
            return Exit::FATAL;
        };
        let generation = match &mut self.next {
            Some(next) if next.epoch == worker.epoch() => next,
            _ => &mut self.serving,
        };
        match generation.settings.fail {
            None => {}
            Some(Fail::Exit2) => return Exit::FATAL,
            Some(Fail::Die) => std::process::abort(),
            Some(Fail::Hang) => loop {
                std::thread::park();
            },
        }
        let identity = generation.identity.as_ref();
        if let Err(why) = setup::set_up(worker, &generation.settings, identity) {
            return worker.fails(why);
        }
        let site = Site::new(worker, generation, &self.name);
        let listening = Listening {
            socket: listener,
            place: 0,
            sharing: Sharing::Shared,
        };
        server::serve(worker, [listening], Exclusive::new(), site).unwrap_or_else(|errno| {
            let _ = worker.failed(1, errno);
            Exit::FAILURE
        })
    }

    fn notice(&mut self, _workers: &mut Workers<'_>, notice: Notice) {
        match notice {
            Notice::Phase(_) => self.listener = None, // else who connects now would wait for nobody
            Notice::Report(Report::Reloaded(_)) => {
                if let Some(next) = self.next.take() {
                    self.serving = next;
                }
            }
            Notice::Report(Report::ReloadFailed(..)) => self.next = None,
            Notice::Reopen => self.reopen(),
            _ => {}
        }
        say(&notice);
    }

    fn reload(&mut self, next: Reload) -> Result<usize, NotLoaded> {
        match self.source.generation(next.epoch) {
            Ok(generation) => {
                let workers = generation.settings.workers;
                self.next = Some(generation);
                Ok(workers)
            }
            Err(why) => {
                say(format_args!("epoch {} is refused: {why}", next.epoch));
                Err(NotLoaded::Refused)
            }
        }
    }

    fn upgrade<'s>(&'s self, offer: &mut Offer<'s>) -> Result<(), Refused> {
        self.offer(offer).map_err(|why| {
            say(format_args!("there is no upgrade: {why}"));
            Refused
        })
    }
}

impl Httpd {
    fn offer<'s>(&'s self, offer: &mut Offer<'s>) -> Result<(), String> {
        let listener = self.listener.as_ref().ok_or("this master ends")?;
        let program = self.program.as_ref()?;
        let offered = program
            .offer(offer)
            .and_then(|()| offer.descriptor(&self.listener_name, listener));
        offered.map_err(|why| why.to_string())
    }

    /// The logs that workers to come begin with.
    fn reopen(&mut self) {
        let generations = [Some(&mut self.serving), self.next.as_mut()];
        for generation in generations.into_iter().flatten() {
            if let Some(log) = &mut generation.log {
                log.reopen();
            }
        }
    }
}

/// A master outlives whoever reads its lines.
fn say(line: impl fmt::Display) {
    let _ = writeln!(io::stderr(), "{line}");
}
