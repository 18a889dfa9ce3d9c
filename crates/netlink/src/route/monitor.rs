//! Word of addresses that come and go.

use std::io;
use std::os::fd::OwnedFd;

use super::{Family, InterfaceAddress, read_address};
use crate::{Heard, Monitor, NetlinkError, Protocol};

/// `RTMGRP_IPV4_IFADDR` and `RTMGRP_IPV6_IFADDR`, linux/rtnetlink.h.
const GROUP_V4: u32 = 0x10;
const GROUP_V6: u32 = 0x100;

/// Listens to changes of addresses in the network namespace that it was opened in. Never waits.
#[derive(Debug)]
pub struct AddressMonitor(Monitor);

impl AddressMonitor {
    /// Begins to listen; what came before is not told.
    ///
    /// # Errors
    /// The kernel gives no such socket.
    pub fn open(family: Family) -> Result<Self, NetlinkError> {
        let group = if family == Family::V4 { GROUP_V4 } else { GROUP_V6 };
        Monitor::open(Protocol::Route, group).map(Self)
    }

    /// Takes in all there is to be heard by now, and hands on each address that came or went.
    ///
    /// # Errors
    /// The socket is of no more use.
    pub fn listen(&mut self, mut changed: impl FnMut(InterfaceAddress)) -> io::Result<Heard> {
        self.0.listen(|message| {
            if let Some(address) = read_address(message) {
                changed(address);
            }
        })
    }

    /// The socket itself, readable when there is something to be heard, for those who wait in ways of their own.
    pub fn into_socket(self) -> OwnedFd {
        self.0.into_socket()
    }
}
