//! What a turn hands out in which order, and how much of each.

use std::time::Instant;

use forkmesh::run::{Acceptor, Event, Exit, Happened, Interest, Load, Loop, Own, Ready, Worker};
use forkmesh::wire::Message;

use crate::world::{World, pair, tell};

const LINE: u32 = 1;
const GO: u32 = 2;
const COUNTS: u32 = 10;

/// Everything there is happens before the turn: a message, a client, a readable descriptor, a timer
/// that is due, a posted event.
pub(crate) fn a_turn_has_an_order() {
    let work = |worker: &mut Worker| {
        let load = Load::new(8);
        let mut acceptor = Acceptor::new(&load, Own);
        let (listening, address) = crate::life::listener();
        acceptor.add(listening).expect("a listener");
        let mut turns = Loop::<_, 4, 4>::new(worker, acceptor).expect("a loop");
        let (mine, theirs) = pair();
        turns
            .poller()
            .add(&mine, 7, Interest::READ)
            .expect("watched");
        worker.ready();
        let mut started = false;
        let mut seen = 0;
        let mut order = 0_u64;
        loop {
            let kind = match turns.next(worker).expect("epoll") {
                Happened::Told(Event::Message { message, .. }) if message.tag == GO && !started => {
                    started = true;
                    turns.post(1).expect("room");
                    turns.after(0, 1).expect("room");
                    rustix::io::write(&theirs, b"x").expect("room");
                    let client = crate::life::connect(address);
                    core::mem::forget(client); // it is this process's until it ends
                    tell(worker, GO, 0); // and the master answers
                    // SIGSTOP-free: the answer is there before the next turn begins.
                    crate::support::wait_readable(
                        worker
                            .source(forkmesh::run::Sources::CONTROL)
                            .expect("it has one"),
                        "an answer",
                    );
                    // The posted event and the timer of this turn come first: they are put back.
                    continue;
                }
                Happened::Posted(1) => {
                    turns.post(2).expect("room");
                    turns.after(0, 2).expect("room");
                    continue;
                }
                Happened::Told(Event::Message { .. }) => 1,
                Happened::Arrived(_) => 2,
                Happened::Ready(Ready { token: 7, .. }) => {
                    turns.poller().remove(&mine).expect("watched");
                    3
                }
                Happened::Due(2) => 4,
                Happened::Posted(2) => 5,
                Happened::Over(_) => return Exit::SUCCESS,
                _ => continue,
            };
            seen += 1;
            order = order * 10 + kind;
            if seen == 5 {
                tell(worker, LINE, order);
            }
        }
    };
    let mut world = World::new(1, false, work);
    let worker = world.live(1)[0].0;
    let go = Message::new(GO, [0; 16]);
    world.master.workers().send(worker, go).expect("told");
    world.until("it began", |world| !world.values(GO).is_empty());
    world.master.workers().send(worker, go).expect("told");
    world.until("a turn", |world| !world.values(LINE).is_empty());
    assert_eq!(world.values(LINE), [12345]);
    world.quit();
    world.until_ended();
}

/// One sibling writes without end, a timer arms itself at once, an event posts itself, a descriptor is
/// readable always: each happens, and the master's word is heard.
pub(crate) fn nobody_starves_the_rest() {
    const ENOUGH: u64 = 2_000;
    let work = |worker: &mut Worker| {
        let load = Load::new(8);
        let mut turns = Loop::<_, 4, 4>::new(worker, Acceptor::new(&load, Own)).expect("a loop");
        worker.ready();
        let chats = worker.number() == 1;
        let (mine, theirs) = pair();
        if !chats {
            rustix::io::write(&theirs, b"x").expect("room");
            turns
                .poller()
                .add(&mine, 1, Interest::READ)
                .expect("watched");
            turns.after(0, 1).expect("room");
            turns.after(0, 2).expect("room");
        }
        turns.post(1).expect("room");
        let (mut counts, mut said) = ([0_u64; 5], false);
        loop {
            let which = match turns.next(worker).expect("epoll") {
                Happened::Told(_) => 0,
                Happened::Ready(_) => 1,
                Happened::Due(token) => {
                    turns.after(0, token).expect("room");
                    1 + token as usize
                }
                Happened::Posted(token) => {
                    turns.post(token).expect("room");
                    if chats {
                        let letters = [Message::new(3, [0; 16]); 64];
                        for (sibling, _) in worker.siblings() {
                            let peer = worker.peer(sibling);
                            let _ = peer.map(|peer| peer.send_all(&letters, Some(worker.id())));
                        }
                    }
                    4
                }
                Happened::Over(_) => return Exit::SUCCESS,
                _ => continue,
            };
            counts[which] += 1;
            if !chats && !said && counts.iter().all(|count| *count > ENOUGH) {
                said = true;
                for (tag, count) in (COUNTS..).zip(counts) {
                    tell(worker, tag, count);
                }
            }
        }
    };
    let mut world = World::new(2, true, work);
    world.live(2);
    world.until("a share for all", |world| {
        !world.values(COUNTS + 4).is_empty()
    });
    let counts: Vec<u64> = (COUNTS..COUNTS + 5)
        .map(|tag| world.values(tag)[0])
        .collect();
    println!("told, ready, two timers, posted: {counts:?}");
    // One each a turn: the four have equal shares, and mail 128 at the most.
    let (least, most) = (counts[1..].iter().min(), counts[1..].iter().max());
    assert!(most.unwrap() - least.unwrap() <= 2, "{counts:?}");
    assert!(counts[0] <= 128 * (least.unwrap() + 2), "{counts:?}");
    world.quit();
    world.until_ended();
}

pub(crate) fn a_timer_is_not_early() {
    const LATE: u32 = 5;
    let work = |worker: &mut Worker| {
        let load = Load::new(8);
        let mut turns = Loop::<_, 16, 4>::new(worker, Acceptor::new(&load, Own)).expect("a loop");
        worker.ready();
        let start = Instant::now();
        for ms in [0, 1, 7, 20, 41] {
            turns.after(ms, ms as u32).expect("room");
        }
        let mut early = 0;
        loop {
            match turns.next(worker).expect("epoll") {
                Happened::Due(ms) => {
                    let passed = start.elapsed().as_micros() as u64;
                    early += u64::from(passed < u64::from(ms) * 1_000);
                    if ms == 41 {
                        tell(worker, LATE, early);
                    }
                }
                Happened::Over(_) => return Exit::SUCCESS,
                _ => {}
            }
        }
    };
    let mut world = World::new(1, false, work);
    world.until("timers", |world| !world.values(LATE).is_empty());
    assert_eq!(world.values(LATE), [0]);
    world.quit();
    world.until_ended();
}
