//! A client that says exactly what a test wants it to, and reads answers with a deadline.

use core::net::SocketAddr;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;

use crate::server::DEADLINE;

/// One connection.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    /// Read, and not yet part of an answer.
    rest: Vec<u8>,
}

/// One answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    fields: Vec<(String, String)>,
    pub(crate) content: String,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("the server listens");
        let timeout = Some(DEADLINE);
        stream
            .set_read_timeout(timeout)
            .expect("a timeout can be set");
        stream
            .set_write_timeout(timeout)
            .expect("a timeout can be set");
        stream.set_nodelay(true).expect("an option can be set");
        Self {
            stream,
            rest: Vec::new(),
        }
    }

    pub(crate) fn send(&mut self, text: &str) {
        self.stream
            .write_all(text.as_bytes())
            .expect("the server reads");
    }

    /// Asks for a page, and reads the answer.
    pub(crate) fn ask(&mut self, path: &str) -> Answer {
        self.send(&get(path));
        self.answer()
    }

    /// The next answer to a GET.
    pub(crate) fn answer(&mut self) -> Answer {
        let mut answer = self.head();
        let length = answer
            .field("Content-Length")
            .expect("an answer has a length");
        let length = length.parse().expect("a length is a number");
        while self.rest.len() < length {
            assert!(self.read() > 0, "the end came in the middle of an answer");
        }
        let content = self.rest.drain(..length).collect();
        answer.content = String::from_utf8(content).expect("an answer is text");
        answer
    }

    /// The next answer that has no content: one to HEAD.
    pub(crate) fn head(&mut self) -> Answer {
        let end = loop {
            if let Some(end) = self.rest.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                break end;
            }
            assert!(self.read() > 0, "the end came instead of an answer");
        };
        let head: Vec<u8> = self.rest.drain(..end + 4).collect();
        let head = String::from_utf8(head).expect("a head is text");
        let mut lines = head.trim_end().split("\r\n");
        let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1.1 "));
        let status = status.and_then(|line| line.get(..3)?.parse().ok());
        let field = |line: &str| {
            let (name, value) = line.split_once(": ").expect("a field has a value");
            (name.to_owned(), value.to_owned())
        };
        Answer {
            status: status.unwrap_or_else(|| panic!("no status in {head:?}")),
            fields: lines.map(field).collect(),
            content: String::new(),
        }
    }

    /// Nothing comes any more: the server has ended the connection, and properly.
    pub(crate) fn is_over(&mut self) {
        let read = self.read();
        let rest = String::from_utf8_lossy(&self.rest);
        assert_eq!(read, 0, "something came instead of the end: {rest:?}");
    }

    /// Whether something has come, or the end; does not wait.
    pub(crate) fn has_more(&mut self) -> bool {
        self.stream
            .set_nonblocking(true)
            .expect("a mode can be set");
        let peeked = self.stream.peek(&mut [0]);
        self.stream
            .set_nonblocking(false)
            .expect("a mode can be set");
        !matches!(peeked, Err(error) if error.kind() == ErrorKind::WouldBlock)
    }

    fn read(&mut self) -> usize {
        let mut bytes = [0; 4096];
        let read = self.stream.read(&mut bytes);
        let read = read.unwrap_or_else(|why| panic!("waiting for the server: {why}"));
        self.rest.extend_from_slice(&bytes[..read]);
        read
    }
}

impl Answer {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let mut fields = self.fields.iter();
        let field = fields.find(|(field, _)| field.eq_ignore_ascii_case(name));
        field.map(|(_, value)| value.as_str())
    }

    pub(crate) fn closes(&self) -> bool {
        self.field("Connection") == Some("close")
    }
}

/// A request for a page, as most clients make it.
pub(crate) fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n")
}
