//! Checks whether the kernel supports IPVS.

use std::path::Path;

use portolan_core::backend::error_chain;
use portolan_netlink::{NetlinkSocket, Protocol};

use crate::Missing;

/// Exists if the module ip_vs is loaded. Of the thread, because network namespaces belong to threads.
const SERVERS: &str = "/proc/thread-self/net/ip_vs";

/// The name of its family of generic netlink, linux/ip_vs.h: `IPVS_GENL_NAME`.
const FAMILY: &str = "IPVS";

/// Checks that virtual servers can be created, without creating one.
///
/// Requesting the netlink family makes the kernel load ip_vs if it can, as the ipvs mode does.
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
            Err(Missing::new(format!("a response of the kernel about IPVS: {}", error_chain(&error))))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_probe_agrees_with_procfs() {
        let found = probe();
        assert_eq!(found.is_ok(), Path::new(SERVERS).exists(), "{found:?}");
    }
}
