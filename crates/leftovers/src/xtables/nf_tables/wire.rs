//! The kernel's numbers, from linux/netfilter/nf_tables.h unless said otherwise.

pub(super) use crate::netfilter::{HEADER_LEN, header};

/// `NFNL_SUBSYS_NFTABLES`, linux/netfilter/nfnetlink.h.
pub(super) const SUBSYSTEM: u16 = 10;
/// `NFNL_MSG_BATCH_BEGIN` and `NFNL_MSG_BATCH_END`, linux/netfilter/nfnetlink.h.
pub(super) const BATCH_BEGIN: u16 = 16;
pub(super) const BATCH_END: u16 = 17;

/// `NFT_MSG_GETCHAIN`, `NFT_MSG_DELCHAIN`, `NFT_MSG_GETRULE` and `NFT_MSG_DELRULE`.
pub(super) const GET_CHAIN: u16 = SUBSYSTEM << 8 | 4;
pub(super) const DELETE_CHAIN: u16 = SUBSYSTEM << 8 | 5;
pub(super) const GET_RULE: u16 = SUBSYSTEM << 8 | 7;
pub(super) const DELETE_RULE: u16 = SUBSYSTEM << 8 | 8;

/// `NFTA_CHAIN_*`
pub(super) mod chain {
    pub(in super::super) const TABLE: u16 = 1;
    pub(in super::super) const NAME: u16 = 3;
    /// Only chains that are called by the kernel have one.
    pub(in super::super) const HOOK: u16 = 4;
}

/// `NFTA_RULE_*`
pub(super) mod rule {
    pub(in super::super) const TABLE: u16 = 1;
    pub(in super::super) const CHAIN: u16 = 2;
    pub(in super::super) const HANDLE: u16 = 3;
    pub(in super::super) const EXPRESSIONS: u16 = 4;
}

/// `NFTA_EXPR_*`
pub(super) mod expression {
    pub(in super::super) const NAME: u16 = 1;
    pub(in super::super) const DATA: u16 = 2;
    /// The name of the expression that loads a value, or with it decides.
    pub(in super::super) const IMMEDIATE: &str = "immediate";
}

/// `NFTA_IMMEDIATE_DATA`
pub(super) const IMMEDIATE_DATA: u16 = 2;
/// `NFTA_DATA_VERDICT`
pub(super) const DATA_VERDICT: u16 = 2;
/// `NFTA_VERDICT_CHAIN`: only jumps and gotos have one.
pub(super) const VERDICT_CHAIN: u16 = 2;
