//! Counters of the kernel's that rules can name: objects of nfacct.
//!
//! A rule that names one which is not there is refused, and not every kernel has them at all. So they are
//! made before, as kube-proxy makes them, and stay when we end.

use portolan_netlink::{MessageWriter, NetlinkError, NetlinkSocket, Protocol, flag};

use crate::options::{Counters, INVALID_DROPPED, LOCALHOST_ACCEPTED};

/// `NFNL_MSG_ACCT_NEW` (linux/netfilter/nfnetlink_acct.h) of `NFNL_SUBSYS_ACCT`
/// (linux/netfilter/nfnetlink.h), which is the upper byte.
const NEW: u16 = 7 << 8;
/// `NFACCT_NAME`, linux/netfilter/nfnetlink_acct.h.
const NAME: u16 = 1;
/// `struct nfgenmsg` of no family: `AF_UNSPEC`, `NFNETLINK_V0`, no resource.
const HEADER: [u8; 4] = [0; 4];
/// `EBUSY`, linux/errno-base.h: an object of this name is there.
const EXISTS: i32 = 16;

/// Sees to it that the counters are there, in the network namespace of the calling thread, and says which
/// are.
pub(crate) fn make() -> Counters {
    let Ok(mut socket) = NetlinkSocket::open(Protocol::Netfilter) else { return Counters::default() };
    let mut has = |name| match new(&mut socket, name) {
        Ok(()) => true,
        Err(error) if error.errno() == Some(EXISTS) => true,
        Err(error) => {
            tracing::debug!(name, error = %error, "rules do without a counter of nfacct");
            false
        }
    };
    Counters { invalid_dropped: has(INVALID_DROPPED), localhost_accepted: has(LOCALHOST_ACCEPTED) }
}

fn new(socket: &mut NetlinkSocket, name: &str) -> Result<(), NetlinkError> {
    let ask = |request: &mut MessageWriter<'_>| _ = request.bytes(&HEADER).text(NAME, name);
    socket.request(NEW, flag::ACK | flag::CREATE, ask, |(), _| {})
}
