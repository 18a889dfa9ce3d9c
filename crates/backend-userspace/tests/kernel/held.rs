//! What the mode makes of a node: addresses that are local, and sockets that listen. Read from the kernel, and
//! worked out from the plan, without the code that is tested.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use portolan_core::{IpFamily, NodePlan, Protocol};
use portolan_testkit::netns::Program;

/// A place where somebody listens.
pub(crate) type Open = BTreeSet<(Protocol, SocketAddr)>;

/// Who listens in this thread's namespace.
pub(crate) fn open() -> Open {
    let read = |table: &str| std::fs::read_to_string(format!("/proc/thread-self/net/{table}")).unwrap();
    let tables = [("tcp", Protocol::Tcp, "0A"), ("udp", Protocol::Udp, "07")];
    let mut open = Open::new();
    for (table, protocol, state) in tables {
        for text in [read(table), read(&format!("{table}6"))] {
            let sockets = text.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
            let listening = sockets.filter(|words| words[3] == state);
            open.extend(listening.map(|words| (protocol, socket(words[1]))));
        }
    }
    open
}

/// An address as `/proc/net/tcp` writes it, in words of the host's order.
fn socket(text: &str) -> SocketAddr {
    let (address, port) = text.split_once(':').unwrap();
    let word = |at| u32::from_str_radix(&address[at..at + 8], 16).unwrap().to_ne_bytes();
    let address: IpAddr = match address.len() {
        8 => word(0).into(),
        _ => <[u8; 16]>::try_from([word(0), word(8), word(16), word(24)].concat()).unwrap().into(),
    };
    SocketAddr::new(address, u16::from_str_radix(port, 16).unwrap())
}

/// Asserts that no packet filter is there, nor would be if it were looked for: where the kernel has none, nothing can be
/// listed.
#[track_caller]
pub(crate) fn assert_no_rules() {
    match Program::new("nft").args(["list", "ruleset"]).run() {
        Ok(rules) => assert_eq!(rules.trim(), "", "a packet filter is touched"),
        Err(error) => assert!(!Path::new("/sys/module/nf_tables").exists(), "{error}"),
    }
}

/// The addresses that we made local in this thread's namespace.
pub(crate) fn ours(family: IpFamily) -> BTreeSet<IpAddr> {
    let option = if family == IpFamily::V4 { "-4" } else { "-6" };
    let routes = ["route", "show", "table", "local", "proto", "80"];
    let list = Program::new("ip").args([option]).args(routes).run().unwrap();
    // local 10.96.0.80 dev lo scope host metric 8080
    list.lines().map(|line| line.split_whitespace().nth(1).unwrap().parse().unwrap()).collect()
}

/// The addresses that a plan has, which must be the node's.
pub(crate) fn planned(plan: &NodePlan) -> BTreeSet<IpAddr> {
    let ports = plan.service_ports.iter().filter(|(name, _)| name.protocol != Protocol::Sctp);
    ports.flat_map(|(_, port)| port.cluster_ip.into_iter().chain(port.external_addresses())).collect()
}
