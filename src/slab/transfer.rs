//! Blocks that change hands: published to the zone and claimed, or offered to one and accepted.
//!
//! ```text
//!   publish    Private(me, g)   → Published(g)          a store
//!   claim      Published(g)     → Private(me, g+1)      compare-and-exchange: one of many wins
//!
//!   offer      Private(me, g)   → Offered(me, g)        a store; the handle travels by message
//!   accept     Offered(from, g) → Private(me, g+1)      compare-and-exchange: by the receiver,
//!                                                       or by the sender, who withdraws it so
//! ```
//!
//! What is published outlives its process. What is offered does not: a sender that dies has offered
//! nothing, unless somebody has accepted already.
//!
//! # Invariants
//!
//! - One of those who claim a block, or accept it, wins; the others find the handle stale (models
//!   `a_claim_has_one_winner`, `an_offer_has_one_winner`).
//! - A handle that was claimed never reaches what its block holds later (model
//!   `a_claimed_block_is_used_again`).
//! - Killed anywhere, a process leaves a block that is published, or one that recovery frees (models
//!   `publishing_killed_at_every_step`, `offering_killed_at_every_step`).

use super::handle::Handle;
use super::heap::Heap;
use super::word::{BlockWord, Change, State};
use super::zone::{Refused, refusal};
use crate::sync::{Ordering, fence};

impl Heap<'_> {
    /// Leaves a block to the zone: everybody who has the handle may read it, and one may claim it. It
    /// must not be written any more, apart from words that are meant to change. A block that no
    /// [`Link`](super::Link) leads to is lost until somebody looks at all that is published.
    ///
    /// # Errors
    ///
    /// [`Refused`], if this slot does not hold the block.
    pub fn publish(&mut self, handle: Handle) -> Result<(), Refused> {
        self.turn(handle, Change::Publish)
    }

    /// Offers a block to whoever is sent the handle. Until it is accepted it is still this slot's, but
    /// can only be accepted.
    ///
    /// # Errors
    ///
    /// [`Refused`], if this slot does not hold the block.
    pub fn offer(&mut self, handle: Handle) -> Result<(), Refused> {
        self.turn(handle, Change::Offer)
    }

    /// Takes a published block out of the zone: it is this slot's, by the handle that is returned.
    ///
    /// # Errors
    ///
    /// [`Refused`]: most often [`Refused::Stale`], as another was quicker.
    pub fn claim(&mut self, handle: Handle) -> Result<Handle, Refused> {
        let published = BlockWord::new(State::Published, handle.generation());
        let claimed = self.take_over(handle, published, Change::Claim(self.me()))?;
        // Release: pairs with the Acquire fence of `read`: who sees what we write next sees that we
        // have claimed.
        fence(Ordering::Release);
        Ok(claimed)
    }

    /// Takes a block that another slot, or this one, has offered: it is this slot's, by the handle
    /// that is returned.
    ///
    /// # Errors
    ///
    /// [`Refused`]: [`Refused::Stale`] if the sender has withdrawn the offer, or is dead and
    /// recovered, or if another has accepted it.
    pub fn accept(&mut self, handle: Handle) -> Result<Handle, Refused> {
        let word = self.slab.word_of(handle)?;
        // Relaxed: the exchange in `take_over` decides.
        let seen = BlockWord::from_u32(word.load(Ordering::Relaxed));
        match seen.state() {
            Some(State::Offered(_)) if seen.generation() == handle.generation() => {
                self.take_over(handle, seen, Change::Accept(self.me()))
            }
            _ => Err(refusal(seen, handle)),
        }
    }

    /// What only its holder does to a block: a store.
    fn turn(&self, handle: Handle, change: Change) -> Result<(), Refused> {
        let (word, held) = self.held(handle)?;
        self.slab.require_class(handle)?;
        let turned = held.after(change).ok_or(Refused::Stale)?;
        // Release: pairs with the Acquire of `take_over` and of `read`, which so see what the holder
        // has put into the block; and keeps its place behind the link that leads here.
        word.store(turned.as_u32(), Ordering::Release);
        Ok(())
    }

    /// What anybody may do to a block that is `was`: a compare-and-exchange.
    fn take_over(&self, handle: Handle, was: BlockWord, change: Change) -> Result<Handle, Refused> {
        let word = self.slab.word_of(handle)?;
        // Relaxed: the exchange decides. Most handles that come too late are told here.
        let seen = BlockWord::from_u32(word.load(Ordering::Relaxed));
        let mine = match was.after(change) {
            Some(mine) if seen == was => mine,
            _ => return Err(refusal(seen, handle)),
        };
        self.slab.require_class(handle)?;
        // AcqRel: Acquire pairs with the Release of `turn`; Release keeps it behind what came before,
        // should we be killed here.
        word.compare_exchange(
            was.as_u32(),
            mine.as_u32(),
            Ordering::AcqRel,
            Ordering::Relaxed,
        )
        .map_err(|seen| refusal(BlockWord::from_u32(seen), handle))?;
        // Looked at before, a page that is cut otherwise is left in peace. It is looked at again for
        // the case that a million lives of the block have passed in between.
        if let Err(refused) = self.slab.require_class(handle) {
            word.store(was.as_u32(), Ordering::Release);
            return Err(refused);
        }
        Ok(handle.in_life(mine.generation()))
    }
}
