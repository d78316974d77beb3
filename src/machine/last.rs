//! `Ending`: how the last process of a slot ended, and how far it had come.

use crate::machine::ExitStatus;
use crate::machine::master::Place;

/// The end of a process: how, when in its life, and what it said of it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Ending {
    /// Its exit code, or the signal that killed it.
    pub status: ExitStatus,
    /// Whether it was ready when it ended, or when it was told to.
    pub was_ready: bool,
    /// How long it lived, in milliseconds; 49 days stand for anything longer.
    pub lived_ms: u32,
    /// The step and the system's error with which it said that it cannot serve.
    pub failed: Option<(u32, i32)>,
}

bitflags::bitflags! {
    /// What else is known of a place's processes.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    pub(super) struct Marks: u8 {
        /// The last one was ready when it ended.
        const WAS_READY = 1 << 0;
        /// The last one said that it cannot serve.
        const FAILED = 1 << 1;
        /// The present one said that it cannot serve.
        const FAILS = 1 << 2;
        /// The present one is ready, or was until it was told to go.
        const IS_READY = 1 << 3;
    }
}

impl Place {
    /// The process says that it cannot serve.
    pub(super) fn fails(&mut self, stage: u32, errno: i32) {
        self.failed_stage = stage;
        self.failed_errno = u16::try_from(errno).unwrap_or(u16::MAX);
        self.marks.insert(Marks::FAILS);
    }

    /// The process is gone.
    pub(super) fn ended(&mut self, status: ExitStatus, lived_ms: u64) {
        let was_ready = self.marks.contains(Marks::IS_READY);
        let failed = self.marks.contains(Marks::FAILS);
        self.exit = Some(status);
        self.lived_ms = u32::try_from(lived_ms).unwrap_or(u32::MAX);
        self.marks = Marks::empty();
        self.marks.set(Marks::WAS_READY, was_ready);
        self.marks.set(Marks::FAILED, failed);
    }

    /// What the present process failed at is kept where the last one's was, and is not the last one's.
    pub(super) fn last(&self) -> Option<Ending> {
        let own = self.marks & (Marks::FAILED | Marks::FAILS) == Marks::FAILED;
        let failed = (self.failed_stage, self.failed_errno.into());
        Some(Ending {
            status: self.exit?,
            was_ready: self.marks.contains(Marks::WAS_READY),
            lived_ms: self.lived_ms,
            failed: own.then_some(failed),
        })
    }
}
