//! `Listening`: a worker's side: a socket that is its own to accept from, by its fork or by a message.

use core::fmt;

use rustix::fd::OwnedFd;

use crate::run::worker::Sender;
use crate::table::SlotId;
use crate::wire::Message;

/// A socket that a worker accepts from.
#[derive(Debug)]
pub struct Listening {
    /// The socket: close-on-exec, and non-blocking.
    pub socket: OwnedFd,
    /// Which of the listeners that the service asked for: its place in that list, from 0.
    pub place: u16,
    /// Who else accepts from it.
    pub sharing: Sharing,
}

/// Who else accepts from a socket.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Sharing {
    /// All the workers.
    Shared,
    /// Nobody: clients come to it for as long as this worker lives.
    Own,
    /// Nobody any more: what waits there is accepted, and when nothing has come for a second, the
    /// socket is closed.
    Adopted,
}

/// Why a message brings no socket to accept from. What came with it is given back.
#[derive(Debug)]
pub struct NotAdopted {
    /// Why.
    pub why: WhyNot,
    /// The descriptor that came with the message.
    pub descriptor: Option<OwnedFd>,
}

/// Why a message brings no socket to accept from.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum WhyNot {
    /// It is another message.
    Another,
    /// It does not come from the master.
    Stranger,
    /// Its socket could not be installed: the limit on open descriptors is too low.
    Missing,
    /// It does not say what the socket is.
    Garbled,
}

impl Listening {
    /// The tag of a message by which a worker gets a socket: no message of the service's own may have
    /// it.
    pub const TAG: u32 = u32::from_be_bytes(*b"LSTN");

    /// The socket that came with a message, if it is of that kind and from the master: every message
    /// with a descriptor is to be shown to this first.
    ///
    /// # Errors
    ///
    /// [`NotAdopted`], with the descriptor.
    pub fn adopted(
        from: &Sender,
        message: &Message,
        descriptor: Option<OwnedFd>,
    ) -> Result<Self, NotAdopted> {
        let no = |why, descriptor| Err(NotAdopted { why, descriptor });
        if message.tag != Self::TAG {
            return no(WhyNot::Another, descriptor);
        }
        if !from.known || from.claimed != Some(SlotId::MASTER) {
            return no(WhyNot::Stranger, descriptor);
        }
        let [low, high, kind, rest @ ..] = message.payload;
        let sharing = match kind {
            OWN => Sharing::Own,
            ADOPTED => Sharing::Adopted,
            _ => return no(WhyNot::Garbled, descriptor),
        };
        if rest != [0; 13] {
            return no(WhyNot::Garbled, descriptor);
        }
        match descriptor {
            Some(socket) => Ok(Self {
                socket,
                place: u16::from_le_bytes([low, high]),
                sharing,
            }),
            None => no(WhyNot::Missing, None),
        }
    }

    /// The message by which a worker gets a socket of this place.
    pub(super) fn message(place: u16, for_good: bool) -> Message {
        let mut payload = [0; 16];
        payload[..2].copy_from_slice(&place.to_le_bytes());
        payload[2] = if for_good { OWN } else { ADOPTED };
        Message::new(Self::TAG, payload)
    }
}

const OWN: u8 = 1;
const ADOPTED: u8 = 2;

impl fmt::Display for NotAdopted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.why {
            WhyNot::Another => "the message brings no socket to accept from",
            WhyNot::Stranger => "who sends a socket to accept from is not the master",
            WhyNot::Missing => "the socket to accept from could not be installed",
            WhyNot::Garbled => "the message does not say what its socket is",
        })
    }
}

impl core::error::Error for NotAdopted {}
