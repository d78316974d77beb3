//! A record's fields and its bytes: where each lies, and which number stands for which value.

use crate::table::{After, Pid, Role, SLOTS, SlotId, State};
use crate::wire::board::{
    Ended, Failure, HEADER_SIZE, Header, LAYOUT, Last, Outcome, Phase, ROW_SIZE, Reached, Row,
    Tally, Unread, Upgrade,
};

const MAGIC: [u8; 8] = *b"forkmesh";

impl Header {
    /// The bytes of the header, as the write with this number, which is not 0.
    #[must_use]
    pub fn encode(&self, sequence: u32) -> [u8; HEADER_SIZE] {
        let mut bytes = [0; HEADER_SIZE];
        let mut put = Fields(&mut bytes);
        put.at(0, MAGIC);
        put.at(8, LAYOUT.to_ne_bytes());
        put.at(12, (SLOTS as u32).to_ne_bytes());
        put.at(16, sequence.to_ne_bytes());
        put.at(20, self.pid.as_i32().to_ne_bytes());
        let phase = code(&PHASES, self.phase);
        let upgrade = code(&UPGRADES, self.upgrade);
        put.at(24, [phase, u8::from(self.rests), upgrade]);
        put.at(28, self.serving.to_ne_bytes());
        put.at(32, self.candidate.to_ne_bytes());
        put.at(36, self.workers.to_ne_bytes());
        put.at(40, number(self.successor).to_ne_bytes());
        put.at(48, self.written_ms.to_ne_bytes());
        put.at(56, self.spawns.to_ne_bytes());
        put.at(64, self.ignored.to_ne_bytes());
        put.tally(72, &self.reloads);
        put.tally(88, &self.upgrades);
        put.seal();
        bytes
    }

    /// The header that these bytes are.
    ///
    /// # Errors
    ///
    /// [`Unread`].
    pub fn decode(bytes: &[u8; HEADER_SIZE]) -> Result<Self, Unread> {
        let layout = u32::from_ne_bytes(field(bytes, 8));
        match field::<8>(bytes, 0) {
            [0, 0, 0, 0, 0, 0, 0, 0] => return Err(Unread::Torn), // made, and not written yet
            MAGIC => {}
            _ => return Err(Unread::Foreign),
        }
        if layout != LAYOUT {
            return Err(Unread::Layout(layout));
        }
        if !is_whole(bytes) {
            return Err(Unread::Torn);
        }
        Self::meaning(bytes).ok_or(Unread::Malformed)
    }

    fn meaning(bytes: &[u8; HEADER_SIZE]) -> Option<Self> {
        let [phase, rests, upgrade] = field(bytes, 24);
        Some(Self {
            pid: Pid::new(i32::from_ne_bytes(field(bytes, 20)))?,
            phase: meant(&PHASES, phase)?,
            rests: flag(rests)?,
            upgrade: meant(&UPGRADES, upgrade)?,
            serving: u32::from_ne_bytes(field(bytes, 28)),
            candidate: u32::from_ne_bytes(field(bytes, 32)),
            workers: u32::from_ne_bytes(field(bytes, 36)),
            successor: process(i32::from_ne_bytes(field(bytes, 40)))?,
            written_ms: u64::from_ne_bytes(field(bytes, 48)),
            spawns: u64::from_ne_bytes(field(bytes, 56)),
            ignored: u64::from_ne_bytes(field(bytes, 64)),
            reloads: tally(bytes, 72)?,
            upgrades: tally(bytes, 88)?,
        })
    }
}

