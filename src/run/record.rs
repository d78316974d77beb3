//! What the board says: once a turn, the slots that changed, and the master itself.

use crate::machine::{self, Duty, Master as Core, ReloadError, Report, UpgradeError};
use crate::run::master::{Master, now};
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
            Report::ReloadFailed(_, why) => failed(&mut self.reloads, reload_code(why)),
            Report::Upgraded(_) => done(&mut self.upgrades),
            Report::UpgradeFailed(why) => failed(&mut self.upgrades, upgrade_code(why)),
            _ => {}
        }
    }
}

fn done(tally: &mut Tally) {
    tally.done = tally.done.wrapping_add(1);
    tally.last = Some(Outcome::Done);
}

fn failed(tally: &mut Tally, (why, detail): (u8, i32)) {
    tally.failed = tally.failed.wrapping_add(1);
    tally.last = Some(Outcome::Failed { why, detail });
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

/// Numbers for the board, with what belongs to them.
fn reload_code(why: &ReloadError) -> (u8, i32) {
    match why {
        ReloadError::Refused => (1, 0),
        ReloadError::SpawnFailed(_) => (2, 0),
        ReloadError::Died(_, status) => (3, code_of(*status)),
        ReloadError::Deadline => (4, 0),
        ReloadError::Ended => (5, 0),
    }
}

fn upgrade_code(why: &UpgradeError) -> (u8, i32) {
    match why {
        UpgradeError::Refused => (1, 0),
        UpgradeError::PidFile => (2, 0),
        UpgradeError::NotLaunched(errno) => (3, *errno),
        UpgradeError::NotExecuted(errno) => (4, *errno),
        UpgradeError::Died(status) => (5, code_of(*status)),
        UpgradeError::DiedReady(status) => (6, code_of(*status)),
        UpgradeError::NoRoom => (7, 0),
        UpgradeError::Unready => (8, 0),
        UpgradeError::Deadline => (9, 0),
        UpgradeError::Standing => (10, 0),
        UpgradeError::Ended => (11, 0),
    }
}

/// A shell's way to say how a process ended in one number.
fn code_of(status: machine::ExitStatus) -> i32 {
    match status {
        machine::ExitStatus::Code(code) => code.into(),
        machine::ExitStatus::Killed { signal, .. } => 128 + i32::from(signal),
    }
}
