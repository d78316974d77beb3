//! The master's two neighbours: the one that it launches, and the one that launched it.
//!
//! ```text
//!   Launch    offer ─► pid file aside ─► Successor::launch ─► watched: what it says, and its end
//!   Withdraw  the socket closed ─► pid file back
//!             where a relay stays, it forks, and tells: Launched, NotLaunched, Ended
//!   succeed   slots, mask, and the predecessor's socket and pidfd, watched ─► SayReady, SayFailed
//! ```

use rustix::event::epoll::EventFlags;

use rustix::io::Errno;

use crate::channel::ForkError;
use crate::machine::{self, Event, ExitStatus, UpgradeError};
use crate::run::handover::{Handover, Heard};
use crate::run::master::{Master, RunError, now, status_of};
use crate::run::offer::Offer;
use crate::run::pid_file::{PidFile, PidFileError};
use crate::run::relay::Relay;
use crate::run::relay_end::{FromRelay, RelayEnd};
use crate::run::service::{Notice, Service};
use crate::run::successor::{LaunchError, Said, Successor};
use crate::run::token::Token;
use crate::sys::poll::is_readable;
use crate::sys::process;
use crate::sys::signal::SignalSet;
use crate::table::{Instant, SlotSet};

/// How many letters a neighbour is listened to before others get their turn.
pub(super) const LETTERS_A_TURN: usize = 16;
/// How many empty a full socket.
const LETTERS_OF_THE_DEAD: usize = 512;
/// How long after the pid file could not be taken back it is tried again.
const TAKE_BACK_AGAIN_MS: u64 = 1_000;

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

    /// Watches the predecessor.
    pub(super) fn watch_predecessor(&self) -> Result<(), Errno> {
        let Some(handover) = &self.predecessor else {
            return Ok(());
        };
        let poll = &self.waiting().poll;
        poll.add(handover, Token::Predecessor.to_u64(), EventFlags::IN)?;
        let token = Token::PredecessorEnd.to_u64();
        poll.add(handover.pidfd(), token, EventFlags::IN)
    }

    /// Stays behind the successor, where this master has ended because of one: for PID 1, and for who is
    /// known to a supervisor by its pid. `None` where there is no successor, or where it was launched by
    /// a relay that stays anyway.
    ///
    /// Drop the master then, and run the relay: it has no workers, listeners or memory of theirs, passes
    /// signals on, reaps orphans, launches later successors, and ends as the last of them does.
    ///
    /// # Errors
    ///
    /// Where the kernel refuses what a relay waits by.
    pub fn relay(&mut self) -> Result<Option<Relay>, RunError> {
        if !self.ended || self.relay.is_some() {
            return Ok(None);
        }
        let relay = self.successor.take().map(|successor| {
            // Taken out of the master's own epoll set, which is closed with it.
            Relay::behind(successor, self.alone.lend())
        });
        relay.transpose()
    }

    /// Forks the successor, or has it forked: then the answer comes later.
    pub(super) fn launch(&mut self, service: &mut impl Service) -> Option<Event> {
        self.try_launch(service)
            .unwrap_or_else(|why| Some(Event::LaunchFailed(why)))
    }

    fn try_launch(&mut self, service: &mut impl Service) -> Result<Option<Event>, UpgradeError> {
        let mut offer = Offer::new();
        service
            .upgrade(&mut offer)
            .map_err(|_| UpgradeError::Refused)?;
        self.take_back_at = Instant::NEVER;
        if let Some(Err(why)) = self.pid_file.as_mut().map(PidFile::set_aside) {
            drop(offer);
            self.notify(service, Notice::PidFile(why));
            return Err(UpgradeError::PidFile);
        }
        let mut slots = SlotSet::EMPTY;
        for (id, _) in self.core.table().occupied() {
            slots.insert(id.index());
        }
        if let Some(relay) = &mut self.relay {
            let asked = relay.launch(&offer, &slots, self.mask.bits());
            return asked.map(|()| None).map_err(not_launched);
        }
        let mut alone = self.alone.lend();
        let launched = Successor::launch(&mut alone, &offer, &slots, self.mask.bits());
        let successor = launched.map_err(not_launched)?;
        self.adopt_successor(successor).map(Some)
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
        if let Err(why) = self.take_back() {
            self.notify(service, Notice::PidFile(why));
        }
    }

    /// Tries it again, if it is time to.
    pub(super) fn take_back_again(&mut self) {
        if self.take_back_at <= now() {
            let _ = self.take_back(); // it was told before
        }
    }

    /// Whoever looks for this process does so in the path of its pid file, so what fails is tried again;
    /// not where the file is somebody else's.
    fn take_back(&mut self) -> Result<(), PidFileError> {
        let back = self.pid_file.as_mut().map_or(Ok(()), PidFile::take_back);
        self.take_back_at = match back {
            Ok(()) | Err(PidFileError::Lost) => Instant::NEVER,
            Err(_) => now().after_ms(TAKE_BACK_AGAIN_MS),
        };
        back
    }

    /// What the successor says, up to so many letters: one that never stops talking must not keep
    /// everybody else waiting.
    pub(super) fn hear_successor(&mut self, service: &mut impl Service, most_letters: usize) {
        for _ in 0..most_letters {
            let Some(said) = self.successor.as_mut().and_then(Successor::hear) else {
                return;
            };
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
        self.hear_successor(service, LETTERS_OF_THE_DEAD); // what it said before
        let Some(successor) = &self.successor else {
            return;
        };
        let status = match process::reap(successor.pidfd()) {
            Ok(None) => return,
            Err(_) if self.relay.is_some() => return, // it is the relay's child, which will tell
            Err(_) if !is_readable(successor.pidfd()) => return, // it was, and lives
            ended => status_of(ended.ok().flatten()),
        };
        self.successor_ended(service, status);
    }

    fn successor_ended(&mut self, service: &mut impl Service, status: ExitStatus) {
        self.drop_successor();
        self.happened(service, Event::SuccessorExited(status));
    }

    /// What the relay says of the successor that it was to launch.
    pub(super) fn hear_relay(&mut self, service: &mut impl Service) {
        for _ in 0..LETTERS_A_TURN {
            let Some(said) = self.relay.as_mut().and_then(RelayEnd::hear) else {
                return;
            };
            match said {
                FromRelay::Launched(successor) => {
                    let adopted = self.adopt_successor(successor);
                    let event = adopted.unwrap_or_else(Event::LaunchFailed);
                    self.happened(service, event);
                }
                FromRelay::NotLaunched(errno) => {
                    let why = UpgradeError::NotLaunched(errno.raw_os_error());
                    self.happened(service, Event::LaunchFailed(why));
                }
                FromRelay::Ended { code, signal: 0 } => {
                    self.hear_successor(service, LETTERS_OF_THE_DEAD); // what it said before
                    self.successor_ended(service, ExitStatus::Code(code));
                }
                FromRelay::Ended { signal, .. } => {
                    self.hear_successor(service, LETTERS_OF_THE_DEAD);
                    let core = false;
                    self.successor_ended(service, ExitStatus::Killed { signal, core });
                }
                FromRelay::Odd => {}
                FromRelay::Gone => return self.lose_relay(service),
            }
        }
    }

    /// From now on this master launches its successors itself.
    fn lose_relay(&mut self, service: &mut impl Service) {
        if let Some(relay) = self.relay.take() {
            let _ = self.waiting().poll.remove(&relay);
        }
        // What it was asked for last has no answer.
        let why = UpgradeError::NotLaunched(Errno::PIPE.raw_os_error());
        if self.core.upgrade() == machine::Upgrade::Launching {
            self.happened(service, Event::LaunchFailed(why));
        }
        self.reap_successor(service);
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
        for _ in 0..LETTERS_A_TURN {
            let Some(heard) = self.predecessor.as_mut().and_then(Handover::hear) else {
                return;
            };
            match heard {
                Heard::Freed(_) | Heard::Odd => {}
                // Its socket is closed before it is dead, and the relay launches nobody beside it.
                Heard::Gone if self.is_relayed() => return self.stop_hearing_predecessor(),
                // It has no workers then; it is waited for no longer.
                Heard::Relays | Heard::Gone => return self.lose_predecessor(service),
            }
        }
    }

    /// Whether there is a relay behind the predecessor.
    fn is_relayed(&self) -> bool {
        self.predecessor.as_ref().is_some_and(Handover::is_relayed)
    }

    /// That it is dead is known by its pidfd.
    fn stop_hearing_predecessor(&self) {
        if let Some(handover) = &self.predecessor {
            let _ = self.waiting().poll.remove(handover);
        }
    }

    pub(super) fn lose_predecessor(&mut self, service: &mut impl Service) {
        if let Some(handover) = self.predecessor.take() {
            let poll = &self.waiting().poll;
            let _ = poll.remove(handover.pidfd());
            let _ = poll.remove(&handover);
            self.relay = handover.into_relay().filter(|relay| {
                let token = Token::Relay.to_u64();
                poll.add(relay, token, EventFlags::IN).is_ok()
            });
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

fn not_launched(error: LaunchError) -> UpgradeError {
    match error {
        LaunchError::NoProgram => UpgradeError::Refused,
        LaunchError::Fork(ForkError::Refused(errno)) | LaunchError::Refused(errno) => {
            UpgradeError::NotLaunched(errno.raw_os_error())
        }
        LaunchError::Fork(_) => UpgradeError::NotLaunched(0),
    }
}

/// The step that failed, in a hand-over: the workers.
const WORKERS: u32 = 1;
