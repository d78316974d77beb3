//! The lines of the default, on a standard error that is a pipe of the test's.

use std::collections::BTreeSet;

use forkmesh::channel::ForkError;
use forkmesh::machine::{Config, ExitStatus, Phase, ReloadError, Report, UpgradeError, Why};
use forkmesh::run::{
    Event, Exit, Master, Notice, PidFileError, Poller, Sender, Service, Single, Worker, Workers,
};
use forkmesh::table::{Pid, Policy, SlotId};
use forkmesh::wire::Message;
use rustix::fd::OwnedFd;
use rustix::io::{Errno, read, write};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Signal, getpid, kill_process};
use rustix::stdio::dup2_stderr;

use crate::foreign::{owned, standard_error};
use crate::support::{alone, in_child, wait_readable};

/// Standard error is a pipe from now on; what is written there is read here.
fn errors() -> OwnedFd {
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).expect("a pipe");
    dup2_stderr(writer).expect("of two that are open");
    reader
}

fn text(pipe: &OwnedFd) -> String {
    wait_readable(pipe, "lines");
    let mut bytes = vec![0; 1 << 16];
    let length = read(pipe, &mut bytes[..]).expect("a pipe");
    String::from_utf8(bytes[..length].to_vec()).expect("text")
}

/// Workers that send a message of control characters to their master, who ends it all then.
struct Talking;

impl Service for Talking {
    fn work(&mut self, worker: &mut Worker) -> Exit {
        let mut poller = Poller::new(worker).expect("a poller");
        worker.ready();
        let rude = Message::new(9, *b"\n\x1b[2Jroot: \n\n\n\n\n");
        worker.tell_master(rude).expect("sent");
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
        if let Notice::Message { .. } = notice {
            workers.quit();
        }
    }
}

fn run(workers: usize) {
    let config = Config::new().workers(workers);
    let mut master = Box::new(Master::with(config, alone()).expect("a master"));
    master.run(&mut Talking).expect("epoll");
}

pub(crate) fn the_default_writes_lines() {
    in_child(|| {
        let pipe = errors();
        run(1);
        let text = text(&pipe);
        let own = std::process::id();
        let pid = text.split("spawned, pid ").nth(1).expect("a worker");
        let pid: u32 = pid.lines().next().expect("a line").parse().expect("a pid");
        let expected = [
            format!("master (pid {own}): worker 0.1 spawned, pid {pid}"),
            format!("worker 0 (0.1, pid {pid}): ready"),
            format!("master (pid {own}): worker 0.1 ready, pid {pid}"),
            format!("master (pid {own}): worker 0.1 sent message 9"),
            format!("master (pid {own}): drains"),
            format!("worker 0 (0.1, pid {pid}): told to quit"),
            format!("master (pid {own}): worker 0.1 exited, pid {pid}, with code 0"),
        ];
        let sorted = |lines: &mut dyn Iterator<Item = String>| lines.collect::<BTreeSet<_>>();
        let found = sorted(&mut text.lines().map(str::to_owned));
        assert_eq!(
            found,
            sorted(&mut expected.into_iter()),
            "in whatever order"
        );
    });
}

/// A helper that says it is ready, and ends; and so does its master.
struct Helping;

impl Service for Helping {
    fn work(&mut self, _: &mut Worker) -> Exit {
        Exit::FATAL
    }

    fn help(&mut self, helper: &mut Worker) -> Exit {
        helper.ready();
        Exit::SUCCESS
    }

    fn notice(&mut self, workers: &mut Workers<'_>, notice: Notice) {
        if let Notice::Report(Report::Exited(..)) = notice {
            workers.quit();
        }
    }
}

pub(crate) fn a_helper_is_called_one() {
    in_child(|| {
        let pipe = errors();
        let config = Config::new().workers(0).helper(Policy::empty());
        let mut master = Box::new(Master::with(config, alone()).expect("a master"));
        master.run(&mut Helping).expect("epoll");
        let text = text(&pipe);
        let of = |who: &str| text.lines().filter(|line| line.starts_with(who)).count();
        assert_eq!((of("helper 0 (0.1, pid "), of("worker ")), (1, 0), "{text}");
    });
}

pub(crate) fn a_line_is_one_line() {
    in_child(|| {
        let pipe = errors();
        run(4);
        let text = text(&pipe);
        assert!(text.ends_with('\n'));
        for line in text.lines() {
            let well = line.starts_with("master (pid ") || line.starts_with("worker ");
            assert!(well && !line.contains(char::is_control), "{line:?}");
        }
        assert_eq!(text.matches("sent message 9\n").count(), 4, "{text}");
    });
}

