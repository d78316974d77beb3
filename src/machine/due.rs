//! `Due`: what is to be done, and the order in which it is handed out.
//!
//! Sets, so that nothing can be due twice, or overflow a queue; an action is made when it is polled,
//! from what is so then.

use crate::machine::{Action, Master, Order, Phase, Signal};
use crate::table::{SlotIndex, SlotSet};

/// What is to be done, and for whom.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Due {
    pub(super) reclaim: SlotSet,
    pub(super) kill: SlotSet,
    pub(super) signal_terminate: SlotSet,
    pub(super) order_terminate: SlotSet,
    pub(super) order_quit: SlotSet,
    pub(super) order_reopen: SlotSet,
    pub(super) report: SlotSet,
    pub(super) spawn: SlotSet,
    /// Whose deadline counts.
    pub(super) timed: SlotSet,
    /// Whose process is to go as soon as there is one.
    pub(super) unwanted: SlotSet,
    pub(super) reopen: bool,
    pub(super) load: bool,
    pub(super) launch: bool,
    pub(super) withdraw: bool,
    pub(super) successor: Option<Signal>,
}

impl<const N: usize> Master<N> {
    /// The next thing to do; `None` once there is nothing to do until the next event. In this
    /// order: reclaim, signals, orders, reports, spawns, mesh pairs, announcements, exit.
    pub fn poll(&mut self) -> Option<Action> {
        self.poll_urgent()
            .or_else(|| self.poll_mesh())
            .or_else(|| self.poll_exit())
    }

    /// As [`Master::poll`], but leaves mesh pairs, announcements and the exit for later: for a shell
    /// that has a thousand workers to tell of each other, and wants to hear of deaths meanwhile.
    pub fn poll_urgent(&mut self) -> Option<Action> {
        self.poll_reclaim()
            .or_else(|| self.poll_signal())
            .or_else(|| self.poll_order())
            .or_else(|| self.poll_withdraw())
            .or_else(|| self.poll_report().map(Action::Report))
            .or_else(|| self.poll_own())
            .or_else(|| self.poll_spawn())
    }

    fn poll_reclaim(&mut self) -> Option<Action> {
        let index = self.due.reclaim.pop_first()?;
        self.places[index.as_usize()].life.map(Action::Reclaim)
    }

    fn poll_signal(&mut self) -> Option<Action> {
        let (index, signal) = match self.due.signal_terminate.pop_first() {
            Some(index) => (index, Signal::Terminate),
            None => (self.due.kill.pop_first()?, Signal::Kill),
        };
        let (id, pid) = self.process(index)?;
        Some(Action::Signal(id, pid, signal))
    }

    fn poll_order(&mut self) -> Option<Action> {
        let (index, order) = match self.due.order_terminate.pop_first() {
            Some(index) => (index, Order::Terminate),
            None => match self.due.order_quit.pop_first() {
                Some(index) => (index, Order::Quit),
                None => (self.poll_reopen()?, Order::Reopen),
            },
        };
        let (id, pid) = self.process(index)?;
        Some(Action::Order(id, pid, order))
    }

    /// Who is to open its log files again; the master has done so before.
    fn poll_reopen(&mut self) -> Option<SlotIndex> {
        if self.due.reopen {
            return None;
        }
        self.due.order_reopen.pop_first()
    }

    /// Before it is reported: who hears that an upgrade failed finds everything as it was.
    fn poll_withdraw(&mut self) -> Option<Action> {
        core::mem::take(&mut self.due.withdraw).then_some(Action::Withdraw)
    }

    /// What the master itself is to do.
    fn poll_own(&mut self) -> Option<Action> {
        if let Some(signal) = self.due.successor.take() {
            return Some(Action::SignalSuccessor(signal));
        }
        if core::mem::take(&mut self.due.reopen) {
            return Some(Action::Reopen);
        }
        if core::mem::take(&mut self.due.load)
            && let Some(epoch) = self.load()
        {
            return Some(Action::Load(epoch, self.serving.workers));
        }
        if core::mem::take(&mut self.due.launch) {
            return Some(Action::Launch);
        }
        self.poll_start()
    }

    fn poll_spawn(&mut self) -> Option<Action> {
        let index = self.due.spawn.pop_first()?;
        if self.config.mesh {
            self.mesh.forking(index);
        }
        self.table.id_at(index).map(Action::Spawn)
    }

    fn poll_mesh(&mut self) -> Option<Action> {
        if !self.announces() {
            return None;
        }
        if let Some(index) = self.mesh.replace() {
            return self.table.id_at(index).map(Action::ReplaceMesh);
        }
        let index = self.mesh.ask()?;
        self.table.id_at(index).map(Action::Announce)
    }

    fn poll_exit(&mut self) -> Option<Action> {
        let ending = matches!(self.phase, Phase::Draining | Phase::Stopping);
        if !ending || !self.table.is_empty() || self.upgrade.is_open() {
            return None;
        }
        self.phase = Phase::Stopped;
        Some(Action::Exit)
    }
}

impl Due {
    pub(super) const NOTHING: Self = Self {
        reclaim: SlotSet::EMPTY,
        kill: SlotSet::EMPTY,
        signal_terminate: SlotSet::EMPTY,
        order_terminate: SlotSet::EMPTY,
        order_quit: SlotSet::EMPTY,
        order_reopen: SlotSet::EMPTY,
        report: SlotSet::EMPTY,
        spawn: SlotSet::EMPTY,
        timed: SlotSet::EMPTY,
        unwanted: SlotSet::EMPTY,
        reopen: false,
        load: false,
        launch: false,
        withdraw: false,
        successor: None,
    };

    /// A slot has no process any more: nothing is to be said to it, or waited for.
    pub(super) fn forget(&mut self, index: SlotIndex) {
        for set in [
            &mut self.kill,
            &mut self.signal_terminate,
            &mut self.order_terminate,
            &mut self.order_quit,
            &mut self.order_reopen,
            &mut self.timed,
        ] {
            set.remove(index);
        }
    }
}
