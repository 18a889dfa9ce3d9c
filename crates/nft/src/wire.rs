//! The kernel's numbers that both writing and reading need.
//!
//! All from linux/netfilter/nf_tables.h unless said otherwise.

use std::time::Duration;

use crate::Family;

/// `enum nf_tables_msg_types`
pub(crate) mod message {
    pub(crate) const NEW_TABLE: u8 = 0;
    pub(crate) const GET_TABLE: u8 = 1;
    pub(crate) const DEL_TABLE: u8 = 2;
    pub(crate) const NEW_CHAIN: u8 = 3;
    pub(crate) const GET_CHAIN: u8 = 4;
    pub(crate) const DEL_CHAIN: u8 = 5;
    pub(crate) const NEW_RULE: u8 = 6;
    pub(crate) const GET_RULE: u8 = 7;
    pub(crate) const DEL_RULE: u8 = 8;
    pub(crate) const NEW_SET: u8 = 9;
    pub(crate) const GET_SET: u8 = 10;
    pub(crate) const DEL_SET: u8 = 11;
    pub(crate) const NEW_ELEMENTS: u8 = 12;
    pub(crate) const GET_ELEMENTS: u8 = 13;
    pub(crate) const DEL_ELEMENTS: u8 = 14;
    pub(crate) const GET_GENERATION: u8 = 16;
    /// `NFT_MSG_DESTROYSETELEM`, since Linux 6.3.
    pub(crate) const DESTROY_ELEMENTS: u8 = 30;
}

/// `enum nft_set_flags`
pub(crate) mod set_flag {
    pub(crate) const INTERVAL: u32 = 0x4;
    pub(crate) const MAP: u32 = 0x8;
    pub(crate) const TIMEOUT: u32 = 0x10;
    /// `NFT_SET_EVAL`: rules add elements.
    pub(crate) const DYNAMIC: u32 = 0x20;
    pub(crate) const CONCAT: u32 = 0x80;
}

/// `NFTA_SET_ELEM_LIST_*` and `NFTA_LIST_ELEM`
pub(crate) mod element_list {
    pub(crate) const TABLE: u16 = 1;
    pub(crate) const SET: u16 = 2;
    pub(crate) const ELEMENTS: u16 = 3;
    pub(crate) const ELEMENT: u16 = 1;
}

/// `NFTA_SET_ELEM_*`
pub(crate) mod element {
    pub(crate) const KEY: u16 = 1;
    pub(crate) const DATA: u16 = 2;
    pub(crate) const FLAGS: u16 = 3;
    pub(crate) const TIMEOUT: u16 = 4;
    pub(crate) const EXPIRATION: u16 = 5;
    pub(crate) const USERDATA: u16 = 6;
    pub(crate) const KEY_END: u16 = 10;

    /// `NFT_SET_ELEM_INTERVAL_END`
    pub(crate) const INTERVAL_END: u32 = 1;
}

/// `NFTA_DATA_*` and `NFTA_VERDICT_*`
pub(crate) mod data {
    pub(crate) const VALUE: u16 = 1;
    pub(crate) const VERDICT: u16 = 2;
    pub(crate) const VERDICT_CODE: u16 = 1;
    pub(crate) const VERDICT_CHAIN: u16 = 2;
}

/// `NFT_REG_VERDICT`: the register that is the verdict.
pub(crate) const REGISTER_VERDICT: u32 = 0;
/// `NFT_CMP_EQ`
pub(crate) const COMPARE_EQ: u32 = 0;
/// `NFT_CMP_NEQ`
pub(crate) const COMPARE_NE: u32 = 1;
/// `NFT_LOOKUP_F_INV`
pub(crate) const LOOKUP_INVERTED: u32 = 1;
/// `NFT_NAT_DNAT`
pub(crate) const NAT_DNAT: u32 = 1;
/// `NFT_DYNSET_OP_UPDATE`
pub(crate) const DYNSET_UPDATE: u32 = 1;
/// `NFT_NG_RANDOM`
pub(crate) const NUMGEN_RANDOM: u32 = 1;
/// `NFT_FIB_RESULT_ADDRTYPE`
pub(crate) const FIB_RESULT_TYPE: u32 = 3;
/// `IP_CT_DIR_ORIGINAL`, linux/netfilter/nf_conntrack_tuple_common.h
pub(crate) const CT_ORIGINAL: u8 = 0;
/// `NF_NAT_RANGE_PROTO_RANDOM_FULLY`, linux/netfilter/nf_nat.h
pub(crate) const NAT_RANDOM_FULLY: u32 = 16;
/// `NFT_REJECT_ICMP_UNREACH`
pub(crate) const REJECT_ICMP_UNREACH: u32 = 0;
/// `NFT_REJECT_TCP_RST`
pub(crate) const REJECT_TCP_RESET: u32 = 1;
/// `NFT_META_MARK`
pub(crate) const META_MARK: u32 = 3;
/// `NFT_DATA_VERDICT`: the data type of verdict maps.
pub(crate) const DATA_VERDICT: u32 = 0xffff_ff00;
/// `NF_ACCEPT`, linux/netfilter.h: the policy of a base chain.
pub(crate) const POLICY_ACCEPT: u32 = 1;

/// The netlink message kind of one of [`message`].
pub(crate) const fn message_kind(message: u8) -> u16 {
    SUBSYSTEM << 8 | message as u16
}

/// `NFNL_SUBSYS_NFTABLES`, linux/netfilter/nfnetlink.h.
pub(crate) const SUBSYSTEM: u16 = 10;

/// A timeout in the kernel's unit, milliseconds, rounded down.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The length of `struct nfgenmsg`, linux/netfilter/nfnetlink.h.
pub(crate) const FAMILY_HEADER: usize = 4;

/// `struct nfgenmsg`: family, version 0, resource 0.
pub(crate) const fn family_header(family: Family) -> [u8; FAMILY_HEADER] {
    [family.number(), 0, 0, 0]
}
