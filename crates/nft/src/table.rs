//! Tables.

use std::fmt;
use std::sync::Arc;

/// The address family a table sees packets of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4.
    Ip,
    /// IPv6.
    Ip6,
}

impl Family {
    /// `NFPROTO_IPV4` or `NFPROTO_IPV6`, linux/netfilter.h.
    pub const fn number(self) -> u8 {
        match self {
            Self::Ip => 2,
            Self::Ip6 => 10,
        }
    }

    /// The family of a protocol number; none for families this crate does not use.
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            2 => Some(Self::Ip),
            10 => Some(Self::Ip6),
            _ => None,
        }
    }

    /// One of two values, by family.
    pub(crate) fn pick<T>(self, ip: T, ip6: T) -> T {
        match self {
            Self::Ip => ip,
            Self::Ip6 => ip6,
        }
    }

    /// The length of one address, in bytes.
    pub const fn addr_len(self) -> usize {
        match self {
            Self::Ip => 4,
            Self::Ip6 => 16,
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ip => "ip",
            Self::Ip6 => "ip6",
        })
    }
}

/// What names a table: `ip portolan`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableId {
    /// The family; the same name may exist once per family.
    pub family: Family,
    /// The name.
    pub name: Arc<str>,
}

impl TableId {
    /// The table `name` of `family`.
    pub fn new(family: Family, name: impl Into<Arc<str>>) -> Self {
        Self { family, name: name.into() }
    }
}

impl fmt::Display for TableId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.family, self.name)
    }
}

/// The relation of a table to the socket that created it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct TableFlags {
    /// Only the socket that created or adopted the table may change it (Linux 5.12).
    ///
    /// The kernel rejects other changes with `EPERM`, and skips the table when the whole ruleset is
    /// flushed.
    pub owner: bool,
    /// The table outlives its owner's socket and may be adopted by the next one (Linux 6.9).
    pub persist: bool,
    /// The table's hooks are disabled: it exists but has no effect.
    pub dormant: bool,
}

impl TableFlags {
    /// No flag: a table without an owner.
    pub const NONE: Self = Self { owner: false, persist: false, dormant: false };
    /// Owned while the socket lives, kept and adoptable afterwards.
    pub const OWNED: Self = Self { owner: true, persist: true, dormant: false };

    /// `NFT_TABLE_F_DORMANT` (1), `_OWNER` (2) and `_PERSIST` (4), linux/netfilter/nf_tables.h.
    pub const fn bits(self) -> u32 {
        self.dormant as u32 | (self.owner as u32) << 1 | (self.persist as u32) << 2
    }

    /// Reads the flags out of the kernel's bits; others are ignored.
    pub const fn from_bits(bits: u32) -> Self {
        Self { dormant: bits & 1 != 0, owner: bits & 2 != 0, persist: bits & 4 != 0 }
    }
}

/// A table's attributes besides its name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Table {
    /// Ownership.
    pub flags: TableFlags,
    /// A remark for the reader of `nft list ruleset`; at most [`crate::COMMENT_MAX`] bytes.
    pub comment: Option<String>,
}
