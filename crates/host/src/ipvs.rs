//! Whether the kernel offers IPVS.

use std::path::Path;

use portolan_netlink::{NetlinkError, NetlinkSocket, Protocol, flag};

use crate::Missing;

/// There exactly if the module ip_vs is loaded. Of the thread, for network namespaces belong to threads.
const SERVERS: &str = "/proc/thread-self/net/ip_vs";

/// The kernel's directory of generic netlink families, linux/genetlink.h.
mod directory {
    /// `GENL_ID_CTRL`
    pub(super) const ID: u16 = 0x10;
    /// `CTRL_CMD_GETFAMILY`
    pub(super) const GET_FAMILY: u8 = 3;
    /// `CTRL_ATTR_FAMILY_NAME`
    pub(super) const NAME: u16 = 2;
    /// The version of the commands, net/netlink/genetlink.c.
    pub(super) const VERSION: u8 = 1;
}

/// The name of the family, linux/ip_vs.h: `IPVS_GENL_NAME`.
const FAMILY: &str = "IPVS";

/// Finds out whether virtual servers could be made here, without making one.
///
/// To ask for the netlink family makes the kernel load ip_vs if it can.
///
/// # Errors
/// What is missing.
pub fn probe() -> Result<(), Missing> {
    if Path::new(SERVERS).exists() {
        return Ok(());
    }
    find_family(FAMILY).map_err(|error| match error.errno() {
        Some(nix::libc::ENOENT) => {
            Missing::new("the kernel module ip_vs, which is neither loaded nor could be loaded")
        }
        _ => Missing::new(format!("an answer of the kernel about IPVS: {}", chain(&error))),
    })
}

/// Asks the kernel for a generic netlink family.
fn find_family(name: &str) -> Result<(), NetlinkError> {
    let mut socket = NetlinkSocket::open(Protocol::Generic)?;
    socket.request(
        directory::ID,
        flag::REQUEST | flag::ACK,
        |message| {
            message.bytes(&[directory::GET_FAMILY, directory::VERSION, 0, 0]).text(directory::NAME, name);
        },
        |(): &mut (), _family| {},
    )
}

/// An error with all its sources.
fn chain(error: &dyn std::error::Error) -> String {
    let sources = std::iter::successors(error.source(), |error| error.source());
    sources.fold(error.to_string(), |text, source| format!("{text}: {source}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_directory_knows_itself_and_not_what_does_not_exist() {
        find_family("nlctrl").unwrap();
        assert_eq!(find_family("portolan").unwrap_err().errno(), Some(nix::libc::ENOENT));
    }

    #[test]
    fn ipvs_is_found_exactly_where_its_files_are() {
        let found = probe();
        assert_eq!(found.is_ok(), Path::new(SERVERS).exists(), "{found:?}");
    }
}
