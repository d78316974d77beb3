//! A master in this process, whose workers answer every client by the number that they have.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use forkmesh::machine::{Backoff, Config, Report};
use forkmesh::run::{
    Event, Exit, Interest, Listen, Listeners, Listening, Master, NotLoaded, Notice, Poller, Reload,
    Service, Sharing, Tries, Worker, Workers,
};
use forkmesh::table::{Pid, Policy, Role, SlotId, State};
use forkmesh::wire::Message;
use rustix::net::{RecvFlags, SendFlags, SocketFlags, accept_with, recvfrom, sendto};
use rustix::process::{Signal, kill_process};

use crate::support::alone;
use crate::tools::number;

const PATIENCE: Duration = Duration::from_secs(40);
/// A worker tells its master that it has adopted a socket, or closed one; this and the inode.
pub(crate) const ADOPTED: u32 = 1;
pub(crate) const CLOSED: u32 = 2;
/// A helper tells that it was sent something.
pub(crate) const ODD: u32 = 3;
/// As a worker of the accept strategies does.
const EMPTY_FOR: Duration = Duration::from_secs(1);

pub(crate) struct Lab {
    pub(crate) listeners: Box<Listeners>,
    pub(crate) list: Vec<Listen>,
    /// How many workers the next reload wants.
    wanted: usize,
    pub(crate) outcome: Option<bool>,
    /// What workers told: which, what, and of which socket.
    pub(crate) told: Vec<(SlotId, u32, u64)>,
    pub(crate) tries: Tries,
    /// How often it was asked to reload.
    pub(crate) asked: u32,
}

impl Service for Lab {
    fn work(&mut self, worker: &mut Worker) -> Exit {
        let mut taken: Vec<Listening> = Vec::new();
        taken.extend(self.listeners.take(worker.number(), worker.epoch()));
        Serving::new(worker, taken).run()
    }

    /// A helper has no sockets, and is sent none.
    fn help(&mut self, worker: &mut Worker) -> Exit {
        drop(core::mem::take(&mut *self.listeners));
        let Ok(mut poller) = Poller::new(worker) else {
            return Exit::FAILURE;
        };
        worker.ready();
        loop {
            while let Some(event) = worker.receive() {
                match event {
                    Event::Quit | Event::Terminate => return Exit::SUCCESS,
                    event => {
                        let _ = worker.tell_master(Message::new(ODD, [0; 16]));
                        drop(event);
                    }
                }
            }
            poller.wait(worker, None).expect("epoll");
        }
    }

    fn before_fork(&mut self, number: u16) {
        self.listeners.provide(number).expect("there is room");
    }

    fn notice(&mut self, workers: &mut Workers<'_>, notice: Notice) {
        match notice {
            Notice::Report(Report::Reloaded(_)) => {
                self.listeners.commit().expect("all can be set");
                self.outcome = Some(true);
            }
            Notice::Report(Report::ReloadFailed(..)) => {
                self.listeners.roll_back();
                self.outcome = Some(false);
            }
            Notice::Phase(_) => self.listeners.close(),
            Notice::Message { from, message, .. } => {
                let (inode, _) = message.payload.split_first_chunk().expect("16 bytes");
                self.told
                    .push((from, message.tag, u64::from_ne_bytes(*inode)));
            }
            _ => {}
        }
        self.listeners.settle(workers);
    }

    fn reload(&mut self, next: Reload) -> Result<usize, NotLoaded> {
        let prepared = self.listeners.prepare(next.epoch, &self.list, self.wanted);
        self.asked += 1;
        prepared.map(|()| self.wanted).map_err(|error| {
            let again = error.is_in_use().then(|| self.tries.again()).flatten();
            again.map_or(NotLoaded::Refused, |after_ms| NotLoaded::Again { after_ms })
        })
    }
}

pub(crate) struct World {
    pub(crate) master: Box<Master>,
    pub(crate) lab: Lab,
}

