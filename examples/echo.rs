//! A server that says back what it hears: two workers on the loop of the library, which share a
//! listener, hang up on who says nothing for a minute, and finish what was begun when told to go.

use core::net::{Ipv4Addr, SocketAddrV4};

use forkmesh::machine::Config;
use forkmesh::run::{
    Acceptor, Arrival, Connection, Exclusive, Exit, Happened, Interest, Listening, Load, Loop,
    Master, Sharing, TimerId, Worker,
};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SendFlags, SocketFlags, SocketType, bind, getsockname, listen, send, socket_with,
};

const MOST: usize = 1024;
const IDLE_MS: u64 = 60_000;
/// How long whoever is connected when the worker is told to go may stay silent.
const DRAIN_IDLE_MS: u64 = 500;

/// A client, and the timer that hangs up on it; its place is its number everywhere.
struct Client<'l> {
    connection: Connection<'l>,
    idle: Option<TimerId>,
}

fn serve(worker: &mut Worker, listener: &OwnedFd) -> Result<Exit, Errno> {
    let load = Load::new(MOST as u32);
    let mut acceptor = Acceptor::new(&load, Exclusive::new());
    let listening = Listening {
        socket: rustix::io::fcntl_dupfd_cloexec(listener, 0)?,
        place: 0,
        sharing: Sharing::Shared,
    };
    if let Err(error) = acceptor.add(listening) {
        println!("{error}");
        return Ok(Exit::FATAL);
    }
    let mut turns = Loop::<_, MOST, 1>::new(worker, acceptor)?.shutdown_ms(10_000);
    let mut clients: Vec<Option<Client<'_>>> = (0..MOST).map(|_| None).collect();
    worker.ready();
    loop {
        match turns.next(worker)? {
            Happened::Arrived(Arrival::Connection { connection, .. }) => {
                let place = clients.iter().position(Option::is_none).unwrap_or(0);
                turns
                    .poller()
                    .add(&connection, place as u32, Interest::READ)?;
                let idle_ms = if turns.drains() {
                    DRAIN_IDLE_MS
                } else {
                    IDLE_MS
                };
                let idle = turns.after(idle_ms, place as u32).ok();
                clients[place] = Some(Client { connection, idle });
            }
            Happened::Arrived(arrival) => println!("worker {}: {arrival:?}", worker.number()),
            Happened::Ready(ready) => {
                let place = ready.token as usize;
                let Some(client) = &clients[place] else {
                    continue; // it has been hung up on in this turn
                };
                let drains = turns.drains();
                if !echo(&client.connection) {
                    client.idle.map(|idle| turns.cancel(idle));
                    clients[place] = None;
                } else if let (false, Some(idle)) = (drains, client.idle) {
                    let _ = turns.put_off(idle, IDLE_MS);
                }
            }
            Happened::Due(place) => clients[place as usize] = None,
            Happened::Drain => {
                for client in clients.iter().flatten() {
                    client.idle.map(|idle| turns.put_off(idle, DRAIN_IDLE_MS));
                }
            }
            Happened::Over(over) => {
                println!("worker {}: {over:?}", worker.number());
                return Ok(Exit::SUCCESS);
            }
            _ => {}
        }
    }
}

/// Says back what came; whether the client is there still.
fn echo(connection: &Connection<'_>) -> bool {
    let mut room = [0; 4096];
    match rustix::io::read(connection, &mut room) {
        Ok(0) => false,
        // Who does not read what it is told is hung up on.
        Ok(came) => send(connection, &room[..came], SendFlags::NOSIGNAL) == Ok(came),
        Err(errno) => errno == Errno::AGAIN,
    }
}

/// A socket that listens at any port of this machine.
fn open() -> Result<(OwnedFd, SocketAddrV4), Errno> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
    bind(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0))?;
    listen(&socket, 511)?;
    let address = SocketAddrV4::try_from(getsockname(&socket)?)?;
    Ok((socket, address))
}

fn main() -> Result<(), Box<dyn core::error::Error>> {
    let (listener, address) = open().map_err(|errno| format!("no listener: {errno}"))?;
    println!("echo at {address}");
    let mut service = |worker: &mut Worker| serve(worker, &listener).unwrap_or(Exit::FAILURE);
    Ok(Master::new(Config::new().workers(2).mesh(false))?.run(&mut service)?)
}
