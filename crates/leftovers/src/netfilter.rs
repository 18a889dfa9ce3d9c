//! What messages to all parts of netfilter have in common.

use portolan_core::IpFamily;
use portolan_nft::Family;

/// The length of `struct nfgenmsg`, linux/netfilter/nfnetlink.h.
pub(crate) const HEADER_LEN: usize = 4;

/// `struct nfgenmsg`: family, version 0 (`NFNETLINK_V0`), resource 0.
pub(crate) fn header(family: IpFamily) -> [u8; HEADER_LEN] {
    [nft_family(family).number(), 0, 0, 0]
}

/// The family as nf_tables calls it.
pub(crate) fn nft_family(family: IpFamily) -> Family {
    match family {
        IpFamily::V4 => Family::Ip,
        IpFamily::V6 => Family::Ip6,
    }
}

/// Whether an error is what a netfilter socket answers when the part asked for is neither there nor can be
/// loaded (`nfnetlink_rcv_msg`).
pub(crate) fn is_absent(errno: Option<i32>) -> bool {
    matches!(errno, Some(libc::EINVAL | libc::EOPNOTSUPP))
}
