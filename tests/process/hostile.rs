//! Workers that do wrong: it costs them what is theirs, and nobody else anything.

use core::net::{Ipv4Addr, SocketAddrV4};
use forkmesh::machine::{Backoff, Config};
use forkmesh::run::{Event, Exit, Interest, Poller, Sources, Worker};
use forkmesh::table::{SlotId, SlotIndex};
use forkmesh::wire::{Command, FRAME_SIZE, Frame, Message};
use rustix::fd::{AsFd, BorrowedFd};
use rustix::net::{AddressFamily, SendFlags, Shutdown, SocketType, send, shutdown};

use crate::support::in_child;
use crate::world::{DO, END, GREETED, HELLO, NOISE, World, obey, say, who};

fn config(workers: usize) -> Config {
    Config::new()
        .workers(workers)
        .backoff(Backoff::new().eager())
}

fn raw(end: BorrowedFd<'_>, bytes: &[u8]) {
    let sent = send(end, bytes, SendFlags::NOSIGNAL).expect("sent");
    assert_eq!(sent, bytes.len());
}

fn second(worker: &Worker) -> SlotId {
    worker
        .sibling_at(SlotIndex::new(1).unwrap())
        .expect("the second worker lives")
}

/// Breaks the second worker's mesh pair: by shutting it down, or by bytes that are no frame.
fn vandal(worker: &mut Worker) -> Exit {
    obey(worker, vandalise)
}

fn vandalise(worker: &mut Worker, message: Message) {
    if message.tag == TRY_TO_GREET {
        let to = u32::from_ne_bytes(message.payload[..4].try_into().unwrap());
        let to = SlotId::from_u32(to).expect("an id");
        let _ = worker.send(to, Message::new(HELLO, [0; 16]));
    } else {
        let peer = worker.peer(second(worker)).expect("its end").as_fd();
        match message.payload[0] {
            0 => shutdown(peer, Shutdown::Both).expect("shut down"),
            odd => raw(peer, &[0x5A; FRAME_SIZE][..odd.into()]),
        }
    }
    say(worker, Message::new(END, [0; 16]));
}

pub(crate) fn a_broken_mesh_pair_is_replaced() {
    in_child(|| {
        let mut world = World::new(config(3), vandal);
        world.all_live(3);
        for way in [0, 1, 31, 0, 7] {
            let [first, second, third] = world.live()[..] else {
                panic!("three workers")
            };
            let mut payload = [0; 16];
            payload[0] = way;
            world.tell(first.0, DO, payload);
            world.hear(first.0, END);
            // The siblings get the new end in their own time: what they send until then is lost with
            // the old one.
            world.until("messages arrive again", |world| {
                world.tries_to_greet(third, second.0)
            });
            world.until("from the vandal too", |world| {
                world.tries_to_greet(first, second.0)
            });
        }
        let (second, _) = world.live()[1];
        assert_eq!(world.faults_of(second)[1], 3, "odd bytes are counted");
        world.end();
    });
}

impl World {
    /// Whether a greeting arrives within a few turns.
    fn tries_to_greet(&mut self, from: (SlotId, forkmesh::table::Pid), to: SlotId) -> bool {
        let mut payload = [0; 16];
        payload[..4].copy_from_slice(&to.as_u32().to_ne_bytes());
        self.lab.said.clear();
        self.tell(from.0, TRY_TO_GREET, payload);
        self.hear(from.0, END);
        (0..20).any(|_| {
            self.turn();
            self.lab.said.iter().any(|said| {
                let greeted = said.from == to && said.message.tag == GREETED;
                greeted && who(said.message.payload) == from
            })
        })
    }
}

const TRY_TO_GREET: u32 = 100;

/// Gives orders, and speaks in another's name, over the mesh.
fn usurper(worker: &mut Worker) -> Exit {
    obey(worker, |worker, message| {
        if message.tag != DO {
            return;
        }
        let peer = worker.peer(second(worker)).expect("its end").as_fd();
        for order in [
            Command::Quit,
            Command::Terminate,
            Command::Reopen,
            Command::Ready,
        ] {
            raw(peer, &Frame::new(order, Some(SlotId::MASTER)).to_bytes());
        }
        // HELLO in the third worker's name: delivered, and not known.
        let third = worker.sibling_at(SlotIndex::new(2).unwrap());
        let hello = Command::User(Message::new(HELLO, [0; 16]));
        raw(peer, &Frame::new(hello, third).to_bytes());
        say(worker, Message::new(END, [0; 16]));
    })
}

