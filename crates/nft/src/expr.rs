//! Expressions: the kernel's instructions over registers.
//!
//! Rules read back from the kernel come as expressions, and
//! [`Rule::expressions`](crate::Rule::expressions) gives the same type for a
//! wanted rule, so "is this rule loaded" is `==`. Therefore both sides
//! normalise what the kernel can express in several ways: registers by
//! their four-byte index, no upper bounds of a translation that equal the lower
//! ones, no flags that only repeat which registers are given, no counter values.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::{Bytes, Family, Verdict};

mod linearize;
mod show;
#[cfg(test)]
mod tests;

/// One of the sixteen four-byte registers.
///
/// The kernel also knows them as four registers of sixteen bytes; both names of
/// one place are equal here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Register(u8);

impl Register {
    /// The number of registers: `NFT_REG32_COUNT`, linux/netfilter/nf_tables.h.
    pub const COUNT: u8 = 16;
    /// The first register, where every key starts.
    pub const FIRST: Self = Self(0);
    /// The second of sixteen bytes.
    pub const SECOND: Self = Self(4);

    /// The register `words` times four bytes from the first.
    pub const fn at(words: u8) -> Option<Self> {
        if words < Self::COUNT { Some(Self(words)) } else { None }
    }

    /// The kernel's number: `NFT_REG_1`… where sixteen bytes start, else `NFT_REG32_00`….
    pub const fn number(self) -> u32 {
        let word = self.0 as u32;
        if word.is_multiple_of(4) { 1 + word / 4 } else { 8 + word }
    }

    /// The register of a kernel number. Zero, the verdict, is none of them.
    pub fn from_number(number: u32) -> Option<Self> {
        let number = u8::try_from(number).ok()?;
        match number {
            1..=4 => Some(Self((number - 1) * 4)),
            8..=23 => Some(Self(number - 8)),
            _ => None,
        }
    }
}

/// What `meta` loads or sets; the numbers are `enum nft_meta_keys`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum MetaKey {
    /// The packet's mark.
    Mark = 3,
    /// The name of the interface it came by.
    Iifname = 6,
    /// The transport protocol.
    L4Proto = 16,
}

/// What `ct` loads of a connection; the numbers are `enum nft_ct_keys`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum CtKey {
    /// New, established, …: one bit each.
    State = 0,
    /// `IPS_*` bits.
    Status = 2,
    /// The destination port.
    ProtoDst = 12,
    /// The IPv4 source.
    SrcIp = 19,
    /// The IPv4 destination.
    DstIp = 20,
    /// The IPv6 source.
    SrcIp6 = 21,
    /// The IPv6 destination.
    DstIp6 = 22,
}

impl CtKey {
    /// Whether it is part of an address tuple, of which a connection has one per direction.
    pub const fn has_direction(self) -> bool {
        !matches!(self, Self::State | Self::Status)
    }
}

/// Where a payload offset counts from; the numbers are `enum nft_payload_bases`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum PayloadBase {
    /// The IP header.
    Network = 1,
    /// The TCP, UDP or SCTP header.
    Transport = 2,
}

/// Which address of the packet `fib` asks about; the numbers are `NFTA_FIB_F_*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum FibAddress {
    /// The source.
    Saddr = 1,
    /// The destination.
    Daddr = 2,
}

/// Where a lookup's result goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LookupResult {
    /// Nowhere: a key that is not in the set ends the rule.
    None,
    /// Nowhere, and a key that *is* in the set ends the rule.
    Inverted,
    /// It is the verdict.
    Verdict,
    /// To this register and the following ones.
    Register(Register),
}

