//! The rules. Their number is constant: what differs between Services is in sets.
//!
//! Chains and sets have kube-proxy's names and purposes, with four differences:
//!
//! * Packets that this node sends to an address of the device have that address as source, which the node of a remote
//!   endpoint has as well. So they are always masqueraded; kube-proxy does not do that under Local policies.
//! * Source ranges are enforced against the node itself by the same two sets, before IPVS chooses (mangle); kube-proxy
//!   needs a rule for each address.
//! * A packet to an address of a Service is accepted before node ports are matched, so it is not masqueraded if its port
//!   is a node port as well.
//! * Addresses of Services answer pings, as all addresses of a node do; kube-proxy rejects pings together with packets
//!   for no port of a Service.
//!
//! Rules are rendered as `iptables-save` prints them, so that those of an earlier run are recognized.

mod written;

use std::fmt::Write;

use portolan_core::IpFamily;
use portolan_core::plan::{LocalDetector, NodeSettings};
use portolan_ipvs::Set;

pub(crate) use written::{Reader, Written};

/// The rules that were loaded.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Rules {
    /// As they were wanted.
    pub(crate) tables: Vec<Table>,
    /// What the program then printed.
    pub(crate) printed: Written,
}

/// A table with its chains, each with its rules. Which chains there are does not depend on the settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Table {
    pub(crate) name: &'static str,
    pub(crate) chains: Vec<(&'static str, Vec<String>)>,
    pub(crate) jumps: &'static [Jump],
}

/// A jump from a built-in chain into one of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Jump {
    pub(crate) from: &'static str,
    pub(crate) to: &'static str,
    comment: &'static str,
}

impl Jump {
    /// The rule without its chain.
    pub(crate) fn rule(&self) -> String {
        format!("-m comment --comment \"{}\" -j {}", self.comment, self.to)
    }
}

const fn jump(from: &'static str, to: &'static str, comment: &'static str) -> Jump {
    Jump { from, to, comment }
}

/// Each is inserted above those before it.
const NAT_JUMPS: [Jump; 3] = [
    jump("OUTPUT", "KUBE-SERVICES", "kubernetes service portals"),
    jump("PREROUTING", "KUBE-SERVICES", "kubernetes service portals"),
    jump("POSTROUTING", "KUBE-POSTROUTING", "kubernetes postrouting rules"),
];
const FILTER_JUMPS: [Jump; 5] = [
    jump("FORWARD", "KUBE-FORWARD", "kubernetes forwarding rules"),
    jump("INPUT", "KUBE-NODE-PORT", "kubernetes health check rules"),
    jump("INPUT", "KUBE-PROXY-FIREWALL", "kube-proxy firewall rules"),
    jump("FORWARD", "KUBE-PROXY-FIREWALL", "kube-proxy firewall rules"),
    jump("INPUT", "KUBE-IPVS-FILTER", "kubernetes ipvs access filter"),
];
const MANGLE_JUMPS: [Jump; 1] = [jump("OUTPUT", "KUBE-IPVS-OUT-FILTER", "kubernetes ipvs access filter")];

/// All tables, in the order in which they are written.
pub(crate) fn tables(family: IpFamily, node: &NodeSettings) -> Vec<Table> {
    vec![
        Table { name: "nat", chains: nat(family, node), jumps: &NAT_JUMPS },
        Table { name: "mangle", chains: mangle(family), jumps: &MANGLE_JUMPS },
        Table { name: "filter", chains: filter(family, node), jumps: &FILTER_JUMPS },
    ]
}

