//! `Relay`: what a master decides that stays behind the one that took over from it, as PID 1 has to.
//!
//! ```text
//!                        Exited(current), next lives: the next is current
//!                       ┌───────────────────────────────────────────────┐
//!                       ▼                                               │
//!   relay ──► current alone ──Asked──► launching ──Launched──► current and next
//!                       ▲                  │                            │
//!                       └── LaunchFailed ──┴──────── Exited(next) ──────┘
//!                       │
//!                       └── Exited(current): Exit, with its status
//! ```
//!
//! A supervisor, or the kernel for PID 1, knows one process, and takes its end for the end of all. So
//! that process stays: it has no worker and no listener, passes signals on to the master that is
//! current, reaps whoever is left to it, and is the parent of every later master, so that a chain of
//! upgrades never has more than three links.
//!
//! # Invariants
//!
//! - It ends when no master is left, with the status of the last, and never before (test
//!   `every_order_of_a_relays_events`).
//! - A signal goes to a master that has not been reaped (test `every_order_of_a_relays_events`).
//! - A signal that was sent while two masters live, and that can be acted on twice without harm, reaches
//!   the one that is left, too: the other may have been past hearing it (test
//!   `every_order_of_a_relays_events`).
//! - There are never more than two masters (test `every_order_of_a_relays_events`).
//! - Whoever asks for a launch is answered once (test `every_order_of_a_relays_events`).

use crate::machine::ExitStatus;
use crate::table::Pid;

/// A relay: who is current, who is to be next, and what both are to hear. A few words, and nothing else.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Relay {
    current: Option<Pid>,
    next: Next,
    /// How the last current master ended, while the answer to its launch is awaited.
    ended: Option<ExitStatus>,
    /// The signals that are repeated to the next master when it is current: bit n - 1 for signal n.
    again: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Next {
    Nobody,
    Launching,
    Lives(Pid),
}

/// What happened to a relay.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum RelayEvent {
    /// A signal came that is the current master's to act on.
    Signalled {
        /// Its number: 1 to 64.
        signal: u8,
        /// Whether it does no harm to act on it twice: to reopen files or to end, not to upgrade.
        repeatable: bool,
    },
    /// The current master asks for a program to be launched.
    Asked,
    /// The program runs.
    Launched(Pid),
    /// There is no process.
    LaunchFailed {
        /// Why.
        errno: i32,
    },
    /// A child was reaped, or whoever was left to this process.
    Exited(Pid, ExitStatus),
}

/// What a relay is to do.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[must_use = "an action that is not performed leaves a relay waiting for what cannot come"]
#[non_exhaustive]
pub enum RelayAction {
    /// Send a signal to this master.
    Forward(Pid, u8),
    /// Launch what the current master asked for; `Launched` or `LaunchFailed` follows.
    Launch,
    /// Tell the current master that there is a launch, or a next master, already.
    TellBusy,
    /// Tell the current master who was launched.
    TellLaunched(Pid),
    /// Tell the current master that there is no process.
    TellFailed {
        /// Why.
        errno: i32,
    },
    /// Tell the current master that the next one has ended.
    TellEnded(ExitStatus),
    /// The next master is current: whatever was the former's is gone.
    Follow {
        /// Who that is.
        next: Pid,
        /// The signals to send to it, which the former may not have heard: bit n - 1 for signal n.
        again: u64,
    },
    /// No master is left: end like the last one.
    Exit(ExitStatus),
}

impl Relay {
    /// A relay behind the master that took over.
    #[must_use]
    pub const fn new(current: Pid) -> Self {
        Self {
            current: Some(current),
            next: Next::Nobody,
            ended: None,
            again: 0,
        }
    }

    /// Who is current; `None` when nobody is left, or nobody is yet.
    #[must_use]
    pub const fn current(&self) -> Option<Pid> {
        self.current
    }

    /// Who is to be next.
    #[must_use]
    pub const fn next(&self) -> Option<Pid> {
        match self.next {
            Next::Lives(pid) => Some(pid),
            _ => None,
        }
    }

    /// What follows from what happened.
    pub fn handle(&mut self, event: RelayEvent) -> Option<RelayAction> {
        match event {
            RelayEvent::Signalled { signal, repeatable } => self.signalled(signal, repeatable),
            RelayEvent::Asked => self.asked(),
            RelayEvent::Launched(pid) => self.launched(pid),
            RelayEvent::LaunchFailed { errno } => self.launch_failed(errno),
            RelayEvent::Exited(pid, status) => self.exited(pid, status),
        }
    }

    fn signalled(&mut self, signal: u8, repeatable: bool) -> Option<RelayAction> {
        if repeatable && self.next != Next::Nobody {
            self.again |= 1_u64
                .checked_shl(u32::from(signal).wrapping_sub(1))
                .unwrap_or(0);
        }
        let current = self.current?;
        Some(RelayAction::Forward(current, signal))
    }

    fn asked(&mut self) -> Option<RelayAction> {
        self.current?; // who has gone needs no answer
        if self.next != Next::Nobody {
            return Some(RelayAction::TellBusy);
        }
        self.next = Next::Launching;
        Some(RelayAction::Launch)
    }

    fn launched(&mut self, pid: Pid) -> Option<RelayAction> {
        if self.next != Next::Launching {
            return None;
        }
        if self.current.is_none() {
            return Some(self.follow(pid));
        }
        self.next = Next::Lives(pid);
        Some(RelayAction::TellLaunched(pid))
    }

    fn launch_failed(&mut self, errno: i32) -> Option<RelayAction> {
        if self.next != Next::Launching {
            return None;
        }
        self.next = Next::Nobody;
        self.again = 0;
        match self.ended {
            Some(status) => Some(RelayAction::Exit(status)),
            None => Some(RelayAction::TellFailed { errno }),
        }
    }

    fn exited(&mut self, pid: Pid, status: ExitStatus) -> Option<RelayAction> {
        if self.next == Next::Lives(pid) {
            self.next = Next::Nobody;
            self.again = 0;
            return Some(RelayAction::TellEnded(status));
        }
        if self.current != Some(pid) {
            return None; // an orphan of somebody's
        }
        self.current = None;
        match self.next {
            Next::Lives(next) => Some(self.follow(next)),
            Next::Nobody => Some(RelayAction::Exit(status)),
            Next::Launching => {
                self.ended = Some(status);
                None
            }
        }
    }

    fn follow(&mut self, next: Pid) -> RelayAction {
        let again = self.again;
        *self = Self::new(next);
        RelayAction::Follow { next, again }
    }
}