pub(crate) fn orders_over_the_mesh_are_refused() {
    in_child(|| {
        let mut world = World::new(config(3), usurper);
        world.all_live(3);
        let [first, second, _] = world.live()[..] else {
            panic!("three workers")
        };
        world.until("it knows all", |world| world.knows_all(first.0));
        world.until("it is known", |world| world.knows_all(second.0));
        world.tell(first.0, DO, [0; 16]);
        world.hear(first.0, END);
        let forged = world.hear(second.0, GREETED);
        assert_eq!(
            forged.message.payload[8], 0,
            "another's name is not believed"
        );
        let named = i32::from_ne_bytes(forged.message.payload[4..8].try_into().unwrap());
        assert_eq!(named, first.1.as_i32(), "and the kernel says who it was");
        assert_eq!(
            world.faults_of(second.0)[2],
            4,
            "four orders are refused and counted"
        );
        world.end();
    });
}

/// Says everything wrong that can be said to a master.
fn babbler(worker: &mut Worker) -> Exit {
    obey(worker, |worker, message| {
        if message.tag != DO {
            return;
        }
        let control = worker.source(Sources::CONTROL).expect("its end");
        let mut unknown = Frame::new(Command::Quit, None).to_bytes();
        unknown[0] = 77;
        raw(control, &unknown);
        let mut out_of_range =
            Frame::new(Command::Resync(forkmesh::wire::Resync::Mesh), None).to_bytes();
        out_of_range[16..24].copy_from_slice(&5_000_i64.to_ne_bytes());
        raw(control, &out_of_range);
        raw(control, &Frame::new(Command::Quit, None).to_bytes());
        let other = SlotId::from_u32(worker.id().as_u32() ^ 1);
        raw(control, &Frame::new(Command::Ready, other).to_bytes());
        // Last, so that nothing is read in one go with what follows: the rest of a read is dropped.
        say(worker, Message::new(END, [1; 16]));
    })
}

pub(crate) fn what_a_worker_says_wrong_is_counted() {
    in_child(|| {
        let mut world = World::new(config(2), babbler);
        world.all_live(2);
        let (worker, pid) = world.live()[0];
        let before = crate::support::open_count();
        world.tell(worker, DO, [0; 16]);
        world.hear(worker, END);
        assert_eq!(
            world.master.faults().malformed,
            2,
            "an unknown number, a slot out of range"
        );
        assert_eq!(
            world.master.refused(),
            2,
            "an order from a worker, and another's name"
        );
        assert_eq!(crate::support::open_count(), before);
        assert!(
            world.live().contains(&(worker, pid)),
            "it lives on, and so does its channel"
        );
        world.siblings_of(worker);
        world.end();
    });
}

/// Closes the worker's end of its control pair, and lives on without it.
fn deserter(worker: &mut Worker) -> Exit {
    obey(worker, |worker, message| {
        if message.tag == DO {
            let control = worker.source(Sources::CONTROL).expect("its end");
            let how = [Shutdown::Both, Shutdown::Write, Shutdown::Read];
            shutdown(control, how[usize::from(message.payload[0])]).expect("shut down");
        }
    })
}

pub(crate) fn a_worker_that_closes_its_end_costs_nothing() {
    for way in [0, 1, 2] {
        in_child(|| {
            let mut world = World::new(config(2).terminate_ms(200), deserter);
            world.all_live(2);
            let (worker, pid) = world.live()[0];
            world.tell(worker, DO, [way; 16]);
            // Had the master nothing better to do than to read the end of a channel, each turn would
            // come back at once.
            let start = std::time::Instant::now();
            for _ in 0..40 {
                world.turn();
            }
            assert!(start.elapsed().as_millis() >= 100, "the master sleeps");
            // With its channel shut down for reading, too, the worker takes its master for gone.
            let still = world.live().contains(&(worker, pid));
            assert!(still || way != 1, "it lives on");
            world.end();
        });
    }
}

/// Talks to the second worker without an end, or to its master.
fn chatterbox(worker: &mut Worker) -> Exit {
    obey(worker, |worker, message| {
        if message.tag != DO {
            return;
        }
        let frame = Frame::new(Command::User(Message::new(NOISE, [0; 16])), None);
        let noise = frame.to_bytes().repeat(128);
        say(worker, Message::new(END, [0; 16]));
        let peer = worker.peer(second(worker)).expect("its end").as_fd();
        let control = worker.source(Sources::CONTROL).expect("its end");
        let end = if message.payload[0] == 0 {
            peer
        } else {
            control
        };
        loop {
            let _ = send(end, &noise, SendFlags::NOSIGNAL);
        }
    })
}

