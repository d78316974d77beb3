//! Listening: what a worker makes of each source that is readable.
//!
//! ```text
//!   signals ─► control ─► the master's pidfd ─► mesh        in this order: authority first
//! ```

use rustix::process::Signal;

use crate::channel::{Child, FromWorker, Parcel, Peer, ReceiveError};
use crate::machine::{Effect, Keep, Life, Orphans, Owing};
use crate::run::master::now;
use crate::run::observe::What;
use crate::run::worker::{Event, Sender, Sources, Worker};
use crate::sys::poll::is_readable;
use crate::sys::signal;
use crate::table::SlotId;
use crate::wire::Command;

/// How many reads of the mesh, of up to 128 messages, there are between two looks at everything else.
const READS_AT_A_TIME: u8 = 8;

impl Worker {
    /// The next thing that this worker is told; `None` when nothing is left to read, or when it is
    /// time to look at other things: siblings that never stop talking must not stop everything else.
    /// Then [`Worker::timeout_ms`] is 0. What the master says is read before what siblings say.
    pub fn receive(&mut self) -> Option<Event> {
        let event = self.next_event()?;
        self.observe(What::Event(&event));
        Some(event)
    }

    fn next_event(&mut self) -> Option<Event> {
        self.report();
        self.readable |= core::mem::take(&mut self.refused_reads);
        if self.orphan {
            self.readable.remove(Sources::MASTER | Sources::CONTROL);
        }
        loop {
            let event = if self.moves_told != self.moves {
                self.moves_told = self.moves;
                Some(Event::Moved)
            } else if let Some(parcel) = self.heard.take() {
                parcel.ok().and_then(|parcel| self.hear(parcel))
            } else if self.readable.contains(Sources::SIGNALS) {
                self.read_signal()
            } else if self.readable.contains(Sources::CONTROL) {
                self.read_control()
            } else if self.readable.contains(Sources::MASTER) {
                self.look_at_master()
            } else if let Some(parcel) = self.mail.take() {
                parcel.ok().and_then(|parcel| self.open_mail(parcel))
            } else if self.readable.contains(Sources::MESH) {
                self.read_mesh();
                self.mesh_reads += 1;
                if self.mesh_reads == READS_AT_A_TIME {
                    self.mesh_reads = 0;
                    self.readable |= Sources::SIGNALS | Sources::CONTROL | Sources::MASTER;
                    return None;
                }
                None
            } else {
                self.report();
                return None;
            };
            if event.is_some() {
                return event;
            }
        }
    }

    /// How often [`Sources::MESH`] has become another descriptor.
    pub(super) const fn moves(&self) -> u32 {
        self.moves
    }

    /// Says what the master has to know, as far as the channel takes it.
    pub(super) fn report(&mut self) {
        let Some(control) = self.parts.control.as_ref().filter(|_| !self.orphan) else {
            return; // nobody is there to be told
        };
        let now = now();
        while let Some(report) = self.parts.core.owed(now) {
            let said = match report {
                Owing::Ready => FromWorker::Ready,
                Owing::Resync(missed) => FromWorker::Resync(missed),
            };
            let sent = control.send(said).is_ok();
            self.parts.core.told(report, sent, now);
        }
    }

    fn read_control(&mut self) -> Option<Event> {
        let Some(control) = &self.parts.control else {
            self.readable.remove(Sources::CONTROL);
            return None;
        };
        match control.receive(&mut self.heard) {
            // Read until nothing is left: behind what was read can lie the end, and a loop that is
            // edge-triggered says so once.
            Ok(_) => {}
            // Every copy of the master's end is closed: there is no master any more.
            Err(ReceiveError::Gone | ReceiveError::Unread) => return self.lose_master(),
            Err(ReceiveError::Empty) => self.readable.remove(Sources::CONTROL),
            Err(_) => {
                self.readable.remove(Sources::CONTROL);
                self.refused_reads |= Sources::CONTROL;
            }
        }
        None
    }

    fn read_mesh(&mut self) {
        let received = self
            .parts
            .mesh
            .as_ref()
            .map(|mesh| mesh.receive(&mut self.mail));
        match received {
            Some(Ok(filled)) if !filled.odd => {}
            Some(Err(ReceiveError::Empty)) | None => self.readable.remove(Sources::MESH),
            Some(Err(ReceiveError::Refused(_))) => {
                self.readable.remove(Sources::MESH);
                self.refused_reads |= Sources::MESH;
            }
            // A sibling has shut it down, or sent what is no frame: nothing on it can be told apart
            // any more. What is whole is still read; then there will be another.
            Some(Ok(_) | Err(_)) => {
                self.readable.remove(Sources::MESH);
                self.parts.mesh = None;
                self.parts.core.mesh_broke(now());
                self.report();
            }
        }
    }

