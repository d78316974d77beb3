//! The roster's words, and what two masters and a waiter make of them.

use forkmesh::channel::Pair;
use forkmesh::shm::{
    MapConfig, Mapping, NoRoster, NotTurned, RosterMemory, RosterWord, Standing, Turn, Zone,
};
use forkmesh::sync::{
    self, AtomicU64, Locked, Member, Mutex, NotLocked, Ordering::Relaxed, Owner, Roster,
};
use forkmesh::table::{Generation, Pid, SlotId, SlotIndex};
use rustix::process::Signal;

use crate::support::{Ended, Kept, alone, in_time};
use crate::{config, id};

fn index(slot: usize) -> SlotIndex {
    SlotIndex::new(slot).unwrap()
}

fn standings() -> Vec<Standing> {
    let lives = [1, 2, (1 << 22) - 1].map(|life| Generation::new(life).unwrap());
    let pids = [1, 4711, (1 << 22) - 1].map(Pid::new);
    let mut all = Vec::new();
    for life in lives {
        all.extend([Standing::Free(life), Standing::Dead(life)]);
        all.push(Standing::Live(life, None));
        all.extend(pids.map(|pid| Standing::Live(life, pid)));
        all.extend([0, 7, 1023].map(|by| Standing::Reclaiming(life, index(by))));
    }
    all
}

fn turns() -> Vec<Turn> {
    let pid = Pid::new(99).unwrap();
    let mut all = vec![Turn::Claim, Turn::Start(pid), Turn::Die];
    all.extend([Turn::Reclaim(index(1022)), Turn::GiveUp, Turn::Finish]);
    all
}

pub(crate) fn every_change_of_a_row_is_decided() {
    let mut allowed = 0;
    for standing in standings() {
        let word = RosterWord::new(standing);
        assert_eq!(word.standing(), standing);
        assert_eq!(RosterWord::from_u64(word.as_u64()), word);
        for turn in turns() {
            let Some(next) = word.after(turn) else {
                continue;
            };
            allowed += 1;
            let (before, after) = (standing.generation(), next.standing().generation());
            let ends = turn == Turn::Finish;
            assert_eq!(after, if ends { before.next() } else { before });
            let expected = match (standing, turn) {
                (Standing::Free(life), Turn::Claim) => Standing::Live(life, None),
                (Standing::Live(life, None), Turn::Start(pid)) => Standing::Live(life, Some(pid)),
                (Standing::Live(life, _), Turn::Die) => Standing::Dead(life),
                (Standing::Dead(life), Turn::Reclaim(by)) => Standing::Reclaiming(life, by),
                (Standing::Reclaiming(life, _), Turn::GiveUp) => Standing::Dead(life),
                (Standing::Reclaiming(life, _), Turn::Finish) => Standing::Free(life.next()),
                _ => panic!("{standing:?} allows {turn:?}"),
            };
            assert_eq!(next.standing(), expected);
        }
    }
    // Of each life: one turn of a free slot, two of a claimed one, one of each of three live ones, one
    // of a dead one, two of each of three that are reclaimed.
    assert_eq!(allowed, 3 * (1 + 2 + 3 + 1 + 6));
    let zero = RosterWord::from_u64(0).standing();
    assert_eq!(zero, Standing::Free(Generation::FIRST));
    let large = Pid::new(i32::MAX);
    let unknown = RosterWord::new(Standing::Live(Generation::FIRST, large)).standing();
    assert_eq!(unknown, Standing::Live(Generation::FIRST, None));
}

/// Numbers that are the same every time (xorshift), with few bits now and then.
fn dice(seed: u64) -> impl FnMut() -> u64 {
    let mut state = seed;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        match state % 3 {
            0 => state,
            1 => state & 0x0000_003F_0300_000F,
            _ => 1 << (state % 64),
        }
    }
}

pub(crate) fn any_bits_are_a_row() {
    let mut roll = dice(0x9E37_79B9_7F4A_7C15);
    for _ in 0..200_000 {
        let word = RosterWord::from_u64(roll());
        let standing = word.standing();
        assert_eq!(RosterWord::new(standing).standing(), standing);
        for turn in turns() {
            if let Some(next) = word.after(turn) {
                assert_eq!(Some(next), RosterWord::new(standing).after(turn));
            }
        }
    }
}

