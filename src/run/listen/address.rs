//! `Address`: where clients come to, and how it is written.

use core::ffi::CStr;
use core::fmt::{self, Write};
use core::net::{Ipv4Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use core::str::FromStr;

use crate::sys::listen::Name;

/// How long a path or an abstract name can be, in bytes.
const LONGEST: usize = 107;

/// Where clients come to.
///
/// ```
/// use forkmesh::run::Address;
///
/// for text in ["127.0.0.1:80", "[::1]:80", "unix:/run/served", "unix:@served"] {
///     let address: Address = text.parse().unwrap();
///     assert_eq!(address.to_string(), text);
/// }
/// assert_eq!(":8080".parse::<Address>().unwrap().to_string(), "0.0.0.0:8080");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Address {
    /// An address and a port of IPv4; port 0 is any that is free.
    Inet(SocketAddrV4),
    /// An address and a port of IPv6.
    Inet6(SocketAddrV6),
    /// A path, or a name that is no path.
    Unix(UnixName),
}

/// The name of a unix socket: a path of 1 to 107 bytes, or an abstract name of as many.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct UnixName {
    /// As the kernel has it: a path, or a zero and a name.
    bytes: [u8; LONGEST + 1],
    length: u8,
}

/// Why something is no address.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum AddressError {
    /// It is neither an address with a port nor `unix:` and a name.
    Form,
    /// The name of a unix socket is empty, or longer than 107 bytes: it has this many.
    Length(usize),
    /// There is a zero in a path.
    Zero,
}

impl Address {
    /// A unix socket at a path.
    ///
    /// # Errors
    ///
    /// [`AddressError`]: for a path of no or more than 107 bytes, and one with a zero in it.
    pub fn unix(path: &[u8]) -> Result<Self, AddressError> {
        if path.contains(&0) {
            return Err(AddressError::Zero);
        }
        UnixName::new(path, 0).map(Self::Unix)
    }

    /// A unix socket with an abstract name, which has no file, and ends with its last user.
    ///
    /// # Errors
    ///
    /// [`AddressError::Length`].
    pub fn unix_abstract(name: &[u8]) -> Result<Self, AddressError> {
        UnixName::new(name, 1).map(Self::Unix)
    }

    pub(super) const fn name(&self) -> Name<'_> {
        match self {
            Self::Inet(address) => Name::Inet(SocketAddr::V4(*address)),
            Self::Inet6(address) => Name::Inet(SocketAddr::V6(*address)),
            Self::Unix(name) => Name::Unix(name.bytes.split_at(name.length as usize).0),
        }
    }

    pub(super) fn of(name: Name<'_>) -> Option<Self> {
        match name {
            Name::Inet(address) => Some(address.into()),
            Name::Unix([0, name @ ..]) => Self::unix_abstract(name).ok(),
            Name::Unix(path) => Self::unix(path).ok(),
        }
    }

    /// The path of a socket that has a file.
    pub(super) fn path(&self) -> Option<&CStr> {
        match self {
            Self::Unix(name) if name.bytes[0] != 0 => {
                CStr::from_bytes_until_nul(&name.bytes).ok() // a zero follows the longest
            }
            _ => None,
        }
    }

    /// The same for any port.
    pub(super) const fn with_any_port(mut self) -> Self {
        match &mut self {
            Self::Inet(address) => address.set_port(0),
            Self::Inet6(address) => address.set_port(0),
            Self::Unix(_) => {}
        }
        self
    }

    pub(super) const fn is_any_port(&self) -> bool {
        match self {
            Self::Inet(address) => address.port() == 0,
            Self::Inet6(address) => address.port() == 0,
            Self::Unix(_) => false,
        }
    }

    /// Whether clients of the one come to the other.
    pub(super) fn is(&self, other: &Self) -> bool {
        match (self, other) {
            // What is said of flows is no part of where it is.
            (Self::Inet6(one), Self::Inet6(two)) => {
                (one.ip(), one.port(), one.scope_id()) == (two.ip(), two.port(), two.scope_id())
            }
            _ => self == other,
        }
    }
}

impl UnixName {
    fn new(name: &[u8], from: usize) -> Result<Self, AddressError> {
        let mut bytes = [0; LONGEST + 1];
        if name.is_empty() || name.len() > LONGEST {
            return Err(AddressError::Length(name.len()));
        }
        let length = from + name.len();
        bytes[from..length].copy_from_slice(name);
        let length = length as u8;
        Ok(Self { bytes, length })
    }

    /// The path; `None` for a name that is none.
    #[must_use]
    pub fn path(&self) -> Option<&[u8]> {
        let bytes = &self.bytes[..self.length.into()];
        (bytes[0] != 0).then_some(bytes)
    }

    /// The abstract name; `None` for a path.
    #[must_use]
    pub fn abstract_name(&self) -> Option<&[u8]> {
        self.bytes[..self.length.into()].strip_prefix(&[0])
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        match address {
            SocketAddr::V4(address) => Self::Inet(address),
            SocketAddr::V6(address) => Self::Inet6(address),
        }
    }
}

/// `127.0.0.1:80`, `[::]:80`, `:80` for every address of IPv4, `unix:/path`, `unix:@name`.
impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        if let Some(name) = text.strip_prefix("unix:") {
            return match name.strip_prefix('@') {
                Some(name) => Self::unix_abstract(name.as_bytes()),
                None => Self::unix(name.as_bytes()),
            };
        }
        if let Some(port) = text.strip_prefix(':') {
            let port = port.parse().map_err(|_| AddressError::Form)?;
            return Ok(Self::Inet(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port)));
        }
        let address: SocketAddr = text.parse().map_err(|_| AddressError::Form)?;
        Ok(address.into())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inet(address) => address.fmt(f),
            Self::Inet6(address) => address.fmt(f),
            Self::Unix(name) => write!(f, "unix:{name}"),
        }
    }
}

impl fmt::Display for UnixName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sign, name) = match self.abstract_name() {
            Some(name) => ("@", name),
            None => ("", self.path().unwrap_or_default()),
        };
        f.write_str(sign)?;
        for chunk in name.utf8_chunks() {
            f.write_str(chunk.valid())?;
            if !chunk.invalid().is_empty() {
                f.write_char(char::REPLACEMENT_CHARACTER)?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for UnixName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Form => f.write_str("neither an address with a port nor unix: and a name"),
            Self::Length(bytes) => write!(f, "a unix socket's name cannot have {bytes} bytes"),
            Self::Zero => f.write_str("there is a zero in the path"),
        }
    }
}

impl core::error::Error for AddressError {}
