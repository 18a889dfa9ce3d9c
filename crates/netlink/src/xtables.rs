//! Reads the tables of iptables-legacy without its programs.
//!
//! Numbers and structures are from linux/netfilter/x_tables.h, linux/netfilter_ipv4/ip_tables.h and their
//! counterparts for IPv6. Reading requires `CAP_NET_ADMIN` and, unlike the programs, not `CAP_NET_RAW`.

use std::io;
use std::mem::offset_of;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

use crate::route::Family;

/// `IPT_SO_GET_INFO` and `IP6T_SO_GET_INFO`, `IPT_SO_GET_ENTRIES` and `IP6T_SO_GET_ENTRIES`.
const GET_INFO: libc::c_int = 64;
const GET_ENTRIES: libc::c_int = 65;
/// `XT_TABLE_MAXNAMELEN`
const NAME_LENGTH: usize = 32;
/// `NF_INET_NUMHOOKS`
const HOOKS: usize = 5;
/// How often to read entries that other processes change meanwhile.
const ATTEMPTS: usize = 10;

/// `struct ipt_getinfo` and `struct ip6t_getinfo`
#[repr(C)]
struct GetInfo {
    name: [u8; NAME_LENGTH],
    valid_hooks: u32,
    hook_entry: [u32; HOOKS],
    underflow: [u32; HOOKS],
    num_entries: u32,
    size: u32,
}

/// `struct ipt_get_entries` and `struct ip6t_get_entries`
#[repr(C)]
struct GetEntries {
    name: [u8; NAME_LENGTH],
    size: u32,
    /// Entries have counters of eight bytes, and are aligned as these.
    entries: [u64; 0],
}

/// The header of a table: the number of its entries, their length, and where the kernel's chains begin and end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TableInfo([u8; size_of::<GetInfo>()]);

impl TableInfo {
    /// Whether it holds only the kernel's chains with their policies.
    pub fn is_empty(&self) -> bool {
        // One entry for each policy, and one that ends the table.
        self.number(offset_of!(GetInfo, num_entries))
            <= self.number(offset_of!(GetInfo, valid_hooks)).count_ones() + 1
    }

    fn number(&self, at: usize) -> u32 {
        u32_at(&self.0, at).unwrap_or_default()
    }
}

/// Reads the tables of one family, in the network namespace that it was opened in.
#[derive(Debug)]
pub struct LegacyTables {
    socket: OwnedFd,
    family: Family,
}

