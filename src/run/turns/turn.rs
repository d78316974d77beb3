//! `Loop`: waits, and hands out what happened one by one until the worker is done.

use heapless::Deque;
use rustix::io::Errno;

use crate::machine::Life;
use crate::run::accept::{Acceptor, AddError, Arrival, Door, Load, Strategy};
use crate::run::listen::Listening;
use crate::run::master::now as clock;
use crate::run::poller::{Poller, Ready};
use crate::run::turns::posted::{NotPosted, Posted};
use crate::run::turns::timers::{NoTimer, Stale, TimerId, Timers};
use crate::run::worker::{Event, Worker};
use crate::sys::poll::BATCH;
use crate::table::Instant;

/// How much a worker is told in a turn before other things are looked at.
const MOST_TOLD: usize = 128;

/// A worker's loop, with room for so many timers and posted events: about 6 KiB, and 34 bytes a
/// timer. Nothing is allocated.
///
/// The worker is passed to [`Loop::next`] and not kept: between two calls it is the service's.
#[derive(Debug)]
pub struct Loop<'l, S, const TIMERS: usize, const POSTED: usize> {
    poller: Poller,
    acceptor: Acceptor<'l, S>,
    ready: Deque<Ready, BATCH>,
    timers: Timers<TIMERS>,
    posted: Posted<POSTED>,
    shutdown_ms: Option<u64>,
    phase: Phase,
    /// How much may still be handed out in this phase.
    left: usize,
    now: Instant,
    life: Living,
}

/// Something that happened to a worker.
#[derive(Debug)]
#[non_exhaustive]
pub enum Happened<'l> {
    /// The worker was told something; never [`Event::Quit`] or [`Event::Terminate`], of which the
    /// loop makes [`Happened::Drain`] and [`Happened::Over`]. There is nothing to do for
    /// [`Event::Moved`].
    Told(Event),
    /// Something came in at a listener.
    Arrived(Arrival<'l>),
    /// A descriptor of the service's is ready, or was: another that has its number by now may not be.
    Ready(Ready),
    /// A timer with this token has come.
    Due(u32),
    /// This was posted.
    Posted(u32),
    /// No new client is to come: close what is idle, finish what is not, tell clients not to come
    /// again. It is said once. Whoever waits at the door already [arrives](Happened::Arrived) after this.
    Drain,
    /// Return; whatever else is asked of the loop, it says the same again.
    Over(Over),
}

/// Why a worker is done.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Over {
    /// Its last connection has ended, and its last work.
    Drained,
    /// There were some when [`Loop::shutdown_ms`] had passed. They are in the service's hands still.
    Deadline,
    /// It was told to end at once.
    Terminated,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Living {
    Serving,
    Draining { until: Instant },
    Over(Over),
}

/// What is handed out now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Told,
    Arrived,
    Ready,
    Due,
    Posted,
    Wait,
}

impl<'l, S: Strategy, const TIMERS: usize, const POSTED: usize> Loop<'l, S, TIMERS, POSTED> {
    /// A loop for this worker. The acceptor may have its listeners already, or get them by
    /// [`Loop::listen`], or have none.
    ///
    /// # Errors
    ///
    /// As [`Poller::new`].
    pub fn new(worker: &Worker, acceptor: Acceptor<'l, S>) -> Result<Self, Errno> {
        Ok(Self {
            poller: Poller::new(worker)?,
            acceptor,
            ready: Deque::new(),
            timers: Timers::new(),
            posted: Posted::new(),
            shutdown_ms: None,
            phase: Phase::Told,
            left: MOST_TOLD,
            now: clock(),
            life: Living::Serving,
        })
    }

    /// How long draining may take: for ever unless told otherwise. nginx's `worker_shutdown_timeout`.
    /// The master has a deadline of its own, [`Config::quit_ms`](crate::machine::Config::quit_ms):
    /// this one comes first if it is shorter, and leaves the service time to say good-bye.
    #[must_use]
    pub const fn shutdown_ms(mut self, ms: u64) -> Self {
        self.shutdown_ms = Some(ms);
        self
    }

