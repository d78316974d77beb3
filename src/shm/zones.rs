//! `Zones`: the zones of a service, over reloads and upgrades, and the recovery of all that a dead
//! process held in them.
//!
//! ```text
//!                     prepare(epoch) ── declare · declare · declare ──┬── commit()      what was not declared retires
//!                                                                    └── roll_back()   all is as it was
//!
//!   a zone:   fresh ──commit──► current ──not declared again──► retired ──settle: no worker of its epochs──► unmapped
//!                └──roll_back─────────────────────────────────────▲
//! ```
//!
//! | the zone of this name before | this one | what it gets | its hook is told |
//! |---|---|---|---|
//! | none | | new memory | [`Origin::New`] |
//! | same tag, size, slots and fixed part | kept | the same memory, with workers at work in it | [`Origin::Kept`] |
//! | same tag | differs, or not to be kept | new memory | [`Origin::Replaces`], and the old one |
//! | another tag | | new memory | [`Origin::New`]: what is in the old one is another's |
//!
//! # Invariants
//!
//! - The table above (test `the_rules_of_a_reload`).
//! - After a reload that fails, every zone is what it was, and workers of its epoch are still recovered
//!   in those that it had (test `a_failed_reload_leaves_every_zone`).
//! - A process that dies is recovered in every zone that it may have used, whether or not the
//!   configuration still has it (test `a_dropped_zone_is_recovered`).
//!
//! # Why not by name alone
//!
//! nginx unmaps a zone in its master when a reload drops it, and from then on frees nothing that a
//! worker of before holds there when it dies; its siblings wait for ever. So what retires is kept
//! until the last of those that used it is gone.

use core::fmt;

use heapless::Vec;
use rustix::fd::{BorrowedFd, OwnedFd};

use super::header::NUMBERS;
use super::mapping::{Mapping, NotMapped};
use super::zone::{NotAttached, NotMade, Zone, ZoneConfig};
use crate::sync::{Mutex, MutexName};
use crate::table::SlotId;

/// The zones of a service, as its master has them; workers have a copy by fork. About 20 KiB.
#[derive(Debug)]
#[must_use = "dropping them unmaps every zone"]
pub struct Zones {
    entries: Vec<Entry, NUMBERS>,
    pub(super) me: SlotId,
    preparing: Option<u32>,
    epoch: u32,
}

#[derive(Debug)]
struct Entry {
    zone: Zone,
    stage: Stage,
    /// The configuration that is prepared has it.
    wanted: bool,
    /// The first epoch that uses it.
    first: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    Fresh,
    Current,
    /// With the last epoch that used it.
    Retired(u32),
}

/// Where the memory of a zone comes from that a configuration asks for.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Origin<'z> {
    /// It is new, and there is nothing to take over.
    New,
    /// It is the same as before; others use it at this moment.
    Kept,
    /// It is new, and takes the place of this one, which others use at this moment.
    Replaces(&'z Zone),
}

/// What a hook says to a zone that it cannot take: the reload fails.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Vetoed;

/// Why a zone was not declared; the reload is to be rolled back.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum NotDeclared {
    /// No reload is prepared.
    NotPreparing,
    /// There are 32 zones, or 64 with those that have retired.
    TooMany,
    /// The configuration has a zone of this name already, and it is another owner's.
    Tag,
    /// The configuration has a zone of this name already, which is to be another size.
    Differs,
    /// It could not be made.
    Made(NotMade),
    /// Its hook has refused it.
    Vetoed,
}

/// Why what was handed over is not taken.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum NotInherited {
    /// It is no zone.
    Attached(NotAttached),
    /// It is a zone of another name.
    Name,
    /// There is one of this name, or with this number, already.
    Duplicate,
    /// There are 64 zones.
    TooMany,
}

impl Zones {
    /// How many zones a configuration can have.
    pub const MOST: usize = 32;

    /// No zones yet, for this master.
    pub const fn new(master: SlotId) -> Self {
        Self {
            entries: Vec::new(),
            me: master,
            preparing: None,
            epoch: 0,
        }
    }

