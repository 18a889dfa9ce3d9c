//! Which program has a port, as far as `/proc` tells.
//!
//! The kernel lists the sockets of a network namespace with the inode of each (`/proc/net/tcp` and others, proc_net(5)); a
//! process that has a socket open shows the inode among its file descriptors. Those of other users are hidden without
//! `CAP_SYS_PTRACE`; then the user is named.

use std::collections::HashMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use portolan_core::Protocol;

use crate::address::ListenAddress;

/// States in `/proc/net/tcp` and `/proc/net/udp`: `TCP_LISTEN`, and `TCP_CLOSE` for UDP sockets that are not connected
/// (net/tcp_states.h).
const LISTEN: &str = "0A";
const CLOSE: &str = "07";

/// The owners of listen addresses, such as `sshd (process 512)` or `a program of user 1000`.
pub(crate) fn find(addresses: &[ListenAddress]) -> HashMap<ListenAddress, String> {
    let mut found: HashMap<ListenAddress, (String, String)> = HashMap::new();
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        let wanted: Vec<_> = addresses.iter().filter(|address| address.protocol == protocol).collect();
        if wanted.is_empty() {
            continue;
        }
        let sockets = read_sockets(protocol);
        for address in wanted {
            let (ip, port) = (address.socket.ip(), address.socket.port());
            let conflicting = conflicting(ip).find_map(|ip| sockets.get(&(ip, port)));
            found.extend(conflicting.map(|socket| (*address, socket.clone())));
        }
    }
    let processes = if found.is_empty() { HashMap::new() } else { read_processes() };
    let owner = |(inode, user): (String, String)| {
        let process = processes.get(&inode).cloned();
        process.unwrap_or_else(|| format!("a program of user {user}"))
    };
    found.into_iter().map(|(address, socket)| (address, owner(socket))).collect()
}

/// The addresses of sockets that conflict with one at `ip`: the address itself, and the wildcards.
fn conflicting(ip: IpAddr) -> impl Iterator<Item = IpAddr> {
    let wildcard_v4 = ip.is_ipv4().then_some(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    [Some(ip), wildcard_v4, Some(IpAddr::V6(Ipv6Addr::UNSPECIFIED))].into_iter().flatten()
}

/// The inode and the user of each socket, by its address.
fn read_sockets(protocol: Protocol) -> HashMap<(IpAddr, u16), (String, String)> {
    let is_tcp = protocol == Protocol::Tcp;
    let (tables, state) = if is_tcp { (["tcp", "tcp6"], LISTEN) } else { (["udp", "udp6"], CLOSE) };
    let mut sockets = HashMap::new();
    for table in tables {
        let text = fs::read_to_string(format!("/proc/thread-self/net/{table}")).unwrap_or_default();
        sockets.extend(text.lines().skip(1).filter_map(|line| parse_socket(line, state)));
    }
    sockets
}

fn parse_socket(line: &str, state: &str) -> Option<((IpAddr, u16), (String, String))> {
    // sl local_address rem_address st tx:rx tr:when retrnsmt uid timeout inode …
    let fields: Vec<_> = line.split_whitespace().collect();
    let (address, user, inode) = (parse_address(fields.get(1)?)?, *fields.get(7)?, *fields.get(9)?);
    (*fields.get(3)? == state).then(|| (address, (inode.to_owned(), user.to_owned())))
}

/// `0100007F:1F90`: the 32-bit words of the address in the host's byte order, then the port.
fn parse_address(text: &str) -> Option<(IpAddr, u16)> {
    let (address, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let word = |at| Some(u32::from_str_radix(address.get(at..at + 8)?, 16).ok()?.to_ne_bytes());
    let ip: IpAddr = match address.len() {
        8 => word(0)?.into(),
        32 => <[u8; 16]>::try_from([word(0)?, word(8)?, word(16)?, word(24)?].as_flattened()).ok()?.into(),
        _ => return None,
    };
    Some((ip.to_canonical(), port))
}

/// The processes by the inodes of the sockets that they have open.
fn read_processes() -> HashMap<String, String> {
    let mut found = HashMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(process) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let name = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
        let owner = format!("{} (process {process})", name.trim_end());
        found.extend(read_inodes(&entry.path()).map(|inode| (inode, owner.clone())));
    }
    found
}

/// The inodes of the sockets that a process has open, as far as this process may see them.
fn read_inodes(process: &Path) -> impl Iterator<Item = String> {
    let descriptors = fs::read_dir(process.join("fd")).into_iter().flatten().flatten();
    descriptors.filter_map(|fd| {
        let link = fs::read_link(fd.path()).ok()?;
        let inode = link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?;
        Some(inode.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use std::net::{SocketAddr, TcpListener, UdpSocket};

    use super::*;

    #[test]
    fn this_process_is_found_by_its_sockets() {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let udp = UdpSocket::bind("[::1]:0").unwrap();
        let own = format!("(process {})", std::process::id());
        for (protocol, socket) in
            [(Protocol::Tcp, tcp.local_addr().unwrap()), (Protocol::Udp, udp.local_addr().unwrap())]
        {
            let address = ListenAddress { socket, protocol };
            let owner = find(&[address]).remove(&address).unwrap();
            assert!(owner.ends_with(&own), "{owner}");
        }
    }

    #[test]
    fn a_wildcard_socket_conflicts_with_each_address() {
        let all =
            |text: &str| conflicting(text.parse().unwrap()).map(|ip| ip.to_string()).collect::<Vec<_>>();
        assert_eq!(all("10.96.0.1"), ["10.96.0.1", "0.0.0.0", "::"]);
        assert_eq!(all("fd00::1"), ["fd00::1", "::"]);
        // An IPv6 socket at an IPv4 address is known by that.
        let owner = TcpListener::bind("[::ffff:127.0.0.1]:0").unwrap();
        let socket = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), owner.local_addr().unwrap().port());
        let address = ListenAddress { socket, protocol: Protocol::Tcp };
        assert!(find(&[address]).contains_key(&address));
    }

    #[test]
    fn addresses_are_read_word_by_word() {
        let (_, port) = parse_address("0100007F:1F90").unwrap();
        assert_eq!(port, 8080);
        assert_eq!(parse_address("nonsense"), None);
        assert_eq!(parse_address("00:50"), None);
    }
}
