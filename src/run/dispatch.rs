//! What a wait brought: signals, deaths, and what workers say.

use rustix::event::epoll::EventFlags;
use rustix::fd::AsFd;
use rustix::process::Signal;

use crate::channel::ReceiveError;
use crate::machine::Event;
use crate::run::master::{Master, status_of};
use crate::run::service::{Notice, Service};
use crate::run::token::Token;
use crate::run::upgrade::LETTERS_A_TURN;
use crate::sys::orphans::{Dead, next_dead};
use crate::sys::process;
use crate::sys::signal::{self, Caught};
use crate::table::{Pid, SlotId};
use crate::wire::{Command, Resync};

/// How many reads empty a full socket: it holds 278 messages, and each that carries a descriptor is a
/// read. A process that inherited the end from the dead could go on talking; nobody listens to it.
const READS_OF_THE_DEAD: usize = 512;

/// How many batches of 128 frames one worker is listened to before others get their turn.
const READS_A_TURN: usize = 8;

/// As many as there are: each is pending once at the most.
const SIGNALS_TOGETHER: usize = 16;

impl Master {
    pub(super) fn dispatch(&mut self, service: &mut impl Service, token: u64, flags: EventFlags) {
        match Token::from_u64(token) {
            Some(Token::Signals) => self.signals(service),
            Some(Token::Process(slot)) => self.reap(service, slot),
            Some(Token::Successor) => self.hear_successor(service, LETTERS_A_TURN),
            Some(Token::SuccessorEnd) => self.reap_successor(service),
            Some(Token::Predecessor) => self.hear_predecessor(service),
            Some(Token::PredecessorEnd) => self.lose_predecessor(service),
            Some(Token::Relay) => self.hear_relay(service),
            Some(Token::Control(slot)) => {
                if flags.contains(EventFlags::OUT) && self.is_there(slot) {
                    self.watch_control(slot, EventFlags::IN);
                    self.happened(service, Event::Writable(slot));
                }
                if flags.contains(EventFlags::IN) {
                    self.read_control(service, slot, READS_A_TURN);
                }
                if flags.contains(EventFlags::HUP) {
                    self.stop_watching(slot);
                }
            }
            None => {}
        }
    }

    /// Nobody knows in which order signals were sent that are found together. The kernel hands them out
    /// by number, which has WINCH behind HUP: a master that was told to rest, and at once to serve
    /// again, would rest. So it rests first, whatever comes then.
    fn signals(&mut self, service: &mut impl Service) {
        let mut together = heapless::Vec::<Caught, SIGNALS_TOGETHER>::new();
        loop {
            together.clear();
            while !together.is_full()
                && let Some(caught) = signal::next(&self.waiting().signals)
            {
                let _ = together.push(caught); // there is room
            }
            if together.is_empty() {
                return;
            }
            let rest = Signal::WINCH.as_raw();
            together.sort_unstable_by_key(|caught| (caught.signal != rest, caught.signal));
            self.heed_signals(service, &together);
        }
    }

    fn heed_signals(&mut self, service: &mut impl Service, together: &[Caught]) {
        for caught in together {
            if caught.signal == Signal::CHILD.as_raw() {
                self.reap_orphans(service);
                continue;
            }
            match request(*caught) {
                Some(event) => self.happened(service, event),
                None => self.tell(
                    service,
                    Notice::Ignored {
                        signal: caught.signal,
                    },
                ),
            }
        }
    }

    /// Whether this life of the slot has a process.
    fn is_there(&self, slot: SlotId) -> bool {
        self.table()
            .slot(slot)
            .is_some_and(|slot| slot.state().pid().is_some())
    }

    fn reap(&mut self, service: &mut impl Service, slot: SlotId) {
        if !self.is_there(slot) {
            return;
        }
        let Some(pidfd) = self.pidfds.at(slot.index()) else {
            return;
        };
        let status = match process::reap(pidfd.as_fd()) {
            Ok(None) => return,
            ended => status_of(ended.ok().flatten()),
        };
        self.read_control(service, slot, READS_OF_THE_DEAD); // what it said before it died
        self.happened(service, Event::Exited(slot, status));
    }

