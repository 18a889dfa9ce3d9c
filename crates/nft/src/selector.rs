//! Selectors: the values a rule can load from a packet, its connection or its route.
//!
//! One list serves matches, set keys and map data. A selector knows its length,
//! nft's datatype for it, and how nft writes it.

use std::fmt;

use crate::Family;
use crate::print::shown;
use crate::wire::META_MARK;

/// A value that a rule can load, named as in nft.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Selector {
    /// `ip saddr`
    Saddr,
    /// `ip daddr`
    Daddr,
    /// `meta l4proto`
    L4Proto,
    /// `th sport`
    ThSport,
    /// `th dport`
    ThDport,
    /// `numgen random mod N`: a number below `modulus`, drawn anew each time.
    NumgenRandom {
        /// One more than the largest number drawn; at least 1.
        modulus: u32,
    },
    /// `meta mark`
    Mark,
    /// `iifname`
    Iifname,
    /// `ct state`
    CtState,
    /// `ct status`
    CtStatus,
    /// `ct original ip saddr`: the client of the connection, before NAT.
    CtOriginalSaddr,
    /// `ct original ip daddr`: its destination, before NAT.
    CtOriginalDaddr,
    /// `ct original proto-dst`: its destination port, before NAT. Needs a match on the
    /// protocol earlier in the rule, or nft cannot print it.
    ///
    /// Not for the key of a set, where no match can come before: nft 1.0.6 takes it for a value of
    /// no length and loads no rule that looks it up. [`ThDport`](Self::ThDport) has the same type.
    CtOriginalProtoDst,
    /// `fib saddr type`
    FibSaddrType,
    /// `fib daddr type`
    FibDaddrType,
}

/// nft's numbers for the types of values (`enum datatypes` in nft's datatype.h).
///
/// They go into a set's key and data type, where nft alone reads them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Datatype {
    /// `integer`
    Integer = 4,
    /// `ipv4_addr`
    Ipv4Addr = 7,
    /// `ipv6_addr`
    Ipv6Addr = 8,
    /// `inet_proto`
    InetProto = 12,
    /// `inet_service`
    InetService = 13,
    /// `mark`
    Mark = 19,
    /// `ct_state`
    CtState = 26,
    /// `ct_status`
    CtStatus = 28,
    /// `fib_addrtype`
    FibAddrType = 38,
    /// `ifname`
    Ifname = 41,
}

/// `NF_CT_STATE_BIT(IP_CT_NEW)`, linux/netfilter/nf_conntrack_common.h: `ct state new`.
pub const CT_STATE_NEW: u32 = 8;
/// `IPS_DST_NAT`, linux/netfilter/nf_conntrack_common.h: `ct status dnat`.
pub const CT_STATUS_DNAT: u32 = 32;
/// `RTN_LOCAL`, linux/rtnetlink.h: `fib … type local`.
pub const FIB_TYPE_LOCAL: u32 = 2;

/// Where a selector's value comes from: what the kernel's expression and nft's `typeof` both say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// A header of the packet.
    Payload {
        /// `enum nft_payload_bases`
        base: u32,
        /// The first byte.
        offset: u32,
        /// nft's number of the header (`enum proto_desc_id`, proto.h), and of the field in it.
        field: (u32, u32),
    },
    /// `enum nft_meta_keys`
    Meta(u32),
    /// The packet's connection.
    Ct {
        /// `enum nft_ct_keys`
        key: u32,
        /// Whether it is part of an address tuple, of which a connection has one per direction; the original's then.
        original: bool,
    },
    /// The type (`RTN_*`) of the source (`NFTA_FIB_F_SADDR`) or destination address in the routing table.
    FibType(u32),
    /// A random number below `modulus`.
    Random { modulus: u32 },
}

