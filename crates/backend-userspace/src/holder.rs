//! Which program has a port, as far as `/proc` tells.
//!
//! The kernel lists the sockets of a network namespace with the number of each (`/proc/net/tcp` and its
//! like, proc_net(5)); the process that has a socket open shows that number among its file descriptors.
//! Those of other users are hidden without `CAP_SYS_PTRACE`; then the user is all there is to tell.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use crate::listen::{Place, Transport};

/// States in `/proc/net/tcp` and `/proc/net/udp`: `TCP_LISTEN`, and `TCP_CLOSE` for UDP sockets that are
/// not connected (net/tcp_states.h).
const LISTENING: &str = "0A";
const UNCONNECTED: &str = "07";

/// A program in words: `sshd (process 512)`, or `user 1000`.
pub(crate) fn of(place: Place) -> Option<String> {
    let (socket, user) = sockets(place.transport).into_iter().find_map(|table| {
        let text = fs::read_to_string(format!("/proc/thread-self/net/{table}")).ok()?;
        find_socket(&text, place)
    })?;
    Some(find_process(&socket).unwrap_or_else(|| format!("a program of user {user}")))
}

fn sockets(transport: Transport) -> [&'static str; 2] {
    match transport {
        Transport::Tcp => ["tcp", "tcp6"],
        Transport::Udp => ["udp", "udp6"],
    }
}

/// The number and the user of the socket that stands in a place's way.
fn find_socket(table: &str, place: Place) -> Option<(String, String)> {
    let wanted = if place.transport == Transport::Tcp { LISTENING } else { UNCONNECTED };
    table.lines().skip(1).find_map(|line| {
        // sl local_address rem_address st tx:rx tr:when retrnsmt uid timeout inode …
        let words: Vec<_> = line.split_whitespace().collect();
        let (local, state) = (parse_address(words.get(1)?)?, words.get(3)?);
        let is_it = *state == wanted && collides(local, place.address);
        is_it.then(|| Some(((*words.get(9)?).to_owned(), (*words.get(7)?).to_owned())))?
    })
}

/// Whether a socket at `local` keeps another from `address`: it is there, or everywhere.
fn collides(local: SocketAddr, address: SocketAddr) -> bool {
    let is_everywhere = local.ip().is_unspecified() && (local.is_ipv6() || address.is_ipv4());
    local.port() == address.port() && (is_everywhere || local.ip().to_canonical() == address.ip())
}

/// `0100007F:1F90`: words of the address in the host's order, then the port.
fn parse_address(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let words: Option<Vec<[u8; 4]>> = (0..address.len() / 8)
        .map(|word| {
            let digits = address.get(word * 8..word * 8 + 8)?;
            u32::from_str_radix(digits, 16).ok().map(u32::to_ne_bytes)
        })
        .collect();
    let bytes = words?.concat();
    let v4 = || <[u8; 4]>::try_from(bytes.as_slice()).ok().map(|b| IpAddr::from(Ipv4Addr::from(b)));
    let v6 = || <[u8; 16]>::try_from(bytes.as_slice()).ok().map(|b| IpAddr::from(Ipv6Addr::from(b)));
    Some(SocketAddr::new(v4().or_else(v6)?, port))
}

fn find_process(socket: &str) -> Option<String> {
    let target = format!("socket:[{socket}]");
    fs::read_dir("/proc").ok()?.flatten().find_map(|entry| {
        let process = entry.file_name().into_string().ok()?;
        process.parse::<u32>().ok()?;
        has_open(&entry.path(), &target).then(|| {
            let name = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
            format!("{} (process {process})", name.trim_end())
        })
    })
}

fn has_open(process: &Path, target: &str) -> bool {
    let Ok(descriptors) = fs::read_dir(process.join("fd")) else { return false };
    descriptors.flatten().any(|fd| fs::read_link(fd.path()).is_ok_and(|link| link.as_os_str() == target))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, UdpSocket};

    #[test]
    fn this_process_is_found_by_the_sockets_it_has() {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let udp = UdpSocket::bind("[::1]:0").unwrap();
        let own = format!("(process {})", std::process::id());
        for (transport, address) in
            [(Transport::Tcp, tcp.local_addr().unwrap()), (Transport::Udp, udp.local_addr().unwrap())]
        {
            let holder = of(Place { address, transport }).unwrap();
            assert!(holder.ends_with(&own), "{holder}");
        }
    }

    #[test]
    fn a_socket_for_all_addresses_stands_in_the_way_of_each() {
        let at = |text: &str| text.parse().unwrap();
        assert!(collides(at("0.0.0.0:80"), at("10.96.0.1:80")));
        assert!(collides(at("[::]:80"), at("10.96.0.1:80")));
        assert!(collides(at("[::ffff:10.96.0.1]:80"), at("10.96.0.1:80")));
        assert!(!collides(at("0.0.0.0:80"), at("[fd00::1]:80")));
        assert!(!collides(at("10.96.0.2:80"), at("10.96.0.1:80")));
        assert!(!collides(at("0.0.0.0:81"), at("10.96.0.1:80")));
    }

    #[test]
    fn addresses_are_read_word_by_word() {
        let parsed = parse_address("0100007F:1F90").unwrap();
        assert_eq!(parsed.port(), 8080);
        assert_eq!(parse_address("nonsense"), None);
        assert_eq!(parse_address("00:50"), None);
    }
}
