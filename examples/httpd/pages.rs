//! The pages: `/` says who answers, `/mesh` shows who holds what, `/tell` sends to a sibling.

use core::fmt::Write;
use core::time::Duration;
use std::time::Instant;

use forkmesh::channel::SendFault;
use forkmesh::run::{Sender, Worker};
use forkmesh::table::SlotIndex;
use forkmesh::wire::Message;

use crate::generation::Generation;
use crate::log::Log;
use crate::mesh;
use crate::request::{Method, Refusal, Request, Wish};
use crate::response::{self, Date, Form, Status};

/// The tag of a message whose payload is text, with zeros behind it.
const TEXT: u32 = 1;

const HELP: &str = "there is:  /  /mesh  /tell?slot=J&text=up%20to%2016%20bytes\n";

/// What all connections of a worker share.
pub(crate) struct Site {
    /// When this turn of the loop began.
    pub(crate) now: Instant,
    /// How long a connection may do nothing.
    pub(crate) idle: Duration,
    /// How long it may do nothing while this worker drains.
    pub(crate) drain_idle: Duration,
    /// While it drains: until when clients that always have one more request are indulged.
    pub(crate) drains: Option<Instant>,
    pub(crate) date: Date,
    pub(crate) log: Option<Log>,
    hello: String,
    /// This worker, as the log names it.
    who: String,
    /// The page `/`.
    home: String,
    page: String,
    last: Option<(Sender, [u8; 16])>,
}

impl Site {
    pub(crate) fn new(worker: &Worker, generation: &mut Generation, name: &str) -> Self {
        let (id, number, pid) = (worker.id(), worker.number(), std::process::id());
        let slot = id.index().as_usize();
        let (epoch, settings) = (worker.epoch(), &generation.settings);
        let hello = format!("hello from slot {id}, worker {number}, pid {pid}\n");
        let home = format!(
            "{hello}epoch {epoch}\nworker {number}\nslot {slot}\npid {pid}\nbinary {name}\n{}\n",
            settings.text
        );
        Self {
            now: Instant::now(),
            idle: settings.idle,
            drain_idle: settings.drain_idle,
            drains: None,
            date: Date::new(),
            log: generation.log.take(),
            hello,
            who: format!("pid {pid} worker {number}"),
            home,
            page: String::new(),
            last: None,
        }
    }

    /// How long an idle connection may go on doing nothing.
    pub(crate) fn patience(&self) -> Duration {
        match self.drains {
            None => self.idle,
            Some(_) => self.drain_idle,
        }
    }

    /// Whether this worker wants an answer to be the last on its connection: when it drains, and
    /// nothing comes behind the request, or was let come long enough.
    pub(crate) fn ends_it(&self, is_last: impl FnOnce() -> bool) -> bool {
        self.drains
            .is_some_and(|until| self.now >= until || is_last())
    }

    /// A message came; what has another tag is nothing that this server sends.
    pub(crate) fn remember(&mut self, from: Sender, message: Message) {
        if message.tag == TEXT {
            self.last = Some((from, message.payload));
        }
    }

    /// Appends the answer to a request. The connection stays where the client and this worker agree.
    pub(crate) fn answer(&mut self, worker: &Worker, request: &Request<'_>, output: &mut Vec<u8>) {
        let form = Form {
            connection: request.connection,
            head_only: request.method == Method::Head,
        };
        self.page.clear();
        let status = match (request.method, request.path) {
            (Method::Other, _) => {
                self.page.push_str("here one can GET, and HEAD\n");
                Status::MethodNotAllowed
            }
            (_, "/") => {
                self.page.push_str(&self.home);
                Status::Ok
            }
            (_, "/mesh") => {
                self.mesh(worker);
                Status::Ok
            }
            (_, "/tell") => tell(worker, request.query, &mut self.page),
            _ => {
                self.page.push_str(HELP);
                Status::NotFound
            }
        };
        self.note(request.method.name(), request.path, status);
        response::write(output, &self.date, status, form, self.page.as_bytes());
    }

