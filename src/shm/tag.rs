//! `Tag`: whose a zone is, so that nobody takes another's data for its own.

/// Whose data a zone holds. nginx compares the addresses of modules; an address means nothing in the
/// program that comes after an upgrade, and a number that is made of a name does.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
#[repr(transparent)]
pub struct Tag(u64);

impl Tag {
    /// The tag of whoever is called so: of a module, and the version of what it keeps, such as
    /// `"limit_req 2"` (FNV-1a).
    #[must_use]
    pub const fn of(owner: &str) -> Self {
        let bytes = owner.as_bytes();
        let (mut hash, mut at) = (0xCBF2_9CE4_8422_2325_u64, 0);
        while at < bytes.len() {
            hash = (hash ^ bytes[at] as u64).wrapping_mul(0x0000_0100_0000_01B3);
            at += 1;
        }
        Self(hash)
    }

    /// The tag with this number.
    #[must_use]
    pub const fn from_u64(tag: u64) -> Self {
        Self(tag)
    }

    /// The number.
    #[must_use]
    pub const fn as_u64(self) -> u64 {
        self.0
    }
}
