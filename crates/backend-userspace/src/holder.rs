//! Which program has a port, as far as `/proc` tells.
//!
//! The kernel lists the sockets of a network namespace with the number of each (`/proc/net/tcp` and its
//! like, proc_net(5)); the process that has a socket open shows that number among its file descriptors.
//! Those of other users are hidden without `CAP_SYS_PTRACE`; then the user is all there is to tell.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use crate::listen::{Place, Transport};

/// States in `/proc/net/tcp` and `/proc/net/udp`: `TCP_LISTEN`, and `TCP_CLOSE` for UDP sockets that are
/// not connected (net/tcp_states.h).
const LISTENING: &str = "0A";
const UNCONNECTED: &str = "07";

/// Programs in words, `sshd (process 512)` or `a program of user 1000`, each with the place that it has.
pub(crate) fn of_all(places: &[Place]) -> HashMap<Place, String> {
    let mut found: HashMap<Place, Socket> = HashMap::new();
    for transport in [Transport::Tcp, Transport::Udp] {
        let wanted: Vec<_> = places.iter().filter(|place| place.transport == transport).collect();
        let tables = if wanted.is_empty() { Vec::new() } else { read_sockets(transport) };
        let by_address: HashMap<_, _> = tables
            .iter()
            .map(|socket| ((socket.local.ip().to_canonical(), socket.local.port()), socket))
            .collect();
        for place in wanted {
            let in_the_way = in_the_way_of(place.address).find_map(|at| by_address.get(&at));
            found.extend(in_the_way.map(|socket| (*place, (*socket).clone())));
        }
    }
    let processes = find_processes(found.values().map(|socket| socket.number.as_str()).collect());
    let in_words = |socket: Socket| {
        let process = processes.get(&socket.number).cloned();
        process.unwrap_or_else(|| format!("a program of user {}", socket.user))
    };
    found.into_iter().map(|(place, socket)| (place, in_words(socket))).collect()
}

/// A socket that others collide with.
#[derive(Debug, Clone)]
struct Socket {
    local: SocketAddr,
    number: String,
    user: String,
}

fn read_sockets(transport: Transport) -> Vec<Socket> {
    let wanted = if transport == Transport::Tcp { LISTENING } else { UNCONNECTED };
    let tables = sockets(transport).into_iter();
    let texts = tables.filter_map(|table| fs::read_to_string(format!("/proc/thread-self/net/{table}")).ok());
    texts
        .flat_map(|text| {
            text.lines().skip(1).filter_map(|line| read_socket(line, wanted)).collect::<Vec<_>>()
        })
        .collect()
}

fn read_socket(line: &str, state: &str) -> Option<Socket> {
    // sl local_address rem_address st tx:rx tr:when retrnsmt uid timeout inode …
    let words: Vec<_> = line.split_whitespace().collect();
    let is_it = *words.get(3)? == state;
    let (number, user) = ((*words.get(9)?).to_owned(), (*words.get(7)?).to_owned());
    is_it.then(|| Some(Socket { local: parse_address(words.get(1)?)?, number, user }))?
}

fn sockets(transport: Transport) -> [&'static str; 2] {
    match transport {
        Transport::Tcp => ["tcp", "tcp6"],
        Transport::Udp => ["udp", "udp6"],
    }
}

/// Where a socket keeps another from `address`: there, or everywhere.
fn in_the_way_of(address: SocketAddr) -> impl Iterator<Item = (IpAddr, u16)> {
    let everywhere_v4 = address.is_ipv4().then_some(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    let everywhere = everywhere_v4.into_iter().chain([IpAddr::V6(Ipv6Addr::UNSPECIFIED)]);
    std::iter::once(address.ip()).chain(everywhere).map(move |ip| (ip, address.port()))
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

/// The processes that have sockets of these numbers open, in one walk through all of them.
fn find_processes(mut wanted: HashSet<&str>) -> HashMap<String, String> {
    let mut found = HashMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        if wanted.is_empty() {
            break;
        }
        let Some(process) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        for socket in sockets_of(&entry.path()) {
            if wanted.remove(socket.as_str()) {
                let name = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
                found.insert(socket, format!("{} (process {process})", name.trim_end()));
            }
        }
    }
    found
}

/// The numbers of the sockets that a process has open, as far as we may know.
fn sockets_of(process: &Path) -> impl Iterator<Item = String> {
    let descriptors = fs::read_dir(process.join("fd")).into_iter().flatten().flatten();
    descriptors.filter_map(|fd| {
        let link = fs::read_link(fd.path()).ok()?;
        let number = link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?;
        Some(number.to_owned())
    })
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
            let place = Place { address, transport };
            let holder = of_all(&[place]).remove(&place).unwrap();
            assert!(holder.ends_with(&own), "{holder}");
        }
    }

    #[test]
    fn a_socket_for_all_addresses_stands_in_the_way_of_each() {
        let places = |text: &str| {
            let all = in_the_way_of(text.parse().unwrap());
            all.map(|(ip, port)| SocketAddr::new(ip, port).to_string()).collect::<Vec<_>>()
        };
        assert_eq!(places("10.96.0.1:80"), ["10.96.0.1:80", "0.0.0.0:80", "[::]:80"]);
        assert_eq!(places("[fd00::1]:80"), ["[fd00::1]:80", "[::]:80"]);
        // A socket of IPv6 for one address of IPv4 is known by that.
        let holder = TcpListener::bind("[::ffff:127.0.0.1]:0").unwrap();
        let address = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), holder.local_addr().unwrap().port());
        let place = Place { address, transport: Transport::Tcp };
        assert!(of_all(&[place]).contains_key(&place));
    }

    #[test]
    fn addresses_are_read_word_by_word() {
        let parsed = parse_address("0100007F:1F90").unwrap();
        assert_eq!(parsed.port(), 8080);
        assert_eq!(parse_address("nonsense"), None);
        assert_eq!(parse_address("00:50"), None);
    }
}
