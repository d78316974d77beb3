//! What it takes: no allocation in a master or a worker, and sizes that are known.

#[path = "support/allocations.rs"]
mod allocations;
#[path = "support/foreign.rs"]
mod foreign;
#[path = "support/mod.rs"]
mod support;

use core::sync::atomic::Ordering::Relaxed;

use allocations::ASKED;
use forkmesh::channel::{Inbox, Parcel};
use forkmesh::machine::{self, Backoff, Config, ExitStatus, Report};
use forkmesh::run::{Event, Exit, Master, Notice, Poller, Service, Worker, Workers};
use forkmesh::table::{Slot, SlotId, Table};
use forkmesh::wire::{Frame, Message};
use rustix::fs::{MemfdFlags, fstat, memfd_create};
use rustix::process::{Pid, Signal, kill_process};
use rustix::stdio::dup2_stderr;

fn main() {
    support::run(support::tests![nothing_is_allocated, sizes]);
}

const WORKERS: usize = 3;
const ROUNDS: u32 = 20;
const BATCH: usize = 16;
/// To a worker: send your siblings a batch each.
const SPREAD: u32 = 1;
/// To a sibling, 16 at once.
const LETTER: u32 = 2;
/// To the master: a whole batch has come.
const RECEIVED: u32 = 3;

/// Kills, watches, tells, and at the end quits: all that a master does, without a byte of its own.
struct Quiet {
    ready: usize,
    rounds: u32,
    received: u32,
    failed: u32,
}

/// A worker that allocated ends with this.
const ALLOCATED: u8 = 9;

impl Service for Quiet {
    fn work(&mut self, worker: &mut Worker) -> Exit {
        let before = ASKED.load(Relaxed);
        let exit = serve(worker);
        if ASKED.load(Relaxed) == before {
            exit
        } else {
            Exit(ALLOCATED)
        }
    }

    fn notice(&mut self, workers: &mut Workers<'_>, notice: Notice) {
        match notice {
            Notice::Report(Report::Ready(..)) => {
                self.ready += 1;
                self.begin(workers);
            }
            Notice::Report(Report::Exited(_, _, status)) => {
                self.ready -= 1;
                let well = [
                    ExitStatus::SUCCESS,
                    ExitStatus::Killed {
                        signal: 9,
                        core: false,
                    },
                ];
                self.failed += u32::from(!well.contains(&status));
            }
            Notice::Message {
                message: Message { tag: RECEIVED, .. },
                ..
            } => self.end(workers),
            _ => {}
        }
    }
}

impl Quiet {
    /// A round begins when all are ready: the first worker writes to each of the others.
    fn begin(&self, workers: &Workers<'_>) {
        if self.ready == WORKERS
            && let Some((first, _)) = workers.iter().next()
        {
            let _ = workers.send(first, Message::new(SPREAD, [0; 16]));
        }
    }

    /// It ends when they have received it: one is killed, and its successor is awaited.
    fn end(&mut self, workers: &mut Workers<'_>) {
        self.received += 1;
        if self.received < (WORKERS - 1) as u32 {
            return;
        }
        self.received = 0;
        self.rounds += 1;
        let second = workers.iter().nth(1).and_then(|(id, _)| workers.pid(id));
        if self.rounds == ROUNDS {
            workers.quit();
        } else if let Some(pid) = second {
            let _ = kill_process(Pid::from_raw(pid.as_i32()).expect("a pid"), Signal::KILL);
        }
    }
}

fn serve(worker: &mut Worker) -> Exit {
    let Ok(mut poller) = Poller::new(worker) else {
        return Exit::FAILURE;
    };
    worker.ready();
    let mut letters = 0;
    loop {
        while let Some(event) = worker.receive() {
            match event {
                Event::Quit | Event::Terminate => return Exit::SUCCESS,
                Event::Message {
                    message: Message { tag: SPREAD, .. },
                    ..
                } => {
                    for (sibling, _) in worker.siblings() {
                        let batch = [Message::new(LETTER, [7; 16]); BATCH];
                        let peer = worker.peer(sibling);
                        let _ = peer.map(|peer| peer.send_all(&batch, Some(worker.id())));
                    }
                }
                Event::Message {
                    message: Message { tag: LETTER, .. },
                    ..
                } => {
                    letters += 1;
                    if letters % BATCH == 0 {
                        let _ = worker.tell_master(Message::new(RECEIVED, [0; 16]));
                    }
                }
                _ => {}
            }
        }
        if poller.wait(worker, None).is_err() {
            return Exit::FAILURE;
        }
    }
}

fn nothing_is_allocated() {
    support::in_child(|| {
        let alone = support::alone();
        let config = Config::new()
            .workers(WORKERS)
            .backoff(Backoff::new().eager());
        let mut quiet = Quiet {
            ready: 0,
            rounds: 0,
            received: 0,
            failed: 0,
        };
        let lines = memfd_create(c"lines", MemfdFlags::CLOEXEC).expect("a memfd");
        let errors = foreign::standard_error();
        dup2_stderr(&lines).expect("of two that are open");
        let before = ASKED.load(Relaxed);
        let mut master = Master::with(config, alone).expect("a master");
        master.run(&mut quiet).expect("epoll");
        let allocated = ASKED.load(Relaxed) - before;
        dup2_stderr(&errors).expect("as it was");
        let written = fstat(&lines).expect("a memfd").st_size;
        assert!(
            written > 10_000,
            "a line for everything that happened: {written}"
        );
        assert_eq!(allocated, 0, "the master allocates nothing");
        assert_eq!(
            quiet.rounds, ROUNDS,
            "respawns, announcements, batches and messages"
        );
        assert_eq!(quiet.failed, 0, "and no worker does");
        drop(core::hint::black_box(Box::new(1))); // or it is optimized away
        assert_eq!(
            ASKED.load(Relaxed) - before,
            1,
            "what is allocated is counted"
        );
    });
}

fn sizes() {
    assert_eq!(size_of::<Frame>(), 32);
    assert_eq!(size_of::<SlotId>(), 4);
    assert_eq!(size_of::<Option<SlotId>>(), 4);
    let kib = |bytes: usize| bytes.div_ceil(1024);
    println!(
        "Slot {} B, Parcel {} B",
        size_of::<Slot>(),
        size_of::<Parcel>()
    );
    println!(
        "Table {} KiB, Inbox {} KiB",
        kib(size_of::<Table>()),
        kib(size_of::<Inbox>())
    );
    println!("machine::Master {} KiB", kib(size_of::<machine::Master>()));
    println!(
        "run::Master {} KiB, run::Worker {} KiB",
        kib(size_of::<Master>()),
        kib(size_of::<Worker>())
    );
    assert!(size_of::<Slot>() <= 64);
    assert!(size_of::<Table>() <= 66 * 1024);
    assert!(size_of::<machine::Master>() <= 160 * 1024);
    // Without std a descriptor's type has no spare value, and one that may be missing takes twice the
    // room.
    let (master, worker, inbox) = if cfg!(feature = "std") {
        (206, 31, 7)
    } else {
        (214, 35, 7)
    };
    assert!(kib(size_of::<Master>()) <= master);
    assert!(kib(size_of::<Worker>()) <= worker);
    assert!(kib(size_of::<Inbox>()) <= inbox);
}