impl World {
    pub(crate) fn new(list: Vec<Listen>, workers: usize) -> Self {
        Self::with_helpers(list, workers, 0)
    }

    pub(crate) fn with_helpers(list: Vec<Listen>, workers: usize, helpers: usize) -> Self {
        let mut listeners: Box<Listeners> = Box::default();
        listeners.open(&list, workers, None).expect("free");
        let backoff = Backoff::new().delay_ms(1, 8);
        let config = Config::new().workers(workers).mesh(false).backoff(backoff);
        let config = (0..helpers).fold(config, |config, _| config.helper(Policy::RESTART));
        let mut world = Self {
            master: Box::new(Master::with(config, alone()).expect("a master")),
            lab: Lab {
                listeners,
                list,
                wanted: workers,

                outcome: None,
                told: Vec::new(),
                tries: Tries::new().most(1),
                asked: 0,
            },
        };
        world.master.start(&mut world.lab).expect("started");
        world.live(workers);
        world
    }

    pub(crate) fn turn(&mut self) {
        self.master.turn(&mut self.lab, Some(5)).expect("epoll");
    }

    pub(crate) fn until(&mut self, what: &str, mut so: impl FnMut(&Self) -> bool) {
        let start = Instant::now();
        while !so(self) {
            assert!(start.elapsed() < PATIENCE, "in vain: {what}");
            self.turn();
        }
    }

    /// Waits until so many are ready and nobody else is there; their processes by number.
    pub(crate) fn live(&mut self, workers: usize) -> BTreeMap<u16, i32> {
        self.until("all are ready", |world| {
            let occupied = world.master.table().occupied();
            let occupied = occupied.filter(|(_, slot)| slot.role == Role::Worker);
            world.ready().len() == workers && occupied.count() == workers
        });
        let ready = self.ready();
        assert!(ready.keys().copied().eq(0..workers as u16), "{ready:?}");
        ready
    }

    fn ready(&self) -> BTreeMap<u16, i32> {
        let occupied = self.master.table().occupied();
        let occupied = occupied.filter(|(_, slot)| slot.role == Role::Worker);
        let ready = occupied.filter_map(|(_, slot)| match slot.state() {
            State::Live(pid) => Some((slot.number, pid.as_i32())),
            _ => None,
        });
        ready.collect()
    }

    /// How many helpers are ready.
    pub(crate) fn helpers(&self) -> usize {
        let occupied = self.master.table().occupied();
        let ready = occupied.filter(|(_, slot)| {
            slot.role == Role::Helper && matches!(slot.state(), State::Live(_))
        });
        ready.count()
    }

    /// The process of a life.
    pub(crate) fn pid(&self, slot: SlotId) -> Option<i32> {
        let slot = self.master.table().slot(slot)?;
        slot.state().pid().map(Pid::as_i32)
    }

    pub(crate) fn begin_reload(&mut self, workers: usize) {
        self.lab.wanted = workers;
        self.lab.outcome = None;
        self.master.workers().reload();
    }

    /// Reloads; whether that succeeded.
    pub(crate) fn reload(&mut self, workers: usize) -> bool {
        self.begin_reload(workers);
        self.until("an outcome", |world| world.lab.outcome.is_some());
        self.lab.outcome == Some(true)
    }

    pub(crate) fn kill(&self, pid: i32) {
        let pid = rustix::process::Pid::from_raw(pid).expect("a pid");
        kill_process(pid, Signal::KILL).expect("it runs");
    }

    pub(crate) fn end(mut self) {
        self.master.workers().terminate();
        self.until("the end", |world| world.master.is_ended());
    }
}

/// A test that fails ends its workers, too.
impl Drop for World {
    fn drop(&mut self) {
        for (_, slot) in self.master.table().occupied() {
            let pid = slot.state().pid().map(Pid::as_i32);
            let pid = pid.and_then(rustix::process::Pid::from_raw);
            pid.map(|pid| kill_process(pid, Signal::KILL));
        }
    }
}

