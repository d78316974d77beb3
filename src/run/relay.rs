//! `Relay`: the process that stays behind its successor, without workers, listeners or zones.
//!
//! It is what a master becomes that may not end: PID 1 of a container, or a process that a supervisor
//! knows by its pid. What it decides is in [`machine::Relay`](crate::machine::Relay); this is how it is done.
//!
//! # Invariants
//!
//! - A signal that a process sent is passed on to the master that is current; a terminal's goes to the
//!   whole group anyway (test `a_relay_passes_signals_on`). While two masters live, one that can be acted
//!   on twice is repeated to the one that is left; USR2, WINCH, TTIN and TTOU are for the current alone.
//! - It ends when no master is left, as the last one ended (tests `a_relay_ends_as_its_master_does`,
//!   `a_chain_of_upgrades_does_not_grow`).
//! - Every process that is left to it is reaped (test `pid_1_relays_and_reaps`).

use rustix::event::epoll::EventFlags;
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use rustix::process::Signal;

use crate::channel::{Alone, ForkError};
use crate::machine::{self, ExitStatus, RelayAction, RelayEvent};
use crate::run::RunError;
use crate::run::successor::{Successor, Variable, become_program, read, tell, tell_with};
use crate::run::worker;
use crate::sys::orphans::{Dead, next_dead};
use crate::sys::packed;
use crate::sys::poll::{Events, Poll};
use crate::sys::process::{self, Ended, Forked};
use crate::sys::signal::{self, SignalSet};
use crate::sys::socket::Ancillary;
use crate::table::Pid;
use crate::wire::Letter;

/// What is not passed on: it tells of a child's end.
const CHILD: SignalSet = SignalSet::of(&[Signal::CHILD]);

/// What does no harm if a master acts on it after another has. A second USR2 would be a second upgrade.
const REPEATABLE: SignalSet = SignalSet::of(&[
    Signal::TERM,
    Signal::INT,
    Signal::QUIT,
    Signal::HUP,
    Signal::USR1,
]);

const SIGNALS: u64 = 0;
const MASTER: u64 = 1;

/// A relay behind a successor that serves. A few hundred bytes; it sleeps until something happens.
#[derive(Debug)]
pub struct Relay {
    core: machine::Relay,
    alone: Alone,
    poll: Poll,
    signals: OwnedFd,
    /// The one socket, whose other end every current master has had.
    socket: OwnedFd,
    current: OwnedFd,
    next: Option<OwnedFd>,
    asked: Option<Asked>,
    ended: Option<ExitStatus>,
}

/// A launch that was asked for.
#[derive(Debug)]
struct Asked {
    package: OwnedFd,
    socket: OwnedFd,
    arguments: usize,
    variables: usize,
}

impl Relay {
    /// Stays behind a successor that has said that it serves, and says so to it. The signals that are
    /// passed on are blocked from here on.
    ///
    /// # Errors
    ///
    /// Where the kernel refuses what it waits by.
    pub fn behind(successor: Successor, alone: Alone) -> Result<Self, RunError> {
        Self::new(successor, alone).map_err(RunError::Refused)
    }

    fn new(successor: Successor, alone: Alone) -> Result<Self, Errno> {
        let core = machine::Relay::new(successor.pid());
        let _ = successor.tell_relays(); // who has gone will be reaped
        let (process, socket) = successor.into_parts();
        let all = worker::SIGNALS.with(CHILD);
        all.block()?;
        let signals = all.descriptor()?;
        let poll = Poll::new()?;
        poll.add(&signals, SIGNALS, EventFlags::IN)?;
        poll.add(&socket, MASTER, EventFlags::IN)?;
        Ok(Self {
            core,
            alone,
            poll,
            signals,
            socket,
            current: process.into_pidfd(),
            next: None,
            asked: None,
            ended: None,
        })
    }

    /// Relays until no master is left; how the last one ended. A process that was killed cannot be
    /// imitated by PID 1: end with 128 and the signal's number, as a shell says it.
    ///
    /// # Errors
    ///
    /// Where epoll fails, which it has no reason to.
    pub fn run(mut self) -> Result<ExitStatus, RunError> {
        self.reap(); // who ended before there was a signal to hear of it by
        loop {
            if let Some(status) = self.ended {
                return Ok(status);
            }
            self.turn().map_err(RunError::Refused)?;
        }
    }

    fn turn(&mut self) -> Result<(), Errno> {
        let mut events = Events::new();
        let mut signalled = false;
        let mut asked = false;
        for event in self.poll.wait(&mut events, None)? {
            signalled |= event.data.u64() == SIGNALS;
            asked |= event.data.u64() == MASTER;
        }
        if asked {
            self.hear();
        }
        if signalled {
            self.signals();
        }
        Ok(())
    }

