//! The master's two neighbours: the one that it launches, and the one that launched it.
//!
//! ```text
//!   Launch    offer ─► pid file aside ─► Successor::launch ─► watched: what it says, and its end
//!   Withdraw  the socket closed ─► pid file back
//!   succeed   slots, mask, and the predecessor's socket and pidfd, watched ─► SayReady, SayFailed
//! ```

use rustix::event::epoll::EventFlags;

use crate::channel::ForkError;
use crate::machine::{self, Event, UpgradeError};
use crate::run::handover::{Handover, Heard};
use crate::run::master::{Master, status_of};
use crate::run::offer::Offer;
use crate::run::pid_file::PidFile;
use crate::run::service::{Notice, Service};
use crate::run::successor::{LaunchError, Said, Successor};
use crate::run::token::Token;
use crate::sys::process;
use crate::sys::signal::SignalSet;
use crate::table::SlotSet;

impl Master {
    /// Keeps a pid file: an upgrade sets it aside for the successor's, and takes it back if that fails.
    /// It is removed when the master is dropped.
    pub fn keep(&mut self, pid_file: PidFile) {
        self.pid_file = Some(pid_file);
    }

    /// Takes over from the master that launched this program. Before [`Master::start`]: once all
    /// workers are ready, the predecessor is told, and lets its own go. Its slots are taken until it is
    /// gone; the signals that were blocked before it blocked its own are restored in workers.
    pub fn succeed(&mut self, handover: Handover) {
        self.core.succeed(handover.slots());
        self.mask = SignalSet::from_bits(handover.mask());
        self.predecessor = Some(handover);
    }

    /// Watches the predecessor; where that cannot be done, it is as good as gone.
    pub(super) fn watch_predecessor(&mut self) -> Option<Event> {
        let handover = self.predecessor.as_ref()?;
        let poll = &self.waiting().poll;
        let watched = poll
            .add(handover, Token::Predecessor.to_u64(), EventFlags::IN)
            .and_then(|()| {
                let token = Token::PredecessorEnd.to_u64();
                poll.add(handover.pidfd(), token, EventFlags::IN)
            });
        watched.is_err().then_some(Event::PredecessorGone)
    }

    pub(super) fn launch(&mut self, service: &mut impl Service) -> Event {
        match self.try_launch(service) {
            Ok(event) => event,
            Err(why) => Event::LaunchFailed(why),
        }
    }

    fn try_launch(&mut self, service: &mut impl Service) -> Result<Event, UpgradeError> {
        let mut offer = Offer::new();
        service
            .upgrade(&mut offer)
            .map_err(|_| UpgradeError::Refused)?;
        if let Some(pid_file) = &mut self.pid_file {
            pid_file.set_aside().map_err(|_| UpgradeError::PidFile)?;
        }
        let mut slots = SlotSet::EMPTY;
        for (id, _) in self.core.table().occupied() {
            slots.insert(id.index());
        }
        let mut alone = self.alone.lend();
        let launched = Successor::launch(&mut alone, &offer, &slots, self.mask.bits());
        let successor = launched.map_err(|error| match error {
            LaunchError::NoProgram => UpgradeError::Refused,
            LaunchError::Fork(ForkError::Refused(errno)) | LaunchError::Refused(errno) => {
                UpgradeError::NotLaunched(errno.raw_os_error())
            }
            LaunchError::Fork(_) => UpgradeError::NotLaunched(0),
        })?;
        self.adopt_successor(successor)
    }

    /// The successor is watched; one that cannot be is killed before it has begun.
    fn adopt_successor(&mut self, successor: Successor) -> Result<Event, UpgradeError> {
        let poll = &self.waiting().poll;
        let death = EventFlags::IN | EventFlags::ET;
        let watched = poll
            .add(successor.pidfd(), Token::SuccessorEnd.to_u64(), death)
            .and_then(|()| poll.add(&successor, Token::Successor.to_u64(), EventFlags::IN));
        if let Err(errno) = watched {
            let _ = poll.remove(successor.pidfd());
            process::end(successor.pidfd());
            return Err(UpgradeError::NotLaunched(errno.raw_os_error()));
        }
        let pid = successor.pid();
        self.successor = Some(successor);
        Ok(Event::Launched(pid))
    }

