//! Which unix socket is connected to which, asked of the kernel: `sock_diag(7)`, one dump.
//!
//! ```text
//!   ask     nlmsghdr 16 │ unix_diag_req 24
//!   answer  nlmsghdr 16 │ unix_diag_msg 16 │ attributes: length u16, kind u16, content, padding to 4
//!           … and so on, until a message of the kind DONE
//! ```
//!
//! Why not /proc/net/unix: it does not tell the other end.

use std::collections::BTreeMap;

use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink};

const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLM_F_REQUEST_AND_DUMP: u16 = 0x301;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const AF_UNIX: u8 = 1;
const UDIAG_SHOW_PEER: u32 = 4;
const UNIX_DIAG_PEER: u16 = 2;

const HEADER: usize = 16;
const ENTRY: usize = 16;
const ASK: usize = HEADER + 24;

/// The inode of the other end of every connected unix socket, by its own inode.
pub(crate) fn peers() -> Result<BTreeMap<u64, u64>, Errno> {
    let socket = rustix::net::socket_with(
        AddressFamily::NETLINK,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC,
        Some(netlink::SOCK_DIAG),
    )?;
    rustix::net::send(&socket, &ask(), SendFlags::empty())?;
    let mut peers = BTreeMap::new();
    let mut answer = vec![0; 32 << 10];
    loop {
        // The kernel goes on with a dump inside of each read: there is nothing to wait for.
        let (length, _) = rustix::net::recv(&socket, answer.as_mut_slice(), RecvFlags::DONTWAIT)?;
        let whole = answer.get(..length).ok_or(Errno::MSGSIZE)?;
        if note(whole, &mut peers)? {
            return Ok(peers);
        }
    }
}

fn ask() -> [u8; ASK] {
    let mut ask = [0; ASK];
    let mut put = |at: usize, bytes: &[u8]| ask[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &(ASK as u32).to_ne_bytes());
    put(4, &SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    put(6, &NLM_F_REQUEST_AND_DUMP.to_ne_bytes());
    put(HEADER, &[AF_UNIX]);
    put(HEADER + 4, &u32::MAX.to_ne_bytes()); // in every state
    put(HEADER + 12, &UDIAG_SHOW_PEER.to_ne_bytes());
    ask
}

/// Notes what one read brought; whether it was the last.
fn note(messages: &[u8], peers: &mut BTreeMap<u64, u64>) -> Result<bool, Errno> {
    let mut rest = messages;
    while let (Some(length), Some(kind)) = (u32_at(rest, 0), u16_at(rest, 4)) {
        let message = rest.get(HEADER..length as usize).ok_or(Errno::BADMSG)?;
        match kind {
            NLMSG_DONE => return Ok(true),
            NLMSG_ERROR => {
                let errno = u32_at(message, 0).map_or(0, |errno| (errno as i32).wrapping_neg());
                return Err(Errno::from_raw_os_error(errno));
            }
            _ => {
                if let (Some(own), Some(peer)) = (u32_at(message, 4), peer(message)) {
                    peers.insert(own.into(), peer.into());
                }
            }
        }
        rest = rest.get(padded(length as usize)..).unwrap_or_default();
    }
    Ok(false)
}

fn peer(message: &[u8]) -> Option<u32> {
    let mut attributes = message.get(ENTRY..)?;
    loop {
        let length = u16_at(attributes, 0)? as usize;
        if u16_at(attributes, 2)? == UNIX_DIAG_PEER {
            return u32_at(attributes, 4);
        }
        // A length below that of its own header would stand still.
        attributes = attributes.get(padded(length.max(4))..)?;
    }
}

const fn padded(length: usize) -> usize {
    length.next_multiple_of(4)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes
        .get(at..)?
        .first_chunk()
        .map(|bytes| u16::from_ne_bytes(*bytes))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes
        .get(at..)?
        .first_chunk()
        .map(|bytes| u32::from_ne_bytes(*bytes))
}
