//! `Text`: what is written into room of a fixed size, and cut where that ends.

use core::fmt::{self, Write as _};

/// Up to `N` bytes.
pub(super) struct Text<const N: usize> {
    bytes: [u8; N],
    length: usize,
}

impl<const N: usize> Text<N> {
    pub(super) fn of(text: impl fmt::Display) -> Self {
        let mut written = Self {
            bytes: [0; N],
            length: 0,
        };
        let _ = write!(written, "{text}"); // fails where it is full
        written
    }

    /// Cuts it to so many bytes, and puts one behind the last: the cut leaves room for it.
    pub(super) fn ended_by(mut self, most: usize, last: u8) -> Self {
        self.length = self.length.min(most.min(N - 1));
        self.bytes[self.length] = last;
        self.length += 1;
        self
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

impl<const N: usize> fmt::Write for Text<N> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let fits = text.len().min(N - self.length);
        self.bytes[self.length..][..fits].copy_from_slice(&text.as_bytes()[..fits]);
        self.length += fits;
        if fits < text.len() {
            Err(fmt::Error)
        } else {
            Ok(())
        }
    }
}
