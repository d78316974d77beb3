//! Listeners of a master, and what its workers have of them: TCP with a socket for each worker, and a
//! unix socket that is there until a reload drops it.
//!
//! HUP takes the next of two lists, in turn; TTIN and TTOU change the number of workers. An address
//! that somebody else has is tried again, and if it does not become free, the old list stays.

use forkmesh::machine::{Config, Report};
use forkmesh::run::{
    Event, Exit, Interest, Listen, ListenError, Listeners, Listening, Master, NotLoaded, Notice,
    Poller, Reload, Service, Sharing, Tries, Worker, Workers,
};
use rustix::net::{SocketFlags, accept_with};

struct Demo {
    listeners: Listeners,
    /// The list that is in force, and the one that the next reload takes.
    lists: [Vec<Listen>; 2],
    tries: Tries,
}

impl Service for Demo {
    fn work(&mut self, worker: &mut Worker) -> Exit {
        let taken = self.listeners.take(worker.number(), worker.epoch());
        match serve(worker, taken.into_iter().collect()) {
            Ok(()) => Exit::SUCCESS,
            Err(_) => Exit::FAILURE,
        }
    }

    /// By TTIN there can be a worker that no list was prepared for.
    fn before_fork(&mut self, number: u16) {
        self.listeners.provide(number).unwrap_or_else(say);
    }

    fn reload(&mut self, next: Reload) -> Result<usize, NotLoaded> {
        let prepared = self
            .listeners
            .prepare(next.epoch, &self.lists[1], next.workers);
        prepared.map(|()| next.workers).map_err(|error| {
            say(error);
            let again = error.is_in_use().then(|| self.tries.again()).flatten();
            again.map_or(NotLoaded::Refused, |after_ms| NotLoaded::Again { after_ms })
        })
    }

    fn notice(&mut self, workers: &mut Workers<'_>, notice: Notice) {
        match notice {
            Notice::Report(Report::Reloaded(epoch)) => {
                self.listeners.commit().unwrap_or_else(say);
                self.lists.swap(0, 1);
                self.tries.begin();
                self.show(epoch);
            }
            Notice::Report(Report::ReloadFailed(..)) => {
                self.listeners.roll_back();
                self.tries.begin();
            }
            Notice::Phase(_) => self.listeners.close(),
            _ => {}
        }
        self.listeners.settle(workers);
    }
}

impl Demo {
    fn show(&self, epoch: u32) {
        for place in 0..self.listeners.count() as u16 {
            if let Some(address) = self.listeners.address(place) {
                println!("epoch {epoch} listens at {address}");
            }
        }
    }
}

fn say(error: ListenError) {
    println!("{error}");
}

/// Tells every client which worker it has come to, and how.
fn serve(worker: &mut Worker, mut taken: Vec<Listening>) -> rustix::io::Result<()> {
    let mut poller = Poller::new(worker)?;
    let interest = |listening: &Listening| match listening.sharing {
        Sharing::Shared => Interest::READ | Interest::EXCLUSIVE,
        _ => Interest::READ,
    };
    for (token, listening) in taken.iter().enumerate() {
        poller.add(&listening.socket, token as u32, interest(listening))?;
    }
    worker.ready();
    loop {
        while let Some(event) = worker.receive() {
            match event {
                Event::Quit | Event::Terminate => {
                    // Who waits already is answered; others wait for those who come after.
                    taken.iter().for_each(|listening| answer(worker, listening));
                    return Ok(());
                }
                Event::Message {
                    from,
                    message,
                    descriptor,
                } => {
                    // It is kept until the end; a server closes it when nothing came for a second.
                    if let Ok(adopted) = Listening::adopted(&from, &message, descriptor) {
                        poller.add(&adopted.socket, taken.len() as u32, interest(&adopted))?;
                        taken.push(adopted);
                    }
                }
                _ => {}
            }
        }
        for ready in poller.wait(worker, None)? {
            if let Some(listening) = taken.get(ready.token as usize) {
                answer(worker, listening);
            }
        }
    }
}

fn answer(worker: &Worker, listening: &Listening) {
    while let Ok(client) = accept_with(&listening.socket, SocketFlags::CLOEXEC) {
        let (number, epoch) = (worker.number(), worker.epoch());
        let Listening { place, sharing, .. } = listening;
        let text = format!("worker {number} of epoch {epoch}: place {place}, {sharing:?}\n");
        let _ = rustix::io::write(client, text.as_bytes());
    }
}

fn main() -> Result<(), Box<dyn core::error::Error>> {
    let path = std::env::args().nth(1);
    let path = path.ok_or("the path of a unix socket is missing")?;
    let tcp = Listen::new("127.0.0.1:0".parse()?).per_worker(true);
    let unix = Listen::new(format!("unix:{path}").parse()?).mode(0o600);
    let mut demo = Demo {
        listeners: Listeners::new(),
        lists: [vec![tcp, unix], vec![tcp.backlog(64)]],
        tries: Tries::new(),
    };
    demo.listeners.open(&demo.lists[0], 2, None)?;
    demo.show(0);
    Ok(Master::new(Config::new().workers(2).mesh(false))?.run(&mut demo)?)
}
