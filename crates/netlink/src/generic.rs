//! Generic netlink: finding the number of a family.
//!
//! Families have names, and numbers that the kernel assigns when they register. A request by name
//! makes the kernel load the family's module. Listing all families is as fast and loads nothing.

use crate::{AttributeIter, Message, MessageWriter, NetlinkError, NetlinkSocket, flag};

/// The length of `struct genlmsghdr`, linux/genetlink.h: command, version and two bytes of nothing.
pub const GENERIC_HEADER_LEN: usize = 4;

/// `GENL_ID_CTRL`, linux/genetlink.h: the family that knows the others, and its version.
const CONTROL: u16 = 16;
const VERSION: u8 = 2;
/// `CTRL_CMD_GETFAMILY`, linux/genetlink.h.
const GET_FAMILY: u8 = 3;
/// `CTRL_ATTR_FAMILY_ID` and `CTRL_ATTR_FAMILY_NAME`, linux/genetlink.h.
const NUMBER: u16 = 1;
const NAME: u16 = 2;

impl NetlinkSocket {
    /// The number of a generic netlink family; none while the kernel has none of this name.
    ///
    /// Never makes the kernel load a module. The socket must be one for
    /// [`Protocol::Generic`](crate::Protocol::Generic).
    ///
    /// # Errors
    /// The kernel rejected the request, or did not answer.
    pub fn generic_family(&mut self, name: &str) -> Result<Option<u16>, NetlinkError> {
        let all = |request: &mut MessageWriter<'_>| {
            request.bytes(&generic_header(GET_FAMILY, VERSION));
        };
        let pick = |found: &mut Option<u16>, family: &Message<'_>| {
            let attributes = family.attributes(GENERIC_HEADER_LEN);
            if attributes.find_kind(NAME).and_then(|attribute| attribute.as_str()) == Some(name) {
                *found = number(&attributes);
            }
        };
        self.dump(CONTROL, all, pick)
    }

    /// The same, but makes the kernel load the family's module if necessary; none if there is no such module.
    ///
    /// # Errors
    /// The kernel rejected the request, or did not answer.
    pub fn load_generic_family(&mut self, name: &str) -> Result<Option<u16>, NetlinkError> {
        let by_name = |request: &mut MessageWriter<'_>| {
            request.bytes(&generic_header(GET_FAMILY, VERSION)).text(NAME, name);
        };
        let take = |found: &mut Option<u16>, family: &Message<'_>| {
            *found = number(&family.attributes(GENERIC_HEADER_LEN));
        };
        match self.request(CONTROL, flag::ACK, by_name, take) {
            Err(error) if error.errno() == Some(libc::ENOENT) => Ok(None),
            result => result,
        }
    }
}

/// The header of a generic netlink message: a command of the family, in this version of its protocol.
pub fn generic_header(command: u8, version: u8) -> [u8; GENERIC_HEADER_LEN] {
    [command, version, 0, 0]
}

fn number(attributes: &AttributeIter<'_>) -> Option<u16> {
    let value = attributes.find_kind(NUMBER)?.value;
    value.try_into().ok().map(u16::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Protocol;

    #[test]
    fn the_family_that_knows_the_others_has_its_fixed_number() {
        let mut socket = NetlinkSocket::open(Protocol::Generic).unwrap();
        assert_eq!(socket.generic_family("nlctrl").unwrap(), Some(CONTROL));
        assert_eq!(socket.load_generic_family("nlctrl").unwrap(), Some(CONTROL));
    }

    #[test]
    fn a_family_that_no_kernel_has_is_nothing_rather_than_an_error() {
        let mut socket = NetlinkSocket::open(Protocol::Generic).unwrap();
        assert_eq!(socket.generic_family("portolan-none").unwrap(), None);
        assert_eq!(socket.load_generic_family("portolan-none").unwrap(), None);
    }
}
