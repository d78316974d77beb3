//! Workers at work in a zone, killed at random instants, for as long as it takes.

use std::env;
use std::time::Instant;

use forkmesh::channel::Pair;
use forkmesh::shm::{Joined, Link, RosterMemory, Tag, Zone, ZoneConfig, Zones};
use forkmesh::shm_struct;
use forkmesh::slab::NotAllocated;
use forkmesh::sync::{
    self, AtomicU32, AtomicU64, CachePadded, Locked, Member, Mutex, Ordering::Relaxed,
};
use forkmesh::table::{Pid, SlotId, SlotIndex};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::Signal;

use crate::is_empty;
use crate::support::{Ended, Kept, alone, in_time};

const WORKERS: usize = 4;
const LONGEST: usize = 9000;
const EPOCH: u32 = 1;

shm_struct! {
    /// What is in a block: its key, and that of which the tail is made, as long as it says.
    struct Object {
        key: u64,
        length: u64,
        check: u64,
    }
}

shm_struct! {
    sync struct Field {
        lock: Mutex,
        stop: AtomicU32,
        corruptions: AtomicU64,
        refused: AtomicU64,
        /// Two numbers that are equal when nobody has the lock.
        pair: [AtomicU64; 2],
        operations: [CachePadded<AtomicU64>; WORKERS],
        links: [Link<Object>; 512],
    }
}

struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % below
    }
}

const fn check(key: u64, length: u64) -> u64 {
    (key ^ 0x5DEE_CE66_D1CE_4E5B).wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ length
}

/// The bytes behind an object: every eighth part of a hash of its key, over and over.
fn fill(key: u64, bytes: &mut [u8]) {
    let pattern = check(key, 7).to_le_bytes();
    for part in bytes.chunks_mut(8) {
        part.copy_from_slice(&pattern[..part.len()]);
    }
}

fn is_sound(object: &Object, tail: &[u8]) -> bool {
    let pattern = check(object.key, 7).to_le_bytes();
    let tail = tail.get(..object.length as usize);
    object.check == check(object.key, object.length)
        && tail.is_some_and(|tail| tail.chunks(8).all(|part| *part == pattern[..part.len()]))
}

/// A zone, as a worker has it.
#[derive(Clone, Copy)]
struct Place<'z> {
    zone: &'z Zone,
    field: &'z Field,
    joined: &'z Joined<'z>,
}

/// One worker's life.
struct Worker<'z> {
    places: [Place<'z>; 2],
    member: Member<'z>,
    dice: Dice,
    buffer: [u8; LONGEST],
}

impl Worker<'_> {
    /// Mostly small, now and then pages.
    fn length(&mut self) -> usize {
        let most = match self.dice.roll(64) {
            0 => LONGEST as u64,
            1..8 => 2000,
            _ => 150,
        };
        self.dice.roll(most) as usize
    }

    fn object(&mut self) -> Result<(Object, usize), NotAllocated> {
        let length = self.length();
        let key = self.dice.roll(u64::MAX);
        fill(key, &mut self.buffer[..length]);
        let object = Object {
            key,
            length: length as u64,
            check: check(key, length as u64),
        };
        Ok((object, length))
    }

    fn corrupt(&self) {
        self.places[0].field.corruptions.fetch_add(1, Relaxed);
    }

    fn operate(&mut self, place: Place<'_>) -> Result<(), NotAllocated> {
        let (field, joined) = (place.field, place.joined);
        let link = &field.links[self.dice.roll(512) as usize];
        match self.dice.roll(100) {
            // Allocated, written, read, freed.
            0..50 => {
                let (object, length) = self.object()?;
                let mut block = joined.alloc_with_tail(object, length)?;
                let _ = block.write_tail(0, &self.buffer[..length]);
                self.buffer[..length].fill(0);
                let _ = block.read_tail(0, &mut self.buffer[..length]);
                if !is_sound(&block.read(), &self.buffer[..length]) {
                    self.corrupt();
                }
            }
            50..62 => {
                let (object, length) = self.object()?;
                let mut block = joined.alloc_with_tail(object, length)?;
                let _ = block.write_tail(0, &self.buffer[..length]);
                drop(link.insert(block));
            }
            62..70 => {
                let (object, length) = self.object()?;
                let mut block = joined.alloc_with_tail(object, length)?;
                let _ = block.write_tail(0, &self.buffer[..length]);
                drop(link.replace(block));
            }
            70..83 => {
                if let Some(object) = link.read_with_tail(joined, &mut self.buffer)
                    && !is_sound(&object, &self.buffer)
                {
                    self.corrupt();
                }
            }
            83..97 => {
                if let Some(block) = link.take(joined) {
                    let object = block.read();
                    let length = block.tail_length().min(LONGEST);
                    let _ = block.read_tail(0, &mut self.buffer[..length]);
                    if !is_sound(&object, &self.buffer) {
                        self.corrupt();
                    }
                }
            }
            97..99 => self.locked(place.zone, field),
            _ => {
                if self.dice.roll(200) == 0 {
                    joined.trim();
                }
            }
        }
        Ok(())
    }

    fn locked(&mut self, zone: &Zone, field: &Field) {
        let name = zone.name_of(&field.lock).expect("it lies there");
        let numbers = || [0, 1].map(|which: usize| field.pair[which].load(Relaxed));
        let guard = match field.lock.lock(&self.member, name) {
            Ok(Locked::Clean(guard)) => {
                let [first, second] = numbers();
                if first != second {
                    self.corrupt();
                }
                guard
            }
            Ok(Locked::OwnerDied(torn)) => {
                field.pair[1].store(numbers()[0], Relaxed);
                torn.mark_consistent()
            }
            Err(_) => return self.corrupt(),
        };
        for number in &field.pair {
            number.store(number.load(Relaxed) + 1, Relaxed);
        }
        drop(guard);
    }
}