pub(crate) fn a_chatty_sibling_does_not_drown_out_the_master() {
    in_child(|| {
        let mut world = World::new(config(3).terminate_ms(100), chatterbox);
        world.all_live(3);
        let [first, second, _] = world.live()[..] else {
            panic!("three workers")
        };
        world.tell(first.0, DO, [0; 16]);
        world.hear(first.0, END);
        for _ in 0..20 {
            world.siblings_of(second.0);
        }
        world.end();
    });
}

/// The first worker talks without an end; the second has work of its own beside its mail.
fn busy(worker: &mut Worker) -> Exit {
    if worker.number() != 1 {
        return chatterbox(worker);
    }
    let (ours, theirs) = rustix::pipe::pipe().expect("a pipe");
    let mut poller = Poller::new(worker).expect("a poller");
    poller.add(&ours, 0, Interest::READ).expect("watched");
    worker.ready();
    let mut noise: u32 = 0;
    loop {
        while let Some(event) = worker.receive() {
            match event {
                Event::Quit | Event::Terminate => return Exit::SUCCESS,
                // With work for each message it can never keep up.
                Event::Message { message, .. } if message.tag == NOISE => {
                    noise += 1;
                    if noise == 10_000 {
                        rustix::io::write(&theirs, &[1]).expect("written");
                    }
                    (0..2_000).for_each(|step| {
                        core::hint::black_box(step);
                    });
                }
                _ => {}
            }
        }
        let mut ready = poller.wait(worker, None).expect("epoll");
        if ready.any(|ready| ready.readable) {
            poller.remove(&ours).expect("watched so far");
            say(worker, Message::new(END, [0; 16]));
        }
    }
}

pub(crate) fn a_chatty_sibling_does_not_stop_other_work() {
    in_child(|| {
        let mut world = World::new(config(2).terminate_ms(100), busy);
        world.all_live(2);
        let [first, second] = world.live()[..] else {
            panic!("two workers")
        };
        world.tell(first.0, DO, [0; 16]);
        world.hear(first.0, END);
        world.hear(second.0, END);
        world.end();
    });
}

pub(crate) fn a_chatty_worker_does_not_drown_out_the_others() {
    in_child(|| {
        let mut world = World::new(config(3).terminate_ms(100), chatterbox);
        world.all_live(3);
        let [first, second, third] = world.live()[..] else {
            panic!("three workers")
        };
        world.tell(first.0, DO, [1; 16]);
        world.hear(first.0, END);
        for _ in 0..5 {
            world.siblings_of(second.0);
        }
        world.replace(third.1);
        world.end();
    });
}

/// Breaks its own mesh pair, as it says, without an end.
fn ever_broken(worker: &mut Worker) -> Exit {
    obey(worker, |worker, message| {
        if message.tag == DO {
            let broken = Command::Resync(forkmesh::wire::Resync::Mesh);
            let broken = Frame::new(broken, None).to_bytes().repeat(16);
            let control = worker.source(Sources::CONTROL).expect("its end");
            say(worker, Message::new(END, [0; 16]));
            loop {
                let _ = send(control, &broken, SendFlags::NOSIGNAL);
                crate::support::wait_writable(control, "the master listens");
            }
        }
    })
}

pub(crate) fn a_worker_that_is_ever_broken_does_not_starve_the_others() {
    in_child(|| {
        let mut world = World::new(config(20).terminate_ms(100), ever_broken);
        world.all_live(20);
        let (broken, _) = world.live()[0];
        world.tell(broken, DO, [0; 16]);
        world.hear(broken, END);
        let (_, victim) = world.live()[1];
        world.replace(victim);
        let newcomer = world.live()[1];
        for (worker, _) in world.live().split_off(2) {
            world.until("it hears of the newcomer", |world| {
                world.siblings_of(worker).contains(&newcomer)
            });
        }
        world.end();
    });
}

/// Sends its master descriptors that nobody asked for, and then dies.
fn litterer(worker: &mut Worker) -> Exit {
    obey(worker, |worker, message| {
        if message.tag == DO {
            let marks = crate::support::Marks::new(50);
            let fds: Vec<_> = marks.fds().iter().map(AsFd::as_fd).collect();
            litter(worker, &fds);
        }
    })
}