    /// Reaps whoever was left to this process by others that have ended, as PID 1 has to. A known child
    /// that has ended hides those behind it, so it is reaped here, too.
    pub(super) fn reap_orphans(&mut self, service: &mut impl Service) {
        let mut seen = None;
        loop {
            let successor = self.core.upgrade().successor();
            let table = self.core.table();
            let slot_of = |pid| Pid::new(pid).and_then(|pid| table.by_pid(pid));
            let own = |pid| Some(pid) == successor.map(Pid::as_i32) || slot_of(pid).is_some();
            match next_dead(own) {
                None => return,
                Some(Dead::Orphan(_)) => {}
                Some(Dead::Known(pid)) if seen == Some(pid) => return, // traced: not ours to reap yet
                Some(Dead::Known(pid)) => {
                    seen = Some(pid);
                    match slot_of(pid) {
                        Some(slot) => self.reap(service, slot),
                        None => self.reap_successor(service),
                    }
                }
            }
        }
    }

    /// Reads what a worker has said, `most_reads` times at the most: one that never stops talking
    /// must not keep the others waiting. What is left is still there the next turn.
    fn read_control(&mut self, service: &mut impl Service, slot: SlotId, most_reads: usize) {
        for _ in 0..most_reads {
            if !self.is_there(slot) {
                return;
            }
            let Some(end) = self.control.at(slot.index()) else {
                return;
            };
            let filled = match end.receive(&mut self.inbox) {
                Ok(filled) => filled,
                Err(ReceiveError::Gone) => return self.stop_watching(slot),
                // It has become another program, perhaps, before it read that it is to go.
                Err(ReceiveError::Unread) => {
                    self.stop_watching(slot);
                    return self.happened(service, Event::Unheard(slot));
                }
                Err(_) => return,
            };
            while let Some(parcel) = self.inbox.take() {
                let Ok(parcel) = parcel else {
                    continue; // the inbox counts it
                };
                let another = parcel.claimed.is_some_and(|claimed| claimed != slot);
                if another {
                    self.refused += 1;
                    continue;
                }
                self.heard(service, slot, parcel.command);
            }
            if !filled.more {
                return;
            }
        }
    }

    /// A worker that closed its end, or shut it down, is not worth a turn each time round. That it
    /// lives or dies is known by its pidfd.
    fn stop_watching(&self, slot: SlotId) {
        if self.is_there(slot)
            && let Some(end) = self.control.at(slot.index())
        {
            let _ = self.waiting().poll.remove(end); // it may be out already
        }
    }

    fn heard(&mut self, service: &mut impl Service, slot: SlotId, command: Command) {
        match command {
            Command::Ready => self.happened(service, Event::Ready(slot)),
            Command::Resync(Resync::Table(low)) => {
                let version = self.core.version_from_low(low);
                self.happened(service, Event::Missed(slot, version));
            }
            // Everybody has to be told of a new mesh pair. Who is refused one asks again later.
            Command::Resync(Resync::Mesh) if self.replacements_left == 0 => self.refused += 1,
            Command::Resync(Resync::Mesh) => {
                self.replacements_left -= 1;
                self.happened(service, Event::MeshBroken(slot));
            }
            Command::Failed { stage, errno } => {
                self.happened(service, Event::Failed(slot, stage, errno));
                self.tell(
                    service,
                    Notice::Failed {
                        worker: slot,
                        stage,
                        errno,
                    },
                );
            }
            Command::User(message) => {
                let descriptor = self.inbox.descriptor();
                self.tell(
                    service,
                    Notice::Message {
                        from: slot,
                        message,
                        descriptor,
                    },
                );
            }
            _ => self.refused += 1,
        }
    }

    /// Tells the user, and does what the user asks for then.
    fn tell(&mut self, service: &mut impl Service, notice: Notice) {
        self.notify(service, notice);
        self.heed();
        self.perform(service);
    }
}

/// What a signal asks for. A terminal sends WINCH when its window changes, TTIN and TTOU to whoever
/// uses it from the background: these mean something only where a process sent them.
fn request(caught: Caught) -> Option<Event> {
    let signal = Signal::from_named_raw(caught.signal)?;
    Some(match signal {
        Signal::TERM | Signal::INT => Event::Terminate,
        Signal::QUIT => Event::Quit,
        Signal::HUP => Event::Reload,
        Signal::USR1 => Event::Reopen,
        Signal::USR2 => Event::Upgrade,
        Signal::WINCH if caught.by_process => Event::Rest,
        Signal::TTIN if caught.by_process => Event::More,
        Signal::TTOU if caught.by_process => Event::Fewer,
        _ => return None,
    })
}
