//! Request bodies: no page wants one, so they are read and dropped, up to a bound.

use crate::request::Refusal;

/// The largest body that is read, its framing included; a larger one is refused with 413.
pub(crate) const MOST_BYTES: u64 = 1 << 20;

/// The longest line of a chunked body: far less than the input buffer, so that a whole one fits.
const MOST_LINE: usize = 1024;

/// What is left to read of the body of the request that was answered last.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Body {
    /// Nothing.
    Done,
    /// So many bytes.
    Length(u64),
    /// Chunks; so many bytes were read.
    Chunked(Part, u64),
}

/// Where in a chunked body.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Part {
    Size,
    /// Data, so many bytes of it, and the line end behind it.
    Data(u64),
    LineEnd,
    /// Lines behind the last chunk, until an empty one.
    Trailer,
}

impl Body {
    pub(crate) const CHUNKED: Self = Self::Chunked(Part::Size, 0);

    /// How many of these bytes belong to the body. When not all do and the body is not done, the
    /// rest is the beginning of a line.
    pub(crate) fn skip(&mut self, bytes: &[u8]) -> Result<usize, Refusal> {
        let mut skipped = 0;
        loop {
            let rest = &bytes[skipped..];
            let step = match *self {
                Self::Done => return Ok(skipped),
                Self::Length(left) => {
                    let step = take(left, rest);
                    *self = match left - step as u64 {
                        0 => Self::Done,
                        left => Self::Length(left),
                    };
                    step
                }
                Self::Chunked(part, read) => {
                    let (step, next) = match part.skip(rest)? {
                        Some(step) => step,
                        None => return Ok(skipped),
                    };
                    let read = read + step as u64;
                    *self = match next {
                        _ if read > MOST_BYTES => return Err(Refusal::BODY_TOO_LARGE),
                        Some(part) => Self::Chunked(part, read),
                        None => Self::Done,
                    };
                    step
                }
            };
            skipped += step;
            if step == 0 {
                return Ok(skipped);
            }
        }
    }
}

impl Part {
    /// How many bytes belong to this part, and what follows: `Some(None)` inside is the end of the
    /// body, `None` a line that is not whole yet.
    fn skip(self, bytes: &[u8]) -> Result<Option<(usize, Option<Self>)>, Refusal> {
        match self {
            Self::Data(left) if left > MOST_BYTES => Err(Refusal::BODY_TOO_LARGE),
            Self::Data(left) => {
                let step = take(left, bytes);
                let next = match left - step as u64 {
                    0 => Self::LineEnd,
                    left => Self::Data(left),
                };
                Ok(Some((step, Some(next))))
            }
            Self::Size => match httparse::parse_chunk_size(bytes) {
                Ok(httparse::Status::Complete((step, 0))) => Ok(Some((step, Some(Self::Trailer)))),
                Ok(httparse::Status::Complete((step, size))) => {
                    Ok(Some((step, Some(Self::Data(size)))))
                }
                Ok(httparse::Status::Partial) if bytes.len() < MOST_LINE => Ok(None),
                _ => Err(Refusal::bad("a chunk needs a size")),
            },
            Self::LineEnd => match line(bytes)? {
                Some((step, true)) => Ok(Some((step, Some(Self::Size)))),
                Some((_, false)) => Err(Refusal::bad("a chunk is longer than it says")),
                None => Ok(None),
            },
            Self::Trailer => match line(bytes)? {
                Some((step, true)) => Ok(Some((step, None))),
                Some((step, false)) => Ok(Some((step, Some(Self::Trailer)))),
                None => Ok(None),
            },
        }
    }
}

fn take(left: u64, bytes: &[u8]) -> usize {
    usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()))
}

/// The length of the first line with its end, and whether it is empty otherwise.
fn line(bytes: &[u8]) -> Result<Option<(usize, bool)>, Refusal> {
    match bytes.iter().take(MOST_LINE).position(|byte| *byte == b'\n') {
        Some(end) => Ok(Some((end + 1, matches!(&bytes[..end], b"" | b"\r")))),
        None if bytes.len() < MOST_LINE => Ok(None),
        None => Err(Refusal::bad("a line of a chunked body is too long")),
    }
}