fn work(zones: [&Zone; 2], roster: &RosterMemory, id: SlotId, seed: u64) -> u8 {
    let [Ok(large), Ok(small)] = zones.map(|zone| zone.join(id)) else {
        return 1;
    };
    let [in_large, in_small] = [&large, &small].map(|joined| Place {
        zone: joined.zone(),
        field: joined.zone().fixed().expect("room"),
        joined,
    });
    let mut worker = Worker {
        places: [in_large, in_small],
        member: Member::new(roster, id),
        dice: Dice(seed | 1),
        buffer: [0; LONGEST],
    };
    let field = in_large.field;
    let done = &field.operations[id.index().as_usize()];
    while field.stop.load(Relaxed) == 0 {
        let place = worker.places[worker.dice.roll(2) as usize];
        if worker.operate(place).is_err() {
            field.refused.fetch_add(1, Relaxed);
            // The zone is full: make room, as a cache does.
            drop(place.field.links[worker.dice.roll(512) as usize].take(place.joined));
        }
        done.fetch_add(1, Relaxed);
    }
    0
}

/// The master of the storm.
struct Storm {
    zones: Zones,
    roster: RosterMemory,
    master: SlotId,
    workers: Vec<(SlotId, Kept)>,
    dice: Dice,
    reclaimed: usize,
}

impl Storm {
    fn new(seed: u64) -> Self {
        let roster = RosterMemory::create().unwrap();
        let master = roster.claim_master(EPOCH).unwrap();
        let mut zones = Zones::new(master);
        zones.prepare(EPOCH);
        // One in which everybody has blocks in stock, and one that is full all the time.
        for (name, size) in [("large", 4 << 20), ("small", 100 << 10)] {
            let config = ZoneConfig::new(name, Tag::of("storm"), size);
            let config = config.slots(WORKERS).fixed(size_of::<Field>());
            zones.declare(&config, |_, _| Ok(())).unwrap();
        }
        zones.commit();
        let mut storm = Self {
            zones,
            roster,
            master,
            workers: Vec::new(),
            dice: Dice(seed),
            reclaimed: 0,
        };
        for slot in 0..WORKERS {
            let index = SlotIndex::new(slot).unwrap();
            let worker = storm.spawn(storm.roster.life(index));
            storm.workers.push(worker);
        }
        storm
    }

    fn both(&self) -> [&Zone; 2] {
        ["large", "small"].map(|name| self.zones.find(name, EPOCH).unwrap())
    }

    fn field(&self) -> &Field {
        self.both()[0].fixed().unwrap()
    }

    fn spawn(&mut self, id: SlotId) -> (SlotId, Kept) {
        let seed = self.dice.roll(u64::MAX);
        self.roster.claim(id, EPOCH, 0).unwrap();
        let (zones, roster) = (self.both(), &self.roster);
        let pair = Pair::new().unwrap();
        let forked = pair.fork(&mut alone(), |_| work(zones, roster, id, seed));
        let child = Kept::new(forked.unwrap().1);
        let pid = Pid::new(child.pid()).unwrap();
        roster.started(id, pid).unwrap();
        (id, child)
    }