/// Nobody reads, and the pipe is full: the master and its workers live and end as ever.
pub(crate) fn a_full_pipe_stops_nobody() {
    in_child(|| {
        let (_reader, writer) = pipe_with(PipeFlags::CLOEXEC).expect("a pipe");
        rustix::pipe::fcntl_setpipe_size(&writer, 4096).expect("a page");
        let filled = write(&writer, &[b'x'; 4096]).expect("room");
        assert_eq!(filled, 4096);
        let errors = standard_error();
        dup2_stderr(&writer).expect("of two that are open");
        run(2);
        // With room for some of what is said, and not for all of it.
        let mut half = [0; 4096];
        assert_eq!(read(&_reader, &mut half), Ok(4096));
        write(&writer, &[b'x'; 3_500]).expect("room");
        run(2);
        dup2_stderr(errors).expect("as it was");
    });
}

/// SIGPIPE is ignored by a master, its workers, and who has no master.
pub(crate) fn a_closed_pipe_ends_nobody() {
    in_child(|| {
        let before = standard_error();
        drop(errors());
        run(1);
        let alone = Single::new().run(&mut |worker: &mut Worker| {
            worker.ready();
            kill_process(getpid(), Signal::TERM).expect("sent");
            assert!(matches!(worker.receive(), Some(Event::Terminate)));
            Exit(3)
        });
        dup2_stderr(before).expect("as it was");
        assert_eq!(alone, Ok(Exit(3)));
    });
}

/// No two things have the same words, and none the words that `Debug` has.
pub(crate) fn every_notice_and_event_has_words() {
    let id = SlotId::MASTER;
    let pid = Pid::new(4711).expect("positive");
    let message = Message::new(1, [0; 16]);
    let failed = ExitStatus::Code(1);
    let killed = |core| ExitStatus::Killed { signal: 9, core };
    let reports = [
        Report::Spawned(id, pid),
        Report::SpawnFailed(id),
        Report::Ready(id, pid),
        Report::Exited(id, pid, failed),
        Report::Exited(id, pid, killed(false)),
        Report::Exited(id, pid, killed(true)),
        Report::Delayed(id, 10),
        Report::Parked(id, Why::Fatal),
        Report::Parked(id, Why::NeverReady),
        Report::Reloaded(1),
        Report::ReloadFailed(1, ReloadError::Deadline),
        Report::Upgraded(pid),
        Report::UpgradeFailed(UpgradeError::NoRoom),
    ];
    let sent = |descriptor| Notice::Message {
        from: id,
        message,
        descriptor,
    };
    let failed = |stage, errno| Notice::Failed {
        worker: id,
        stage,
        errno,
    };
    let null = || owned(std::fs::File::open("/dev/null").expect("there"));
    let notices = reports.map(Notice::Report).into_iter().chain([
        Notice::SpawnRefused {
            slot: id,
            why: ForkError::Refused(Errno::AGAIN),
        },
        Notice::Phase(Phase::Draining),
        Notice::Phase(Phase::Stopping),
        Notice::Reopen,
        sent(None),
        sent(Some(null())),
        failed(3, 2),
        failed(100_010, 2),
        failed(200_000, 2),
        failed(3, -1),
        Notice::PidFile(PidFileError::Lost),
        Notice::Ignored { signal: 28 },
    ]);
    let from = |known, claimed, pid| Event::Message {
        from: Sender {
            pid,
            claimed,
            known,
        },
        message,
        descriptor: None,
    };
    let other = SlotId::from_u32(1 << 10).expect("a life of slot 0");
    let events = [
        Event::Quit,
        Event::Terminate,
        Event::Orphaned,
        Event::Moved,
        from(true, Some(id), None),
        from(true, Some(other), Some(pid)),
        from(false, Some(other), Some(pid)),
        from(false, None, Some(pid)),
        from(false, None, None),
    ];
    let mut words = BTreeSet::new();
    let notices = notices.map(|notice| (notice.to_string(), format!("{notice:?}")));
    let events = events.into_iter();
    let events = events.map(|event| (event.to_string(), format!("{event:?}")));
    for (said, debug) in notices.chain(events) {
        assert_ne!(said, debug);
        assert!(
            !said.contains(['{', '(', '\n']) || said.contains("os error"),
            "{said}"
        );
        assert!(words.insert(said.clone()), "twice: {said}");
    }
    assert_eq!(words.len(), 13 + 12 + 9);
}
