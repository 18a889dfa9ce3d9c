//! Selectors: what a rule can load from a packet, its connection or its route.
//!
//! One list serves matches, set keys and map data. A selector knows its length,
//! nft's datatype for it, and how nft writes it.

use std::fmt;

use crate::Family;

/// One thing a rule can load, in nft's own words.
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
    /// `ct original ip saddr`: who opened the connection, before any translation.
    CtOriginalSaddr,
    /// `ct original ip daddr`: whom it was opened to, before any translation.
    CtOriginalDaddr,
    /// `ct original proto-dst`: the port it was opened to. Needs a match on the
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

impl Selector {
    /// The length of what is loaded, in bytes.
    pub const fn len(self, family: Family) -> usize {
        match self {
            Self::Saddr | Self::Daddr | Self::CtOriginalSaddr | Self::CtOriginalDaddr => family.addr_len(),
            Self::L4Proto => 1,
            Self::ThSport | Self::ThDport | Self::CtOriginalProtoDst => 2,
            Self::Iifname => crate::Bytes::IFNAME,
            Self::NumgenRandom { .. }
            | Self::Mark
            | Self::CtState
            | Self::CtStatus
            | Self::FibSaddrType
            | Self::FibDaddrType => 4,
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

    /// Whether the value is a number in the host's byte order rather than the network's.
    pub const fn is_host_endian(self) -> bool {
        matches!(
            self,
            Self::NumgenRandom { .. }
                | Self::Mark
                | Self::Iifname
                | Self::CtState
                | Self::CtStatus
                | Self::FibSaddrType
                | Self::FibDaddrType
        )
    }

    /// The selector in nft's words.
    pub fn display(self, family: Family) -> impl fmt::Display {
        SelectorDisplay { selector: self, family }
    }
}

/// The length of a concatenation in registers: each part padded to four bytes, unless alone.
pub(crate) fn key_len(selectors: &[Selector], family: Family) -> usize {
    match selectors {
        [only] => only.len(family),
        many => many.iter().map(|s| s.len(family).next_multiple_of(4)).sum(),
    }
}

struct SelectorDisplay {
    selector: Selector,
    family: Family,
}

impl fmt::Display for SelectorDisplay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let family = self.family;
        match self.selector {
            Selector::Saddr => write!(f, "{family} saddr"),
            Selector::Daddr => write!(f, "{family} daddr"),
            Selector::L4Proto => f.write_str("meta l4proto"),
            Selector::ThSport => f.write_str("th sport"),
            Selector::ThDport => f.write_str("th dport"),
            Selector::NumgenRandom { modulus } => write!(f, "numgen random mod {modulus}"),
            Selector::Mark => f.write_str("meta mark"),
            Selector::Iifname => f.write_str("iifname"),
            Selector::CtState => f.write_str("ct state"),
            Selector::CtStatus => f.write_str("ct status"),
            Selector::CtOriginalSaddr => write!(f, "ct original {family} saddr"),
            Selector::CtOriginalDaddr => write!(f, "ct original {family} daddr"),
            Selector::CtOriginalProtoDst => f.write_str("ct original proto-dst"),
            Selector::FibSaddrType => f.write_str("fib saddr type"),
            Selector::FibDaddrType => f.write_str("fib daddr type"),
        }
    }
}