/// Sends the master descriptors that nobody asked for, and dies.
fn litter(worker: &Worker, descriptors: &[BorrowedFd<'_>]) {
    let control = worker.source(Sources::CONTROL).expect("its end");
    let count = descriptors.len() as u8;
    let frame = Frame::new(Command::Descriptors { count }, None).to_bytes();
    let mut space = vec![core::mem::MaybeUninit::uninit(); 512];
    let mut ancillary = rustix::net::SendAncillaryBuffer::new(&mut space);
    assert!(ancillary.push(rustix::net::SendAncillaryMessage::ScmRights(descriptors)));
    let bytes = [rustix::io::IoSlice::new(&frame)];
    rustix::net::sendmsg(control, &bytes, &mut ancillary, SendFlags::NOSIGNAL).expect("sent");
    std::process::abort();
}

pub(crate) fn litter_is_not_inherited() {
    in_child(|| {
        let mut world = World::new(config(2), litterer);
        world.all_live(2);
        let own = crate::support::open_count();
        for _ in 0..20 {
            let (litterer, pid) = world.live()[0];
            world.tell(litterer, DO, [0; 16]);
            world.until("it is gone", |world| {
                world.live().iter().all(|(_, live)| *live != pid)
            });
            world.all_live(2);
            let (_, successor) = world.live()[0];
            let open = crate::support::open_in(successor.as_i32());
            let litter = open.values().filter(|open| open.name.contains("memfd"));
            assert_eq!(litter.count(), 0, "a newborn has none of it");
        }
        assert_eq!(crate::support::open_count(), own, "nor has the master");
        world.end();
    });
}

/// Writes to the second worker's mesh pair and shuts it down behind that.
fn last_word(worker: &mut Worker) -> Exit {
    obey(worker, |worker, message| {
        if message.tag == TRY_TO_GREET {
            return vandalise(worker, message);
        }
        if message.tag == DO {
            let peer = worker.peer(second(worker)).expect("its end");
            peer.send(Message::new(NOISE, [0; 16]), None).expect("sent");
            shutdown(peer, Shutdown::Both).expect("shut down");
            say(worker, Message::new(END, [0; 16]));
        }
    })
}

/// What was read and what lies behind it can be one readiness: the end must not be overlooked.
pub(crate) fn an_end_behind_a_message_is_noticed() {
    in_child(|| {
        let mut world = World::new(config(3).credentials(false), last_word);
        world.all_live(3);
        let [first, second, third] = world.live()[..] else {
            panic!("three workers")
        };
        for _ in 0..20 {
            crate::world::signal(second.1, rustix::process::Signal::STOP);
            world.tell(first.0, DO, [0; 16]);
            world.hear(first.0, END);
            crate::world::signal(second.1, rustix::process::Signal::CONT);
            world.until("messages arrive again", |world| {
                world.tries_to_greet(third, second.0)
            });
            world.until("it knows the new end", |world| {
                world.tries_to_greet(first, second.0)
            });
        }
        world.end();
    });
}

/// Sends its master a socket that would linger, with what nobody will ever read, and dies.
fn lingerer(worker: &mut Worker) -> Exit {
    obey(worker, |worker, message| {
        if message.tag != DO {
            return;
        }
        let port = u16::from_ne_bytes([message.payload[0], message.payload[1]]);
        let stream = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None);
        let stream = stream.expect("a socket");
        let address = SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
        rustix::net::connect(&stream, &address).expect("connected");
        let unread = [0; 65_536];
        while send(&stream, &unread, SendFlags::DONTWAIT).is_ok() {}
        let long = core::time::Duration::from_secs(3_600);
        rustix::net::sockopt::set_socket_linger(&stream, Some(long)).expect("it lingers");
        litter(worker, &[stream.as_fd()]);
    })
}

pub(crate) fn a_lingering_socket_does_not_hold_up_the_master() {
    in_child(|| {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a listener");
        let port = listener.local_addr().expect("an address").port();
        let mut world = World::new(config(2), lingerer);
        world.all_live(2);
        let mut payload = [0; 16];
        payload[..2].copy_from_slice(&port.to_ne_bytes());
        for _ in 0..3 {
            let (victim, pid) = world.live()[0];
            world.tell(victim, DO, payload);
            // Held up by the close, the master would not see this within the hour.
            world.until("it is gone", |world| {
                world.live().iter().all(|(_, live)| *live != pid)
            });
            world.all_live(2);
        }
        assert!(world.master.faults().malformed == 0 && world.master.refused() == 3);
        world.end();
    });
}
