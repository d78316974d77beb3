//! `Request`: what a client asks for, or why it is refused.

use core::mem::MaybeUninit;

use httparse::{Header, Status as Parsed};

use crate::body::{self, Body};
use crate::response::Status;

/// How many header lines a request may have.
const MOST_HEADERS: usize = 64;

/// A whole head.
#[derive(Debug)]
pub(crate) struct Request<'b> {
    pub(crate) method: Method,
    pub(crate) path: &'b str,
    /// What follows the question mark, or nothing.
    pub(crate) query: &'b str,
    pub(crate) connection: Wish,
    pub(crate) body: Body,
    /// Whether the client waits for leave to send the body.
    pub(crate) expects_leave: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Method {
    Get,
    Head,
    Other,
}

impl Method {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Other => "OTHER",
        }
    }
}

/// What the client wants to become of the connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Wish {
    /// HTTP/1.1: it stays, without a word.
    Stay,
    /// HTTP/1.0 with `keep-alive`: it stays, and the answer must say so.
    SaidStay,
    Close,
}

/// A request that is not answered as asked; the connection is closed after it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Refusal {
    pub(crate) status: Status,
    pub(crate) why: &'static str,
}

impl Refusal {
    pub(crate) const BODY_TOO_LARGE: Self =
        Self::new(Status::ContentTooLarge, "a body may have 1 MiB");

    const fn new(status: Status, why: &'static str) -> Self {
        Self { status, why }
    }

    pub(crate) const fn bad(why: &'static str) -> Self {
        Self::new(Status::BadRequest, why)
    }

    /// A head that does not fit into the input buffer.
    pub(crate) fn head_too_large(bytes: &[u8]) -> Self {
        if bytes.contains(&b'\n') {
            Self::new(Status::HeadTooLarge, "a head may have 8 KiB")
        } else {
            Self::new(Status::UriTooLong, "a request line may have 8 KiB")
        }
    }
}

/// The request at the start of these bytes and the length of its head; `None` until it is whole.
pub(crate) fn read(bytes: &[u8]) -> Result<Option<(Request<'_>, usize)>, Refusal> {
    let mut headers = [const { MaybeUninit::uninit() }; MOST_HEADERS];
    let mut head = httparse::Request::new(&mut []);
    let length = match head.parse_with_uninit_headers(bytes, &mut headers) {
        Ok(Parsed::Complete(length)) => length,
        Ok(Parsed::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => {
            return Err(Refusal::new(
                Status::HeadTooLarge,
                "a head may have 64 lines",
            ));
        }
        Err(httparse::Error::Version) => {
            let why = "the versions here are 1.0 and 1.1";
            return Err(Refusal::new(Status::VersionNotSupported, why));
        }
        Err(_) => return Err(Refusal::bad("this is not HTTP")),
    };
    let (Some(method), Some(target), Some(minor)) = (head.method, head.path, head.version) else {
        return Err(Refusal::bad("this is not HTTP"));
    };
    let fields = Fields::read(head.headers)?;
    let (path, query) = split(target);
    let request = Request {
        method: match method {
            "GET" => Method::Get,
            "HEAD" => Method::Head,
            _ => Method::Other,
        },
        path,
        query,
        connection: fields.wish(minor)?,
        body: fields.body(minor)?,
        expects_leave: fields.expects_leave && minor > 0,
    };
    Ok(Some((request, length)))
}

/// A target may be a path, or a whole URI.
fn split(target: &str) -> (&str, &str) {
    let path = match target.split_once("://") {
        Some((scheme, rest)) if !scheme.contains(['/', '?']) => {
            rest.find(['/', '?']).map_or("/", |start| &rest[start..])
        }
        _ => target,
    };
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    (if path.is_empty() { "/" } else { path }, query)
}

/// The header fields that matter here.
#[derive(Default)]
struct Fields {
    hosts: u32,
    close: bool,
    keep_alive: bool,
    length: Option<u64>,
    coding: Coding,
    expects_leave: bool,
}

#[derive(Default, PartialEq, Eq)]
enum Coding {
    #[default]
    None,
    Chunked,
    Unknown,
}

impl Fields {
    fn read(headers: &[Header<'_>]) -> Result<Self, Refusal> {
        let mut fields = Self::default();
        for Header { name, value } in headers {
            // The length tells most other names apart, for nothing.
            match name.len() {
                4 if name.eq_ignore_ascii_case("host") => fields.hosts += 1,
                6 if name.eq_ignore_ascii_case("expect") => {
                    fields.expects_leave |= value.eq_ignore_ascii_case(b"100-continue");
                }
                10 if name.eq_ignore_ascii_case("connection") => {
                    for token in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
                        fields.close |= token.eq_ignore_ascii_case(b"close");
                        fields.keep_alive |= token.eq_ignore_ascii_case(b"keep-alive");
                    }
                }
                14 if name.eq_ignore_ascii_case("content-length") => {
                    let length = number(value).ok_or(Refusal::bad("a length is a number"))?;
                    if fields
                        .length
                        .replace(length)
                        .is_some_and(|other| other != length)
                    {
                        return Err(Refusal::bad("a body has one length"));
                    }
                }
                17 if name.eq_ignore_ascii_case("transfer-encoding") => {
                    let first = fields.coding == Coding::None;
                    fields.coding = match first && value.eq_ignore_ascii_case(b"chunked") {
                        true => Coding::Chunked,
                        false => Coding::Unknown,
                    };
                }
                _ => {}
            }
        }
        Ok(fields)
    }

    fn wish(&self, minor: u8) -> Result<Wish, Refusal> {
        if self.hosts > 1 || (self.hosts == 0 && minor > 0) {
            return Err(Refusal::bad("a request names one host"));
        }
        Ok(match minor {
            _ if self.close => Wish::Close,
            0 if self.keep_alive => Wish::SaidStay,
            0 => Wish::Close,
            _ => Wish::Stay,
        })
    }

    /// What is unclear about where a body ends is refused: a proxy in front may see another end.
    fn body(&self, minor: u8) -> Result<Body, Refusal> {
        match (&self.coding, self.length) {
            (Coding::None, None | Some(0)) => Ok(Body::Done),
            (Coding::None, Some(length)) if length > body::MOST_BYTES => {
                Err(Refusal::BODY_TOO_LARGE)
            }
            (Coding::None, Some(length)) => Ok(Body::Length(length)),
            (_, Some(_)) => Err(Refusal::bad("a body has a length or a coding, not both")),
            (_, None) if minor == 0 => Err(Refusal::bad("HTTP/1.0 has no codings")),
            (Coding::Chunked, None) => Ok(Body::CHUNKED),
            (Coding::Unknown, None) => Err(Refusal::new(
                Status::NotImplemented,
                "the coding here is chunked",
            )),
        }
    }
}

/// Digits, and nothing else; what is too large for the type is too large for everything.
fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digit = |number: u64, digit: &u8| {
        number
            .saturating_mul(10)
            .saturating_add((digit - b'0').into())
    };
    Some(digits.iter().fold(0, digit))
}
