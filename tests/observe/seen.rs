//! An observer that writes down all that it is shown, from every process, in one pipe.

use core::fmt::Write as _;
use std::sync::OnceLock;

use forkmesh::machine::{Config, Report};
use forkmesh::run::{
    By, Event, Exit, Master, Notice, Observed, Observer, Poller, Service, Setup, What, Worker,
    Workers,
};
use forkmesh::wire::Message;
use rustix::fd::OwnedFd;
use rustix::io::{read, write};
use rustix::pipe::{PipeFlags, pipe_with};

use crate::support::{alone, in_child, wait_readable};

/// Where the lines of every process go: a pipe, whose reader is the test.
static LINES: OnceLock<OwnedFd> = OnceLock::new();

#[derive(Debug)]
struct Witness;

impl Observer for Witness {
    fn observe(&self, what: &Observed<'_>) {
        let mut line = String::new();
        match what.by {
            By::Master { pid } => write!(line, "master {pid}: "),
            By::Worker { number, pid, .. } => write!(line, "{number} {pid}: "),
            _ => unreachable!("there is nobody else"),
        }
        .expect("a string");
        // What happened, without numbers that differ from run to run.
        let said = match what.what {
            What::Notice(notice) => format!("notice {notice:?}"),
            What::Event(event) => format!("event {event:?}"),
            What::Ready => "ready".to_owned(),
            What::Failed { stage, .. } => format!("failed {stage}"),
            _ => unreachable!("nothing else happens"),
        };
        line.push_str(&said);
        line.push('\n');
        write(LINES.get().expect("a pipe"), line.as_bytes()).expect("room");
    }
}

/// What a service heard itself, in the master.
#[derive(Default)]
struct Heard {
    fails: bool,
    reopened: usize,
    notices: Vec<String>,
}

const PING: u32 = 7;
const REOPENED: u32 = 8;

impl Service for Heard {
    fn work(&mut self, worker: &mut Worker) -> Exit {
        if self.fails && worker.epoch() == 0 {
            let mut setup = Setup::begin(worker).keep_identity();
            let failed = setup.directory(c"/nowhere/at/all").map(drop);
            return worker.fails(failed.expect_err("there is no such place"));
        }
        let mut poller = Poller::new(worker).expect("a poller");
        worker.ready();
        let mut sent = worker.number() != 0;
        loop {
            while let Some(event) = worker.receive() {
                match event {
                    Event::Quit | Event::Terminate => return Exit::SUCCESS,
                    Event::Message { message, .. } => {
                        let _ = worker.tell_master(message);
                    }
                    Event::Reopen => {
                        let _ = worker.tell_master(Message::new(REOPENED, [0; 16]));
                    }
                    _ => {}
                }
            }
            if let (false, Some((sibling, _))) = (sent, worker.siblings().next()) {
                sent = worker.send(sibling, Message::new(PING, [0; 16])).is_ok();
            }
            poller.wait(worker, None).expect("epoll");
        }
    }

    fn notice(&mut self, workers: &mut Workers<'_>, notice: Notice) {
        self.notices.push(format!("{notice:?}"));
        match notice {
            Notice::Message { message, .. } if message.tag == PING => workers.reopen(),
            Notice::Message { .. } => {
                self.reopened += 1;
                if self.reopened == 2 {
                    workers.quit();
                }
            }
            Notice::Report(Report::Parked(..)) => workers.terminate(),
            _ => {}
        }
    }
}

/// Runs it, and says what it heard and what was seen.
fn run(mut heard: Heard, workers: usize) -> (Heard, Vec<String>) {
    let (lines, writer) = pipe_with(PipeFlags::CLOEXEC).expect("a pipe");
    LINES.set(writer).expect("once a process");
    let mut master =
        Box::new(Master::with(Config::new().workers(workers), alone()).expect("a master"));
    master.observed_by(&Witness);
    master.run(&mut heard).expect("epoll");
    let mut bytes = vec![0; 1 << 16];
    wait_readable(&lines, "what was seen");
    let length = read(&lines, &mut bytes[..]).expect("all that fits in a pipe");
    let text = String::from_utf8(bytes[..length].to_vec()).expect("text");
    (heard, text.lines().map(str::to_owned).collect())
}

fn of<'l>(lines: &'l [String], who: &str) -> Vec<&'l str> {
    let lines = lines.iter().filter(|line| line.starts_with(who));
    lines
        .filter_map(|line| Some(line.split_once(": ")?.1))
        .collect()
}

pub(crate) fn everything_is_observed() {
    in_child(|| {
        let (heard, lines) = run(Heard::default(), 2);
        let master = of(&lines, &format!("master {}", std::process::id()));
        let notices: Vec<_> = master
            .iter()
            .map(|line| {
                line.strip_prefix("notice ")
                    .expect("a master hears nothing else")
            })
            .collect();
        assert_eq!(notices, heard.notices, "the same, and in the same order");
        for what in [
            "Spawned",
            "Ready",
            "Message",
            "Reopen",
            "Phase(Draining)",
            "Exited",
        ] {
            let found = notices.iter().any(|notice| notice.contains(what));
            assert!(found, "{what}: {notices:?}");
        }
        for number in ["0", "1"] {
            let seen = of(&lines, &format!("{number} "));
            assert_eq!(seen.first(), Some(&"ready"), "{seen:?}");
            for what in ["event Reopen", "event Quit"] {
                let found = seen.iter().filter(|line| **line == what);
                assert_eq!(found.count(), 1, "{what}: {seen:?}");
            }
        }
        let mail = of(&lines, "1 ");
        let mail = mail.iter().filter(|line| line.starts_with("event Message"));
        assert_eq!(mail.count(), 1, "{lines:?}");
    });
}

pub(crate) fn a_failure_is_observed_where_it_is() {
    in_child(|| {
        let fails = true;
        let heard = Heard {
            fails,
            ..Heard::default()
        };
        let (_, lines) = run(heard, 1);
        let stage = forkmesh::run::SetupStep::Directory.stage();
        assert_eq!(of(&lines, "0 "), [format!("failed {stage}")]);
        let master = of(&lines, "master ");
        let told = master.iter().any(|line| line.contains("notice Failed"));
        assert!(told, "{master:?}");
    });
}