    /// The next thing that happened; waits for it. Cost: none, or that of a turn.
    ///
    /// # Errors
    ///
    /// As [`Poller::wait`].
    pub fn next(&mut self, worker: &mut Worker) -> Result<Happened<'l>, Errno> {
        loop {
            if let Living::Over(over) = self.life {
                return Ok(Happened::Over(over));
            }
            let happened = match self.phase {
                Phase::Told => self.told(worker),
                Phase::Arrived => self.acceptor.next().map(Happened::Arrived),
                Phase::Ready => self.ready.pop_front().map(Happened::Ready),
                Phase::Due => {
                    let now = self.now;
                    self.within_bounds(|turns| turns.timers.pop(now).map(Happened::Due))
                }
                Phase::Posted => {
                    self.within_bounds(|turns| turns.posted.take().map(Happened::Posted))
                }
                Phase::Wait => {
                    self.wait(worker)?;
                    None
                }
            };
            match happened {
                Some(happened) => return Ok(happened),
                None => self.go_on(),
            }
        }
    }

    /// A timer: in this many milliseconds, and not before, [`Happened::Due`] comes with this token.
    ///
    /// # Errors
    ///
    /// [`NoTimer`].
    pub fn after(&mut self, ms: u64, token: u32) -> Result<TimerId, NoTimer> {
        self.timers.arm(due_after(ms), token)
    }

    /// The timer comes this many milliseconds from now, and not when it was to.
    ///
    /// # Errors
    ///
    /// [`Stale`].
    pub fn put_off(&mut self, id: TimerId, ms: u64) -> Result<(), Stale> {
        self.timers.rearm(id, due_after(ms))
    }

    /// The timer does not come; its token.
    ///
    /// # Errors
    ///
    /// [`Stale`].
    pub fn cancel(&mut self, id: TimerId) -> Result<u32, Stale> {
        self.timers.cancel(id)
    }

    /// Puts something off to the end of this turn; from [`Happened::Posted`], to that of the next.
    ///
    /// # Errors
    ///
    /// [`NotPosted`].
    pub fn post(&mut self, token: u32) -> Result<(), NotPosted> {
        self.posted.post(token)
    }

    /// Accepts from this one, too: an adopted one, for example.
    ///
    /// # Errors
    ///
    /// As [`Acceptor::add`].
    pub fn listen(&mut self, listening: Listening) -> Result<Door, AddError> {
        self.acceptor.add(listening)
    }

    /// Where to add what the service waits for, by numbers below [`Acceptor::FIRST_TOKEN`].
    #[must_use]
    pub const fn poller(&self) -> &Poller {
        &self.poller
    }

    /// The listeners.
    #[must_use]
    pub const fn acceptor(&self) -> &Acceptor<'l, S> {
        &self.acceptor
    }

    /// What has begun and not ended.
    #[must_use]
    pub const fn load(&self) -> &'l Load {
        self.acceptor.load()
    }

    /// Whether no new client is to come.
    #[must_use]
    pub const fn drains(&self) -> bool {
        !matches!(self.life, Living::Serving)
    }

    /// When the last wait was over: the time of this turn.
    #[must_use]
    pub const fn now(&self) -> Instant {
        self.now
    }

    fn told(&mut self, worker: &mut Worker) -> Option<Happened<'l>> {
        loop {
            match worker.life() {
                Life::Ending => {
                    self.life = Living::Over(Over::Terminated);
                    return Some(Happened::Over(Over::Terminated));
                }
                Life::Draining if self.life == Living::Serving => {
                    self.drain();
                    return Some(Happened::Drain);
                }
                _ => {}
            }
            self.left = self.left.checked_sub(1)?;
            match worker.receive()? {
                Event::Quit | Event::Terminate => {}
                event => return Some(Happened::Told(event)),
            }
        }
    }

    fn drain(&mut self) {
        self.acceptor.drain(&self.poller);
        self.life = Living::Draining {
            until: self.shutdown_ms.map_or(Instant::NEVER, due_after),
        };
    }

    /// No more than there was when the phase began: what it brings about itself is for the next turn.
    fn within_bounds(
        &mut self,
        take: impl FnOnce(&mut Self) -> Option<Happened<'l>>,
    ) -> Option<Happened<'l>> {
        self.left = self.left.checked_sub(1)?;
        take(self)
    }

    fn go_on(&mut self) {
        (self.phase, self.left) = match self.phase {
            Phase::Told => (Phase::Arrived, 0),
            Phase::Arrived => (Phase::Ready, 0),
            Phase::Ready => (Phase::Due, self.timers.len()),
            Phase::Due => (Phase::Posted, self.posted.len()),
            Phase::Posted => (Phase::Wait, 0),
            Phase::Wait => (Phase::Told, MOST_TOLD),
        };
    }

    fn wait(&mut self, worker: &mut Worker) -> Result<(), Errno> {
        let now = clock();
        let mut due = self.timers.next_due();
        if let Living::Draining { until } = self.life {
            if self.acceptor.is_closed() && self.load().is_idle() {
                self.life = Living::Over(Over::Drained);
                return Ok(());
            }
            if until <= now {
                self.life = Living::Over(Over::Deadline);
                return Ok(());
            }
            due = due.into_iter().chain([until]).min();
        }
        let accept_ms = self.acceptor.prepare(&self.poller);
        let due = due.filter(|due| *due != Instant::NEVER);
        let due_ms = match self.posted.is_empty() {
            true => due.map(|due| due.ms_since(now)),
            false => Some(0),
        };
        let most_ms = accept_ms.into_iter().chain(due_ms).min();
        for ready in self.poller.wait(worker, most_ms)? {
            if !self.acceptor.hears(ready) {
                // One wait brings no more than there is room for, and the last was handed out.
                let _ = self.ready.push_back(ready);
            }
        }
        self.now = clock();
        self.acceptor.accept(&self.poller);
        Ok(())
    }
}

/// A millisecond is not over before the next one began.
fn due_after(ms: u64) -> Instant {
    clock().after_ms(ms.saturating_add(u64::from(ms > 0)))
}
