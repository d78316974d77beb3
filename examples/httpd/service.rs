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
    Exclusive, Exit, Listeners, NotLoaded, Notice, Offer, Refused, Reload, Service, Tries, Worker,
    Workers,
};

use crate::generation::{Generation, Source};
use crate::listener;
use crate::pages::Site;
use crate::program::Program;
use crate::server;
use crate::settings::Fail;
use crate::setup;

/// The master's; each worker begins with a copy of it.
pub(crate) struct Httpd {
    /// In a worker, what it has taken is not here any more.
    pub(crate) listeners: Listeners,
    /// How often an address that is taken was tried in this reload.
    pub(crate) tries: Tries,
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
        let listening = self.listeners.take(worker.number(), worker.epoch());
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
        server::serve(worker, listening, Exclusive::new(), site).unwrap_or_else(|errno| {
            let _ = worker.failed(1, errno);
            Exit::FAILURE
        })
    }

    /// TTIN asks for a worker that no settings have prepared for.
    fn before_fork(&mut self, number: u16) {
        let provided = self.listeners.provide(number);
        provided.unwrap_or_else(|why| say(listener::explain(&why)));
    }

    fn notice(&mut self, workers: &mut Workers<'_>, notice: Notice) {
        match notice {
            Notice::Phase(_) => self.listeners.close(), // else who connects now would wait for nobody
            Notice::Report(Report::Reloaded(_)) => {
                let committed = self.listeners.commit();
                committed.unwrap_or_else(|why| say(listener::explain(&why)));
                if let Some(next) = self.next.take() {
                    self.serving = next;
                }
                self.tries.begin();
            }
            Notice::Report(Report::ReloadFailed(..)) => {
                self.listeners.roll_back();
                self.next = None;
                self.tries.begin();
            }
            Notice::Reopen => self.reopen(),
            _ => {}
        }
        self.listeners.settle(workers);
        say(&notice);
    }

    fn reload(&mut self, next: Reload) -> Result<usize, NotLoaded> {
        let refuse = |why: String| {
            say(format_args!("epoch {} is refused: {why}", next.epoch));
            NotLoaded::Refused
        };
        let generation = self.source.generation(next.epoch).map_err(refuse)?;
        let workers = generation.settings.workers;
        let list = &generation.settings.listen;
        if let Err(error) = self.listeners.prepare(next.epoch, list, workers) {
            let why = listener::explain(&error);
            let again = error.is_in_use().then(|| self.tries.again()).flatten();
            let after_ms = again.ok_or_else(|| refuse(why.clone()))?;
            say(format_args!("epoch {} is put off: {why}", next.epoch));
            return Err(NotLoaded::Again { after_ms });
        }
        self.next = Some(generation);
        Ok(workers)
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
        let program = self.program.as_ref()?;
        let offered = program.offer(offer);
        let offered = offered.and_then(|()| self.listeners.offer(offer));
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
