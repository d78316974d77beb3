//! Responses: the status line, the fields, and the date that is made once a second.

use std::io::Write;
use std::time::SystemTime;

use crate::request::Wish;

/// Every status that this server answers with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Status {
    Ok,
    BadRequest,
    NotFound,
    MethodNotAllowed,
    Conflict,
    ContentTooLarge,
    UriTooLong,
    HeadTooLarge,
    NotImplemented,
    Unavailable,
    VersionNotSupported,
}

/// What a response is like, beside its status and content.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Form {
    pub(crate) connection: Wish,
    /// An answer to HEAD: all of it but the content.
    pub(crate) head_only: bool,
}

/// Leave to send a body.
pub(crate) const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

impl Status {
    const fn line(self) -> &'static str {
        match self {
            Self::Ok => "HTTP/1.1 200 OK\r\n",
            Self::BadRequest => "HTTP/1.1 400 Bad Request\r\n",
            Self::NotFound => "HTTP/1.1 404 Not Found\r\n",
            Self::MethodNotAllowed => "HTTP/1.1 405 Method Not Allowed\r\nAllow: GET, HEAD\r\n",
            Self::Conflict => "HTTP/1.1 409 Conflict\r\n",
            Self::ContentTooLarge => "HTTP/1.1 413 Content Too Large\r\n",
            Self::UriTooLong => "HTTP/1.1 414 URI Too Long\r\n",
            Self::HeadTooLarge => "HTTP/1.1 431 Request Header Fields Too Large\r\n",
            Self::NotImplemented => "HTTP/1.1 501 Not Implemented\r\n",
            Self::Unavailable => "HTTP/1.1 503 Service Unavailable\r\n",
            Self::VersionNotSupported => "HTTP/1.1 505 HTTP Version Not Supported\r\n",
        }
    }

    pub(crate) fn code(self) -> &'static str {
        &self.line()["HTTP/1.1 ".len()..][..3]
    }
}

/// Appends a whole response.
pub(crate) fn write(output: &mut Vec<u8>, date: &Date, status: Status, form: Form, content: &[u8]) {
    output.extend_from_slice(status.line().as_bytes());
    output.extend_from_slice(date.field());
    output.extend_from_slice(b"Content-Type: text/plain; charset=utf-8\r\nContent-Length: ");
    write_number(output, content.len());
    output.extend_from_slice(match form.connection {
        Wish::Stay => b"\r\n\r\n",
        Wish::SaidStay => b"\r\nConnection: keep-alive\r\n\r\n",
        Wish::Close => b"\r\nConnection: close\r\n\r\n",
    });
    if !form.head_only {
        output.extend_from_slice(content);
    }
}

/// What `write!` does, in a tenth of its time.
fn write_number(output: &mut Vec<u8>, number: usize) {
    let mut digits = [0; 20];
    let mut start = digits.len();
    let mut rest = number;
    loop {
        start -= 1;
        digits[start] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    output.extend_from_slice(&digits[start..]);
}

/// The Server and Date fields, made anew when a second has passed.
pub(crate) struct Date {
    second: u64,
    field: Vec<u8>,
}

impl Date {
    pub(crate) fn new() -> Self {
        let mut date = Self {
            second: u64::MAX,
            field: Vec::new(),
        };
        date.refresh();
        date
    }

    /// To be called once a turn of the loop: the clock is read here, and for no request.
    pub(crate) fn refresh(&mut self) {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let second = now.map_or(0, |since| since.as_secs());
        if second != self.second {
            self.second = second;
            self.field.clear();
            write_date(&mut self.field, second);
        }
    }

    fn field(&self) -> &[u8] {
        &self.field
    }
}

const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

fn write_date(field: &mut Vec<u8>, second: u64) {
    let (days, clock) = (second / 86_400, second % 86_400);
    let (year, month, day) = calendar(days);
    // A Vec takes everything.
    let _ = write!(
        field,
        "Server: forkmesh-httpd\r\nDate: {}, {day:02} {} {year} {:02}:{:02}:{:02} GMT\r\n",
        DAYS[(days % 7) as usize],
        MONTHS[month],
        clock / 3_600,
        clock / 60 % 60,
        clock % 60,
    );
}

/// Year, month from 0 and day from 1 of so many days after 1 January 1970.
fn calendar(days: u64) -> (u64, usize, u64) {
    let is_leap = |year: u64| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    let (mut year, mut left) = (1970, days);
    loop {
        let length = if is_leap(year) { 366 } else { 365 };
        if left < length {
            break;
        }
        left -= length;
        year += 1;
    }
    let february = if is_leap(year) { 29 } else { 28 };
    let lengths = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 0;
    while left >= lengths[month] {
        left -= lengths[month];
        month += 1;
    }
    (year, month, left + 1)
}
