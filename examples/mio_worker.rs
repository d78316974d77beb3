//! A worker on a loop that is not the library's: mio watches the worker's four descriptors beside a
//! listener and its clients, and the worker says back what it hears.

use core::time::Duration;
use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, RawFd};

use forkmesh::machine::Config;
use forkmesh::run::{Event, Exit, Master, Sources, Worker};
use mio::net::{TcpListener, TcpStream};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};

const LISTENER: Token = Token(0);
/// The worker's sources: their bits are below this.
const SOURCES: usize = 100;
const FIRST_CLIENT: usize = 1_000;

struct Server<'w> {
    worker: &'w mut Worker,
    poll: Poll,
    /// `None` once the worker drains.
    listener: Option<TcpListener>,
    clients: HashMap<usize, TcpStream>,
    next: usize,
}

impl Server<'_> {
    /// Watches one of the worker's sources, if it has it.
    fn watch(&self, source: Sources) -> io::Result<()> {
        let Some(fd) = self.worker.source(source) else {
            return Ok(());
        };
        let (fd, token): (RawFd, _) = (fd.as_raw_fd(), Token(usize::from(source.bits())));
        let registry = self.poll.registry();
        registry.register(&mut SourceFd(&fd), token, Interest::READABLE)
    }

    fn run(&mut self) -> io::Result<Exit> {
        for source in Sources::all() {
            self.watch(source)?;
        }
        let listener = self.listener.as_mut().ok_or(io::ErrorKind::NotFound)?;
        let registry = self.poll.registry();
        registry.register(listener, LISTENER, Interest::READABLE)?;
        self.worker.ready();
        let mut events = Events::with_capacity(64);
        loop {
            while let Some(event) = self.worker.receive() {
                match event {
                    Event::Terminate => return Ok(Exit::SUCCESS),
                    Event::Quit => self.drain()?,
                    // The old pair is closed, and so watched no more.
                    Event::Moved => self.watch(Sources::MESH)?,
                    Event::Message { message, .. } => println!("a message: {}", message.tag),
                    _ => {}
                }
            }
            if self.listener.is_none() && self.clients.is_empty() {
                return Ok(Exit::SUCCESS);
            }
            // 0 where something was left unread.
            let timeout = self.worker.timeout_ms().map(Duration::from_millis);
            match self.poll.poll(&mut events, timeout) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
            for event in &events {
                match event.token() {
                    LISTENER => self.accept()?,
                    Token(bits) if bits < SOURCES => {
                        let sources = Sources::from_bits_truncate(bits as u8);
                        self.worker.readable(sources);
                    }
                    Token(client) => self.echo(client),
                }
            }
        }
    }

    /// Until nobody waits: mio says it once.
    fn accept(&mut self) -> io::Result<()> {
        while let Some(listener) = &self.listener {
            let Ok((mut client, _)) = listener.accept() else {
                break; // for want of descriptors: the next client brings the next try
            };
            let registry = self.poll.registry();
            registry.register(&mut client, Token(self.next), Interest::READABLE)?;
            self.clients.insert(self.next, client);
            self.next += 1;
        }
        Ok(())
    }

    /// Who waits already is served, and nobody else.
    fn drain(&mut self) -> io::Result<()> {
        self.accept()?;
        if let Some(mut listener) = self.listener.take() {
            // The siblings have copies: to close this one would not end the watch.
            self.poll.registry().deregister(&mut listener)?;
        }
        for client in self.clients.values() {
            let _ = client.shutdown(std::net::Shutdown::Read); // what has come is read still
        }
        Ok(())
    }

    fn echo(&mut self, place: usize) {
        let Some(client) = self.clients.get_mut(&place) else {
            return;
        };
        let mut room = [0; 4096];
        loop {
            match client.read(&mut room) {
                Ok(came @ 1..) if client.write_all(&room[..came]).is_ok() => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                _ => break,
            }
        }
        self.clients.remove(&place);
    }
}

fn work(worker: &mut Worker, listener: &std::net::TcpListener) -> io::Result<Exit> {
    let mut server = Server {
        worker,
        poll: Poll::new()?,
        listener: Some(TcpListener::from_std(listener.try_clone()?)),
        clients: HashMap::new(),
        next: FIRST_CLIENT,
    };
    server.run()
}

fn main() -> Result<(), Box<dyn core::error::Error>> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    println!("echo at {}", listener.local_addr()?);
    let mut service = |worker: &mut Worker| work(worker, &listener).unwrap_or(Exit::FAILURE);
    Ok(Master::new(Config::new().workers(2))?.run(&mut service)?)
}