/// One expression with its registers.
///
/// Selectors load *to* a register, everything else works *from* one.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Expr {
    /// Loads something about the packet.
    Meta {
        /// What to load.
        key: MetaKey,
        /// Where to.
        to: Register,
    },
    /// Sets something about the packet.
    SetMeta {
        /// What to set.
        key: MetaKey,
        /// The register with the new value.
        from: Register,
    },
    /// Loads a piece of a header.
    Payload {
        /// Which header.
        base: PayloadBase,
        /// The first byte.
        offset: u32,
        /// How many bytes.
        len: u32,
        /// Where to.
        to: Register,
    },
    /// Loads something about the packet's connection; tuples in their original direction.
    Ct {
        /// What to load.
        key: CtKey,
        /// Where to.
        to: Register,
    },
    /// Loads the type of an address (`RTN_*`) from the routing table.
    FibType {
        /// Which address.
        address: FibAddress,
        /// Where to.
        to: Register,
    },
    /// Draws a random number below `modulus`.
    NumgenRandom {
        /// One more than the largest number.
        modulus: u32,
        /// Where to.
        to: Register,
    },
    /// Ends the rule unless the comparison holds.
    Cmp {
        /// The register to compare.
        from: Register,
        /// Equal or not.
        op: crate::MatchOp,
        /// What with.
        value: Bytes,
    },
    /// `to = (from & mask) ^ xor`
    Bitwise {
        /// The operand.
        from: Register,
        /// The result.
        to: Register,
        /// The bits kept.
        mask: Bytes,
        /// The bits inverted.
        xor: Bytes,
    },
    /// Looks a key up; a missing one ends the rule.
    Lookup {
        /// Where the key starts.
        from: Register,
        /// In which set.
        set: Arc<str>,
        /// Where the result goes.
        result: LookupResult,
    },
    /// Loads a constant.
    Immediate {
        /// Where to.
        to: Register,
        /// The constant.
        value: Bytes,
    },
    /// Decides.
    Verdict(Verdict),
    /// Translates the destination of a connection.
    Dnat {
        /// The family of the address.
        family: Family,
        /// The new address.
        address: Option<Register>,
        /// The new port.
        port: Option<Register>,
        /// `NF_NAT_RANGE_*` without the two bits that say which registers are given.
        flags: u32,
    },
    /// Translates the source of a connection to the outgoing interface's address.
    Masquerade {
        /// `NF_NAT_RANGE_*`.
        flags: u32,
    },
    /// Drops and answers.
    Reject {
        /// `enum nft_reject_types`.
        kind: u32,
        /// The ICMP code.
        code: u8,
    },
    /// Adds a key to a dynamic set, or refreshes its timeout.
    Update {
        /// Where the key starts.
        key: Register,
        /// Where the data starts, for maps.
        data: Option<Register>,
        /// Which set.
        set: Arc<str>,
        /// How long the key lives from now on, in whole milliseconds; without one as long as the set says.
        timeout: Option<Duration>,
    },
    /// Counts packets and bytes.
    Counter,
    /// An expression that this crate never writes.
    Unknown(Unknown),
}

impl Expr {
    /// An expression this crate does not know.
    pub fn unknown(name: impl Into<Box<str>>) -> Self {
        Self::Unknown(Unknown(name.into()))
    }

    /// The chain that it leads to.
    pub fn target(&self) -> Option<&Arc<str>> {
        match self {
            Self::Verdict(verdict) => verdict.target(),
            _ => None,
        }
    }
}

/// An expression read from the kernel that this crate does not know. It equals nothing, itself included.
#[derive(Debug, Clone)]
pub struct Unknown(Box<str>);

impl Unknown {
    /// The kernel's name for it.
    pub fn name(&self) -> &str {
        &self.0
    }
}

// Two unknown expressions may differ in the part that was not parsed.
impl PartialEq for Unknown {
    fn eq(&self, _: &Self) -> bool {
        false
    }
}

impl fmt::Display for Register {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "reg {}", self.number())
    }
}

/// `NF_NAT_RANGE_MAP_IPS | NF_NAT_RANGE_PROTO_SPECIFIED`, linux/netfilter/nf_nat.h: the kernel
/// sets these by itself when a register for the address or the port is given.
pub(crate) const NAT_IMPLIED_FLAGS: u32 = 1 | 2;
/// `NF_NAT_RANGE_PROTO_RANDOM_FULLY`, linux/netfilter/nf_nat.h.
pub(crate) const NAT_RANDOM_FULLY: u32 = 16;
/// `NFT_REJECT_ICMP_UNREACH`, linux/netfilter/nf_tables.h.
pub(crate) const REJECT_ICMP_UNREACH: u32 = 0;
/// `NFT_REJECT_TCP_RST`, linux/netfilter/nf_tables.h.
pub(crate) const REJECT_TCP_RST: u32 = 1;