impl LegacyTables {
    /// Opens the socket.
    ///
    /// # Errors
    /// The kernel lacks the family, or the socket cannot be opened.
    pub fn open(family: Family) -> io::Result<Self> {
        let domain = match family {
            Family::V4 => AddressFamily::Inet,
            Family::V6 => AddressFamily::Inet6,
        };
        let socket = socket(domain, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
        Ok(Self { socket, family })
    }

    /// Reads a table's header. The kernel creates the table in this namespace if necessary, and may load its module.
    ///
    /// # Errors
    /// The kernel lacks the table, or the process may not read it.
    pub fn info(&self, table: &str) -> io::Result<TableInfo> {
        let mut info = [0; size_of::<GetInfo>()];
        write_name(&mut info, table)?;
        self.get(GET_INFO, &mut info)?;
        Ok(TableInfo(info))
    }

    /// The names of the chains in a table that are not the kernel's. Takes as long as copying the table.
    ///
    /// # Errors
    /// As [`info`](Self::info); or other processes changed the table during every attempt.
    pub fn chains(&self, table: &str) -> io::Result<Vec<String>> {
        for _ in 0..ATTEMPTS {
            let size = self.info(table)?.number(offset_of!(GetInfo, size));
            let length = usize::try_from(size).map_err(io::Error::other)?;
            let mut bytes = vec![0; size_of::<GetEntries>() + length];
            write_name(&mut bytes, table)?;
            let at = offset_of!(GetEntries, size);
            bytes[at..at + 4].copy_from_slice(&size.to_ne_bytes());
            match self.get(GET_ENTRIES, &mut bytes) {
                Ok(()) => {
                    let entries = &bytes[offset_of!(GetEntries, entries)..];
                    return Ok(chains(entries, self.family));
                }
                // The table has another size by now.
                Err(error) if error.raw_os_error() == Some(libc::EAGAIN) => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::ErrorKind::ResourceBusy.into())
    }

    /// Lets the kernel write into `answer`, which names the table.
    #[expect(unsafe_code, reason = "no safe wrapper passes a value to getsockopt, here the table's name")]
    fn get(&self, option: libc::c_int, answer: &mut [u8]) -> io::Result<()> {
        let level = match self.family {
            Family::V4 => libc::IPPROTO_IP,
            Family::V6 => libc::IPPROTO_IPV6,
        };
        let mut length = libc::socklen_t::try_from(answer.len()).map_err(io::Error::other)?;
        // SAFETY: pointer and length describe `answer`, which has no other user until the call returns. The kernel
        // writes no more than that, and any bytes are valid.
        let result = unsafe {
            libc::getsockopt(
                self.socket.as_raw_fd(),
                level,
                option,
                answer.as_mut_ptr().cast(),
                &raw mut length,
            )
        };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}

/// Writes a table's name to the front; a zero at least follows it.
fn write_name(bytes: &mut [u8], table: &str) -> io::Result<()> {
    let name = bytes[..NAME_LENGTH - 1].get_mut(..table.len()).ok_or(io::ErrorKind::InvalidInput)?;
    name.copy_from_slice(table.as_bytes());
    Ok(())
}

/// The chains that begin in a list of `struct ipt_entry` or `struct ip6t_entry`: each with an entry whose target is
/// `ERROR` and has the chain's name. Another such ends the table.
fn chains(mut entries: &[u8], family: Family) -> Vec<String> {
    /// The first field after `struct ipt_ip` (84 bytes) or `struct ip6t_ip6` (136) and `nfcache`, and the next.
    const fn target_offset(family: Family) -> usize {
        match family {
            Family::V4 => 88,
            Family::V6 => 140,
        }
    }
    /// `XT_ERROR_TARGET`, which is also the name that ends the table.
    const ERROR: &str = "ERROR";
    /// `struct xt_entry_target` begins with its size, a name and a revision; what a target needs besides follows.
    const NAME: std::ops::Range<usize> = 2..31;
    const DATA: std::ops::Range<usize> = 32..62;

    let at = target_offset(family);
    let mut chains = Vec::new();
    while let (Some(target), Some(next)) = (u16_at(entries, at), u16_at(entries, at + 2)) {
        let target = entries.get(usize::from(target)..).unwrap_or_default();
        if text(target.get(NAME)) == Some(ERROR)
            && let Some(chain) = text(target.get(DATA)).filter(|chain| *chain != ERROR)
        {
            chains.push(chain.to_owned());
        }
        // An entry is never empty.
        match entries.get(usize::from(next)..) {
            Some(rest) if next > 0 => entries = rest,
            _ => break,
        }
    }
    chains
}

fn text(bytes: Option<&[u8]>) -> Option<&str> {
    std::str::from_utf8(bytes?.split(|byte| *byte == 0).next()?).ok()
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().copied().map(u16::from_ne_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().copied().map(u32::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An entry of IPv4 with this target and name, as `struct ipt_entry` (112 bytes) and `struct xt_error_target`.
    fn entry(target: &str, name: &str) -> Vec<u8> {
        let mut entry = vec![0; 112 + 64];
        entry[88..90].copy_from_slice(&112_u16.to_ne_bytes());
        entry[90..92].copy_from_slice(&176_u16.to_ne_bytes());
        entry[114..114 + target.len()].copy_from_slice(target.as_bytes());
        entry[144..144 + name.len()].copy_from_slice(name.as_bytes());
        entry
    }

    #[test]
    fn chains_begin_with_an_entry_that_has_their_name() {
        let table = [
            entry("", ""),
            entry("MASQUERADE", "KUBE-NO-CHAIN"),
            entry("ERROR", "KUBE-SERVICES"),
            entry("", ""),
            entry("ERROR", "DOCKER"),
            entry("ERROR", "ERROR"),
        ];
        assert_eq!(chains(&table.concat(), Family::V4), ["KUBE-SERVICES", "DOCKER"]);
    }

    #[test]
    fn entries_that_are_cut_off_or_have_no_length_end_the_table() {
        let whole = [entry("ERROR", "KUBE-SERVICES"), entry("ERROR", "DOCKER")].concat();
        for length in 0..whole.len() {
            let found = chains(&whole[..length], Family::V4);
            assert!(
                found.iter().all(|chain| ["KUBE-SERVICES", "DOCKER"].contains(&chain.as_str())),
                "{found:?}"
            );
        }
        assert_eq!(chains(&[0; 500], Family::V4), [""; 0]);
        assert_eq!(chains(&[0xff; 500], Family::V6), [""; 0]);
    }
}
