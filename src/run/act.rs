//! Doing what the core says, one action at a time. What comes of it goes back to the core as an event.

use rustix::event::epoll::EventFlags;
use rustix::fd::AsFd;
use rustix::process::Signal;

use crate::channel::{FromMaster, SendFault};
use crate::machine::{self, Action, Event, Order};
use crate::run::master::Master;
use crate::run::service::{NotLoaded, Notice, Reload, Service};
use crate::run::token::Token;
use crate::sys::process;
use crate::table::{CHILDREN, SlotId};

impl Master {
    pub(super) fn act(&mut self, service: &mut impl Service, action: Action) -> Option<Event> {
        match action {
            Action::Reclaim(dead) => Some(self.reclaim(dead)),
            Action::Signal(worker, _, machine::Signal::Terminate) => {
                self.signal(worker, Signal::TERM)
            }
            Action::Signal(worker, _, machine::Signal::Kill) => self.signal(worker, Signal::KILL),
            Action::Order(worker, _, order) => self.order(worker, order),
            Action::Reopen => {
                self.notify(service, Notice::Reopen);
                None
            }
            Action::Launch => self.launch(service),
            Action::SignalSuccessor(signal) => {
                self.signal_successor(signal);
                None
            }
            Action::Withdraw => {
                self.withdraw(service);
                None
            }
            Action::SayReady => {
                self.tell_predecessor(None);
                self.tell_foreground(true);
                None
            }
            Action::SayFailed(why) => {
                self.tell_predecessor(Some(why));
                self.tell_foreground(false);
                self.unready = self.predecessor.is_none();
                None
            }
            Action::Load(epoch, workers) => Some(load(service, epoch, workers)),
            Action::Spawn(slot) => Some(self.spawn(service, slot)),
            Action::ReplaceMesh(worker) => Some(self.replace_mesh(worker)),
            Action::Announce(worker) => Some(self.announce(worker)),
            Action::Report(report) => {
                self.tallies.count(&report);
                self.notify(service, Notice::Report(report));
                None
            }
            Action::Exit => {
                self.ended = true;
                None
            }
        }
    }

    pub(super) fn notify(&mut self, service: &mut impl Service, notice: Notice) {
        self.observe(&notice);
        service.notice(&mut self.workers(), notice);
    }

    /// Takes back what a dead worker had.
    fn reclaim(&mut self, dead: SlotId) -> Event {
        let index = dead.index();
        let poll = &self.waiting().poll;
        // A child that was forked a moment ago may still hold copies of both: closing ours alone
        // would leave them in the epoll set.
        if let Some(end) = self.control.at(index) {
            let _ = poll.remove(end);
        }
        if let Some(pidfd) = self.pidfds.at(index) {
            let _ = poll.remove(pidfd);
        }
        self.control.take(index);
        self.mesh.take(index);
        self.pidfds.take(index);
        self.budget.arrived(index);
        Event::Reclaimed(dead)
    }

    /// A process that is gone already is reaped soon; there is nothing else to do about it.
    fn signal(&self, worker: SlotId, signal: Signal) -> Option<Event> {
        let _ = process::signal(self.pidfds.at(worker.index())?.as_fd(), signal);
        None
    }

    fn order(&self, worker: SlotId, order: Order) -> Option<Event> {
        let (said, signal) = match order {
            Order::Quit => (FromMaster::Quit, Signal::QUIT),
            Order::Terminate => (FromMaster::Terminate, Signal::TERM),
            Order::Reopen => (FromMaster::Reopen, Signal::USR1),
        };
        match self.control.at(worker.index())?.send(said) {
            Ok(()) => None,
            // A program that knows nothing of log files would die of it.
            Err(error) if error.fault == SendFault::Gone && order == Order::Reopen => None,
            Err(_) => self.signal(worker, signal),
        }
    }

    /// Watches a worker's control end for something else; whether it is watched at all.
    pub(super) fn watch_control(&self, slot: SlotId, flags: EventFlags) -> bool {
        self.control.at(slot.index()).is_some_and(|end| {
            let token = Token::Control(slot).to_u64();
            self.waiting().poll.modify(end, token, flags).is_ok()
        })
    }
}

/// Has the user make the configuration of the next epoch.
fn load(service: &mut impl Service, epoch: u32, workers: u16) -> Event {
    let workers = workers.into();
    match service.reload(Reload { epoch, workers }) {
        Ok(workers) => Event::Loaded(workers.min(CHILDREN) as u16),
        Err(NotLoaded::Refused) => Event::LoadRefused,
        Err(NotLoaded::Again { after_ms }) => Event::LoadDeferred(after_ms),
    }
}
