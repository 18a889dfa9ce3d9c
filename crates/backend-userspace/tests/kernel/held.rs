//! The local addresses and listening sockets of a node, read from the kernel and derived from the plan, without the code
//! that is tested.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use portolan_core::{IpFamily, NodePlan, Protocol};
use portolan_testkit::netns::Program;

/// Sockets that listen.
pub(crate) type Open = BTreeSet<(Protocol, SocketAddr)>;

/// The sockets that listen in this thread's namespace.
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

/// What comes to a node: all of an address, or a port of it.
pub(crate) type Captured = (IpAddr, Option<(Protocol, u16)>);

/// All of an address.
pub(crate) fn whole(address: &str) -> Captured {
    (address.parse().unwrap(), None)
}

/// A port of an address.
pub(crate) fn port(protocol: Protocol, place: &str) -> Captured {
    let place: SocketAddr = place.parse().unwrap();
    (place.ip(), Some((protocol, place.port())))
}

/// Our routes and rules in this thread's namespace, a line each.
fn listed(family: IpFamily) -> (Vec<String>, Vec<String>) {
    let option = if family == IpFamily::V4 { "-4" } else { "-6" };
    let list = |words: &[&str], is_ours: fn(&str) -> bool| {
        let output = Program::new("ip").args([option]).args(words).run().unwrap();
        output.lines().map(str::trim_end).filter(|line| is_ours(line)).map(str::to_owned).collect()
    };
    // local 10.96.0.80 dev lo table local scope host metric 8081
    let routes = list(&["route", "show", "table", "all", "proto", "80"], |line| line.starts_with("local "));
    // 80: from all ipproto tcp dport 80 lookup 800600080 proto 80
    let rules = list(&["rule", "show"], |line| line.ends_with(" proto 80"));
    (routes, rules)
}

/// Whether nothing of ours is left in this thread's namespace. What a connection holds is removed after its end, a rule
/// and its route one after the other, so this asserts nothing.
pub(crate) fn is_empty() -> bool {
    IpFamily::ALL.into_iter().map(listed).all(|(routes, rules)| routes.is_empty() && rules.is_empty())
}

/// What we bring to this thread's namespace. Asserts that there is a rule for each port, and no other of ours.
#[track_caller]
pub(crate) fn ours(family: IpFamily) -> BTreeSet<Captured> {
    let (routes, rules) = listed(family);
    let captured: BTreeSet<_> = routes
        .iter()
        .map(|line| {
            let address = line.split_whitespace().nth(1).unwrap().parse().unwrap();
            let table = line.split(" table ").nth(1).unwrap().split_whitespace().next().unwrap();
            let port = (table != "local").then(|| {
                let number: u32 = table.parse().unwrap();
                let protocol = if number < 801_000_000 { Protocol::Tcp } else { Protocol::Udp };
                (protocol, u16::try_from(number % 100_000).unwrap())
            });
            (address, port)
        })
        .collect();
    let ports: BTreeSet<_> = captured.iter().filter_map(|(_, port)| *port).collect();
    let expected: BTreeSet<_> = ports
        .iter()
        .map(|(protocol, port)| {
            let (name, number) = if *protocol == Protocol::Tcp { ("tcp", 6) } else { ("udp", 17) };
            let table = 800_000_000 + number * 100_000 + u32::from(*port);
            format!("80:\tfrom all ipproto {name} dport {port} lookup {table} proto 80")
        })
        .collect();
    assert_eq!(rules.len(), expected.len(), "{rules:#?}");
    assert_eq!(rules.into_iter().collect::<BTreeSet<_>>(), expected, "rules");
    captured
}

/// What a plan takes: cluster IPs as a whole, and of other addresses the ports of Services.
pub(crate) fn planned(plan: &NodePlan) -> BTreeSet<Captured> {
    let ports = plan.service_ports.iter().filter(|(name, _)| name.protocol != Protocol::Sctp);
    let captured = ports.flat_map(|(name, port)| {
        let cluster = port.cluster_ip.map(|address| (address, None));
        let external = port.external_addresses().map(|address| (address, Some((name.protocol, port.port))));
        cluster.into_iter().chain(external)
    });
    captured.collect()
}
