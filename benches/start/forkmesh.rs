//! forkmesh: a master and its workers, as any program would start them.

use core::sync::atomic::Ordering::SeqCst;

use forkmesh::machine::{Config, Report};
use forkmesh::run::{Event, Exit, Master, Notice, Poller, Service, Silent, Worker, Workers};

use crate::process::now_ns;
use crate::{Progress, Until};

struct Counting<'p> {
    workers: usize,
    ready: usize,
    progress: &'p Progress,
}

impl Service for Counting<'_> {
    fn work(&mut self, worker: &mut Worker) -> Exit {
        let Ok(mut poller) = Poller::new(worker) else {
            return Exit::FAILURE;
        };
        worker.ready();
        let mut told = false;
        loop {
            while let Some(event) = worker.receive() {
                if matches!(event, Event::Quit | Event::Terminate) {
                    return Exit::SUCCESS;
                }
            }
            if !told && worker.siblings().count() + 1 == self.workers {
                self.progress.told.fetch_add(1, SeqCst);
                told = true;
            }
            if poller.wait(worker, None).is_err() {
                return Exit::FAILURE;
            }
        }
    }

    fn notice(&mut self, _: &mut Workers<'_>, notice: Notice) {
        match notice {
            Notice::Report(Report::Ready(..)) => self.ready += 1,
            Notice::Report(Report::Spawned(..) | Report::Exited(..)) | Notice::Phase(_) => {}
            notice => eprintln!("forkmesh: {notice:?}"),
        }
    }
}

/// Starts that many workers, and ends them.
pub(crate) fn start(workers: usize, until: Until, progress: &Progress) {
    let mut service = Counting {
        workers,
        ready: 0,
        progress,
    };
    let since = now_ns();
    let mut master = Master::new(Config::new().workers(workers)).expect("a master");
    master.observed_by(&Silent);
    master.start(&mut service).expect("started");
    while service.ready < workers {
        master.turn(&mut service, None).expect("epoll works");
    }
    progress.is_ready(since);
    while until == Until::Told && !progress.is_told(workers, since) {
        master.turn(&mut service, Some(1)).expect("epoll works");
    }
    master.workers().terminate();
    while !master.is_ended() {
        master.turn(&mut service, None).expect("epoll works");
    }
}
