//! A master that a test drives turn by turn, and workers that do what they are told by message.

use core::time::Duration;
use std::time::Instant;

use forkmesh::channel::ForkError;
use forkmesh::machine::{Config, ExitStatus, Phase, Report};
use forkmesh::run::{
    Event, Exit, Master, NotLoaded, Notice, Offer, PidFileError, Poller, Refused, Reload, Service,
    Silent, Sources, Worker, Workers,
};
use forkmesh::table::{Pid, SlotId, State};
use forkmesh::wire::Message;
use rustix::fd::{AsFd, OwnedFd};
use rustix::process::{Resource, Rlimit, Signal, getrlimit, kill_process, setrlimit};

use crate::heir::Program;

/// Not worth remembering.
pub(crate) const NOISE: u32 = 12;

const PATIENCE: Duration = Duration::from_secs(25);

/// Tell the master of each sibling that can be reached (`SIBLING`), then `END`.
pub(crate) const ASK: u32 = 1;
pub(crate) const SIBLING: u32 = 2;
pub(crate) const END: u32 = 3;
/// Say `HELLO` to the sibling in the payload.
pub(crate) const GREET: u32 = 4;
pub(crate) const HELLO: u32 = 5;
/// Answer to the master: a `HELLO` came, from whom (slot, pid, known).
pub(crate) const GREETED: u32 = 6;
/// Let no new descriptor have a number from this on.
pub(crate) const LIMIT: u32 = 7;
/// Tell the master what was wrong so far (`FAULTS`: missing from the master, odd from siblings,
/// refused).
pub(crate) const COUNT: u32 = 8;
pub(crate) const FAULTS: u32 = 9;
/// Answer with the descriptor that came with it.
pub(crate) const ECHO: u32 = 10;
/// Do something that only this test knows.
pub(crate) const DO: u32 = 11;

/// Answer to the master: the log files were opened again.
pub(crate) const REOPENED: u32 = 13;

/// What one worker was heard to say.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) from: SlotId,
    pub(crate) message: Message,
    pub(crate) descriptor: Option<OwnedFd>,
}

/// A service whose workers obey and whose master remembers.
pub(crate) struct Lab {
    pub(crate) work: fn(&mut Worker) -> Exit,
    pub(crate) help: fn(&mut Worker) -> Exit,
    pub(crate) reports: Vec<Report>,
    pub(crate) said: Vec<Said>,
    pub(crate) phases: Vec<Phase>,
    /// Why a process could not be made, the last time.
    pub(crate) refused: Option<ForkError>,
    /// What is said to a reload.
    pub(crate) reload: fn(Reload) -> Result<usize, NotLoaded>,
    /// What takes over in an upgrade.
    pub(crate) program: Option<Program>,
    pub(crate) reopened: usize,
    pub(crate) ignored: Vec<i32>,
    pub(crate) pid_file: Vec<PidFileError>,
    /// What workers said that they failed at.
    pub(crate) failed: Vec<(u32, i32)>,
}

/// A master and its service.
pub(crate) struct World {
    pub(crate) master: Box<Master>,
    pub(crate) lab: Lab,
    /// What was wrong when it was looked at last, for the message of a test that waits in vain.
    pub(crate) note: String,
}

impl Service for Lab {
    fn work(&mut self, worker: &mut Worker) -> Exit {
        (self.work)(worker)
    }

    fn help(&mut self, worker: &mut Worker) -> Exit {
        (self.help)(worker)
    }

    fn reload(&mut self, next: Reload) -> Result<usize, NotLoaded> {
        (self.reload)(next)
    }

    fn upgrade<'s>(&'s self, offer: &mut Offer<'s>) -> Result<(), Refused> {
        self.program.as_ref().ok_or(Refused)?.offer(offer);
        Ok(())
    }

    fn notice(&mut self, _: &mut Workers<'_>, notice: Notice) {
        match notice {
            Notice::Reopen => self.reopened += 1,
            Notice::Ignored { signal } => self.ignored.push(signal),
            Notice::PidFile(why) => self.pid_file.push(why),
            Notice::Failed { stage, errno, .. } => self.failed.push((stage, errno)),
            Notice::Report(report) => self.reports.push(report),
            Notice::Phase(phase) => self.phases.push(phase),
            Notice::SpawnRefused { why, .. } => self.refused = Some(why),
            Notice::Message {
                from,
                message,
                descriptor,
            } if message.tag != NOISE => {
                self.said.push(Said {
                    from,
                    message,
                    descriptor,
                });
            }
            _ => {}
        }
    }
}

/// A test that fails ends its workers too, the stopped ones among them.
impl Drop for World {
    fn drop(&mut self) {
        for (_, slot) in self.master.table().occupied() {
            let pid = slot
                .state()
                .pid()
                .and_then(|pid| rustix::process::Pid::from_raw(pid.as_i32()));
            pid.map(|pid| kill_process(pid, Signal::KILL));
        }
    }
}

