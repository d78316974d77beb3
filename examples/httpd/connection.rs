//! `Connection`: the bytes of one client, in and out, without ever waiting.
//!
//! ```text
//!            start      end                      sent    ready     len
//!   input  ────┬─────────┬────────     output  ───┬────────┬────────┬─
//!     answered │ to read │ free             gone  │ may go │ waits for the end of the body
//! ```
//!
//! A request costs one read and one write: everything whole that a read brought is answered, and all
//! of the answers go out in one write. While a client does not take its answers, nothing more is read
//! from it.
//!
//! ```text
//!   Open ──── an answer that says close, or nothing came in time ───► Closing ── sent ──► Lingering ──► over
//! ```
//!
//! A client that wants to keep its connection may be sending the next request at any moment, and one
//! that meets a closed socket is lost. So the end is announced: while this worker drains, an idle
//! connection stays open, and the answer to its next request says `Connection: close`. Only a client
//! that sends nothing for the whole grace is hung up on.

use core::time::Duration;
use std::time::Instant;

use forkmesh::run::{self, Worker};
use rustix::fd::{AsFd, BorrowedFd};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, Shutdown};

use crate::body::Body;
use crate::pages::Site;
use crate::request::{self, Refusal, Request, Wish};
use crate::response;

/// The longest head.
const INPUT: usize = 8 << 10;
/// With so much to send, the next request has to wait.
const MUCH_OUTPUT: usize = 64 << 10;
/// How long a client may take to notice the end of a connection that it wanted to keep.
const LINGER: Duration = Duration::from_secs(1);

/// One client, or a place for one: buffers outlive the connection.
pub(crate) struct Connection<'l> {
    socket: Option<run::Connection<'l>>,
    input: Box<[u8; INPUT]>,
    start: usize,
    end: usize,
    output: Vec<u8>,
    sent: usize,
    ready: usize,
    /// What is to be read before the last answer may go.
    body: Body,
    stage: Stage,
    due: Instant,
    /// What its descriptor is watched for; `None` for not yet.
    pub(crate) watched: Option<Want>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Open,
    /// The last answer is being sent; the client asked for the end, or this server decided it.
    Closing {
        asked: bool,
    },
    /// It is sent; what the client still sends is dropped.
    Lingering,
}

/// What a connection waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Want {
    Read,
    Write,
    /// Nothing: it is over.
    Close,
}

