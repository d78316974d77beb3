//! nginx's stub_status: its seven values, and its text.

use core::fmt;

use super::{Set, Snapshot};

/// What nginx's `ngx_http_stub_status_module` counts.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Stub {
    /// Connections that were accepted.
    Accepted,
    /// Of those, the ones that were not dropped for want of something.
    Handled,
    /// Requests.
    Requests,
    /// Connections that are open, waiting ones included.
    Active,
    /// Connections whose request is being read.
    Reading,
    /// Connections that are being answered.
    Writing,
    /// Connections that wait for a request.
    Waiting,
}

impl Set for Stub {
    const MONOTONIC: usize = 3;

    #[inline]
    fn place(self) -> usize {
        self as usize
    }
}

/// A snapshot, as nginx prints it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StubStatus(Snapshot<Stub>);

impl Snapshot<Stub> {
    /// As nginx prints it.
    #[must_use]
    pub const fn status(self) -> StubStatus {
        StubStatus(self)
    }
}

/// The text of `stub_status`, to the byte, spaces at the ends of lines included.
impl fmt::Display for StubStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |which| self.0.of(which);
        let [active, reading] = [Stub::Active, Stub::Reading].map(of);
        let [writing, waiting] = [Stub::Writing, Stub::Waiting].map(of);
        let [accepted, handled] = [Stub::Accepted, Stub::Handled].map(of);
        let requests = of(Stub::Requests);
        writeln!(f, "Active connections: {active} ")?;
        writeln!(f, "server accepts handled requests")?;
        writeln!(f, " {accepted} {handled} {requests} ")?;
        writeln!(
            f,
            "Reading: {reading} Writing: {writing} Waiting: {waiting} "
        )
    }
}
