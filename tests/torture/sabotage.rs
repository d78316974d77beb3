//! How an upgrade is made to fail: by the file that is executed, or by the settings that it reads.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// What is wrong with the successor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Sabotage {
    /// There is no such program.
    NoFile,
    /// It is no program.
    NoProgram,
    /// It ends at once, and says that all is well.
    ExitsAtOnce,
    /// It takes what it is handed over, and dies.
    DiesWithDescriptors,
    /// It answers with what is no letter, and stays.
    TalksNonsense,
    /// It does nothing, and does not end when it is asked to.
    Hangs,
    /// Its workers are never ready.
    WorkersHang,
    /// Its workers die before they are ready.
    WorkersDie,
    /// All is well, and a moment later it is dead.
    DiesInProbation,
}

impl Sabotage {
    /// Whether the successor comes so far that it has workers.
    pub(crate) fn has_workers(self) -> bool {
        matches!(
            self,
            Self::WorkersHang | Self::WorkersDie | Self::DiesInProbation
        )
    }

    /// Whether what is executed is a script.
    pub(crate) fn is_script(self) -> bool {
        matches!(
            self,
            Self::ExitsAtOnce | Self::DiesWithDescriptors | Self::TalksNonsense | Self::Hangs
        )
    }

    /// Whether only the deadline ends it.
    pub(crate) fn is_slow(self) -> bool {
        matches!(self, Self::Hangs | Self::WorkersHang)
    }
}

pub(crate) const ALL: [Sabotage; 9] = [
    Sabotage::NoFile,
    Sabotage::NoProgram,
    Sabotage::ExitsAtOnce,
    Sabotage::DiesWithDescriptors,
    Sabotage::TalksNonsense,
    Sabotage::Hangs,
    Sabotage::WorkersHang,
    Sabotage::WorkersDie,
    Sabotage::DiesInProbation,
];

/// What is executed says by a file beside it that it came as far as it should.
const EXITS: &str = "#!/bin/sh\n: >\"$0.done\"\n";
/// Reading a message drops the descriptors that come with it, as soon as they were received. The
/// number may have two digits, which bash alone takes.
const TAKES_AND_DIES: &str = "#!/bin/bash\n\
    dd bs=65536 count=1 <&$FORKMESH_HANDOVER >/dev/null 2>&1 && : >\"$0.done\"\n\
    kill -KILL $$\n";
const TALKS_NONSENSE: &str = "#!/bin/bash\n\
    echo 'this is no letter' >&$FORKMESH_HANDOVER && : >\"$0.done\"\n\
    exec tail -f /dev/null\n";
/// Signals are blocked in what a master executes, and this does not let them in.
const HANGS: &str = "#!/bin/sh\n: >\"$0.done\"\nexec tail -f /dev/null\n";
/// What the kernel takes for a program by its first bytes, and not by those behind them.
const NO_PROGRAM: &[u8] = b"\x7fELF\x02\x01\x01\0 and nothing of what comes then";

/// Puts the program that will be executed where it is looked for.
pub(crate) fn place(sabotage: Option<Sabotage>, program: &Path, good: &Path) {
    let content: &[u8] = match sabotage {
        Some(Sabotage::NoFile) => {
            return fs::remove_file(program).expect("it was there");
        }
        Some(Sabotage::NoProgram) => NO_PROGRAM,
        Some(Sabotage::ExitsAtOnce) => EXITS.as_bytes(),
        Some(Sabotage::DiesWithDescriptors) => TAKES_AND_DIES.as_bytes(),
        Some(Sabotage::TalksNonsense) => TALKS_NONSENSE.as_bytes(),
        Some(Sabotage::Hangs) => HANGS.as_bytes(),
        None | Some(Sabotage::WorkersHang | Sabotage::WorkersDie | Sabotage::DiesInProbation) => {
            return restore(program, good);
        }
    };
    let _ = fs::remove_file(done(program)); // there is none at first
    // Not written into: what is being executed cannot be.
    let next = program.with_extension("next");
    fs::write(&next, content).expect("a file");
    fs::set_permissions(&next, fs::Permissions::from_mode(0o755)).expect("its mode");
    fs::rename(&next, program).expect("its name");
}

/// Where a script says that it came as far as it should.
pub(crate) fn done(program: &Path) -> PathBuf {
    program.with_extension("done")
}

/// Puts the good program there.
pub(crate) fn restore(program: &Path, good: &Path) {
    let next = program.with_extension("next");
    fs::hard_link(good, &next).expect("a second name");
    fs::rename(&next, program).expect("its name");
    // Nothing is renamed between two names of one file.
    let _ = fs::remove_file(&next);
}

/// The line of the settings that spoils the workers of who reads it.
pub(crate) fn setting(sabotage: Option<Sabotage>) -> &'static str {
    match sabotage {
        Some(Sabotage::WorkersHang) => "fail = hang\n",
        Some(Sabotage::WorkersDie) => "fail = die\n",
        _ => "",
    }
}
