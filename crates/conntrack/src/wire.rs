//! The numbers of ctnetlink's messages and attributes, from linux/netfilter/nfnetlink_conntrack.h.
//!
//! All numbers inside attributes are in the network's byte order, with one exception that
//! [`filter_flag`] names.

use portolan_core::IpFamily;

/// Messages: the subsystem (`NFNL_SUBSYS_CTNETLINK`, linux/netfilter/nfnetlink.h) in the upper byte.
pub(crate) mod message {
    const SUBSYSTEM: u16 = 1 << 8;
    /// `IPCTNL_MSG_CT_NEW`: how the kernel shows an entry.
    pub(crate) const NEW: u16 = SUBSYSTEM;
    /// `IPCTNL_MSG_CT_GET`
    pub(crate) const GET: u16 = SUBSYSTEM | 1;
    /// `IPCTNL_MSG_CT_DELETE`
    pub(crate) const DELETE: u16 = SUBSYSTEM | 2;
    /// `IPCTNL_MSG_CT_GET_STATS`
    pub(crate) const GET_STATS: u16 = SUBSYSTEM | 5;
}

/// Attributes of an entry (`enum ctattr_type`).
pub(crate) mod entry {
    /// `CTA_TUPLE_ORIG`
    pub(crate) const ORIGINAL: u16 = 1;
    /// `CTA_TUPLE_REPLY`
    pub(crate) const REPLY: u16 = 2;
    /// `CTA_ID`
    pub(crate) const ID: u16 = 12;
    /// `CTA_ZONE`
    pub(crate) const ZONE: u16 = 18;
    /// `CTA_FILTER`
    pub(crate) const FILTER: u16 = 25;
}

/// Attributes of a tuple (`enum ctattr_tuple`).
pub(crate) mod tuple {
    /// `CTA_TUPLE_IP`
    pub(crate) const IP: u16 = 1;
    /// `CTA_TUPLE_PROTO`
    pub(crate) const PROTOCOL: u16 = 2;
}

/// Attributes of a tuple's addresses (`enum ctattr_ip`).
pub(crate) mod ip {
    /// `CTA_IP_V4_SRC`
    pub(crate) const V4_SOURCE: u16 = 1;
    /// `CTA_IP_V4_DST`
    pub(crate) const V4_DESTINATION: u16 = 2;
    /// `CTA_IP_V6_SRC`
    pub(crate) const V6_SOURCE: u16 = 3;
    /// `CTA_IP_V6_DST`
    pub(crate) const V6_DESTINATION: u16 = 4;
}

/// Attributes of a tuple's protocol (`enum ctattr_l4proto`).
pub(crate) mod protocol {
    /// `CTA_PROTO_NUM`
    pub(crate) const NUMBER: u16 = 1;
    /// `CTA_PROTO_SRC_PORT`
    pub(crate) const SOURCE_PORT: u16 = 2;
    /// `CTA_PROTO_DST_PORT`
    pub(crate) const DESTINATION_PORT: u16 = 3;
    /// `IPPROTO_UDP`
    pub(crate) const UDP: u8 = 17;
}

/// Attributes of a filter (`enum ctattr_filter`).
pub(crate) mod filter {
    /// `CTA_FILTER_ORIG_FLAGS`
    pub(crate) const ORIGINAL_FLAGS: u16 = 1;
}

/// What of the tuple beside it a filter compares; in the host's byte order.
///
/// `CTA_FILTER_F_*` of the kernel's net/netfilter/nf_internals.h: what user space sends, yet no header
/// for user space has them.
pub(crate) mod filter_flag {
    pub(crate) const DESTINATION_IP: u32 = 1 << 1;
    pub(crate) const PROTOCOL: u32 = 1 << 3;
    pub(crate) const DESTINATION_PORT: u32 = 1 << 5;
}

/// `CTA_STATS_GLOBAL_ENTRIES` (`enum ctattr_stats_global`).
pub(crate) const ENTRY_COUNT: u16 = 1;

/// The length of `struct nfgenmsg`, linux/netfilter/nfnetlink.h.
pub(crate) const HEADER_LEN: usize = 4;

/// The header of messages about one family, or about all.
///
/// The version is 0 (`NFNETLINK_V0`), the resource is not used here.
pub(crate) fn header(family: Option<IpFamily>) -> [u8; HEADER_LEN] {
    /// `NFPROTO_IPV4`, `NFPROTO_IPV6` and `NFPROTO_UNSPEC`, linux/netfilter.h.
    const IPV4: u8 = 2;
    const IPV6: u8 = 10;
    const UNSPECIFIED: u8 = 0;
    let family = match family {
        Some(IpFamily::V4) => IPV4,
        Some(IpFamily::V6) => IPV6,
        None => UNSPECIFIED,
    };
    [family, 0, 0, 0]
}