    /// Appends why a request is not answered.
    pub(crate) fn refuse(&mut self, refusal: Refusal, output: &mut Vec<u8>) {
        let form = Form {
            connection: Wish::Close,
            head_only: false,
        };
        self.page.clear();
        // A String takes everything, here and below.
        let _ = writeln!(self.page, "{}", refusal.why);
        self.note("-", "-", refusal.status);
        response::write(
            output,
            &self.date,
            refusal.status,
            form,
            self.page.as_bytes(),
        );
    }

    fn note(&mut self, method: &str, path: &str, status: Status) {
        if let Some(log) = &mut self.log {
            log.note(&self.who, method, path, status);
        }
    }

    fn mesh(&mut self, worker: &Worker) {
        self.page.push_str(&self.hello);
        self.page.push('\n');
        mesh::write(&mut self.page, worker);
        let _ = match &self.last {
            None => writeln!(self.page, "\nlast message: none"),
            Some((from, payload)) => {
                let text = String::from_utf8_lossy(payload);
                let text = text.trim_end_matches('\0');
                let claimed = from
                    .claimed
                    .map_or("nobody".to_owned(), |id| id.to_string());
                let pid = from
                    .pid
                    .map_or("unknown".to_owned(), |pid| pid.as_i32().to_string());
                let known = if from.known { "known" } else { "not known" };
                writeln!(
                    self.page,
                    "\nlast message: {text:?} from slot {claimed}, pid {pid}, {known}"
                )
            }
        };
    }
}

/// Sends a text to a sibling, and says on the page whether that went well.
fn tell(worker: &Worker, query: &str, page: &mut String) -> Status {
    let (status, said) = match try_tell(worker, query) {
        Ok(said) => (Status::Ok, said),
        Err((status, why)) => (status, format!("not sent: {why}")),
    };
    page.push_str(&said);
    page.push('\n');
    status
}

fn try_tell(worker: &Worker, query: &str) -> Result<String, (Status, String)> {
    let bad = |why: &str| (Status::BadRequest, why.to_owned());
    let value = |name: &str| {
        let mut fields = query.split('&').filter_map(|field| field.split_once('='));
        fields
            .find(|(field, _)| *field == name)
            .map(|(_, value)| value)
    };
    let slot = value("slot").ok_or_else(|| bad("which slot? say slot=J"))?;
    let text = value("text").ok_or_else(|| bad("which text? say text=..."))?;
    let index = slot.parse().ok().and_then(SlotIndex::new);
    let index = index.ok_or_else(|| bad("a slot is a number from 0 to 1023"))?;
    let bytes = decode(text).ok_or_else(|| bad("a percent sign needs two hexadecimal digits"))?;
    let mut payload = [0; 16];
    let room = payload.get_mut(..bytes.len());
    let room = room.ok_or_else(|| bad("a text has 16 bytes at the most"))?;
    room.copy_from_slice(&bytes);

    if index == worker.id().index() {
        return Err((
            Status::Conflict,
            "this worker has that slot itself".to_owned(),
        ));
    }
    let sibling = worker.sibling_at(index);
    let sibling =
        sibling.ok_or_else(|| (Status::NotFound, format!("no worker has slot {slot}")))?;
    match worker.send(sibling, Message::new(TEXT, payload)) {
        Ok(()) => Ok(format!("sent to slot {sibling}")),
        Err(error) if error.fault == SendFault::Gone => {
            Err((Status::NotFound, format!("slot {sibling}: {error}")))
        }
        Err(error) => Err((Status::Unavailable, format!("slot {sibling}: {error}"))),
    }
}

/// Percent-decoded; a plus sign is a plus sign.
fn decode(text: &str) -> Option<Vec<u8>> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::new();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => {
                let mut digit = || char::from(bytes.next()?).to_digit(16);
                (digit()? << 4 | digit()?) as u8
            }
            plain => plain,
        });
    }
    Some(decoded)
}