impl World {
    pub(crate) fn new(config: Config, work: fn(&mut Worker) -> Exit) -> Self {
        let alone = crate::support::alone();
        let master = Box::new(Master::with(config, alone).expect("a master"));
        Self::of(master, work)
    }

    /// Starts a master that was made before.
    pub(crate) fn of(master: Box<Master>, work: fn(&mut Worker) -> Exit) -> Self {
        let mut world = Self::unstarted(master, work);
        world.master.start(&mut world.lab).expect("started");
        world
    }

    pub(crate) fn unstarted(mut master: Box<Master>, work: fn(&mut Worker) -> Exit) -> Self {
        master.observed_by(&Silent);
        let lab = Lab {
            work,
            help: obedient,
            reports: Vec::new(),
            said: Vec::new(),
            phases: Vec::new(),
            refused: None,
            reload: |next| Ok(next.workers),
            program: None,
            reopened: 0,
            ignored: Vec::new(),
            pid_file: Vec::new(),
            failed: Vec::new(),
        };
        let note = String::new();
        Self { master, lab, note }
    }

    /// Turns until it is so.
    pub(crate) fn until(&mut self, what: &str, mut so: impl FnMut(&mut Self) -> bool) {
        let start = Instant::now();
        while !so(self) {
            assert!(
                start.elapsed() < PATIENCE,
                "in vain: {what}; {}; {:?}",
                self.note,
                self.lab.reports.last()
            );
            self.turn();
        }
    }

    pub(crate) fn turn(&mut self) {
        self.master.turn(&mut self.lab, Some(5)).expect("epoll");
    }

    pub(crate) fn all_live(&mut self, workers: usize) {
        self.until("all are ready", |world| world.live().len() == workers);
    }

    /// The workers that are ready, by slot.
    pub(crate) fn live(&self) -> Vec<(SlotId, Pid)> {
        let occupied = self.master.table().occupied();
        occupied
            .filter_map(|(id, slot)| match slot.state() {
                State::Live(pid) => Some((id, pid)),
                _ => None,
            })
            .collect()
    }

    /// Turns until a report is of this kind, and takes it out.
    pub(crate) fn reported<T>(&mut self, what: &str, kind: impl Fn(&Report) -> Option<T>) -> T {
        let mut found = None;
        self.until(what, |world| {
            let reports = &mut world.lab.reports;
            let at = reports.iter().position(|report| kind(report).is_some());
            found = at.and_then(|at| kind(&reports.remove(at)));
            found.is_some()
        });
        found.expect("found")
    }

    /// How the workers that have ended did so; said once.
    pub(crate) fn exits(&mut self) -> Vec<ExitStatus> {
        let exited = |report: &mut Report| matches!(report, Report::Exited(..));
        let exits = self.lab.reports.extract_if(.., exited);
        let exits = exits.filter_map(|report| match report {
            Report::Exited(_, _, status) => Some(status),
            _ => None,
        });
        exits.collect()
    }

    pub(crate) fn spawned(&self) -> usize {
        self.lab
            .reports
            .iter()
            .filter(|report| matches!(report, Report::Spawned(..)))
            .count()
    }

    pub(crate) fn tell(&mut self, to: SlotId, tag: u32, payload: [u8; 16]) {
        let message = Message::new(tag, payload);
        self.until("there is room to tell", |world| {
            world.master.workers().send(to, message).is_ok()
        });
    }

    /// Waits for a message with this tag from this worker, and takes it out.
    pub(crate) fn hear(&mut self, from: SlotId, tag: u32) -> Said {
        let mut found = None;
        self.until("an answer", |world| {
            let said = &mut world.lab.said;
            let at = said
                .iter()
                .position(|said| said.from == from && said.message.tag == tag);
            found = at.map(|at| said.remove(at));
            found.is_some()
        });
        found.expect("found")
    }

    /// Whom a worker knows.
    pub(crate) fn siblings_of(&mut self, worker: SlotId) -> Vec<(SlotId, Pid)> {
        self.lab.said.retain(|said| said.from != worker);
        self.tell(worker, ASK, [0; 16]);
        self.hear(worker, END);
        let said = self.lab.said.extract_if(.., |said| {
            said.from == worker && said.message.tag == SIBLING
        });
        said.map(|said| who(said.message.payload)).collect()
    }

    /// Whether a worker knows exactly the others that live.
    pub(crate) fn knows_all(&mut self, worker: SlotId) -> bool {
        let mut others = self.live();
        others.retain(|(id, _)| *id != worker);
        self.siblings_of(worker) == others
    }

    pub(crate) fn faults_of(&mut self, worker: SlotId) -> [u32; 3] {
        self.tell(worker, COUNT, [0; 16]);
        let said = self.hear(worker, FAULTS);
        let word =
            |at: usize| u32::from_ne_bytes(said.message.payload[at..at + 4].try_into().unwrap());
        [word(0), word(4), word(8)]
    }

