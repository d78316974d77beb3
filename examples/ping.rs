//! A master and two workers: one asks the other, by the mesh, and then asks the master to end it all.

use forkmesh::machine::Config;
use forkmesh::run::{Event, Exit, Master, Notice, Poller, Service, Worker, Workers};
use forkmesh::wire::Message;

const PING: u32 = 1;
const PONG: u32 = 2;

struct Ping;

impl Service for Ping {
    fn work(&mut self, worker: &mut Worker) -> Exit {
        let Ok(mut poller) = Poller::new(worker) else {
            return Exit::FAILURE;
        };
        worker.ready();
        let mut asked = worker.number() != 0;
        loop {
            while let Some(event) = worker.receive() {
                match event {
                    Event::Message { from, message, .. } if from.known => match message.tag {
                        PING => {
                            println!("{}: ping from {:?}", worker.id(), from.claimed);
                            let pong = Message::new(PONG, message.payload);
                            from.claimed.map(|to| worker.send(to, pong));
                        }
                        _ => {
                            println!("{}: pong from {:?}", worker.id(), from.claimed);
                            let _ = worker.tell_master(message);
                        }
                    },
                    Event::Quit | Event::Terminate => return Exit::SUCCESS,
                    _ => {}
                }
            }
            if let (false, Some((sibling, _))) = (asked, worker.siblings().next()) {
                let ping = Message::new(PING, *b"how are you? ...");
                asked = worker.send(sibling, ping).is_ok();
            }
            if poller.wait(worker, None).is_err() {
                return Exit::FAILURE;
            }
        }
    }

    fn notice(&mut self, workers: &mut Workers<'_>, notice: Notice) {
        match notice {
            Notice::Message { message, .. } if message.tag == PONG => workers.quit(),
            _ => {} // the observer writes a line for each
        }
    }
}

fn main() -> Result<(), Box<dyn core::error::Error>> {
    Ok(Master::new(Config::new().workers(2))?.run(&mut Ping)?)
}
