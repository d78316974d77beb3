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
/// How often it is looked who has done nothing for too long.
const SWEEP: Duration = Duration::from_secs(1);

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
        idle_s: u64,
    ) -> Result<Self, Errno> {
        let poller = Poller::new(worker)?;
        let acceptor = Acceptor::new(listener, &poller)?;
        let site = Site::new(worker, idle_s);
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
        loop {
            if let Some(exit) = self.hear() {
                return exit;
            }
            for ready in batch.drain(..) {
                match ready.token {
                    acceptor::TOKEN => drop(self.accept()),
                    token => self.advance(token),
                }
            }
            self.tick();
            if self.site.draining && self.open() == 0 {
                return Exit::SUCCESS;
            }
            let timeout_ms = self.timeout_ms();
            match self.poller.wait(self.worker, timeout_ms) {
                Ok(ready) => batch.extend(ready),
                Err(_) => return Exit::FAILURE,
            }
            self.site.now = Instant::now();
            self.site.date.refresh();
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
                // There are no log files to open anew, and the poller watches the new mesh pair by
                // itself.
                Event::Reopen | Event::Moved => {}
                _ => {}
            }
        }
        None
    }

    /// Finishes what was begun: who is connected already, though not accepted yet, counts as that.
    fn drain(&mut self) {
        self.site.draining = true;
        while self.accept() > 0 {}
        self.acceptor.close(&self.poller);
        for place in 0..self.connections.len() {
            if self.connections[place].socket().is_some() && self.connections[place].is_idle() {
                // A request may have come in this moment.
                self.advance(place as u32);
                self.connections[place].hurry(self.site.now);
            }
        }
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
        let Some(connection) = self.connections.get_mut(place as usize) else {
            return;
        };
        let want = connection.advance(&mut self.site, self.worker);
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

    /// Ends those who have done nothing for too long.
    fn tick(&mut self) {
        let now = self.site.now;
        self.acceptor.tick(&self.poller, now);
        if now < self.next_sweep {
            return;
        }
        self.next_sweep = now + SWEEP;
        for place in 0..self.connections.len() {
            if self.connections[place].is_due(now) {
                self.close(place as u32);
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
