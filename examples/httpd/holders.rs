//! Who holds an address: the processes that have a socket that listens there, as /proc has it.
//!
//! ```text
//!   /proc/net/tcp, tcp6   number: local remote state … inode       the sockets that listen there
//!   /proc/PID/fd/*        socket:[inode]                           who has one of them open
//! ```
//!
//! A process of another user, or of another pid namespace, cannot be seen.

use core::fmt;
use core::iter::repeat;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::collections::BTreeSet;
use std::fs;

/// The state LISTEN.
const LISTENS: &str = "0A";

/// The processes that have a listening socket in the way of an address, to be printed.
pub(crate) struct Holders(Vec<i32>);

impl Holders {
    pub(crate) fn of(address: SocketAddr) -> Self {
        Self(pids(address))
    }
}

impl fmt::Display for Holders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (pid, between) in self
            .0
            .iter()
            .zip([", held by pid"].into_iter().chain(repeat(",")))
        {
            write!(f, "{between} {pid}")?;
        }
        Ok(())
    }
}

fn pids(address: SocketAddr) -> Vec<i32> {
    let mut inodes = BTreeSet::new();
    for file in ["/proc/net/tcp", "/proc/net/tcp6"] {
        let sockets = fs::read_to_string(file).unwrap_or_default();
        let listeners = sockets.lines().skip(1).filter_map(listener);
        let in_the_way = listeners.filter(|(held, _)| overlaps(*held, address));
        inodes.extend(in_the_way.map(|(_, inode)| format!("socket:[{inode}]")));
    }
    let processes = fs::read_dir("/proc").into_iter().flatten();
    let pids = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let mut pids: Vec<i32> = pids.filter(|pid| holds_any(*pid, &inodes)).collect();
    pids.sort_unstable();
    pids
}

fn holds_any(pid: i32, inodes: &BTreeSet<String>) -> bool {
    let open = fs::read_dir(format!("/proc/{pid}/fd"));
    let mut targets = open
        .into_iter()
        .flatten()
        .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    targets.any(|target| target.to_str().is_some_and(|name| inodes.contains(name)))
}

/// The address and the inode in a line of the table, where the socket listens.
fn listener(line: &str) -> Option<(SocketAddr, u64)> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let (local, state, inode) = (words.get(1)?, words.get(3)?, words.get(9)?);
    let (ip, port) = local.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let address = SocketAddr::new(ip_address(ip)?, port);
    (*state == LISTENS).then_some((address, inode.parse().ok()?))
}

/// Words of 32 bits, each as this machine has it in memory.
fn ip_address(digits: &str) -> Option<IpAddr> {
    let words = (0..digits.len()).step_by(8);
    let words = words.map(|at| u32::from_str_radix(digits.get(at..at + 8)?, 16).ok());
    let bytes: Vec<[u8; 4]> = words
        .map(|word| Some(word?.to_ne_bytes()))
        .collect::<Option<_>>()?;
    let bytes = bytes.concat();
    match bytes.len() {
        4 => Some(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?).into()),
        _ => Some(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).into()),
    }
}

/// Of two sockets on one port only one may listen, where one address is the other's, or all.
fn overlaps(held: SocketAddr, wanted: SocketAddr) -> bool {
    let all = held.ip().is_unspecified() || wanted.ip().is_unspecified();
    held.port() == wanted.port() && (all || held.ip().to_canonical() == wanted.ip().to_canonical())
}