    pub(super) fn signal_successor(&self, signal: machine::Signal) {
        if let Some(successor) = &self.successor {
            let signal = match signal {
                machine::Signal::Terminate => rustix::process::Signal::TERM,
                machine::Signal::Kill => rustix::process::Signal::KILL,
            };
            // One that is gone already is reaped soon; there is nothing else to do about it.
            let _ = process::signal(successor.pidfd(), signal);
        }
    }

    /// An upgrade came to nothing: the pid file names this process again.
    pub(super) fn withdraw(&mut self, service: &mut impl Service) {
        self.drop_successor();
        let back = self.pid_file.as_mut().map(PidFile::take_back);
        if let Some(Err(why)) = back {
            self.notify(service, Notice::PidFile(why));
        }
    }

    /// What the successor says.
    pub(super) fn hear_successor(&mut self, service: &mut impl Service) {
        while let Some(said) = self.successor.as_mut().and_then(Successor::hear) {
            let event = match said {
                Said::Ready => Event::SuccessorReady,
                Said::NoRoom { .. } => Event::SuccessorFailed(UpgradeError::NoRoom),
                Said::ExecFailed(errno) => {
                    Event::SuccessorFailed(UpgradeError::NotExecuted(errno.raw_os_error()))
                }
                Said::Failed { .. } => Event::SuccessorFailed(UpgradeError::Unready),
                Said::Odd => continue,
                // That it lives or dies is known by its pidfd.
                Said::Gone => {
                    if let Some(successor) = &self.successor {
                        let _ = self.waiting().poll.remove(successor);
                    }
                    return;
                }
            };
            self.happened(service, event);
        }
    }

    /// The successor has ended, or may have.
    pub(super) fn reap_successor(&mut self, service: &mut impl Service) {
        self.hear_successor(service); // what it said before
        let Some(successor) = &self.successor else {
            return;
        };
        let status = match process::reap(successor.pidfd()) {
            Ok(None) => return,
            ended => status_of(ended.ok().flatten()),
        };
        self.drop_successor();
        self.happened(service, Event::SuccessorExited(status));
    }

    fn drop_successor(&mut self) {
        if let Some(successor) = self.successor.take() {
            let poll = &self.waiting().poll;
            let _ = poll.remove(successor.pidfd());
            let _ = poll.remove(&successor);
        }
    }

    /// What the predecessor says, or that it is gone.
    pub(super) fn hear_predecessor(&mut self, service: &mut impl Service) {
        while let Some(heard) = self.predecessor.as_mut().and_then(Handover::hear) {
            match heard {
                Heard::Freed(_) | Heard::Odd => {}
                // It has no workers then; it is waited for no longer.
                Heard::Relays | Heard::Gone => return self.lose_predecessor(service),
            }
        }
    }

    pub(super) fn lose_predecessor(&mut self, service: &mut impl Service) {
        if let Some(handover) = self.predecessor.take() {
            let poll = &self.waiting().poll;
            let _ = poll.remove(handover.pidfd());
            let _ = poll.remove(&handover);
            self.happened(service, Event::PredecessorGone);
        }
    }

    /// Tells the predecessor how it stands. If it cannot be told it is gone, and that is known soon.
    pub(super) fn tell_predecessor(&self, failed: Option<UpgradeError>) {
        let Some(handover) = &self.predecessor else {
            return;
        };
        let _ = match failed {
            None => handover.ready(),
            Some(UpgradeError::NoRoom) => {
                let (_, needed) = self.core.serving();
                let placed = self.core.table().occupied().count();
                handover.no_room(needed.into(), placed as u32)
            }
            Some(_) => handover.failed(WORKERS, 0),
        };
    }
}

/// The step that failed, in a hand-over: the workers.
const WORKERS: u32 = 1;