impl Selector {
    /// Where its value comes from. Offsets are those of `struct iphdr`, `struct ipv6hdr` (RFC 791, RFC 8200), and of
    /// the ports of TCP, UDP and SCTP.
    pub(crate) fn source(self, family: Family) -> Source {
        const NETWORK: u32 = 1;
        const TRANSPORT: u32 = 2;
        let address =
            |offset, field| Source::Payload { base: NETWORK, offset, field: (family.pick(12, 13), field) };
        let port = |offset, field| Source::Payload { base: TRANSPORT, offset, field: (11, field) };
        let tuple = |key| Source::Ct { key, original: true };
        match self {
            Self::Saddr => address(family.pick(12, 8), family.pick(11, 8)),
            Self::Daddr => address(family.pick(16, 24), family.pick(12, 9)),
            Self::ThSport => port(0, 1),
            Self::ThDport => port(2, 2),
            Self::Mark => Source::Meta(META_MARK),
            Self::Iifname => Source::Meta(6),
            Self::L4Proto => Source::Meta(16),
            Self::CtState => Source::Ct { key: 0, original: false },
            Self::CtStatus => Source::Ct { key: 2, original: false },
            Self::CtOriginalProtoDst => tuple(12),
            Self::CtOriginalSaddr => tuple(family.pick(19, 21)),
            Self::CtOriginalDaddr => tuple(family.pick(20, 22)),
            Self::FibSaddrType => Source::FibType(1),
            Self::FibDaddrType => Source::FibType(2),
            Self::NumgenRandom { modulus } => Source::Random { modulus },
        }
    }

    /// The length of what is loaded, in bytes.
    pub const fn len(self, family: Family) -> usize {
        match self.datatype(family) {
            Datatype::InetProto => 1,
            Datatype::InetService => 2,
            Datatype::Ifname => crate::Bytes::IFNAME,
            Datatype::Ipv6Addr => 16,
            Datatype::Ipv4Addr
            | Datatype::Integer
            | Datatype::Mark
            | Datatype::CtState
            | Datatype::CtStatus
            | Datatype::FibAddrType => 4,
        }
    }

    /// The type nft gives to what is loaded.
    pub const fn datatype(self, family: Family) -> Datatype {
        match self {
            Self::Saddr | Self::Daddr | Self::CtOriginalSaddr | Self::CtOriginalDaddr => match family {
                Family::Ip => Datatype::Ipv4Addr,
                Family::Ip6 => Datatype::Ipv6Addr,
            },
            Self::L4Proto => Datatype::InetProto,
            Self::ThSport | Self::ThDport | Self::CtOriginalProtoDst => Datatype::InetService,
            Self::NumgenRandom { .. } => Datatype::Integer,
            Self::Mark => Datatype::Mark,
            Self::Iifname => Datatype::Ifname,
            Self::CtState => Datatype::CtState,
            Self::CtStatus => Datatype::CtStatus,
            Self::FibSaddrType | Self::FibDaddrType => Datatype::FibAddrType,
        }
    }

    /// Whether the value is in the host's byte order rather than the network's.
    pub const fn is_host_endian(self) -> bool {
        !matches!(
            self.datatype(Family::Ip),
            Datatype::Ipv4Addr | Datatype::Ipv6Addr | Datatype::InetProto | Datatype::InetService
        )
    }

    /// The selector as nft writes it.
    pub fn display(self, family: Family) -> impl fmt::Display {
        shown(move |f| match self {
            Self::Saddr => write!(f, "{family} saddr"),
            Self::Daddr => write!(f, "{family} daddr"),
            Self::L4Proto => f.write_str("meta l4proto"),
            Self::ThSport => f.write_str("th sport"),
            Self::ThDport => f.write_str("th dport"),
            Self::NumgenRandom { modulus } => write!(f, "numgen random mod {modulus}"),
            Self::Mark => f.write_str("meta mark"),
            Self::Iifname => f.write_str("iifname"),
            Self::CtState => f.write_str("ct state"),
            Self::CtStatus => f.write_str("ct status"),
            Self::CtOriginalSaddr => write!(f, "ct original {family} saddr"),
            Self::CtOriginalDaddr => write!(f, "ct original {family} daddr"),
            Self::CtOriginalProtoDst => f.write_str("ct original proto-dst"),
            Self::FibSaddrType => f.write_str("fib saddr type"),
            Self::FibDaddrType => f.write_str("fib daddr type"),
        })
    }
}

/// The length of a concatenation in registers: each part padded to four bytes, unless alone.
pub fn key_len(selectors: &[Selector], family: Family) -> usize {
    match selectors {
        [only] => only.len(family),
        many => many.iter().map(|s| s.len(family).next_multiple_of(4)).sum(),
    }
}
