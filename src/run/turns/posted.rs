//! `Posted`: what is to be done later in this turn, or in the next; in the order of posting.

use core::fmt;

use heapless::Deque;

/// Up to `N` events that were put off; four bytes each.
///
/// nginx posts an event once however often it is asked to; here a token that is posted twice comes
/// twice, and whoever minds keeps a flag.
///
/// ```
/// use forkmesh::run::{NotPosted, Posted};
///
/// let mut posted = Posted::<2>::new();
/// posted.post(7).unwrap();
/// posted.post(8).unwrap();
/// assert_eq!(posted.post(9), Err(NotPosted(9)));
/// assert_eq!((posted.take(), posted.len()), (Some(7), 1));
/// ```
#[derive(Clone, Debug)]
pub struct Posted<const N: usize>(Deque<u32, N>);

/// As many events are posted as there is room for; with the token that found none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NotPosted(pub u32);

impl<const N: usize> Posted<N> {
    /// Nothing is posted.
    #[must_use]
    pub const fn new() -> Self {
        Self(Deque::new())
    }

    /// Puts an event off.
    ///
    /// # Errors
    ///
    /// [`NotPosted`] where `N` are posted already.
    pub fn post(&mut self, token: u32) -> Result<(), NotPosted> {
        self.0.push_back(token).map_err(NotPosted)
    }

    /// The one that was posted first.
    #[must_use = "it will not come again"]
    pub fn take(&mut self) -> Option<u32> {
        self.0.pop_front()
    }

    /// How many are posted.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<const N: usize> Default for Posted<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for NotPosted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "too much is posted; token {} is not", self.0)
    }
}

impl core::error::Error for NotPosted {}
