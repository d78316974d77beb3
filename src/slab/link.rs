//! `Link`: a word in shared memory that leads to a published block. The order of its operations is
//! what keeps a kill from losing one.
//!
//! ```text
//!   insert     link: 0 → h         then publish             killed between: the link is stale, the block freed
//!   take       claim               then link: h → 0         killed between: the same
//!   replace    claim the old       then link: h → n         then publish: the same, for both
//! ```
//!
//! So a published block always has its link. A link may well lead to nothing: whoever finds it stale
//! clears it in passing.
//!
//! # Invariants
//!
//! - No kill leaves a published block without a link (models `linking_killed_at_every_step`,
//!   `replacing_killed_at_every_step`).
//!
//! # Why not publish first
//!
//! Then a kill leaves a block that is nobody's and that nothing leads to: a leak, found only by
//! looking at everything.

use core::fmt;

use super::handle::Handle;
use super::heap::Heap;
use super::word::State;
use super::zone::{Refused, Slab};
use crate::sync::{AtomicU64, Ordering};

/// A place for the handle of a block; empty when its bytes are zero.
#[derive(Debug, Default)]
#[repr(transparent)]
pub struct Link(AtomicU64);

/// Why a block was not linked; it is still its holder's.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum NotLinked {
    /// The link leads to another block, or one is about to be put in.
    Occupied,
    /// The block is not this slot's.
    Refused(Refused),
}

impl Link {
    /// A link to nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Where it leads; that may be stale, or not published yet.
    #[must_use]
    pub fn handle(&self) -> Option<Handle> {
        // Acquire: pairs with the Release of `swing`.
        Handle::from_u64(self.0.load(Ordering::Acquire))
    }

    /// From one handle to another, if it still is the one. AcqRel: Release pairs with the Acquire of
    /// `handle`, and keeps its place in the protocol, should we be killed; Acquire is for the next
    /// store: it does not come before this one.
    fn swing(&self, was: Option<Handle>, is: Option<Handle>) -> bool {
        let word = |handle: Option<Handle>| handle.map_or(0, Handle::as_u64);
        self.0
            .compare_exchange(word(was), word(is), Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
    }

    /// Where it leads, if that is not stale. A stale handle is cleared.
    #[must_use]
    pub fn fresh(&self, slab: &Slab<'_>) -> Option<Handle> {
        let handle = self.handle()?;
        match slab.state(handle) {
            Ok(State::Published | State::Private(_)) => Some(handle),
            _ => {
                self.swing(Some(handle), None);
                None
            }
        }
    }
}

impl Heap<'_> {
    /// Publishes a block that this slot holds, by a link that leads nowhere yet.
    ///
    /// # Errors
    ///
    /// [`NotLinked`]. The block stays this slot's.
    pub fn insert(&mut self, link: &Link, block: Handle) -> Result<(), NotLinked> {
        self.held(block).map_err(NotLinked::Refused)?;
        let is_block = self.slab.require_class(block);
        is_block.map_err(NotLinked::Refused)?;
        if link.fresh(&self.slab).is_some() || !link.swing(None, Some(block)) {
            return Err(NotLinked::Occupied);
        }
        self.publish(block).map_err(NotLinked::Refused)
    }

    /// Claims the block that a link leads to, and clears the link; `None` if there is none, or another
    /// was quicker.
    #[must_use = "the block is this slot's now"]
    pub fn take(&mut self, link: &Link) -> Option<Handle> {
        let handle = link.fresh(&self.slab)?;
        let block = self.claim(handle).ok()?;
        link.swing(Some(handle), None);
        Some(block)
    }

    /// Publishes a block in the place of the one that a link leads to, which is claimed; `None` if
    /// there was none. In between there is an instant at which others find neither.
    ///
    /// # Errors
    ///
    /// [`NotLinked`]: [`NotLinked::Occupied`] where another was quicker. The block stays this slot's.
    pub fn replace(&mut self, link: &Link, block: Handle) -> Result<Option<Handle>, NotLinked> {
        self.held(block).map_err(NotLinked::Refused)?;
        let is_block = self.slab.require_class(block);
        is_block.map_err(NotLinked::Refused)?;
        let Some(before) = link.fresh(&self.slab) else {
            return self.insert(link, block).map(|()| None);
        };
        let claimed = self.claim(before).map_err(|_| NotLinked::Occupied)?;
        // Whoever looks at the link now finds it stale, and may clear it before we come to it.
        if link.swing(Some(before), Some(block)) || link.swing(None, Some(block)) {
            self.publish(block).map_err(NotLinked::Refused)?;
            return Ok(Some(claimed));
        }
        // And another has put a block there: what we have claimed has no link any more.
        self.free(claimed).map_err(NotLinked::Refused)?;
        Err(NotLinked::Occupied)
    }
}

impl fmt::Display for NotLinked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Occupied => f.write_str("the link leads to another block"),
            Self::Refused(refused) => refused.fmt(f),
        }
    }
}

impl core::error::Error for NotLinked {}
