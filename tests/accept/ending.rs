//! What waits when a worker is told to go, and what another worker left.

use core::time::Duration;
use std::time::Instant;

use forkmesh::run::{
    Acceptor, Arrival, Event, Exclusive, Exit, Happened, Listening, Load, Loop, Own, Poller,
    Sharing, Worker,
};
use rustix::net::{SendFlags, sendto};
use rustix::process::Signal;

use crate::clients::{ACCEPTED, Client, EMPTIED, at, copy, datagrams, listeners, serve};
use crate::world::{World, tell};

const READ: u32 = 7;

/// A worker is stopped, clients connect, it is told to quit and goes on: each is served, with room for
/// all and with room for few.
pub(crate) fn who_waits_at_the_end_is_served() {
    const CLIENTS: usize = 150;
    let cases = [Sharing::Shared, Sharing::Own, Sharing::Adopted];
    for (sharing, room) in cases
        .iter()
        .flat_map(|sharing| [(*sharing, 500), (*sharing, 7)])
    {
        let (listener, address) = listeners(1);
        let work = |worker: &mut Worker| {
            let load = Load::new(room);
            let listening = copy(&listener[0], sharing);
            serve(worker, at(&load, Exclusive::new(), [listening]), Some(3))
        };
        let mut world = World::new(1, false, work);
        let pid = world.live(1)[0].1;
        world.signal(pid, Signal::STOP);
        let clients: Vec<Client> = (0..CLIENTS).map(|_| Client::new(address)).collect();
        world.signal(pid, Signal::QUIT); // it is there when the worker goes on
        world.quit();
        world.signal(pid, Signal::CONT);
        clients.iter().for_each(Client::greeted);
        world.until_ended();
        assert_eq!(
            world.values(ACCEPTED),
            [CLIENTS as u64],
            "{sharing:?}, {room}"
        );
    }
    bare_poller(CLIENTS);
}

/// The same on a `Poller`.
fn bare_poller(clients: usize) {
    let (listener, address) = listeners(1);
    let work = |worker: &mut Worker| {
        let load = Load::new(20);
        let mut acceptor = at(
            &load,
            Exclusive::new(),
            [copy(&listener[0], Sharing::Shared)],
        );
        let mut poller = Poller::new(worker).expect("a poller");
        worker.ready();
        while !(acceptor.is_closed() && load.is_idle()) {
            let most_ms = acceptor.prepare(&poller);
            for ready in poller.wait(worker, most_ms).expect("epoll") {
                assert!(acceptor.hears(ready));
            }
            acceptor.accept(&poller);
            while let Some(arrival) = acceptor.next() {
                if let Arrival::Connection { connection, .. } = arrival {
                    rustix::io::write(&connection, b"x").expect("room");
                }
            }
            while let Some(event) = worker.receive() {
                if let Event::Quit = event {
                    acceptor.drain(&poller);
                }
            }
        }
        Exit::SUCCESS
    };
    let mut world = World::new(1, false, work);
    let pid = world.live(1)[0].1;
    Client::new(address).served();
    world.signal(pid, Signal::STOP);
    let clients: Vec<Client> = (0..clients).map(|_| Client::new(address)).collect();
    world.signal(pid, Signal::QUIT);
    world.quit();
    world.signal(pid, Signal::CONT);
    clients.iter().for_each(Client::greeted);
    world.until_ended();
}

pub(crate) fn datagrams_at_the_end_are_read() {
    const DATAGRAMS: u64 = 20;
    let (socket, address) = datagrams();
    let work = |worker: &mut Worker| {
        let load = Load::new(1);
        let acceptor = at(&load, Own, [copy(&socket, Sharing::Own)]);
        let mut turns = Loop::<_, 1, 1>::new(worker, acceptor).expect("a loop");
        worker.ready();
        let mut read = 0;
        loop {
            match turns.next(worker).expect("epoll") {
                Happened::Arrived(Arrival::Datagrams { door, place }) => {
                    assert_eq!(place, 3);
                    let socket = turns.acceptor().socket(door).expect("it is open");
                    while rustix::io::read(socket, &mut [0; 8]).is_ok() {
                        read += 1;
                    }
                }
                Happened::Over(_) => {
                    tell(worker, READ, read);
                    return Exit::SUCCESS;
                }
                _ => {}
            }
        }
    };
    let mut world = World::new(1, false, work);
    let pid = world.live(1)[0].1;
    let send = || {
        for _ in 0..DATAGRAMS {
            sendto(&socket, b"hello", SendFlags::empty(), &address).expect("sent");
        }
    };
    send();
    world.signal(pid, Signal::STOP);
    send();
    world.signal(pid, Signal::QUIT);
    world.quit();
    world.signal(pid, Signal::CONT);
    world.until_ended();
    assert_eq!(world.values(READ), [2 * DATAGRAMS]);
}

/// It comes from another worker, by a message; who waits in it is served; then it is closed.
pub(crate) fn an_adopted_listener_is_emptied() {
    const CLIENTS: usize = 30;
    let (listener, address) = listeners(1);
    let work = |worker: &mut Worker| {
        let load = Load::new(8);
        let acceptor = Acceptor::new(&load, Own);
        let mut turns = Loop::<_, 64, 1>::new(worker, acceptor).expect("a loop");
        worker.ready();
        loop {
            match turns.next(worker).expect("epoll") {
                Happened::Told(Event::Message { descriptor, .. }) => {
                    let listening = Listening {
                        socket: descriptor.expect("a listener"),
                        place: 3,
                        sharing: Sharing::Adopted,
                    };
                    turns.listen(listening).expect("room");
                }
                Happened::Arrived(Arrival::Connection { connection, .. }) => {
                    rustix::io::write(&connection, b"x").expect("room");
                }
                Happened::Arrived(Arrival::Emptied { place }) => {
                    tell(worker, EMPTIED, place.into());
                }
                Happened::Over(_) => return Exit::SUCCESS,
                _ => {}
            }
        }
    };
    let mut world = World::new(1, false, work);
    let (worker, pid) = world.live(1)[0];
    let open = crate::support::open_in(pid).len();
    let clients: Vec<Client> = (0..CLIENTS).map(|_| Client::new(address)).collect();
    let message = forkmesh::wire::Message::new(1, [0; 16]);
    let sent = world
        .master
        .workers()
        .send_with(worker, message, &listener[0]);
    sent.expect("told");
    clients.iter().for_each(Client::greeted);
    let mut last = Instant::now();
    // Somebody comes late, and the second begins anew.
    while last.elapsed() < Duration::from_millis(600) {
        world.turn(20);
    }
    Client::new(address).served();
    let served = Instant::now();
    last = served;
    world.until("emptied", |world| !world.values(EMPTIED).is_empty());
    // It was accepted before it was served, and the message took its time.
    assert!(
        last.elapsed() >= Duration::from_millis(900),
        "{:?}",
        last.elapsed()
    );
    assert_eq!(world.values(EMPTIED), [3]);
    assert_eq!(crate::support::open_in(pid).len(), open, "it is closed");
    world.quit();
    world.until_ended();
}