/// A worker that serves: it answers each client before it looks at the next.
struct Serving<'w> {
    worker: &'w mut Worker,
    sockets: BTreeMap<u32, (Listening, Instant)>,
    next: u32,
    datagrams: BTreeSet<u16>,
}

impl<'w> Serving<'w> {
    fn new(worker: &'w mut Worker, taken: Vec<Listening>) -> Self {
        let mut serving = Self {
            worker,
            sockets: BTreeMap::new(),
            next: 0,
            datagrams: BTreeSet::new(),
        };
        for listening in taken {
            serving.keep(listening);
        }
        serving
    }

    fn keep(&mut self, listening: Listening) {
        if rustix::net::sockopt::socket_type(&listening.socket)
            == Ok(rustix::net::SocketType::DGRAM)
        {
            self.datagrams.insert(listening.place);
        }
        self.sockets.insert(self.next, (listening, Instant::now()));
        self.next += 1;
    }

    fn tell(&self, what: u32, socket: u64) {
        let mut payload = [0; 16];
        payload[..8].copy_from_slice(&socket.to_ne_bytes());
        let _ = self.worker.tell_master(Message::new(what, payload));
    }

    fn run(mut self) -> Exit {
        let Ok(mut poller) = Poller::new(self.worker) else {
            return Exit::FAILURE;
        };
        for (token, (listening, _)) in &self.sockets {
            let added = poller.add(&listening.socket, *token, Interest::READ);
            added.expect("it can be watched");
        }
        self.worker.ready();
        loop {
            while let Some(event) = self.worker.receive() {
                match event {
                    // What waits in its queue is not its business any more: it is the harder way.
                    Event::Quit | Event::Terminate => return Exit::SUCCESS,
                    Event::Message {
                        from,
                        message,
                        descriptor,
                    } => {
                        let adopted = Listening::adopted(&from, &message, descriptor);
                        let adopted = adopted.expect("nothing else is sent");
                        let added = poller.add(&adopted.socket, self.next, Interest::READ);
                        added.expect("it can be watched");
                        self.tell(ADOPTED, number(&adopted.socket));
                        self.keep(adopted);
                    }
                    _ => {}
                }
            }
            let drains = |(listening, _): &(Listening, Instant)| {
                matches!(listening.sharing, Sharing::Adopted)
            };
            let most_ms = self.sockets.values().any(drains).then_some(20);
            for ready in poller.wait(self.worker, most_ms).expect("epoll") {
                self.serve(ready.token);
            }
            let is_over = |(listening, since): &(Listening, Instant)| {
                matches!(listening.sharing, Sharing::Adopted) && since.elapsed() > EMPTY_FOR
            };
            let over: Vec<u32> = self
                .sockets
                .iter()
                .filter(|(_, s)| is_over(s))
                .map(|(t, _)| *t)
                .collect();
            for token in over {
                if let Some((listening, _)) = self.sockets.remove(&token) {
                    let _ = poller.remove(&listening.socket); // others have it open
                    let inode = number(&listening.socket);
                    drop(listening);
                    self.tell(CLOSED, inode);
                }
            }
        }
    }

    fn serve(&mut self, token: u32) {
        let own = self.worker.number() as u8;
        let Some((listening, since)) = self.sockets.get_mut(&token) else {
            return;
        };
        let mut byte = [0; 8];
        if self.datagrams.contains(&listening.place) {
            while let Ok((_, _, Some(client))) =
                recvfrom(&listening.socket, &mut byte, RecvFlags::DONTWAIT)
            {
                *since = Instant::now();
                let _ = sendto(&listening.socket, &[own], SendFlags::empty(), &client);
            }
            return;
        }
        if let Ok(client) = accept_with(&listening.socket, SocketFlags::CLOEXEC) {
            *since = Instant::now();
            if rustix::io::read(&client, &mut byte) == Ok(1) {
                let _ = rustix::io::write(&client, &[own]);
            }
        }
    }
}