    /// Begins the configuration of an epoch; one that was begun and not ended is rolled back.
    pub fn prepare(&mut self, epoch: u32) {
        self.roll_back();
        self.preparing = Some(epoch);
    }

    /// A zone that the configuration has. What is in it is the hook's to make, to take over, or to
    /// check; it may refuse, and it is not asked again for a zone that is declared twice.
    ///
    /// # Errors
    ///
    /// [`NotDeclared`].
    pub fn declare(
        &mut self,
        config: &ZoneConfig<'_>,
        hook: impl FnOnce(&Zone, Origin<'_>) -> Result<(), Vetoed>,
    ) -> Result<(), NotDeclared> {
        let epoch = self.preparing.ok_or(NotDeclared::NotPreparing)?;
        if let Some(twin) = self.named(config.name, |entry| entry.wanted) {
            return match &twin.zone {
                zone if zone.tag() != config.tag => Err(NotDeclared::Tag),
                zone if !zone.suits(config) => Err(NotDeclared::Differs),
                _ => Ok(()),
            };
        }
        if self.entries.iter().filter(|entry| entry.wanted).count() == Self::MOST {
            return Err(NotDeclared::TooMany);
        }
        let is_current = |entry: &Entry| entry.stage == Stage::Current;
        let is_old =
            |entry: &&mut Entry| entry.zone.name() == config.name && entry.stage == Stage::Current;
        if config.keep {
            let mut entries = self.entries.iter_mut();
            if let Some(old) = entries.find(|entry| is_old(entry) && entry.zone.suits(config)) {
                hook(&old.zone, Origin::Kept).map_err(|Vetoed| NotDeclared::Vetoed)?;
                old.wanted = true;
                return Ok(());
            }
        }
        let number = self.free_number().ok_or(NotDeclared::TooMany)?;
        let zone = Zone::create(config, number).map_err(NotDeclared::Made)?;
        let origin = match self.named(config.name, is_current) {
            Some(old) if old.zone.tag() == config.tag => Origin::Replaces(&old.zone),
            _ => Origin::New,
        };
        hook(&zone, origin).map_err(|Vetoed| NotDeclared::Vetoed)?;
        let entry = Entry {
            zone,
            stage: Stage::Fresh,
            wanted: true,
            first: epoch,
        };
        self.entries.push(entry).map_err(|_| NotDeclared::TooMany)
    }

    /// Makes what was declared the configuration. What was not declared retires.
    pub fn commit(&mut self) {
        let Some(epoch) = self.preparing.take() else {
            return;
        };
        for entry in &mut self.entries {
            entry.stage = match (entry.stage, entry.wanted) {
                (Stage::Fresh | Stage::Current, true) => Stage::Current,
                (Stage::Current, false) => Stage::Retired(self.epoch),
                (stage, _) => stage,
            };
            entry.wanted = false;
        }
        self.epoch = epoch;
    }

    /// Gives up what was prepared: every zone is what it was. New ones retire, as there may be
    /// workers that use them.
    pub fn roll_back(&mut self) {
        let Some(epoch) = self.preparing.take() else {
            return;
        };
        for entry in &mut self.entries {
            if entry.stage == Stage::Fresh {
                entry.stage = Stage::Retired(epoch);
            }
            entry.wanted = false;
        }
    }

    /// Unmaps what has retired and was used by no epoch from this one on, which is to be the oldest that
    /// has a process that is not recovered; returns how many zones it was.
    pub fn settle(&mut self, oldest: u32) -> usize {
        let before = self.entries.len();
        self.entries
            .retain(|entry| !matches!(entry.stage, Stage::Retired(last) if last < oldest));
        before - self.entries.len()
    }

    /// The zone that a worker of this epoch knows by this name.
    #[must_use]
    pub fn find(&self, name: &str, epoch: u32) -> Option<&Zone> {
        let found = self.named(name, |entry| match entry.stage {
            _ if self.preparing == Some(epoch) => entry.wanted,
            Stage::Fresh => false,
            Stage::Current => entry.first <= epoch,
            Stage::Retired(last) => (entry.first..=last).contains(&epoch),
        });
        found.map(|entry| &entry.zone)
    }

    /// Every zone that is mapped, and whether it has retired.
    pub fn iter(&self) -> impl Iterator<Item = (&Zone, bool)> {
        let entries = self.entries.iter();
        entries.map(|entry| (&entry.zone, matches!(entry.stage, Stage::Retired(_))))
    }

    /// What a successor is to get, by name: the zones of the configuration that have a descriptor.
    pub fn descriptors(&self) -> impl Iterator<Item = (&str, BorrowedFd<'_>)> {
        let current = self.entries.iter();
        let current = current.filter(|entry| entry.stage == Stage::Current);
        current.filter_map(|entry| Some((entry.zone.name(), entry.zone.descriptor()?)))
    }

    /// Takes a zone that a predecessor has handed over. It is part of the configuration, until one is
    /// committed that does not declare it.
    ///
    /// # Errors
    ///
    /// [`NotInherited`]; the descriptor is closed then.
    pub fn inherit(&mut self, name: &str, memory: OwnedFd) -> Result<(), NotInherited> {
        let not_mapped = |why| NotInherited::Attached(NotAttached::Mapped(why));
        let mapping = Mapping::attach(memory).map_err(not_mapped)?;
        let zone = Zone::attach(mapping, None).map_err(NotInherited::Attached)?;
        match zone.name() == name {
            true => self.adopt(zone),
            false => Err(NotInherited::Name),
        }
    }

    /// Takes a zone that was made or attached to elsewhere, such as that of an ordinary file.
    ///
    /// # Errors
    ///
    /// [`NotInherited`]; the zone is unmapped then.
    pub fn adopt(&mut self, zone: Zone) -> Result<(), NotInherited> {
        let is_twin = |entry: &Entry| {
            entry.stage == Stage::Current && entry.zone.name() == zone.name()
                || entry.zone.place() == zone.place()
        };
        if self.entries.iter().any(is_twin) {
            return Err(NotInherited::Duplicate);
        }
        let entry = Entry {
            zone,
            stage: Stage::Current,
            wanted: false,
            first: 0,
        };
        let pushed = self.entries.push(entry);
        pushed.map_err(|_| NotInherited::TooMany)
    }

    /// The mutex that has this name, in whatever zone: for [`sync::recover`](crate::sync::recover).
    #[must_use]
    pub fn mutex(&self, name: MutexName) -> Option<&Mutex> {
        self.entries.iter().find_map(|entry| entry.zone.mutex(name))
    }

    /// Every zone that is mapped.
    pub(super) fn all(&self) -> impl Iterator<Item = &Zone> {
        self.entries.iter().map(|entry| &entry.zone)
    }

    fn named(&self, name: &str, is: impl Fn(&Entry) -> bool) -> Option<&Entry> {
        let mut entries = self.entries.iter();
        entries.find(|entry| entry.zone.name() == name && is(entry))
    }

    fn free_number(&self) -> Option<usize> {
        let is_used = |number| {
            self.entries
                .iter()
                .any(|entry| entry.zone.place() == number)
        };
        (0..NUMBERS).find(|number| !is_used(*number))
    }
}

impl From<NotMapped> for NotAttached {
    fn from(why: NotMapped) -> Self {
        Self::Mapped(why)
    }
}

impl fmt::Display for Vetoed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the zone's hook has refused it")
    }
}

impl fmt::Display for NotDeclared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotPreparing => f.write_str("no reload is prepared"),
            Self::TooMany => f.write_str("there are as many zones as there can be"),
            Self::Tag => f.write_str("the zone is declared for another owner already"),
            Self::Differs => f.write_str("the zone is declared with another size already"),
            Self::Made(why) => why.fmt(f),
            Self::Vetoed => Vetoed.fmt(f),
        }
    }
}

impl fmt::Display for NotInherited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Attached(why) => why.fmt(f),
            Self::Name => f.write_str("the memory is a zone of another name"),
            Self::Duplicate => f.write_str("there is such a zone already"),
            Self::TooMany => f.write_str("there are as many zones as there can be"),
        }
    }
}

impl core::error::Error for Vetoed {}
impl core::error::Error for NotDeclared {}
impl core::error::Error for NotInherited {}