fn nat(family: IpFamily, node: &NodeSettings) -> Vec<(&'static str, Vec<String>)> {
    let mark = node.masquerade_mark;
    let hairpin = matching(family, Set::LoopBack, "dst,dst,src");
    vec![
        ("KUBE-SERVICES", services(family, node)),
        (
            "KUBE-LOAD-BALANCER",
            vec![
                format!("{} -j RETURN", matching(family, Set::LoadBalancerLocal, "dst,dst")),
                "-j KUBE-MARK-MASQ".to_owned(),
            ],
        ),
        ("KUBE-NODE-PORT", node_ports(family)),
        ("KUBE-MARK-MASQ", vec![format!("-j MARK --set-xmark {mark:#x}/{mark:#x}")]),
        (
            "KUBE-POSTROUTING",
            vec![
                format!("{hairpin} -j MASQUERADE"),
                format!("-m mark ! --mark {mark:#x}/{mark:#x} -j RETURN"),
                format!("-j MARK --set-xmark {mark:#x}/0x0"),
                "-m comment --comment \"kubernetes service traffic requiring SNAT\" -j MASQUERADE --random-fully"
                    .to_owned(),
            ],
        ),
    ]
}

/// Which clients of addresses of Services are masqueraded.
fn services(family: IpFamily, node: &NodeSettings) -> Vec<String> {
    let loopback = match family {
        IpFamily::V4 => "127.0.0.0/8",
        IpFamily::V6 => "::1/128",
    };
    let masquerade = "-j KUBE-MARK-MASQ";
    let cluster_ip = matching(family, Set::ClusterIp, "dst,dst");
    let mut rules = vec![
        format!("-s {loopback} -j RETURN"),
        format!("{} {masquerade}", matching(family, Set::IpvsIps, "src")),
        format!("{} -j KUBE-LOAD-BALANCER", matching(family, Set::LoadBalancer, "dst,dst")),
    ];
    if node.masquerade_all {
        rules.push(format!("{cluster_ip} {masquerade}"));
    } else if let Some(detector) = &node.local_detector {
        rules.push(format!("{}{cluster_ip} {masquerade}", not_local(detector)));
    }
    rules.push(format!("{} {masquerade}", matching(family, Set::ExternalIp, "dst,dst")));
    for set in [Set::ClusterIp, Set::LoadBalancer, Set::ExternalIp, Set::ExternalIpLocal] {
        rules.push(format!("{} -j ACCEPT", matching(family, set, "dst,dst")));
    }
    rules.push("-m addrtype --dst-type LOCAL -j KUBE-NODE-PORT".to_owned());
    rules
}

/// Which clients of node ports are masqueraded.
fn node_ports(family: IpFamily) -> Vec<String> {
    let protocols = [
        ("tcp", Set::NodePortLocalTcp, Set::NodePortTcp, "dst"),
        ("udp", Set::NodePortLocalUdp, Set::NodePortUdp, "dst"),
        ("sctp", Set::NodePortLocalSctp, Set::NodePortSctp, "dst,dst"),
    ];
    let rules = protocols.into_iter().flat_map(|(protocol, local, all, directions)| {
        [
            format!("-p {protocol} {} -j RETURN", matching(family, local, directions)),
            format!("-p {protocol} {} -j KUBE-MARK-MASQ", matching(family, all, directions)),
        ]
    });
    rules.collect()
}

fn mangle(family: IpFamily) -> Vec<(&'static str, Vec<String>)> {
    let guarded = matching(family, Set::LoadBalancerFirewall, "dst,dst");
    vec![
        ("KUBE-IPVS-OUT-FILTER", vec![format!("{guarded} -j KUBE-SOURCE-RANGES-FIREWALL")]),
        ("KUBE-SOURCE-RANGES-FIREWALL", source_ranges(family)),
    ]
}

