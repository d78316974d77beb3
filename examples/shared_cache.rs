//! Workers that share a cache: a zone with a hash table of links, which survives the SIGKILL of a worker
//! in the middle of its work. Plain data, no lock, no unsafe code.

use forkmesh::machine::{Config, Report};
use forkmesh::run::{Exit, Master, Notice, Service, Worker, Workers};
use forkmesh::shm::{Joined, Link, Tag, ZoneConfig, Zones};
use forkmesh::sync::{AtomicU64, Ordering::Relaxed};
use forkmesh::{shm_struct, table::Policy};
use rustix::process::{Signal, getpid, kill_process};

const EPOCH: u32 = 1;
const ROUNDS: u64 = 100_000;

shm_struct! {
    /// What is kept of a key; the answer itself lies behind it.
    struct Entry { key: u64, length: u64 }
}

shm_struct! {
    sync struct Cache { hits: AtomicU64, misses: AtomicU64, buckets: [Link<Entry>; 1024] }
}

impl Cache {
    fn answer(&self, joined: &Joined<'_>, key: u64) {
        let bucket = &self.buckets[key as usize % self.buckets.len()];
        let mut tail = [0; 32];
        match bucket.read_with_tail(joined, &mut tail) {
            Some(entry) if entry.key == key => {
                assert_eq!(&tail[..entry.length as usize], make(key).as_bytes());
                self.hits.fetch_add(1, Relaxed);
            }
            _ => {
                self.misses.fetch_add(1, Relaxed);
                let answer = make(key);
                let length = answer.len() as u64;
                match joined.alloc_with_tail(Entry { key, length }, answer.len()) {
                    Err(_) => drop(bucket.take(joined)), // the zone is full: make room
                    Ok(mut block) => {
                        let _ = block.write_tail(0, answer.as_bytes());
                        drop(bucket.replace(block)); // whoever was here is freed
                    }
                }
            }
        }
    }
}

fn make(key: u64) -> String {
    format!("the answer to {key}")
}

struct Cached(Zones);

impl Service for Cached {
    fn work(&mut self, worker: &mut Worker) -> Exit {
        let (id, zone) = (worker.id(), self.0.find("cache", EPOCH));
        let Some((Ok(cache), Ok(joined))) = zone.map(|zone| (zone.fixed::<Cache>(), zone.join(id)))
        else {
            return Exit::FAILURE;
        };
        worker.ready();
        for round in 0..ROUNDS {
            cache.answer(
                &joined,
                (round.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) % 4096,
            );
            if round == ROUNDS / 2 && id.index().as_usize() == 0 && id.generation().as_u32() == 1 {
                let _ = kill_process(getpid(), Signal::KILL); // the other one and the next go on
            }
        }
        Exit::SUCCESS
    }

    fn notice(&mut self, workers: &mut Workers<'_>, notice: Notice) {
        let zone = self.0.find("cache", EPOCH);
        let cache = zone.and_then(|zone| zone.fixed::<Cache>().ok());
        if let (Notice::Report(Report::Exited(dead, ..)), Some(cache)) = (notice, cache) {
            let mut recovering = self.0.recover(dead);
            while !self.0.step(&mut recovering) {}
            println!("{dead} has ended, and held {:?}", recovering.recovered());
            let [hits, misses] = [&cache.hits, &cache.misses].map(|count| count.load(Relaxed));
            let objects = zone.map_or(0, |zone| zone.slab().published().count());
            println!("{objects} objects, {hits} hits, {misses} misses");
            if hits + misses >= 2 * ROUNDS {
                workers.quit();
            }
        }
    }
}

fn main() -> Result<(), Box<dyn core::error::Error>> {
    let mut zones = Zones::new(forkmesh::table::SlotId::MASTER);
    let cache = ZoneConfig::new("cache", Tag::of("shared_cache 1"), 8 << 20).slots(8);
    zones.prepare(EPOCH);
    zones.declare(&cache.fixed(size_of::<Cache>()), |_, _| Ok(()))?;
    zones.commit();
    let two = Config::new().workers(2).restart(Policy::RESTART_ON_FAILURE);
    Ok(Master::new(two)?.run(&mut Cached(zones))?)
}
