//! `Server`: the loop of one worker, and the connections that it has.

use core::time::Duration;
use std::time::Instant;

use forkmesh::run::{Event, Exit, Interest, Poller, Ready, Worker};
use rustix::fd::OwnedFd;
use rustix::io::Errno;

use crate::acceptor::{self, Acceptor};
use crate::connection::{Connection, Want};
use crate::pages::Site;

/// How many connections a worker has at once.
const MOST_CONNECTIONS: usize = 1024;
/// How many connections are accepted before those that are open get their turn.
const ACCEPT_BATCH: usize = 8;
/// How often it is looked who has done nothing for too long; oftener when a worker's end waits for it.
const SWEEP: Duration = Duration::from_secs(1);
const DRAIN_SWEEP: Duration = Duration::from_millis(50);

/// A worker at work.
pub(crate) struct Server<'w> {
    worker: &'w mut Worker,
    poller: Poller,
    acceptor: Acceptor,
    site: Site,
    /// A connection's place is its number among what is watched.
    connections: Vec<Connection>,
    vacant: Vec<u32>,
    next_sweep: Instant,
}

impl<'w> Server<'w> {
    pub(crate) fn new(
        worker: &'w mut Worker,
        listener: OwnedFd,
        site: Site,
    ) -> Result<Self, Errno> {
        let poller = Poller::new(worker)?;
        let acceptor = Acceptor::new(listener, &poller)?;
        worker.ready();
        Ok(Self {
            next_sweep: site.now + SWEEP,
            worker,
            poller,
            acceptor,
            site,
            connections: Vec::new(),
            vacant: Vec::new(),
        })
    }

    pub(crate) fn run(&mut self) -> Exit {
        let mut batch = Vec::<Ready>::new();
        let exit = loop {
            if let Some(exit) = self.hear() {
                break exit;
            }
            for ready in batch.drain(..) {
                match ready.token {
                    acceptor::TOKEN => drop(self.accept()),
                    token => self.advance(token),
                }
            }
            self.tick();
            if self.site.drains.is_some() && self.open() == 0 {
                break Exit::SUCCESS;
            }
            self.flush_log();
            let timeout_ms = self.timeout_ms();
            match self.poller.wait(self.worker, timeout_ms) {
                Ok(ready) => batch.extend(ready),
                Err(_) => break Exit::FAILURE,
            }
            self.site.now = Instant::now();
            self.site.date.refresh();
        };
        self.flush_log();
        exit
    }

    fn flush_log(&mut self) {
        if let Some(log) = &mut self.site.log {
            log.flush();
        }
    }

    /// What the master and the siblings say; `Some` where it is the end.
    fn hear(&mut self) -> Option<Exit> {
        while let Some(event) = self.worker.receive() {
            match event {
                Event::Terminate => return Some(Exit::SUCCESS),
                Event::Quit => self.drain(),
                // A descriptor that comes with it is closed: nobody here sends one.
                Event::Message { from, message, .. } => self.site.remember(from, message),
                Event::Reopen => {
                    if let Some(log) = &mut self.site.log {
                        log.reopen();
                    }
                }
                // The poller watches the new mesh pair by itself; and who lost its master, and was not
                // told to quit, serves on.
                Event::Moved | Event::Orphaned => {}
                _ => {}
            }
        }
        None
    }

    /// Finishes what was begun: who is connected already, though not accepted yet, counts as that.
    fn drain(&mut self) {
        if self.site.drains.is_some() {
            return;
        }
        let now = self.site.now;
        self.site.drains = Some(now + self.site.drain_idle);
        while self.accept() > 0 {}
        self.acceptor.close(&self.poller);
        for place in 0..self.connections.len() {
            // A request may have come in this moment, and who is idle has less time from now on.
            self.advance(place as u32);
        }
        self.next_sweep = now + DRAIN_SWEEP;
    }

    /// Takes in who waits at the door; how many.
    fn accept(&mut self) -> usize {
        let mut accepted = 0;
        while accepted < ACCEPT_BATCH
            && let Some(place) = self.place()
        {
            let Some(socket) = self.acceptor.accept(&self.poller, self.site.now) else {
                self.vacant.push(place);
                break;
            };
            accepted += 1;
            self.connections[place as usize].open(socket, &self.site);
            // The request is often there already: then it needs no wait, and a short connection is
            // over before it was ever watched.
            self.advance(place);
        }
        if self.open() == MOST_CONNECTIONS {
            // Now, and not when the next one comes: its wake-up would be lost on this worker.
            self.acceptor.full(&self.poller);
        } else if accepted > 0 {
            self.acceptor.requeue(&self.poller, self.site.now);
        }
        accepted
    }

    /// A place for a connection, unless all are in use.
    fn place(&mut self) -> Option<u32> {
        if let Some(place) = self.vacant.pop() {
            return Some(place);
        }
        let place = self.connections.len();
        if place >= MOST_CONNECTIONS {
            return None;
        }
        self.connections.push(Connection::new(self.site.now));
        Some(place as u32)
    }

    fn open(&self) -> usize {
        self.connections.len() - self.vacant.len()
    }

    fn advance(&mut self, place: u32) {
        if let Some(connection) = self.connections.get_mut(place as usize) {
            let want = connection.advance(&mut self.site, self.worker);
            self.settle(place, want);
        }
    }

    /// Has a connection watched for what it waits for.
    fn settle(&mut self, place: u32, want: Want) {
        let connection = &mut self.connections[place as usize];
        let interest = match want {
            Want::Read => Interest::READ,
            Want::Write => Interest::WRITE,
            Want::Close => return self.close(place),
        };
        if connection.watched == Some(want) {
            return;
        }
        let watching = match (connection.socket(), connection.watched) {
            (Some(socket), None) => self.poller.add(socket, place, interest),
            (Some(socket), Some(_)) => self.poller.modify(socket, place, interest),
            (None, _) => return,
        };
        connection.watched = Some(want);
        if watching.is_err() {
            self.close(place);
        }
    }

    fn close(&mut self, place: u32) {
        let connection = &mut self.connections[place as usize];
        if connection.socket().is_some() {
            connection.close();
            self.vacant.push(place);
            self.acceptor.room(&self.poller, self.site.now);
        }
    }

    /// Hangs up on those who have done nothing for too long.
    fn tick(&mut self) {
        let now = self.site.now;
        self.acceptor.tick(&self.poller, now);
        if now < self.next_sweep {
            return;
        }
        self.next_sweep = match self.site.drains {
            None => now + SWEEP,
            Some(_) => now + DRAIN_SWEEP,
        };
        for (place, token) in (0..self.connections.len()).zip(0..) {
            if self.connections[place].is_due(now) {
                let want = self.connections[place].expire(&mut self.site, self.worker);
                self.settle(token, want);
            }
        }
    }

    /// A worker without connections sleeps until something happens.
    fn timeout_ms(&self) -> Option<u64> {
        let sweep = (self.open() > 0).then_some(self.next_sweep);
        let due = match (sweep, self.acceptor.due()) {
            (Some(sweep), Some(accept)) => Some(sweep.min(accept)),
            (sweep, accept) => sweep.or(accept),
        };
        // A millisecond is not over before the next one began.
        due.map(|due| due.saturating_duration_since(self.site.now).as_millis() as u64 + 1)
    }
}