    /// Every turn one letter: whoever floods it is heard, and hears of deaths in between.
    fn hear(&mut self) {
        let mut ancillary = Ancillary::new();
        let letter = match read(&self.socket, &mut ancillary) {
            Ok(letter) => letter,
            Err(Errno::AGAIN | Errno::INTR) => return,
            Err(_) => {
                let _ = self.poll.remove(&self.socket); // no master has its other end any more
                return;
            }
        };
        let Some(Letter::Launch {
            arguments,
            variables,
        }) = letter
        else {
            return;
        };
        // The last is popped first.
        let (Some(socket), Some(package)) =
            (ancillary.descriptors.pop(), ancillary.descriptors.pop())
        else {
            let errno = Errno::MFILE.raw_os_error(); // it was sent, and found no room here
            let _ = tell(&self.socket, &Letter::NotLaunched { errno });
            return;
        };
        self.asked = Some(Asked {
            package,
            socket,
            arguments: arguments as usize,
            variables: variables as usize,
        });
        self.reap(); // who asks has waited for its predecessor's end, which may not be known here yet
        self.happened(RelayEvent::Asked);
        self.asked = None;
    }

    fn signals(&mut self) {
        while let Some(caught) = signal::next(&self.signals) {
            if caught.signal == Signal::CHILD.as_raw() {
                self.reap();
            } else if caught.by_process {
                let signal = caught.signal as u8;
                let repeatable = REPEATABLE.bits() >> (signal - 1) & 1 != 0;
                self.happened(RelayEvent::Signalled { signal, repeatable });
            }
        }
    }

    /// Reaps whoever has ended: masters are told of, others are none of its business.
    fn reap(&mut self) {
        loop {
            let master = |pid| self.pidfd_of(pid).is_some();
            match next_dead(master) {
                None => return,
                Some(Dead::Orphan(_)) => {}
                Some(Dead::Known(pid)) => {
                    let ended = self.pidfd_of(pid).map(|pidfd| process::reap(pidfd.as_fd()));
                    let (Some(pid), Some(Ok(Some(ended)))) = (Pid::new(pid), ended) else {
                        return;
                    };
                    self.happened(RelayEvent::Exited(pid, status(ended)));
                }
            }
        }
    }

    fn pidfd_of(&self, pid: i32) -> Option<&OwnedFd> {
        let is = |master: Option<Pid>| master.is_some_and(|master| master.as_i32() == pid);
        if is(self.core.current()) {
            Some(&self.current)
        } else {
            self.next.as_ref().filter(|_| is(self.core.next()))
        }
    }

    fn happened(&mut self, event: RelayEvent) {
        let mut event = Some(event);
        while let Some(happened) = event.take() {
            if let Some(action) = self.core.handle(happened) {
                event = self.act(action);
            }
        }
    }

    /// Does what follows. What cannot be told is told to a master that has gone, and is reaped soon.
    fn act(&mut self, action: RelayAction) -> Option<RelayEvent> {
        match action {
            RelayAction::Forward(_, signal) => self.forward(signal),
            RelayAction::Launch => return Some(self.launch()),
            RelayAction::TellBusy => self.tell_failed(Errno::BUSY.raw_os_error()),
            RelayAction::TellFailed { errno } => self.tell_failed(errno),
            RelayAction::TellLaunched(pid) => {
                let pidfd = self.next.as_ref()?.as_fd();
                let _ = tell_with(&self.socket, &Letter::Launched(pid), &[pidfd]);
            }
            RelayAction::TellEnded(status) => {
                self.next = None;
                let (code, signal) = match status {
                    ExitStatus::Code(code) => (code.into(), 0),
                    ExitStatus::Killed { signal, .. } => (0, signal.into()),
                };
                let _ = tell(&self.socket, &Letter::Ended { code, signal });
            }
            RelayAction::Follow { again, .. } => {
                self.current = self.next.take()?;
                let again = (1..=64).filter(|signal| again >> (signal - 1) & 1 != 0);
                again.for_each(|signal| self.forward(signal));
            }
            RelayAction::Exit(status) => self.ended = Some(status),
        }
        None
    }

    fn forward(&self, signal: u8) {
        if let Some(signal) = Signal::from_named_raw(signal.into()) {
            let _ = process::signal(self.current.as_fd(), signal);
        }
    }

    fn tell_failed(&self, errno: i32) {
        let _ = tell(&self.socket, &Letter::NotLaunched { errno });
    }

    fn launch(&mut self) -> RelayEvent {
        match self.fork() {
            Ok((pid, pidfd)) => {
                self.next = Some(pidfd);
                RelayEvent::Launched(pid)
            }
            Err(errno) => RelayEvent::LaunchFailed {
                errno: errno.raw_os_error(),
            },
        }
    }

    fn fork(&mut self) -> Result<(Pid, OwnedFd), Errno> {
        let asked = self.asked.take().ok_or(Errno::INVAL)?;
        match process::fork(&mut self.alone) {
            Ok(Forked::Child(leash)) => {
                let variable = Variable::of(&asked.socket);
                become_program(leash, &asked.socket, || {
                    let (arguments, variables) = (asked.arguments, asked.variables);
                    packed::exec_packed(&asked.package, arguments, variables, variable.as_c_str())
                })
            }
            Ok(Forked::Parent(process)) => {
                let pid = Pid::new(process.pid()).ok_or(Errno::SRCH)?;
                Ok((pid, process.into_pidfd()))
            }
            Err(ForkError::Refused(errno)) => Err(errno),
            Err(ForkError::NotAlone(_)) => Err(Errno::AGAIN),
        }
    }
}

const fn status(ended: Ended) -> ExitStatus {
    match ended {
        Ended::Code(code) => ExitStatus::Code(code),
        Ended::Killed { signal, core } => ExitStatus::Killed { signal, core },
    }
}
