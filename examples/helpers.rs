//! Two workers and three helpers: a manager that comes round, a loader that does its work once, and a
//! helper that becomes another program. When the loader is done and the manager has come round three
//! times, the master ends.

use forkmesh::machine::{Config, Report};
use forkmesh::run::{
    Event, Exit, Master, Next, NotLoaded, Notice, Poller, Reload, Service, Worker, Workers,
    periodic,
};
use forkmesh::table::Policy;
use forkmesh::wire::Message;

const MANAGED: u32 = 1;
const LOADED: u32 = 2;

#[derive(Default)]
struct Cache {
    managed: u32,
    loaded: u32,
    /// Which reloads had to wait.
    waited: u32,
}

fn tell(worker: &Worker, tag: u32) {
    let _ = worker.tell_master(Message::new(tag, [0; 16])); // it comes round again
}

/// Removes what is old from a cache that there is not, every 50 ms.
fn manage(worker: &mut Worker) -> Next {
    tell(worker, MANAGED);
    Next::After(50)
}

/// Reads what a cache has on disk, and is done.
fn load(worker: &mut Worker) -> Next {
    tell(worker, LOADED);
    Next::Done
}

impl Service for Cache {
    fn work(&mut self, worker: &mut Worker) -> Exit {
        let Ok(mut poller) = Poller::new(worker) else {
            return Exit::FAILURE;
        };
        worker.ready();
        loop {
            match worker.receive() {
                Some(Event::Quit | Event::Terminate) => return Exit::SUCCESS,
                Some(_) => {}
                None if poller.wait(worker, None).is_err() => return Exit::FAILURE,
                None => {}
            }
        }
    }

    fn help(&mut self, worker: &mut Worker) -> Exit {
        match worker.number() {
            0 => periodic(worker, 0, &mut manage),
            1 => periodic(worker, 100, &mut load),
            _ => worker.exec(c"/bin/sleep", &[c"sleep", c"1000"], &[]),
        }
    }

    fn notice(&mut self, workers: &mut Workers<'_>, notice: Notice) {
        match notice {
            Notice::Message { message, .. } if message.tag == MANAGED => self.managed += 1,
            Notice::Message { message, .. } if message.tag == LOADED => {
                self.loaded += 1;
                println!("the loader of epoch {} is done", self.loaded - 1);
                if self.loaded == 1 {
                    workers.reload(); // and its epoch has helpers of its own
                }
            }
            Notice::Report(Report::Reloaded(epoch)) => println!("epoch {epoch} serves"),
            Notice::Report(report) => println!("{report:?}"),
            _ => {}
        }
        if self.managed >= 3 && self.loaded == 2 {
            workers.quit();
        }
    }

    fn reload(&mut self, next: Reload) -> Result<usize, NotLoaded> {
        self.waited += 1;
        if self.waited < 3 {
            println!("epoch {} has to wait", next.epoch);
            return Err(NotLoaded::Again { after_ms: 20 });
        }
        Ok(next.workers)
    }
}

fn main() -> Result<(), Box<dyn core::error::Error>> {
    let config = Config::new()
        .workers(2)
        .helper(Policy::RESTART)
        .helper(Policy::empty())
        .helper(Policy::RESTART);
    Ok(Master::new(config)?.run(&mut Cache::default())?)
}