impl Row {
    /// The bytes of the row, as the write with this number, which is not 0.
    #[must_use]
    pub fn encode(&self, sequence: u32) -> [u8; ROW_SIZE] {
        let mut bytes = [0; ROW_SIZE];
        let mut put = Fields(&mut bytes);
        put.at(0, sequence.to_ne_bytes());
        put.at(4, self.id.as_u32().to_ne_bytes());
        put.at(8, number(self.state.pid()).to_ne_bytes());
        put.at(12, self.epoch.to_ne_bytes());
        put.at(16, self.number.to_ne_bytes());
        put.at(18, [state_code(self.state)]);
        put.at(23, [code(&ROLES, self.role)]);
        put.at(24, self.since_ms.to_ne_bytes());
        put.at(40, self.delay_ms.to_ne_bytes());
        if let Some(last) = &self.last {
            let (kind, value) = match last.ended {
                Ended::Unmade => (1, 0),
                Ended::Code(code) => (2, code),
                Ended::Killed { signal, core } => (3 + u8::from(core), signal),
            };
            let failed = u8::from(last.failure.is_some());
            put.at(19, [kind, value, code(&REACHED, last.reached), failed]);
            put.at(32, last.lived_ms.to_ne_bytes());
            if let Some(Failure { stage, errno }) = last.failure {
                put.at(44, stage.to_ne_bytes());
                put.at(48, errno.to_ne_bytes());
            }
        }
        put.seal();
        bytes
    }

    /// The row that these bytes are; `None` for one that was never written.
    ///
    /// # Errors
    ///
    /// [`Unread`].
    pub fn decode(bytes: &[u8; ROW_SIZE]) -> Result<Option<Self>, Unread> {
        if *bytes == [0; ROW_SIZE] {
            return Ok(None);
        }
        if !is_whole(bytes) {
            return Err(Unread::Torn);
        }
        Self::meaning(bytes).map(Some).ok_or(Unread::Malformed)
    }

    fn meaning(bytes: &[u8; ROW_SIZE]) -> Option<Self> {
        let pid = process(i32::from_ne_bytes(field(bytes, 8)))?;
        let [state] = field(bytes, 18);
        let [role] = field(bytes, 23);
        Some(Self {
            id: SlotId::from_u32(u32::from_ne_bytes(field(bytes, 4)))?,
            state: state_meant(state, pid)?,
            epoch: u32::from_ne_bytes(field(bytes, 12)),
            role: meant(&ROLES, role)?,
            number: u16::from_ne_bytes(field(bytes, 16)),
            since_ms: u64::from_ne_bytes(field(bytes, 24)),
            delay_ms: u32::from_ne_bytes(field(bytes, 40)),
            last: Self::last(bytes)?,
        })
    }

    /// The life before, unless there was none; `None` where neither is meant.
    fn last(bytes: &[u8; ROW_SIZE]) -> Option<Option<Last>> {
        let [kind, value, reached, failed] = field(bytes, 19);
        let ended = match kind {
            0 => return Some(None),
            1 => Ended::Unmade,
            2 => Ended::Code(value),
            3 | 4 => Ended::Killed {
                signal: value,
                core: kind == 4,
            },
            _ => return None,
        };
        let failure = Failure {
            stage: u32::from_ne_bytes(field(bytes, 44)),
            errno: i32::from_ne_bytes(field(bytes, 48)),
        };
        Some(Some(Last {
            ended,
            reached: meant(&REACHED, reached)?,
            failure: flag(failed)?.then_some(failure),
            lived_ms: u64::from_ne_bytes(field(bytes, 32)),
        }))
    }
}

/// A record that is being written.
struct Fields<'r>(&'r mut [u8]);

impl Fields<'_> {
    fn at<const N: usize>(&mut self, offset: usize, value: [u8; N]) {
        if let Some(place) = self.0.get_mut(offset..offset + N) {
            place.copy_from_slice(&value);
        }
    }

    fn tally(&mut self, offset: usize, tally: &Tally) {
        self.at(offset, tally.done.to_ne_bytes());
        self.at(offset + 4, tally.failed.to_ne_bytes());
        let (kind, why, detail) = match tally.last {
            None => (0, 0, 0),
            Some(Outcome::Done) => (1, 0, 0),
            Some(Outcome::Failed { why, detail }) => (2, why, detail),
        };
        self.at(offset + 8, [kind, why]);
        self.at(offset + 12, detail.to_ne_bytes());
    }

    /// Writes the last word, which is made of all before it.
    fn seal(&mut self) {
        if let Some((before, last)) = self.0.split_last_chunk_mut() {
            *last = check(before).to_ne_bytes();
        }
    }
}

