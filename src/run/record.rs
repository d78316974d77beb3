//! What the board says: once a turn, the slots that changed, and the master itself.

use crate::machine::{self, Duty, Master as Core, Report};
use crate::run::master::{Master, now};
use crate::run::reason::Reason;
use crate::table::{Pid, Slot, SlotId, SlotIndex, State};
use crate::wire::board::{Ended, Failure, Header, Last, Outcome, Reached, Row, Tally, Upgrade};

/// What is counted for the board.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tallies {
    pub(super) spawns: u64,
    pub(super) reloads: Tally,
    pub(super) upgrades: Tally,
    /// Something was counted since the board was written.
    news: bool,
}

impl Tallies {
    /// Counts what is reported.
    pub(super) fn count(&mut self, report: &Report) {
        self.news = true;
        match report {
            Report::Spawned(..) => self.spawns += 1,
            Report::Reloaded(_) => done(&mut self.reloads),
            Report::ReloadFailed(_, why) => failed(&mut self.reloads, (*why).into()),
            Report::Upgraded(_) => done(&mut self.upgrades),
            Report::UpgradeFailed(why) => failed(&mut self.upgrades, (*why).into()),
            _ => {}
        }
    }
}

fn done(tally: &mut Tally) {
    tally.done = tally.done.wrapping_add(1);
    tally.last = Some(Outcome::Done);
}

fn failed(tally: &mut Tally, reason: Reason) {
    tally.failed = tally.failed.wrapping_add(1);
    tally.last = Some(Outcome::Failed {
        why: reason.number(),
        detail: reason.detail(),
    });
}

impl Master {
    /// Writes down what has changed. A record that the kernel has no memory for is written the next
    /// time its slot changes: nobody waits for a board.
    pub(super) fn write_board(&mut self) {
        let changed = self.core.take_changed();
        if changed.is_empty() && !core::mem::take(&mut self.tallies.news) {
            return;
        }
        let header = self.header();
        let Some(board) = &mut self.board else {
            return;
        };
        for index in changed.iter() {
            if let Some(row) = row(&self.core, index) {
                let _ = board.write_row(index, &row);
            }
        }
        let _ = board.write_header(&header);
    }

    pub(super) fn header(&self) -> Header {
        let (serving, workers) = self.core.serving();
        Header {
            phase: self.core.phase().into(),
            rests: self.core.duty() != Duty::Serving,
            upgrade: match self.core.upgrade() {
                _ if self.predecessor.is_some() => Upgrade::Succeeding,
                machine::Upgrade::None => Upgrade::Idle,
                machine::Upgrade::Probation(_) => Upgrade::Probation,
                machine::Upgrade::Standing(_) => Upgrade::Done,
                _ => Upgrade::Launched,
            },
            serving,
            candidate: self.core.starting().unwrap_or(0),
            workers: workers.into(),
            successor: self.core.upgrade().successor(),
            written_ms: now().as_ms(),
            spawns: self.tallies.spawns,
            ignored: self.core.ignored(),
            reloads: self.tallies.reloads,
            upgrades: self.tallies.upgrades,
            ..Header::new(own_pid())
        }
    }
}

pub(super) fn own_pid() -> Pid {
    Pid::new(crate::sys::process::own_pid()).expect("a process has a pid")
}

fn row(core: &Core, index: SlotIndex) -> Option<Row> {
    let id: SlotId = core.table().id_at(index)?;
    let slot: &Slot = core.table().slot(id)?;
    let waits = matches!(slot.state(), State::Cooling);
    Some(Row {
        epoch: slot.epoch,
        role: slot.role,
        number: slot.number,
        since_ms: slot.since.as_ms(),
        delay_ms: if waits {
            core.delay_ms(index) as u32
        } else {
            0
        },
        last: core.last_exit(index).map(|last| Last {
            ended: Ended::from(last.status),
            reached: if last.was_ready {
                Reached::Ready
            } else {
                Reached::Starting
            },
            failure: last.failed.map(|(stage, errno)| Failure { stage, errno }),
            lived_ms: last.lived_ms.into(),
        }),
        ..Row::new(id, slot.state())
    })
}
