//! The load: clients that ask all the time, count their requests, and keep every failure.

use core::fmt;
use core::net::SocketAddr;
use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Instant;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// How a client behaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Manner {
    /// It asks again and again over one connection, until the server ends it.
    Keeps,
    /// It opens a connection for each request, and says so.
    Closes,
    /// It keeps its connection, and sends each request in two halves.
    Halves,
}

const CLIENTS: [Manner; 6] = [
    Manner::Keeps,
    Manner::Keeps,
    Manner::Closes,
    Manner::Closes,
    Manner::Halves,
    Manner::Halves,
];

/// A request without its answer.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    at: Duration,
    round: String,
    client: String,
    what: String,
}

/// Clients at work, each in a thread.
pub(crate) struct Load {
    shared: Arc<Shared>,
    clients: Vec<JoinHandle<()>>,
}

struct Shared {
    address: SocketAddr,
    begin: Instant,
    asked: AtomicU64,
    state: Mutex<State>,
    /// What the clients do has changed, or is to.
    changed: Condvar,
}

struct State {
    wish: Wish,
    resting: usize,
    round: String,
    failures: Vec<Failure>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Wish {
    Ask,
    Rest,
    End,
}

impl Load {
    pub(crate) fn start(address: SocketAddr) -> Self {
        let shared = Arc::new(Shared {
            address,
            begin: Instant::now(),
            asked: AtomicU64::new(0),
            state: Mutex::new(State {
                wish: Wish::Rest,
                resting: 0,
                round: String::new(),
                failures: Vec::new(),
            }),
            changed: Condvar::new(),
        });
        let client = |(number, manner)| {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || Client::new(number, manner, &shared).run())
        };
        let clients = CLIENTS.into_iter().enumerate().map(client).collect();
        let load = Self { shared, clients };
        load.rest();
        load
    }

    /// What failures are said to have happened in.
    pub(crate) fn names_round(&self, round: usize, name: &str) {
        self.shared.state().round = format!("round {round} ({name})");
        self.go_on();
    }

    /// How many requests were answered so far.
    pub(crate) fn asked(&self) -> u64 {
        self.shared.asked.load(Ordering::Relaxed)
    }

    pub(crate) fn failures(&self) -> usize {
        self.shared.state().failures.len()
    }

    /// Has all clients close their connections and wait; returns when they do.
    pub(crate) fn rest(&self) {
        let mut state = self.shared.state();
        state.wish = Wish::Rest;
        self.shared.changed.notify_all();
        while state.resting < CLIENTS.len() {
            let (next, waited) = self
                .shared
                .changed
                .wait_timeout(state, 2 * PATIENCE)
                .expect("no client panics");
            assert!(!waited.timed_out(), "a client does not come to rest");
            state = next;
        }
    }

    pub(crate) fn go_on(&self) {
        self.shared.state().wish = Wish::Ask;
        self.shared.changed.notify_all();
    }

    /// Ends it: how many requests were answered, and which were not.
    pub(crate) fn end(self) -> (u64, Vec<Failure>) {
        self.shared.state().wish = Wish::End;
        self.shared.changed.notify_all();
        for client in self.clients {
            client.join().expect("no client panics");
        }
        let failures = self.shared.state().failures.clone();
        (self.shared.asked.load(Ordering::Relaxed), failures)
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no client panics")
    }
}

/// One client.
struct Client<'s> {
    number: usize,
    manner: Manner,
    shared: &'s Shared,
    connection: Option<TcpStream>,
}

impl<'s> Client<'s> {
    fn new(number: usize, manner: Manner, shared: &'s Shared) -> Self {
        Self {
            number,
            manner,
            shared,
            connection: None,
        }
    }

    fn run(mut self) {
        while self.goes_on() {
            match self.ask() {
                Ok(()) => drop(self.shared.asked.fetch_add(1, Ordering::Relaxed)),
                Err(what) => {
                    let mut state = self.shared.state();
                    let failure = Failure {
                        at: self.shared.begin.elapsed(),
                        round: state.round.clone(),
                        client: format!("client {} ({:?})", self.number, self.manner),
                        what,
                    };
                    state.failures.push(failure);
                }
            }
        }
    }