fn tally(bytes: &[u8], offset: usize) -> Option<Tally> {
    let [kind, why] = field(bytes, offset + 8);
    let detail = i32::from_ne_bytes(field(bytes, offset + 12));
    Some(Tally {
        done: u32::from_ne_bytes(field(bytes, offset)),
        failed: u32::from_ne_bytes(field(bytes, offset + 4)),
        last: match kind {
            0 => None,
            1 => Some(Outcome::Done),
            2 => Some(Outcome::Failed { why, detail }),
            _ => return None,
        },
    })
}

fn is_whole(record: &[u8]) -> bool {
    let parts = record.split_last_chunk();
    parts.is_some_and(|(before, last)| check(before).to_ne_bytes() == *last)
}

/// A word that differs where any word before it does, but for one time in four thousand million.
fn check(bytes: &[u8]) -> u32 {
    let (words, _) = bytes.as_chunks();
    words.iter().fold(SEED, |sum, word| {
        let mixed = (sum ^ u32::from_ne_bytes(*word)).wrapping_mul(FACTOR);
        mixed ^ mixed >> 15
    })
}

/// Not 0, so that a record of zeros has no right check.
const SEED: u32 = 0x6d65_7368;
/// Odd, with its bits well spread: 2^32 divided by the golden ratio.
const FACTOR: u32 = 0x9e37_79b1;

fn field<const N: usize>(bytes: &[u8], offset: usize) -> [u8; N] {
    let rest = bytes.get(offset..).unwrap_or_default();
    rest.first_chunk().copied().unwrap_or([0; N]) // every offset lies inside of its record
}

const PHASES: [Phase; 4] = [
    Phase::Running,
    Phase::Draining,
    Phase::Stopping,
    Phase::Stopped,
];
const UPGRADES: [Upgrade; 5] = [
    Upgrade::Idle,
    Upgrade::Launched,
    Upgrade::Probation,
    Upgrade::Done,
    Upgrade::Succeeding,
];
/// A worker is 0, as in the rows of a master that knows of no helpers.
const ROLES: [Role; 2] = [Role::Worker, Role::Helper];
const REACHED: [Reached; 3] = [Reached::Starting, Reached::Ready, Reached::Retiring];

/// A value's number is its place in the list of them.
fn code<T: PartialEq>(list: &[T], value: T) -> u8 {
    list.iter().position(|one| *one == value).unwrap_or(0) as u8
}

fn meant<T: Copy>(list: &[T], code: u8) -> Option<T> {
    list.get(usize::from(code)).copied()
}

fn flag(byte: u8) -> Option<bool> {
    meant(&[false, true], byte)
}

fn number(pid: Option<Pid>) -> i32 {
    pid.map_or(0, Pid::as_i32)
}

/// No process for 0; `None` for what no process can have.
fn process(number: i32) -> Option<Option<Pid>> {
    match number {
        0 => Some(None),
        _ => Pid::new(number).map(Some),
    }
}

fn state_code(state: State) -> u8 {
    match state {
        State::Vacant => 0,
        State::Starting(_) => 1,
        State::Live(_) => 2,
        State::Retiring(_) => 3,
        State::Reclaiming(After::Cool) => 4,
        State::Reclaiming(After::Park) => 5,
        State::Reclaiming(After::Vacate) => 6,
        State::Cooling => 7,
        State::Parked => 8,
    }
}

fn state_meant(code: u8, pid: Option<Pid>) -> Option<State> {
    let state = match code {
        0 => State::Vacant,
        1 => State::Starting(pid),
        2 => State::Live(pid?),
        3 => State::Retiring(pid?),
        4 => State::Reclaiming(After::Cool),
        5 => State::Reclaiming(After::Park),
        6 => State::Reclaiming(After::Vacate),
        7 => State::Cooling,
        8 => State::Parked,
        _ => return None,
    };
    (state.pid() == pid).then_some(state)
}
