//! Clients, the listeners that they come to, and a worker that greets them.

use core::net::{Ipv4Addr, SocketAddrV4};

use forkmesh::run::{
    Acceptor, Arrival, Connection, Exit, Happened, Interest, Listening, Load, Loop, Sharing,
    Strategy, Worker,
};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::net::{
    AddressFamily, SocketFlags, SocketType, bind, connect, getsockname, listen, socket_with,
    sockopt,
};

use crate::support::wait_readable;
use crate::world::tell;

/// A worker accepted so many.
pub(crate) const ACCEPTED: u32 = 100;
/// The kernel refused, with this error.
pub(crate) const REFUSED: u32 = 101;
/// An adopted listener was closed.
pub(crate) const EMPTIED: u32 = 102;
/// How many connections there were at most.
pub(crate) const MOST: u32 = 103;

fn socket(kind: SocketType) -> OwnedFd {
    socket_with(AddressFamily::INET, kind, SocketFlags::CLOEXEC, None).expect("a socket")
}

/// Sockets that listen at one address; more than one share it by SO_REUSEPORT.
pub(crate) fn listeners(count: usize) -> (Vec<OwnedFd>, SocketAddrV4) {
    let mut address = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0);
    let open = |_| {
        let socket = socket(SocketType::STREAM);
        if count > 1 {
            sockopt::set_socket_reuseport(&socket, true).expect("an option");
        }
        bind(&socket, &address).expect("bound");
        listen(&socket, 512).expect("it listens");
        address = getsockname(&socket).expect("one").try_into().expect("IPv4");
        socket
    };
    ((0..count).map(open).collect(), address)
}

pub(crate) fn datagrams() -> (OwnedFd, SocketAddrV4) {
    let socket = socket(SocketType::DGRAM);
    bind(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)).expect("bound");
    let address = getsockname(&socket).expect("an address");
    (socket, address.try_into().expect("IPv4"))
}

/// A worker's copy.
pub(crate) fn copy(socket: &OwnedFd, sharing: Sharing) -> Listening {
    Listening {
        socket: socket.try_clone().expect("a descriptor"),
        place: 3,
        sharing,
    }
}

/// Somebody who connects, is greeted, and hangs up when dropped.
#[derive(Debug)]
pub(crate) struct Client(OwnedFd);

impl Client {
    pub(crate) fn new(address: SocketAddrV4) -> Self {
        let socket = socket(SocketType::STREAM);
        connect(&socket, &address).expect("connected");
        Self(socket)
    }

    /// Waits for the greeting: which worker it is from.
    pub(crate) fn served(&self) -> u8 {
        wait_readable(&self.0, "a greeting");
        self.greeting().expect("nothing is reset").expect("greeted")
    }

    /// Waits for the greeting, whoever it is from.
    pub(crate) fn greeted(&self) {
        self.served();
    }

    fn greeting(&self) -> Result<Option<u8>, rustix::io::Errno> {
        let mut byte = [0];
        let read = rustix::io::read(&self.0, &mut byte)?;
        Ok((read == 1).then_some(byte[0]))
    }

    /// Whether the greeting is there already.
    pub(crate) fn is_served(&self) -> bool {
        let mut fds = [rustix::event::PollFd::new(
            &self.0,
            rustix::event::PollFlags::IN,
        )];
        let none = rustix::event::Timespec::default();
        rustix::event::poll(&mut fds, Some(&none)) == Ok(1)
    }
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Greets whoever comes with the worker's number, and keeps them until they hang up; or for so many
/// milliseconds.
pub(crate) fn serve<'l, S: Strategy>(
    worker: &mut Worker,
    acceptor: Acceptor<'l, S>,
    keeps_ms: Option<u64>,
) -> Exit {
    let load = acceptor.load();
    let mut turns = Loop::<_, 1024, 4>::new(worker, acceptor).expect("a loop");
    let mut connections: Vec<Option<Connection<'l>>> = Vec::new();
    worker.ready();
    let (mut accepted, mut most) = (0, 0);
    loop {
        match turns.next(worker).expect("epoll") {
            Happened::Arrived(arrival) => match arrival {
                Arrival::Connection { connection, place } => {
                    assert_eq!(place, 3);
                    accepted += 1;
                    most = most.max(load.connections());
                    rustix::io::write(&connection, &[worker.number() as u8]).expect("room");
                    let token = connections.len() as u32;
                    match keeps_ms {
                        Some(ms) => drop(turns.after(ms, token).expect("room")),
                        None => {
                            let added = turns.poller().add(&connection, token, Interest::READ);
                            added.expect("watched");
                        }
                    }
                    connections.push(Some(connection));
                }
                Arrival::Refused { errno, .. } => {
                    tell(worker, REFUSED, errno.raw_os_error() as u64);
                }
                Arrival::Emptied { place } => tell(worker, EMPTIED, place.into()),
                _ => {}
            },
            Happened::Ready(ready) => connections[ready.token as usize] = None,
            Happened::Due(token) => connections[token as usize] = None,
            Happened::Over(_) => {
                tell(worker, ACCEPTED, accepted);
                tell(worker, MOST, most.into());
                return Exit::SUCCESS;
            }
            _ => {}
        }
    }
}

/// An acceptor with these listeners.
pub(crate) fn at<'l, S: Strategy>(
    load: &'l Load,
    strategy: S,
    listening: impl IntoIterator<Item = Listening>,
) -> Acceptor<'l, S> {
    let mut acceptor = Acceptor::new(load, strategy);
    for listening in listening {
        acceptor.add(listening).expect("a listener");
    }
    acceptor
}