    /// Thinks for a moment, then does as it is told; false at the end.
    fn goes_on(&mut self) -> bool {
        let mut state = self.think();
        while state.wish == Wish::Rest {
            self.connection = None;
            state.resting += 1;
            self.shared.changed.notify_all();
            state = self.shared.changed.wait(state).expect("no client panics");
            state.resting -= 1;
        }
        state.wish == Wish::Ask
    }

    /// The time between two requests, cut short when there shall be none.
    fn think(&self) -> MutexGuard<'s, State> {
        let time = Duration::from_millis(match self.manner {
            Manner::Keeps => 1,
            Manner::Closes => 4,
            Manner::Halves => 10,
        });
        let changed = &self.shared.changed;
        let thinking =
            changed.wait_timeout_while(self.shared.state(), time, |state| state.wish == Wish::Ask);
        thinking.expect("no client panics").0
    }

    /// One request, and its whole answer.
    fn ask(&mut self) -> Result<(), String> {
        let (mut connection, kept) = match self.connection.take() {
            Some(connection) => (connection, "kept"),
            None => (self.connect()?, "new"),
        };
        let said = |why: io::Error| said(&format!("sending over a {kept} connection"), &why);
        match self.manner {
            Manner::Keeps => connection.write_all(KEEPING).map_err(said)?,
            Manner::Closes => connection.write_all(CLOSING).map_err(said)?,
            Manner::Halves => {
                let (first, second) = KEEPING.split_at(KEEPING.len() / 2);
                connection.write_all(first).map_err(said)?;
                drop(self.think());
                connection.write_all(second).map_err(said)?;
            }
        }
        let closes = read_answer(&mut connection)
            .map_err(|why| format!("{why}, over a {kept} connection"))?;
        if !closes {
            self.connection = Some(connection);
        }
        Ok(())
    }

    fn connect(&self) -> Result<TcpStream, String> {
        let connect = || {
            let stream = TcpStream::connect(self.shared.address)?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_write_timeout(Some(PATIENCE))?;
            Ok(stream)
        };
        connect().map_err(|why| said("connecting", &why))
    }
}

const KEEPING: &[u8] = b"GET / HTTP/1.1\r\nHost: torture\r\n\r\n";
const CLOSING: &[u8] = b"GET / HTTP/1.1\r\nHost: torture\r\nConnection: close\r\n\r\n";

/// Reads one answer to its last byte; whether it is the last on its connection.
fn read_answer(connection: &mut TcpStream) -> Result<bool, String> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            break end + 4;
        }
        read(connection, &mut bytes)?;
    };
    let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
    if !head.starts_with("http/1.1 200 ") {
        return Err(format!("not 200: {head:?}"));
    }
    let field = |name: &str| {
        let mut lines = head.split("\r\n");
        lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    };
    let length: usize = field("content-length")
        .and_then(|length| length.parse().ok())
        .ok_or_else(|| format!("no length: {head:?}"))?;
    let closes = field("connection") == Some("close");
    while bytes.len() < end + length {
        read(connection, &mut bytes)?;
    }
    if bytes.len() > end + length {
        return Err("more than the answer".to_owned());
    }
    if closes {
        // The end must come properly: a reset takes answers with it.
        let more = connection.read(&mut [0; 16]);
        match more.map_err(|why| said("waiting for the end", &why))? {
            0 => {}
            more => return Err(format!("{more} bytes behind the last answer")),
        }
    }
    Ok(closes)
}

fn read(connection: &mut TcpStream, bytes: &mut Vec<u8>) -> Result<(), String> {
    let mut more = [0; 4096];
    let before = bytes.len();
    match connection.read(&mut more) {
        Ok(0) => Err(format!("the end after {before} bytes")),
        Ok(read) => {
            bytes.extend_from_slice(&more[..read]);
            Ok(())
        }
        Err(why) => Err(said(&format!("reading, after {before} bytes"), &why)),
    }
}

fn said(doing: &str, why: &io::Error) -> String {
    match why.raw_os_error() {
        Some(errno) => format!("{doing}: errno {errno}, {why}"),
        None => format!("{doing}: {why}"),
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            at,
            round,
            client,
            what,
        } = self;
        write!(f, "{at:.3?}, {round}, {client}: {what}")
    }
}
