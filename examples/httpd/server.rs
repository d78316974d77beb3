//! `Server`: the loop of one worker, and the connections that it has.

use core::time::Duration;
use std::time::Instant;

use forkmesh::run::{
    self, Acceptor, Arrival, Event, Exit, Happened, Interest, Listening, Load, Loop, Over,
    Strategy, TimerId, Worker,
};
use rustix::io::Errno;

use crate::connection::{Connection, Want};
use crate::pages::Site;

/// How many connections a worker has at once.
pub(crate) const MOST_CONNECTIONS: u32 = 1024;
/// How often it is looked who has done nothing for too long; oftener when a worker's end waits for it.
const SWEEP_MS: u64 = 1_000;
const DRAIN_SWEEP_MS: u64 = 50;
/// A process that is short of descriptors says so once in this time.
const REPEATED: Duration = Duration::from_secs(10);

/// The one timer, and what is put off to the end of a turn.
const SWEEP: u32 = 0;
const FLUSH: u32 = 0;

/// A worker at work.
pub(crate) struct Server<'w, 'l, S> {
    worker: &'w mut Worker,
    turns: Loop<'l, S, 1, 1>,
    site: Site,
    /// A connection's place is its number among what is watched.
    connections: Vec<Connection<'l>>,
    vacant: Vec<u32>,
    /// `None` in an idle worker, which sleeps until something happens.
    next_sweep: Option<TimerId>,
    complained: Option<Instant>,
}

impl<'w, 'l, S: Strategy> Server<'w, 'l, S> {
    pub(crate) fn new(
        worker: &'w mut Worker,
        acceptor: Acceptor<'l, S>,
        site: Site,
    ) -> Result<Self, Errno> {
        let turns = Loop::new(worker, acceptor)?;
        worker.ready();
        Ok(Self {
            worker,
            turns,
            site,
            connections: Vec::new(),
            vacant: Vec::new(),
            next_sweep: None,
            complained: None,
        })
    }

    pub(crate) fn run(&mut self) -> Exit {
        let mut turn = self.turns.now();
        let exit = loop {
            let Ok(happened) = self.turns.next(self.worker) else {
                break Exit::FAILURE;
            };
            if turn != self.turns.now() {
                turn = self.turns.now();
                self.site.now = Instant::now();
                self.site.date.refresh();
            }
            match happened {
                Happened::Told(event) => self.hear(event),
                Happened::Arrived(arrival) => self.meet(arrival),
                Happened::Ready(ready) => self.advance(ready.token),
                Happened::Due(_) => self.sweep(),
                Happened::Drain => self.drain(),
                // The lines of this turn; the end of a turn is what was put off to it.
                Happened::Posted(_) => self.flush_log(),
                Happened::Over(Over::Terminated | Over::Drained) => break Exit::SUCCESS,
                Happened::Over(_) => break Exit::FAILURE,
                _ => {}
            }
            if self.site.log.as_ref().is_some_and(|log| log.has_lines()) {
                let _ = self.turns.post(FLUSH); // it may be put off already
            }
        };
        self.flush_log();
        exit
    }

    fn flush_log(&mut self) {
        if let Some(log) = &mut self.site.log {
            log.flush();
        }
    }

    fn hear(&mut self, event: Event) {
        match event {
            Event::Message {
                from,
                message,
                descriptor,
            } => match Listening::adopted(&from, &message, descriptor) {
                // One that cannot be watched is sent again to whoever comes after this worker.
                Ok(listening) => drop(self.turns.listen(listening)),
                // A descriptor that comes with a sibling's is closed: nobody here sends one.
                Err(_) => self.site.remember(from, message),
            },
            Event::Reopen => {
                if let Some(log) = &mut self.site.log {
                    log.reopen();
                }
            }
            // Who lost its master, and was not told to quit, serves on.
            _ => {}
        }
    }

    /// Finishes what was begun: who is connected already, though not accepted yet, counts as that.
    fn drain(&mut self) {
        self.site.drains = Some(self.site.now + self.site.drain_idle);
        for place in 0..self.connections.len() {
            // A request may have come in this moment, and who is idle has less time from now on.
            self.advance(place as u32);
        }
        self.sweep_after(DRAIN_SWEEP_MS);
    }

    fn meet(&mut self, arrival: Arrival<'l>) {
        match arrival {
            Arrival::Connection { connection, .. } => self.open(connection),
            Arrival::Refused { errno, .. } => self.complain(errno),
            _ => {}
        }
    }

    fn open(&mut self, socket: run::Connection<'l>) {
        let place = self.vacant.pop().unwrap_or_else(|| {
            self.connections.push(Connection::new(self.site.now));
            self.connections.len() as u32 - 1
        });
        self.connections[place as usize].open(socket, &self.site);
        if self.next_sweep.is_none() {
            self.sweep_after(SWEEP_MS);
        }
        // The request is often there already: then it needs no wait, and a short connection is over
        // before it was ever watched.
        self.advance(place);
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
        let poller = self.turns.poller();
        let watching = match (connection.socket(), connection.watched) {
            (Some(socket), None) => poller.add(socket, place, interest),
            (Some(socket), Some(_)) => poller.modify(socket, place, interest),
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
        }
    }

    fn sweep_after(&mut self, ms: u64) {
        if let Some(sweep) = self.next_sweep.take() {
            let _ = self.turns.cancel(sweep); // it may have come in this turn
        }
        self.next_sweep = self.turns.after(ms, SWEEP).ok();
    }

    /// Hangs up on those who have done nothing for too long.
    fn sweep(&mut self) {
        self.next_sweep = None;
        let now = self.site.now;
        for (place, token) in (0..self.connections.len()).zip(0..) {
            if self.connections[place].is_due(now) {
                let want = self.connections[place].expire(&mut self.site, self.worker);
                self.settle(token, want);
            }
        }
        if self.vacant.len() < self.connections.len() {
            self.sweep_after(match self.site.drains {
                None => SWEEP_MS,
                Some(_) => DRAIN_SWEEP_MS,
            });
        }
    }

    fn complain(&mut self, errno: Errno) {
        let now = self.site.now;
        let silent = self.complained.is_some_and(|last| now < last + REPEATED);
        if !silent {
            self.complained = Some(now);
            let pid = std::process::id();
            eprintln!("pid {pid}: nothing is accepted for now: {errno}");
        }
    }
}

/// Serves what comes to these listeners.
pub(crate) fn serve<S: Strategy>(
    worker: &mut Worker,
    listening: impl IntoIterator<Item = Listening>,
    strategy: S,
    site: Site,
) -> Result<Exit, Errno> {
    let load = Load::new(MOST_CONNECTIONS);
    let mut acceptor = Acceptor::new(&load, strategy);
    for listening in listening {
        acceptor.add(listening).map_err(|_| Errno::INVAL)?;
    }
    Ok(Server::new(worker, acceptor, site)?.run())
}