fn filter(family: IpFamily, node: &NodeSettings) -> Vec<(&'static str, Vec<String>)> {
    let mark = node.masquerade_mark;
    let health = matching(family, Set::HealthCheckNodePort, "dst");
    let guarded = matching(family, Set::LoadBalancerFirewall, "dst,dst");
    vec![
        (
            "KUBE-FORWARD",
            vec![
                format!(
                    "-m comment --comment \"kubernetes forwarding rules\" -m mark --mark {mark:#x}/{mark:#x} -j ACCEPT"
                ),
                "-m comment --comment \"kubernetes forwarding conntrack rule\" -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"
                    .to_owned(),
            ],
        ),
        ("KUBE-NODE-PORT", vec![format!("{health} -j ACCEPT")]),
        ("KUBE-PROXY-FIREWALL", vec![format!("{guarded} -j KUBE-SOURCE-RANGES-FIREWALL")]),
        ("KUBE-SOURCE-RANGES-FIREWALL", source_ranges(family)),
        ("KUBE-IPVS-FILTER", access(family, &health)),
    ]
}

/// Drops packets from outside the source ranges of an address.
fn source_ranges(family: IpFamily) -> Vec<String> {
    vec![
        format!("{} -j RETURN", matching(family, Set::LoadBalancerSourceCidr, "dst,dst,src")),
        format!("{} -j RETURN", matching(family, Set::LoadBalancerSourceIp, "dst,dst,src")),
        "-j DROP".to_owned(),
    ]
}

/// Rejects packets to addresses of Services that no Service gets, so that they do not reach programs on the node.
fn access(family: IpFamily, health: &str) -> Vec<String> {
    let served = [Set::LoadBalancer, Set::ClusterIp, Set::ExternalIp, Set::ExternalIpLocal];
    let mut rules: Vec<_> =
        served.iter().map(|set| format!("{} -j RETURN", matching(family, *set, "dst,dst"))).collect();
    rules.push(format!("{health} -j RETURN"));
    let (ping, refusal) = match family {
        IpFamily::V4 => ("-p icmp -m icmp --icmp-type 8", "icmp-port-unreachable"),
        IpFamily::V6 => ("-p ipv6-icmp -m icmp6 --icmpv6-type 128", "icmp6-port-unreachable"),
    };
    rules.push(format!("{ping} -j RETURN"));
    let addresses = matching(family, Set::IpvsIps, "dst");
    rules.push(format!("-m conntrack --ctstate NEW {addresses} -j REJECT --reject-with {refusal}"));
    rules
}

fn matching(family: IpFamily, set: Set, directions: &str) -> String {
    format!("-m set --match-set {} {directions}", set.name(family))
}

/// Matches packets that no pod of this node sent; if not empty, it ends with a blank.
fn not_local(detector: &LocalDetector) -> String {
    match detector {
        LocalDetector::Cidr(net) => format!("! -s {} ", net.trunc()),
        LocalDetector::Interface(name) => format!("! -i {} ", word(name)),
        LocalDetector::InterfacePrefix(prefix) => format!("! -i {}+ ", word(prefix)),
        // No other kind is known. Masquerading all clients only hides their addresses.
        _ => String::new(),
    }
}

/// A name of an interface as one word, without characters that could end the word or the line.
fn word(name: &str) -> String {
    name.chars().filter(|c| c.is_ascii_graphic() && !"\"'\\".contains(*c)).collect()
}

/// Input for `iptables-restore` that replaces all chains, each table at once. Existing jumps stay where they are; other
/// jumps into our chains are deleted.
pub(crate) fn input(tables: &[Table], present: &Written) -> String {
    let mut input = String::new();
    // Writing to a String cannot fail.
    for table in tables {
        let _ = writeln!(input, "*{}", table.name);
        for (chain, _) in &table.chains {
            let _ = writeln!(input, ":{chain} - [0:0]");
        }
        for jump in present.other_jumps(table) {
            let _ = writeln!(input, "-D {jump}");
        }
        for (chain, rules) in &table.chains {
            for rule in rules {
                let _ = writeln!(input, "-A {chain} {rule}");
            }
        }
        for jump in table.jumps.iter().filter(|jump| !present.has(table.name, jump)) {
            let _ = writeln!(input, "-I {} {}", jump.from, jump.rule());
        }
        input.push_str("COMMIT\n");
    }
    input
}

#[cfg(test)]
mod tests;