pub(crate) fn any_bits_are_a_roster() {
    let roster = RosterMemory::create().unwrap();
    let memory = || rustix::io::dup(roster.descriptor().unwrap()).unwrap();
    let mapping = Mapping::attach(memory()).unwrap();
    let words: &[AtomicU64] = mapping.slice(0, mapping.length() / 8).unwrap();
    let mut roll = dice(77);
    for round in 0..40 {
        words
            .iter()
            .skip(8)
            .for_each(|word| word.store(roll(), Relaxed));
        for slot in [0, 1, 500, 1022, 1023] {
            let id = id(slot);
            let owner = Owner::of(roster.life(index(slot)));
            let _ = (roster.row(index(slot)), roster.is_dead(owner));
            let _ = (
                roster.claim(id, 1, 1),
                roster.died(id),
                roster.look_for(owner),
            );
            let _ = (roster.reclaim(id, SlotId::MASTER), roster.finish(id));
            let _ = format!("{:?}", roster.held(index(slot)));
            sync::recover(roster.held(index(slot)), id, |_| None::<&sync::Mutex>);
        }
        let _ = (roster.claim_master(round), roster.taken().count());
    }
    for (at, value) in [(0, roll()), (1, 9), (2, 64), (0, 0)] {
        let before = words[at].swap(value, Relaxed);
        assert!(RosterMemory::attach(memory()).is_err());
        words[at].store(before, Relaxed);
    }
    assert!(RosterMemory::attach(memory()).is_ok());
    let short = Mapping::create(c"short", 4096, MapConfig::new()).unwrap();
    let short = rustix::io::dup(short.descriptor().unwrap()).unwrap();
    assert_eq!(RosterMemory::attach(short).map(drop), Err(NoRoster::Unmade));
}

pub(crate) fn a_slot_is_claimed_once() {
    let roster = RosterMemory::create().unwrap();
    let memory = rustix::io::dup(roster.descriptor().unwrap()).unwrap();
    let heir = RosterMemory::attach(memory).unwrap();
    roster.claim(id(3), 5, 2).unwrap();
    let taken = Standing::Live(Generation::FIRST, None);
    assert_eq!(heir.claim(id(3), 6, 0), Err(NotTurned::Standing(taken)));
    let row = heir.row(index(3));
    assert_eq!((row.standing, row.epoch, row.number), (taken, 5, 2));
    let later = heir.claim(id(4).next(), 6, 0);
    let free = Standing::Free(Generation::FIRST);
    assert_eq!(later, Err(NotTurned::Standing(free)));
    assert_eq!(heir.taken().map(|(id, _)| id).collect::<Vec<_>>(), [id(3)]);

    // Many that claim the same slots at once: each slot has one.
    let racers: Vec<Kept> = (0..3)
        .map(|number| {
            let forked = Pair::new().unwrap().fork(&mut alone(), |_| {
                let slots = 100..1000;
                slots
                    .filter(|slot| roster.claim(id(*slot), number, 9).is_ok())
                    .count() as u8
            });
            Kept::new(forked.unwrap().1)
        })
        .collect();
    let won: u32 = racers
        .into_iter()
        .map(|mut racer| match racer.end() {
            Ended::Code(low) => low as u32,
            other => panic!("{other:?}"),
        })
        .sum();
    assert_eq!(won % 256, 900 % 256);
    assert_eq!(roster.taken().count(), 901);
}

pub(crate) fn the_dead_stay_dead() {
    let roster = RosterMemory::create().unwrap();
    let owner = Owner::of(id(0));
    roster.claim(id(0), 1, 0).unwrap();
    assert!(!roster.is_dead(owner));
    roster.died(id(0)).unwrap();
    roster.died(id(0)).unwrap();
    assert!(roster.is_dead(owner) && roster.look_for(owner));
    let refused = roster.finish(id(0));
    let dead = Standing::Dead(Generation::FIRST);
    assert_eq!(refused, Err(NotTurned::Standing(dead)));
    roster.reclaim(id(0), SlotId::MASTER).unwrap();
    assert!(roster.is_dead(owner));
    let next = roster.finish(id(0)).unwrap();
    assert_eq!((next, roster.life(index(0))), (id(0).next(), id(0).next()));
    assert!(roster.is_dead(owner));
    roster.claim(next, 2, 0).unwrap();
    assert!(roster.is_dead(owner) && !roster.is_dead(Owner::of(next)));
    assert!(roster.died(id(0)).is_err() && roster.reclaim(id(0), SlotId::MASTER).is_err());
    assert!(!roster.is_dead(Owner::of(next)));
}

