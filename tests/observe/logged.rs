//! What a logger of the crate `log` gets: the line, and how much it matters.

use std::sync::Mutex;

use forkmesh::machine::Config;
use forkmesh::run::{Event, Exit, Logged, Master, Notice, Poller, Service, Setup, Worker, Workers};
use forkmesh::wire::Message;
use log::{Level, LevelFilter, Log, Metadata, Record};

use crate::support::{alone, in_child};

/// Keeps what it gets, in this process alone.
struct Keeper(Mutex<Vec<(Level, String)>>);

static KEEPER: Keeper = Keeper(Mutex::new(Vec::new()));

impl Log for Keeper {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        assert_eq!(record.target(), "forkmesh");
        let line = record.args().to_string();
        let (_, said) = line.split_once("): ").expect("who, and what");
        let mut kept = self.0.lock().expect("nobody panics there");
        kept.push((record.level(), said.to_owned()));
    }

    fn flush(&self) {}
}

/// One worker cannot serve; the other sends a message.
struct Mixed;

impl Service for Mixed {
    fn work(&mut self, worker: &mut Worker) -> Exit {
        if worker.number() == 1 {
            let mut setup = Setup::begin(worker).keep_identity();
            let failed = setup.directory(c"/nowhere/at/all").map(drop);
            return worker.fails(failed.expect_err("there is no such place"));
        }
        let mut poller = Poller::new(worker).expect("a poller");
        worker.ready();
        let _ = worker.tell_master(Message::new(1, [0; 16]));
        loop {
            while let Some(event) = worker.receive() {
                if let Event::Quit | Event::Terminate = event {
                    return Exit::SUCCESS;
                }
            }
            poller.wait(worker, None).expect("epoll");
        }
    }

    fn notice(&mut self, workers: &mut Workers<'_>, notice: Notice) {
        use forkmesh::machine::Report;

        match notice {
            Notice::Report(Report::Parked(..)) => workers.reopen(),
            Notice::Reopen => workers.quit(),
            _ => {}
        }
    }
}

pub(crate) fn a_logger_gets_lines_by_level() {
    in_child(|| {
        log::set_logger(&KEEPER).expect("the first");
        log::set_max_level(LevelFilter::Trace);
        let config = Config::new().workers(2);
        let mut master = Box::new(Master::with(config, alone()).expect("a master"));
        master.observed_by(&Logged);
        master.run(&mut Mixed).expect("epoll");
        let kept = KEEPER.0.lock().expect("nobody panics there");
        let level_of = |what: &str| {
            let found = kept.iter().find(|(_, said)| said.contains(what));
            found.unwrap_or_else(|| panic!("{what}: {kept:?}")).0
        };
        assert_eq!(level_of("parked"), Level::Error);
        assert_eq!(level_of("cannot serve"), Level::Error);
        assert_eq!(level_of("with code 2"), Level::Warn);
        assert_eq!(level_of("spawned"), Level::Info);
        assert_eq!(level_of("drains"), Level::Info);
    });
}