    /// Has one worker greet another, and sees how the greeting arrived.
    pub(crate) fn greet(&mut self, from: (SlotId, Pid), to: SlotId) {
        let mut payload = [0; 16];
        payload[..4].copy_from_slice(&to.as_u32().to_ne_bytes());
        self.tell(from.0, GREET, payload);
        let heard = self.hear(to, GREETED);
        assert_eq!(
            who(heard.message.payload),
            from,
            "the kernel names the sender"
        );
        assert_eq!(heard.message.payload[8], 1, "and it is known");
    }

    pub(crate) fn kill(&self, pid: Pid) {
        signal(pid, Signal::KILL);
    }

    /// Kills a worker and waits for its successor.
    pub(crate) fn replace(&mut self, pid: Pid) {
        let workers = self.live().len();
        self.kill(pid);
        self.until("the death", |world| {
            world.live().iter().all(|(_, live)| *live != pid)
        });
        self.all_live(workers);
    }

    pub(crate) fn end(mut self) {
        self.master.workers().terminate();
        self.until("the end", |world| world.master.is_ended());
    }
}

pub(crate) fn signal(pid: Pid, signal: Signal) {
    let pid = rustix::process::Pid::from_raw(pid.as_i32()).expect("a pid");
    kill_process(pid, signal).expect("signalled");
}

pub(crate) fn who(payload: [u8; 16]) -> (SlotId, Pid) {
    let id = u32::from_ne_bytes(payload[..4].try_into().unwrap());
    let pid = i32::from_ne_bytes(payload[4..8].try_into().unwrap());
    (
        SlotId::from_u32(id).expect("an id"),
        Pid::new(pid).expect("a pid"),
    )
}

fn told(id: SlotId, pid: Pid, known: bool) -> [u8; 16] {
    let mut payload = [0; 16];
    payload[..4].copy_from_slice(&id.as_u32().to_ne_bytes());
    payload[4..8].copy_from_slice(&pid.as_i32().to_ne_bytes());
    payload[8] = known.into();
    payload
}

/// A worker that does what it is told, until it is told to go.
pub(crate) fn obedient(worker: &mut Worker) -> Exit {
    obey(worker, |_, _| {})
}

/// As [`obedient`], with something of one's own for `DO`.
pub(crate) fn obey(worker: &mut Worker, mut act: impl FnMut(&mut Worker, Message)) -> Exit {
    let mut poller = Poller::new(worker).expect("a poller");
    let highest = getrlimit(Resource::Nofile);
    worker.ready();
    loop {
        while let Some(event) = worker.receive() {
            match event {
                Event::Quit | Event::Terminate => return Exit::SUCCESS,
                Event::Reopen => say(worker, Message::new(REOPENED, [0; 16])),
                Event::Message {
                    from,
                    message,
                    descriptor,
                } => match message.tag {
                    ASK => {
                        let siblings = worker.siblings();
                        let reached = siblings.filter(|(id, _)| worker.peer(*id).is_some());
                        let siblings: Vec<_> = reached.collect();
                        for (id, pid) in siblings {
                            say(worker, Message::new(SIBLING, told(id, pid, true)));
                        }
                        say(worker, Message::new(END, [0; 16]));
                    }
                    GREET => {
                        let to = u32::from_ne_bytes(message.payload[..4].try_into().unwrap());
                        let to = SlotId::from_u32(to).expect("an id");
                        worker.send(to, Message::new(HELLO, [0; 16])).expect("sent");
                    }
                    HELLO => {
                        let id = from.claimed.expect("named");
                        let siblings = worker.siblings().collect::<Vec<_>>();
                        // Without credentials: who has that name.
                        let named = siblings.iter().find(|(sibling, _)| *sibling == id);
                        let pid = from.pid.or(named.map(|(_, pid)| *pid)).expect("seen");
                        say(worker, Message::new(GREETED, told(id, pid, from.known)));
                    }
                    LIMIT => {
                        let limit = u64::from(message.payload[0]);
                        let current = if limit == 0 {
                            highest.current
                        } else {
                            Some(limit)
                        };
                        setrlimit(Resource::Nofile, Rlimit { current, ..highest }).expect("set");
                        say(worker, Message::new(END, [0; 16]));
                    }
                    COUNT => {
                        let (control, mesh) = worker.faults();
                        let counts = [control.missing, mesh.odd, worker.refused(), 0];
                        let mut payload = [0; 16];
                        for (at, count) in counts.iter().enumerate() {
                            payload[4 * at..4 * at + 4]
                                .copy_from_slice(&(*count as u32).to_ne_bytes());
                        }
                        say(worker, Message::new(FAULTS, payload));
                    }
                    ECHO => {
                        let echo = Message::new(ECHO, message.payload);
                        let descriptor = descriptor.expect("one came");
                        worker
                            .tell_master_with(echo, descriptor.as_fd())
                            .expect("told");
                    }
                    _ => act(worker, message),
                },
                _ => {}
            }
        }
        poller.wait(worker, None).expect("epoll");
    }
}

/// Tells the master, however long it takes to listen.
pub(crate) fn say(worker: &Worker, message: Message) {
    while worker.tell_master(message).is_err() {
        let control = worker.source(Sources::CONTROL).expect("a control end");
        crate::support::wait_writable(control, "the master listens");
    }
}
