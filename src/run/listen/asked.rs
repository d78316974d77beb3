//! `Listen`: what is asked for: an address, and how to wait there.

use core::fmt;

use crate::run::listen::address::Address;

/// An address, and how to wait for clients there: a stream that listens, unless it is to be datagrams.
///
/// ```
/// use forkmesh::run::Listen;
///
/// let http = Listen::new(":8080".parse()?).per_worker(true).backlog(1024);
/// assert_eq!(http.check(), Ok(()));
/// let status = Listen::new("unix:/run/status".parse()?).mode(0o660).per_worker(true);
/// assert!(status.check().is_err(), "a unix socket has no group");
/// # Ok::<(), forkmesh::run::AddressError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Listen {
    pub(super) address: Address,
    pub(super) datagram: bool,
    pub(super) backlog: u32,
    pub(super) reuse_address: bool,
    pub(super) v6_only: bool,
    pub(super) no_delay: bool,
    pub(super) defer_accept_s: u32,
    pub(super) fast_open: u32,
    pub(super) per_worker: bool,
    pub(super) receive_buffer: u32,
    pub(super) send_buffer: u32,
    pub(super) mode: u16,
}

/// What cannot be asked for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Invalid {
    /// A unix socket for each worker: the kernel has no groups of them.
    PerWorker,
    /// Deferring what is no TCP, or for more than 32,767 seconds.
    DeferAccept,
    /// A fast open of what is no TCP, or for more than 2^31 - 1 clients.
    FastOpen,
    /// A backlog of more than 2^31 - 1 clients.
    Backlog,
    /// A buffer of more than 2^30 - 1 bytes, which the kernel doubles.
    Buffer,
    /// A mode with more than the nine bits of who may read and write.
    Mode,
}

impl Listen {
    /// A stream at this address: backlog 511, as nginx's, address reuse on, IPv6 alone, all workers by
    /// one socket, a unix socket's file open to everybody (0666, as nginx's).
    #[must_use]
    pub const fn new(address: Address) -> Self {
        Self {
            address,
            datagram: false,
            backlog: 511,
            reuse_address: true,
            v6_only: true,
            no_delay: false,
            defer_accept_s: 0,
            fast_open: 0,
            per_worker: false,
            receive_buffer: 0,
            send_buffer: 0,
            mode: 0o666,
        }
    }

    /// Datagrams: UDP, or a unix socket of that type.
    #[must_use]
    pub const fn datagram(mut self, datagram: bool) -> Self {
        self.datagram = datagram;
        self
    }

    /// How many clients may wait to be accepted; `net.core.somaxconn` caps it. Of each socket, where
    /// each worker has one.
    #[must_use]
    pub const fn backlog(mut self, clients: u32) -> Self {
        self.backlog = clients;
        self
    }

    /// SO_REUSEADDR: bound though connections of a former server are there still. Of streams alone: two
    /// services could have one address for datagrams by it, and not know.
    #[must_use]
    pub const fn reuse_address(mut self, reuse: bool) -> Self {
        self.reuse_address = reuse;
        self
    }

    /// Whether an IPv6 socket is for IPv6 alone (on), or takes clients of IPv4, too; at `[::]`, for any
    /// other address is of one of them.
    #[must_use]
    pub const fn v6_only(mut self, only: bool) -> Self {
        self.v6_only = only;
        self
    }

    /// TCP_NODELAY, which the connections inherit: an answer does not wait until the one before it is
    /// acknowledged.
    #[must_use]
    pub const fn no_delay(mut self, on: bool) -> Self {
        self.no_delay = on;
        self
    }

    /// TCP_DEFER_ACCEPT: a client counts as one when it has sent something, or this many seconds are
    /// over (the kernel rounds them up to the times at which it repeats itself); 0 for at once.
    #[must_use]
    pub const fn defer_accept(mut self, seconds: u32) -> Self {
        self.defer_accept_s = seconds;
        self
    }

    /// TCP_FASTOPEN: how many clients may have sent data before their handshake is over; 0 for none.
    /// It depends on `net.ipv4.tcp_fastopen`.
    #[must_use]
    pub const fn fast_open(mut self, clients: u32) -> Self {
        self.fast_open = clients;
        self
    }

    /// A socket for each worker (SO_REUSEPORT), among which the kernel shares the clients out.
    #[must_use]
    pub const fn per_worker(mut self, per_worker: bool) -> Self {
        self.per_worker = per_worker;
        self
    }

    /// SO_RCVBUF in bytes, which the connections inherit; 0 for the kernel's.
    #[must_use]
    pub const fn receive_buffer(mut self, bytes: u32) -> Self {
        self.receive_buffer = bytes;
        self
    }

    /// SO_SNDBUF in bytes, which the connections inherit; 0 for the kernel's.
    #[must_use]
    pub const fn send_buffer(mut self, bytes: u32) -> Self {
        self.send_buffer = bytes;
        self
    }

    /// The mode of a unix socket's file: who may connect has to be allowed to write. No umask changes
    /// it.
    #[must_use]
    pub const fn mode(mut self, mode: u16) -> Self {
        self.mode = mode;
        self
    }

    /// Where.
    #[must_use]
    pub const fn address(&self) -> Address {
        self.address
    }

    /// Whether it is for datagrams.
    #[must_use]
    pub const fn is_datagram(&self) -> bool {
        self.datagram
    }

    /// Whether each worker has a socket of its own.
    #[must_use]
    pub const fn is_per_worker(&self) -> bool {
        self.per_worker
    }

    /// Whether it can be had at all.
    ///
    /// # Errors
    ///
    /// [`Invalid`]: what cannot be.
    pub const fn check(&self) -> Result<(), Invalid> {
        const MOST: u32 = i32::MAX as u32;
        let is_unix = matches!(self.address, Address::Unix(_));
        let is_tcp = !is_unix && !self.datagram;
        if self.per_worker && is_unix {
            return Err(Invalid::PerWorker);
        }
        if self.defer_accept_s > i16::MAX as u32 || (self.defer_accept_s > 0 && !is_tcp) {
            return Err(Invalid::DeferAccept);
        }
        if self.fast_open > MOST || (self.fast_open > 0 && !is_tcp) {
            return Err(Invalid::FastOpen);
        }
        if self.backlog > MOST {
            return Err(Invalid::Backlog);
        }
        if self.receive_buffer > MOST / 2 || self.send_buffer > MOST / 2 {
            return Err(Invalid::Buffer);
        }
        if self.mode > 0o777 {
            return Err(Invalid::Mode);
        }
        Ok(())
    }

    /// Whether it is TCP.
    pub(super) const fn is_tcp(&self) -> bool {
        !self.datagram && !matches!(self.address, Address::Unix(_))
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PerWorker => "a unix socket cannot be one for each worker",
            Self::DeferAccept => "accepting cannot be deferred so",
            Self::FastOpen => "there is no such fast open",
            Self::Backlog => "no backlog is so long",
            Self::Buffer => "no buffer is so large",
            Self::Mode => "no socket's file has this mode",
        })
    }
}

impl core::error::Error for Invalid {}