    fn read_signal(&mut self) -> Option<Event> {
        let Some(caught) = signal::next(&self.signals) else {
            self.readable.remove(Sources::SIGNALS);
            return None;
        };
        // A terminal's are sent to the whole group, and the master acts on them, if there is one.
        let single = self.is_single();
        let signal = Signal::from_named_raw(caught.signal);
        match signal.filter(|_| caught.by_process || single)? {
            Signal::TERM => self.turn(Life::Ending),
            Signal::INT if single => self.turn(Life::Ending),
            Signal::HUP if !caught.by_process => self.turn(Life::Ending), // the terminal is gone
            Signal::QUIT => self.turn(Life::Draining),
            Signal::USR1 => Some(Event::Reopen),
            _ => None,
        }
    }

    fn look_at_master(&mut self) -> Option<Event> {
        self.readable.remove(Sources::MASTER);
        if self.parts.master.as_ref().is_some_and(is_readable) {
            return self.lose_master();
        }
        None
    }

    /// Without a master there is nobody to replace what breaks: the worker drains, unless it is to
    /// serve on.
    fn lose_master(&mut self) -> Option<Event> {
        self.orphan = true;
        self.readable.remove(Sources::MASTER | Sources::CONTROL);
        match self.parts.orphans {
            Orphans::Drain => self.turn(Life::Draining),
            Orphans::Serve => Some(Event::Orphaned),
        }
    }

    fn hear(&mut self, parcel: Parcel) -> Option<Event> {
        match self.parts.core.heard(parcel.command, parcel.descriptors) {
            Effect::Keep(keep) => self.keep(keep),
            Effect::Assign => {
                while let Some(descriptor) = self.heard.descriptor() {
                    match self.parts.core.roster_mut().next_waiting() {
                        Some(Keep::Sibling(id)) => {
                            self.parts.peers.put(id.index(), Peer::adopt(descriptor));
                        }
                        _ => drop(descriptor),
                    }
                }
            }
            Effect::Turned(life) => return Self::told(life),
            Effect::Reopen => return Some(Event::Reopen),
            Effect::Message(message) => {
                let descriptor = self.heard.descriptor();
                let from = Sender {
                    pid: None,
                    claimed: Some(SlotId::MASTER),
                    known: true,
                };
                return Some(Event::Message {
                    from,
                    message,
                    descriptor,
                });
            }
            Effect::Refused => self.refused += 1,
        }
        None
    }

    fn keep(&mut self, keep: Keep) {
        match keep {
            Keep::Nothing => {}
            Keep::Drop(index) => drop(self.parts.peers.take(index)),
            Keep::Sibling(id) => {
                if let Some(descriptor) = self.heard.descriptor() {
                    self.parts.peers.put(id.index(), Peer::adopt(descriptor));
                }
            }
            Keep::OwnMesh => {
                if let Some(descriptor) = self.heard.descriptor() {
                    self.parts.mesh = Some(Child::adopt(descriptor));
                    self.readable.insert(Sources::MESH);
                    self.moves += 1;
                }
            }
        }
    }

    fn open_mail(&mut self, parcel: Parcel) -> Option<Event> {
        let Command::User(message) = parcel.command else {
            self.refused += 1; // nobody gives orders over the mesh
            return None;
        };
        let named = parcel.pid.is_some() || !self.parts.credentials;
        let roster = self.parts.core.roster();
        let known = parcel
            .claimed
            .is_some_and(|id| named && roster.knows(id, parcel.pid));
        let from = Sender {
            pid: parcel.pid,
            claimed: parcel.claimed,
            known,
        };
        let descriptor = self.mail.descriptor();
        Some(Event::Message {
            from,
            message,
            descriptor,
        })
    }

    fn turn(&mut self, life: Life) -> Option<Event> {
        match self.parts.core.turn(life) {
            Effect::Turned(life) => Self::told(life),
            _ => None,
        }
    }

    fn told(life: Life) -> Option<Event> {
        match life {
            Life::Serving => None,
            Life::Draining => Some(Event::Quit),
            Life::Ending => Some(Event::Terminate),
        }
    }
}
