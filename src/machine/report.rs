//! What the user is told: each thing once, and without a queue.
//!
//! A report is a bit of its slot. Two of one kind can never be due at once: a slot's next life
//! begins with a Spawn, and no Spawn is polled while a report is due (test
//! `every_report_comes_once`).

use crate::machine::master::Place;
use crate::machine::{Backoff, Master, ReloadError, Report, UpgradeError, Why};
use crate::table::{Pid, SlotIndex};

bitflags::bitflags! {
    /// What is yet to be reported of the last life of a slot; told lowest bit first.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    pub(super) struct News: u8 {
        const FAILED = 1 << 0;
        const SPAWNED = 1 << 1;
        const READY = 1 << 2;
        const EXITED = 1 << 3;
        const DELAYED = 1 << 4;
        const FATAL = 1 << 5;
        const NEVER_READY = 1 << 6;
    }
}

/// What has come of a reload and of an upgrade, and is yet to be reported. The next may be asked for
/// meanwhile; it begins when its first action is polled, and reports come before that.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Outcomes {
    pub(super) reload: Option<(u32, Result<(), ReloadError>)>,
    pub(super) upgrade: Option<Result<Pid, UpgradeError>>,
}

impl Outcomes {
    pub(super) const NONE: Self = Self {
        reload: None,
        upgrade: None,
    };

    fn poll(&mut self) -> Option<Report> {
        if let Some((epoch, outcome)) = self.reload.take() {
            return Some(match outcome {
                Ok(()) => Report::Reloaded(epoch),
                Err(why) => Report::ReloadFailed(epoch, why),
            });
        }
        self.upgrade.take().map(|outcome| match outcome {
            Ok(successor) => Report::Upgraded(successor),
            Err(why) => Report::UpgradeFailed(why),
        })
    }
}

impl<const N: usize> Master<N> {
    pub(super) fn tell(&mut self, index: SlotIndex, news: News) {
        if news.is_empty() {
            return;
        }
        let due = &mut self.places[index.as_usize()].news;
        debug_assert!(
            !due.intersects(news),
            "{news:?} of slot {index:?} is due already"
        );
        due.insert(news);
        self.due.report.insert(index);
    }

    /// What was to be told is not so any more.
    pub(super) fn untell(&mut self, index: SlotIndex, news: News) {
        let due = &mut self.places[index.as_usize()].news;
        due.remove(news);
        if due.is_empty() {
            self.due.report.remove(index);
        }
    }

    pub(super) fn poll_report(&mut self) -> Option<Report> {
        let Some(index) = self.due.report.first() else {
            return self.outcomes.poll();
        };
        let place = &mut self.places[index.as_usize()];
        let next = place.news.iter().next().unwrap_or(News::empty());
        place.news.remove(next);
        let report = place.report(next, &self.config.backoff);
        if place.news.is_empty() {
            self.due.report.remove(index);
        }
        report
    }
}

impl Place {
    /// All of a slot's news is of one life: the last that had a process, or should have had one.
    fn report(&self, news: News, backoff: &Backoff) -> Option<Report> {
        let id = self.life?;
        Some(match news {
            News::FAILED => Report::SpawnFailed(id),
            News::SPAWNED => Report::Spawned(id, self.pid?),
            News::READY => Report::Ready(id, self.pid?),
            News::EXITED => Report::Exited(id, self.pid?, self.exit?),
            News::DELAYED => Report::Delayed(id, self.history.delay_ms(backoff, id.as_u32())),
            News::FATAL => Report::Parked(id, Why::Fatal),
            News::NEVER_READY => Report::Parked(id, Why::NeverReady),
            _ => return None,
        })
    }
}
