//! Whether the kernel offers IPVS.

use std::path::Path;

use portolan_core::backend::error_chain;
use portolan_netlink::{NetlinkSocket, Protocol};

use crate::Missing;

/// There exactly if the module ip_vs is loaded. Of the thread, for network namespaces belong to threads.
const SERVERS: &str = "/proc/thread-self/net/ip_vs";

/// The name of its family of generic netlink, linux/ip_vs.h: `IPVS_GENL_NAME`.
const FAMILY: &str = "IPVS";

/// Finds out whether virtual servers could be made here, without making one.
///
/// To ask for the netlink family makes the kernel load ip_vs if it can, as a proxy in that mode would.
///
/// # Errors
/// What is missing.
pub fn probe() -> Result<(), Missing> {
    if Path::new(SERVERS).exists() {
        return Ok(());
    }
    let family =
        NetlinkSocket::open(Protocol::Generic).and_then(|mut socket| socket.load_generic_family(FAMILY));
    match family {
        Ok(Some(_number)) => Ok(()),
        Ok(None) => Err(Missing::new("the kernel module ip_vs, which is neither loaded nor could be loaded")),
        Err(error) => {
            Err(Missing::new(format!("an answer of the kernel about IPVS: {}", error_chain(&error))))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ipvs_is_found_exactly_where_its_files_are() {
        let found = probe();
        assert_eq!(found.is_ok(), Path::new(SERVERS).exists(), "{found:?}");
    }
}