pub(crate) fn a_reclaim_is_taken_over() {
    let roster = RosterMemory::create().unwrap();
    let first = roster.claim_master(1).unwrap();
    let second = roster.claim_master(1).unwrap();
    for slot in 0..3 {
        roster.claim(id(slot), 1, 0).unwrap();
        roster.died(id(slot)).unwrap();
    }
    roster.reclaim(id(0), first).unwrap();
    roster.reclaim(id(1), second).unwrap();
    let busy = Standing::Reclaiming(Generation::FIRST, first.index());
    assert_eq!(
        roster.reclaim(id(0), second),
        Err(NotTurned::Standing(busy))
    );
    // The first master dies; the second takes back what it held, and then what it was at.
    roster.died(first).unwrap();
    roster.reclaim(first, second).unwrap();
    roster.finish(first).unwrap();
    roster.reclaim(id(0), second).unwrap();
    for slot in 0..2 {
        roster.finish(id(slot)).unwrap();
    }
    assert_eq!(
        roster.row(index(2)).standing,
        Standing::Dead(Generation::FIRST)
    );
}

pub(crate) fn masters_take_turns() {
    let roster = RosterMemory::create().unwrap();
    let mut last = roster.claim_master(1).unwrap();
    assert_eq!(last, SlotId::MASTER);
    for epoch in 2..6 {
        let next = roster.claim_master(epoch).unwrap();
        assert_ne!(next.index(), last.index());
        assert_eq!(roster.claim_master(epoch), Err(NotTurned::NoRow));
        roster.died(last).unwrap();
        roster.reclaim(last, next).unwrap();
        roster.finish(last).unwrap();
        last = next;
    }
    assert_eq!(last, SlotId::MASTER.next().next());
}

fn child() -> Kept {
    let forked = Pair::new().unwrap().fork(&mut alone(), |_| {
        loop {
            core::hint::spin_loop();
        }
    });
    Kept::new(forked.unwrap().1)
}

fn pid(child: &Kept) -> Pid {
    Pid::new(child.pid()).unwrap()
}

/// Nobody tells that it is dead: whoever waits finds out.
pub(crate) fn a_pid_is_not_a_process() {
    let roster = RosterMemory::create().unwrap();
    let mut worker = child();
    let owner = Owner::of(id(0));
    roster.claim(id(0), 1, 0).unwrap();
    assert!(!roster.look_for(owner));
    roster.started(id(0), pid(&worker)).unwrap();
    assert!(roster.row(index(0)).start > 0);
    assert!(!roster.look_for(owner) && !roster.is_dead(owner));
    worker.signal(Signal::KILL);
    // It has ended and is not reaped: that is over, too.
    in_time("the end", || roster.look_for(owner).then_some(()));
    assert!(roster.is_dead(owner));
    worker.end();

    // Another process has its pid now: the time at which it was started tells them apart.
    let other = child();
    roster.claim(id(1), 1, 0).unwrap();
    roster.started(id(1), pid(&other)).unwrap();
    let memory = rustix::io::dup(roster.descriptor().unwrap()).unwrap();
    let mapping = Mapping::attach(memory).unwrap();
    let start: &AtomicU64 = mapping.at(64 + 128 + 8).unwrap();
    assert_eq!(start.load(Relaxed), roster.row(index(1)).start);
    assert!(!roster.look_for(Owner::of(id(1))));
    start.fetch_add(1, Relaxed);
    assert!(roster.look_for(Owner::of(id(1))));
    assert!(roster.started(id(2), pid(&worker)).is_err());
}

/// The mutex, the roster and a zone together: a worker is killed while it has the mutex.
pub(crate) fn a_mutex_is_recovered_by_its_roster() {
    let roster = RosterMemory::create().unwrap();
    let zone = Zone::create(&config("a"), 0).unwrap();
    let master = roster.claim_master(1).unwrap();
    let mutex: &Mutex = zone.fixed().unwrap();
    let name = zone.name_of(mutex).unwrap();
    roster.claim(id(0), 1, 0).unwrap();
    let forked = Pair::new().unwrap().fork(&mut alone(), |_| {
        let member = Member::new(&roster, id(0));
        let _guard = mutex.lock(&member, name).unwrap();
        loop {
            core::hint::spin_loop();
        }
    });
    let mut worker = Kept::new(forked.unwrap().1);
    roster.started(id(0), pid(&worker)).unwrap();
    in_time("the lock", || mutex.owner());
    let member = Member::new(&roster, master);
    let busy = mutex.try_lock(&member, name).map(drop).unwrap_err();
    assert_eq!(busy, NotLocked::Busy);
    worker.signal(Signal::KILL);
    worker.end();
    roster.died(id(0)).unwrap();
    roster.reclaim(id(0), master).unwrap();
    let freed = sync::recover(roster.held(index(0)), id(0), |name| zone.mutex(name));
    assert_eq!(freed, 1);
    roster.finish(id(0)).unwrap();
    let locked = mutex.try_lock(&member, name).unwrap();
    assert!(matches!(locked, Locked::OwnerDied(_)));
}
