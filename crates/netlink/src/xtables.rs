//! The tables of iptables-legacy, as far as the kernel tells of them in one short answer.
//!
//! Numbers and structures are from linux/netfilter/x_tables.h, linux/netfilter_ipv4/ip_tables.h and their
//! likes for IPv6. Asking takes `CAP_NET_ADMIN` and, unlike the programs, no `CAP_NET_RAW`.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

use crate::route::Family;

/// `IPT_SO_GET_INFO` and `IP6T_SO_GET_INFO`.
const GET_INFO: libc::c_int = 64;
/// `XT_TABLE_MAXNAMELEN`
const NAME_LENGTH: usize = 32;
/// `NF_INET_NUMHOOKS`
const HOOKS: usize = 5;

/// `struct ipt_getinfo` and `struct ip6t_getinfo`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(C)]
struct GetInfo {
    name: [u8; NAME_LENGTH],
    valid_hooks: u32,
    hook_entry: [u32; HOOKS],
    underflow: [u32; HOOKS],
    num_entries: u32,
    size: u32,
}

/// What a table looks like from outside: how many entries it has, how long they are, and where the kernel's
/// chains begin and end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TableInfo(GetInfo);

impl TableInfo {
    /// Whether there is nothing in it but the kernel's chains with their policies.
    pub fn is_empty(&self) -> bool {
        // One entry for each policy, and one that ends the table.
        self.0.num_entries <= self.0.valid_hooks.count_ones() + 1
    }
}

/// Asks for the tables of one family, in the network namespace that it was opened in.
#[derive(Debug)]
pub struct LegacyTables {
    socket: OwnedFd,
    family: Family,
}

impl LegacyTables {
    /// Opens a socket to ask by.
    ///
    /// # Errors
    /// The kernel has not the family, or gives no socket.
    pub fn open(family: Family) -> io::Result<Self> {
        let domain = match family {
            Family::V4 => AddressFamily::Inet,
            Family::V6 => AddressFamily::Inet6,
        };
        let socket = socket(domain, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
        Ok(Self { socket, family })
    }

    /// Looks at a table. Where the kernel has it but not yet in this namespace, it comes to be; its module may be
    /// loaded.
    ///
    /// # Errors
    /// The kernel does not have it, or not for this process.
    pub fn info(&self, table: &str) -> io::Result<TableInfo> {
        let mut info = GetInfo {
            name: [0; NAME_LENGTH],
            valid_hooks: 0,
            hook_entry: [0; HOOKS],
            underflow: [0; HOOKS],
            num_entries: 0,
            size: 0,
        };
        // The name is followed by a zero at least.
        let room = &mut info.name[..NAME_LENGTH - 1];
        let name = room.get_mut(..table.len()).ok_or(io::ErrorKind::InvalidInput)?;
        name.copy_from_slice(table.as_bytes());
        let level = match self.family {
            Family::V4 => libc::IPPROTO_IP,
            Family::V6 => libc::IPPROTO_IPV6,
        };
        get_info(&self.socket, level, &mut info)?;
        Ok(TableInfo(info))
    }
}

#[expect(unsafe_code, reason = "no safe wrapper passes a value to getsockopt, here the table's name")]
fn get_info(socket: &OwnedFd, level: libc::c_int, info: &mut GetInfo) -> io::Result<()> {
    let mut length = libc::socklen_t::try_from(size_of_val(info)).map_err(io::Error::other)?;
    // SAFETY: pointer and length describe `info`, which nobody else uses until the call returns. The kernel
    // writes integers into it, of which any is valid.
    let result = unsafe {
        libc::getsockopt(socket.as_raw_fd(), level, GET_INFO, (&raw mut *info).cast(), &raw mut length)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