impl<'l> Connection<'l> {
    /// A place for a connection.
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            socket: None,
            input: Box::new([0; INPUT]),
            start: 0,
            end: 0,
            output: Vec::new(),
            sent: 0,
            ready: 0,
            body: Body::Done,
            stage: Stage::Open,
            due: now,
            watched: None,
        }
    }

    pub(crate) fn open(&mut self, socket: run::Connection<'l>, site: &Site) {
        (self.start, self.end, self.sent, self.ready) = (0, 0, 0, 0);
        self.output.clear();
        self.socket = Some(socket);
        self.body = Body::Done;
        self.stage = Stage::Open;
        self.due = site.now + site.idle;
        self.watched = None;
    }

    pub(crate) fn close(&mut self) {
        self.socket = None;
        self.output.shrink_to(MUCH_OUTPUT);
    }

    pub(crate) fn socket(&self) -> Option<BorrowedFd<'_>> {
        self.socket.as_ref().map(AsFd::as_fd)
    }

    /// Whether it has done nothing for too long.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        self.socket.is_some() && self.due <= now
    }

    /// Between two requests, or before the first.
    pub(crate) fn is_idle(&self) -> bool {
        let nothing_begun = self.start == self.end && self.body == Body::Done;
        nothing_begun && self.output.is_empty() && self.stage == Stage::Open
    }

    /// Its time is over: hangs up, unless a request has come this very moment.
    pub(crate) fn expire(&mut self, site: &mut Site, worker: &Worker) -> Want {
        if !self.is_idle() {
            return Want::Close;
        }
        match self.advance(site, worker) {
            Want::Read if self.is_idle() => self.end(false, site),
            want => want,
        }
    }

    /// Its descriptor is ready, or may be: goes as far as possible.
    pub(crate) fn advance(&mut self, site: &mut Site, worker: &Worker) -> Want {
        if self.socket.is_none() {
            return Want::Close;
        }
        if self.stage == Stage::Lingering {
            return self.drop_rest();
        }
        if self.output.is_empty() || self.sent == self.ready {
            match self.read(site) {
                Ok(0) | Err(Gone::Ended) => return Want::Close,
                Ok(_) | Err(Gone::NotYet) => {}
            }
        }
        loop {
            let more = self.process(site, worker);
            match self.flush(site) {
                Ok(()) => {}
                Err(Gone::NotYet) => return Want::Write,
                Err(Gone::Ended) => return Want::Close,
            }
            match self.stage {
                Stage::Closing { asked } if self.body == Body::Done => {
                    return self.end(asked, site);
                }
                _ if more => {}
                _ => {
                    if self.is_idle() {
                        self.due = self.due.min(site.now + site.patience());
                    }
                    return Want::Read;
                }
            }
        }
    }

    fn read(&mut self, site: &Site) -> Result<usize, Gone> {
        let was_idle = self.is_idle();
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.start > 0 {
            self.input.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        let socket = self.socket.as_ref().ok_or(Gone::Ended)?;
        let free = &mut self.input[self.end..];
        let (read, _) = rustix::net::recv(socket, free, RecvFlags::empty())?;
        self.end += read;
        if was_idle {
            // The time for a request is counted from its first byte.
            self.due = site.now + site.idle;
        }
        Ok(read)
    }

    /// Whether nothing comes behind a request and its body: in the input, or in the kernel.
    fn is_last(&self, request: &Request<'_>, behind: &[u8]) -> bool {
        let mut body = request.body;
        match body.skip(behind) {
            Ok(skipped) if body == Body::Done => behind.len() == skipped && !self.has_more(),
            // What is behind a body that is still to come cannot be known.
            _ => true,
        }
    }

    fn has_more(&self) -> bool {
        let peek = |socket| rustix::net::recv(socket, &mut [0; 1], RecvFlags::PEEK);
        self.socket()
            .is_some_and(|socket| peek(socket).is_ok_and(|(read, _)| read > 0))
    }

    /// Answers everything that is whole; whether there is more to answer than may be sent now.
    fn process(&mut self, site: &mut Site, worker: &Worker) -> bool {
        loop {
            let bytes = &self.input[self.start..self.end];
            if self.body != Body::Done {
                match self.body.skip(bytes) {
                    Ok(skipped) => self.start += skipped,
                    Err(refusal) => self.refuse(site, refusal),
                }
                if self.body != Body::Done {
                    return false;
                }
                self.ready = self.output.len();
                continue;
            }
            if self.stage != Stage::Open || bytes.is_empty() {
                return false;
            }
            if self.output.len() - self.sent >= MUCH_OUTPUT {
                return true;
            }
            match request::read(bytes) {
                Ok(Some((mut request, length))) => {
                    let asked = request.connection == Wish::Close;
                    if !asked && site.ends_it(|| self.is_last(&request, &bytes[length..])) {
                        request.connection = Wish::Close;
                    }
                    if request.body != Body::Done && request.expects_leave {
                        self.output.extend_from_slice(response::CONTINUE);
                        self.ready = self.output.len();
                    }
                    site.answer(worker, &request, &mut self.output);
                    if request.connection == Wish::Close {
                        self.stage = Stage::Closing { asked };
                    }
                    self.body = request.body;
                    self.start += length;
                    if self.body == Body::Done {
                        self.ready = self.output.len();
                    }
                }
                Ok(None) if bytes.len() < INPUT => return false,
                Ok(None) => self.refuse(site, Refusal::head_too_large(bytes)),
                Err(refusal) => self.refuse(site, refusal),
            }
        }
    }

    /// The last answer: what was to be said after a body is not said, nor anything after this.
    fn refuse(&mut self, site: &mut Site, refusal: Refusal) {
        self.output.truncate(self.ready);
        site.refuse(refusal, &mut self.output);
        self.ready = self.output.len();
        self.body = Body::Done;
        self.stage = Stage::Closing { asked: false };
    }

    fn flush(&mut self, site: &Site) -> Result<(), Gone> {
        while self.sent < self.ready {
            let socket = self.socket.as_ref().ok_or(Gone::Ended)?;
            let bytes = &self.output[self.sent..self.ready];
            self.sent += rustix::net::send(socket, bytes, SendFlags::NOSIGNAL)?;
            self.due = site.now + site.idle;
        }
        if self.sent == self.output.len() {
            self.output.clear();
            (self.sent, self.ready) = (0, 0);
        }
        Ok(())
    }

    /// A socket that is closed with unread bytes resets the connection, and the client may lose the
    /// answer: so the rest is read first, unless the client has promised that there is none.
    fn end(&mut self, asked: bool, site: &Site) -> Want {
        if asked && self.start == self.end {
            return Want::Close;
        }
        self.stage = Stage::Lingering;
        self.due = site.now + LINGER;
        match self.socket() {
            Some(socket) if rustix::net::shutdown(socket, Shutdown::Write).is_ok() => Want::Read,
            _ => Want::Close,
        }
    }

    /// One read a turn, whatever comes: others wait too.
    fn drop_rest(&mut self) -> Want {
        let Some(socket) = &self.socket else {
            return Want::Close;
        };
        match rustix::net::recv(socket, self.input.as_mut_slice(), RecvFlags::empty()) {
            Ok((0, _)) => Want::Close,
            Ok(_) | Err(Errno::AGAIN | Errno::INTR) => Want::Read,
            Err(_) => Want::Close,
        }
    }
}

/// Why nothing was read or sent.
enum Gone {
    NotYet,
    Ended,
}

impl core::convert::From<Errno> for Gone {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::AGAIN | Errno::INTR => Self::NotYet,
            _ => Self::Ended,
        }
    }
}
