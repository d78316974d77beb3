//! Who gets what: flows of datagrams, a worker's own sockets, and messages that bring some.

use core::time::Duration;
use std::collections::BTreeMap;
use std::net::UdpSocket;

use forkmesh::run::{Listening, Sender, Sharing, WhyNot};
use forkmesh::table::SlotId;
use forkmesh::wire::Message;
use rustix::io::fcntl_dupfd_cloexec;

use crate::tools::{address, at, lent, local, socket_address, sockets, sockets_of};
use crate::world::World;

const FLOWS: usize = 60;

/// Which worker answers each flow; every one of several datagrams of it.
fn answers(flows: &[UdpSocket]) -> Vec<u8> {
    let one = |flow: &UdpSocket| {
        let mut answer = [0];
        flow.send(b"?").expect("somebody is there");
        flow.recv(&mut answer).expect("an answer");
        answer[0]
    };
    let first: Vec<u8> = flows.iter().map(one).collect();
    for _ in 0..3 {
        let again: Vec<u8> = flows.iter().map(one).collect();
        assert_eq!(again, first);
    }
    first
}

pub(crate) fn a_flow_stays_with_its_worker() {
    let two = ["127.0.0.1:0", "[::1]:0"].map(|text| at(text).datagram(true).per_worker(true));
    let mut world = World::new(two.to_vec(), 3);
    let mut flows = Vec::new();
    for place in 0..2 {
        let server = socket_address(address(&world.lab.listeners, place));
        for _ in 0..FLOWS {
            let flow = UdpSocket::bind((server.ip(), 0)).expect("a port");
            flow.connect(server).expect("an address");
            let patience = Some(Duration::from_secs(20));
            flow.set_read_timeout(patience).expect("a socket");
            flows.push(flow);
        }
    }
    let first = answers(&flows);
    for half in first.chunks(FLOWS) {
        let mut spread = BTreeMap::new();
        half.iter()
            .for_each(|number| *spread.entry(*number).or_insert(0) += 1);
        println!("{FLOWS} flows: {spread:?}");
        assert_eq!(spread.len(), 3);
        assert!(spread.values().all(|flows| *flows >= 5));
    }
    // Other processes, the same numbers.
    assert!(world.reload(3));
    world.live(3);
    assert_eq!(answers(&flows), first);
    assert!(world.reload(2));
    world.live(2);
    assert!(answers(&flows).iter().all(|number| *number < 2));
    assert!(world.reload(3));
    world.live(3);
    assert_eq!(answers(&flows), first);
    world.end();
}

pub(crate) fn a_worker_holds_its_own() {
    let before = sockets();
    let group = local().per_worker(true);
    let list = vec![group, local(), group.datagram(true)];
    let mut world = World::new(list.clone(), 3);
    let mut masters: Vec<u64> = Vec::new();
    let look = |world: &mut World, workers: usize, each: usize, masters: &mut Vec<u64>| {
        let live = world.live(workers);
        let all = &(&sockets() - &before);
        let held: Vec<Vec<u64>> = live
            .values()
            .map(|pid| sockets_of(*pid).intersection(all).copied().collect())
            .collect();
        assert!(held.iter().all(|held| held.len() == each), "{held:?}");
        masters.clear();
        masters.extend(held.iter().flatten());
        masters.sort_unstable();
        masters.dedup();
    };
    look(&mut world, 3, 3, &mut masters);
    assert_eq!(masters.len(), 2 * 3 + 1, "what is not shared is one's own");
    // One of the groups goes, and another worker comes.
    world.lab.list = vec![local(), group];
    assert!(world.reload(4));
    look(&mut world, 4, 2, &mut masters);
    assert_eq!(masters.len(), 4 + 1);
    // By TTIN, with a socket that is made before its fork.
    world.master.workers().more();
    look(&mut world, 5, 2, &mut masters);
    assert_eq!(masters.len(), 5 + 1);
    world.end();
    assert_eq!(sockets(), before);
}

pub(crate) fn an_adoption_is_the_masters_alone() {
    let socket = || {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
        Some(fcntl_dupfd_cloexec(lent(&socket), 3).expect("a copy"))
    };
    let master = Sender {
        pid: None,
        claimed: Some(SlotId::MASTER),
        known: true,
    };
    let message = |tag, kind, rest| {
        let mut payload = [0; 16];
        (payload[0], payload[2], payload[15]) = (7, kind, rest);
        Message::new(tag, payload)
    };
    let tag = Listening::TAG;
    for (kind, sharing) in [(1, Sharing::Own), (2, Sharing::Adopted)] {
        let adopted = Listening::adopted(&master, &message(tag, kind, 0), socket());
        let adopted = adopted.expect("all is well");
        assert_eq!((adopted.place, adopted.sharing), (7, sharing));
    }
    let sibling = Sender {
        claimed: SlotId::from_u32(1 << 10),
        ..master
    };
    let unknown = Sender {
        known: false,
        ..master
    };
    let wrong = [
        (master, message(tag + 1, 1, 0), WhyNot::Another),
        (sibling, message(tag, 1, 0), WhyNot::Stranger),
        (unknown, message(tag, 1, 0), WhyNot::Stranger),
        (master, message(tag, 0, 0), WhyNot::Garbled),
        (master, message(tag, 3, 0), WhyNot::Garbled),
        (master, message(tag, 1, 1), WhyNot::Garbled),
    ];
    for (from, message, why) in wrong {
        let refused = Listening::adopted(&from, &message, socket()).expect_err("refused");
        assert_eq!(refused.why, why);
        assert!(refused.descriptor.is_some(), "it is given back");
    }
    let refused = Listening::adopted(&master, &message(tag, 1, 0), None);
    assert_eq!(refused.expect_err("nothing came").why, WhyNot::Missing);
}