    /// What a master does when it has reaped a worker.
    fn reclaim(&mut self, dead: SlotId) -> SlotId {
        self.roster.died(dead).unwrap();
        self.roster.reclaim(dead, self.master).unwrap();
        let held = sync::Roster::held(&self.roster, dead.index());
        sync::recover(held, dead, |name| self.zones.mutex(name));
        let mut recovering = self.zones.recover(dead);
        while !self.zones.step(&mut recovering) {}
        let recovered = recovering.recovered();
        self.reclaimed += recovered.blocks + recovered.runs;
        self.roster.finish(dead).unwrap()
    }

    fn kill_one(&mut self) {
        let victim = self.dice.roll(WORKERS as u64) as usize;
        let wait = self.dice.roll(2_000_000);
        let timeout = Timespec {
            tv_sec: 0,
            tv_nsec: wait as _,
        };
        let (id, child) = &mut self.workers[victim];
        let ended = poll(&mut [PollFd::new(child, PollFlags::IN)], Some(&timeout));
        assert_eq!(ended, Ok(0), "a worker ended by itself: {:?}", child.end());
        child.signal(Signal::KILL);
        assert_eq!(child.end(), Ended::Signal(libc::SIGKILL));
        let dead = *id;
        let next = self.reclaim(dead);
        self.workers[victim] = self.spawn(next);
    }

    fn operations(&self) -> u64 {
        let all = self.field().operations.iter();
        all.map(|count| count.load(Relaxed)).sum()
    }

    /// Everybody goes on, ends, and what is left is what links lead to: that is taken away.
    fn end(&mut self) -> usize {
        for (slot, (id, _)) in self.workers.iter().enumerate() {
            assert_eq!(id.index().as_usize(), slot);
            let count = &self.field().operations[slot];
            let before = count.load(Relaxed);
            in_time("a survivor", || {
                (count.load(Relaxed) > before + 50).then_some(())
            });
        }
        self.field().stop.store(1, Relaxed);
        for (id, mut child) in core::mem::take(&mut self.workers) {
            child.ends_well();
            self.reclaim(id);
        }
        self.both().map(|zone| self.clear(zone)).iter().sum()
    }

    /// How many pages of a zone are not free, when there are no objects any more.
    fn clear(&self, zone: &Zone) -> usize {
        let joined = zone.join(self.master).unwrap();
        let field: &Field = zone.fixed().unwrap();
        let mut buffer = vec![0; LONGEST];
        for link in &field.links {
            if let Some(object) = link.read_with_tail(&joined, &mut buffer)
                && !is_sound(&object, &buffer)
            {
                self.field().corruptions.fetch_add(1, Relaxed);
            }
            drop(link.take(&joined));
        }
        joined.trim();
        let slab = zone.slab();
        let census = slab.census();
        assert!(is_empty(zone), "{}: {census:?}", zone.name());
        slab.layout().pages() - census.free_pages
    }
}

fn asked(variable: &str, otherwise: u64) -> u64 {
    env::var(variable).map_or(otherwise, |value| value.parse().expect("a number"))
}

/// `KILLS=1000 OPERATIONS=50000000 cargo test --release --test shm kills_at_random_instants` for long.
pub(crate) fn kills_at_random_instants() {
    let (kills, operations) = (asked("KILLS", 60), asked("OPERATIONS", 1_000_000));
    let mut storm = Storm::new(asked("SEED", 0x2545_F491_4F6C_DD1D));
    let start = Instant::now();
    let mut done = 0;
    while done < kills || storm.operations() < operations {
        storm.kill_one();
        done += 1;
    }
    let leaked = storm.end();
    let field = storm.field();
    let corruptions = field.corruptions.load(Relaxed);
    println!(
        "kills {done}, operations {}, reclaimed {}, corruptions {corruptions}, leaked {leaked} \
         (full {} times, {} s)",
        storm.operations(),
        storm.reclaimed,
        field.refused.load(Relaxed),
        start.elapsed().as_secs()
    );
    assert_eq!((corruptions, leaked), (0, 0));
    assert!(storm.reclaimed > 0);
}
