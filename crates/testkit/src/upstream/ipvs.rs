//! The ipvs mode, without its virtual servers: address sets and the chains that use them.

use std::fmt::Write;
use std::net::SocketAddr;

use portolan_core::{IpFamily, Protocol};

use super::iptables::{add, declared, table};
use super::{MASQUERADE_MARK as MARK, Service, of_family, pod_cidr};
use crate::netns::{NetnsError, Program};

/// The sets with their types, in the order they are made.
const SETS: [(&str, &str); 17] = [
    ("LOOP-BACK", "hash:ip,port,ip"),
    ("CLUSTER-IP", "hash:ip,port"),
    ("EXTERNAL-IP", "hash:ip,port"),
    ("EXTERNAL-IP-LOCAL", "hash:ip,port"),
    ("LOAD-BALANCER", "hash:ip,port"),
    ("LOAD-BALANCER-FW", "hash:ip,port"),
    ("LOAD-BALANCER-LOCAL", "hash:ip,port"),
    ("LOAD-BALANCER-SOURCE-IP", "hash:ip,port,ip"),
    ("LOAD-BALANCER-SOURCE-CIDR", "hash:ip,port,net"),
    ("NODE-PORT-TCP", "bitmap:port"),
    ("NODE-PORT-LOCAL-TCP", "bitmap:port"),
    ("NODE-PORT-UDP", "bitmap:port"),
    ("NODE-PORT-LOCAL-UDP", "bitmap:port"),
    ("NODE-PORT-SCTP-HASH", "hash:ip,port"),
    ("NODE-PORT-LOCAL-SCTP-HASH", "hash:ip,port"),
    ("HEALTH-CHECK-NODE-PORT", "bitmap:port"),
    ("IPVS-IPS", "hash:ip"),
];

/// The longest name a set can have, in bytes (`IPSET_MAXNAMELEN`, linux/netfilter/ipset/ip_set.h, less the
/// zero at its end).
const LONGEST_NAME: usize = 31;

/// Input for `ipset restore`: all sets of the mode in one family, filled for `services`.
pub fn sets(family: IpFamily, services: &[Service]) -> String {
    let inet = match family {
        IpFamily::V4 => "inet",
        IpFamily::V6 => "inet6",
    };
    let mut commands = String::new();
    for (set, kind) in SETS {
        let options = match kind {
            "bitmap:port" => "range 0-65535".to_owned(),
            _ => format!("family {inet} hashsize 1024 maxelem 65536"),
        };
        let _ = writeln!(commands, "create {} {kind} {options} -exist", name(family, set));
    }
    for service in of_family(family, services) {
        for (set, entry) in entries(service) {
            let _ = writeln!(commands, "add {} {entry} -exist", name(family, set));
        }
    }
    commands
}

/// Makes and fills the sets of one family in the network namespace of the current thread.
///
/// # Errors
/// When `ipset` is not there, or fails.
pub fn load_sets(family: IpFamily, services: &[Service]) -> Result<(), NetnsError> {
    Program::new("ipset").args(["restore"]).input(sets(family, services)).run().map(drop)
}

fn name(family: IpFamily, set: &str) -> String {
    let mut name = match family {
        IpFamily::V4 => format!("KUBE-{set}"),
        IpFamily::V6 => format!("KUBE-6-{set}"),
    };
    name.truncate(LONGEST_NAME);
    name
}

fn entries(service: &Service) -> Vec<(&'static str, String)> {
    // By number: not every machine has a file that knows the names.
    let protocol = service.protocol.number();
    let vip = service.vip;
    let mut entries = vec![
        ("CLUSTER-IP", format!("{},{protocol}:{}", vip.ip(), vip.port())),
        ("IPVS-IPS", vip.ip().to_string()),
    ];
    let hairpin = |endpoint: &SocketAddr| {
        let (ip, port) = (endpoint.ip(), endpoint.port());
        ("LOOP-BACK", format!("{ip},{protocol}:{port},{ip}"))
    };
    entries.extend(service.endpoints.iter().map(hairpin));
    if let Some(port) = service.node_port {
        match service.protocol {
            Protocol::Tcp => entries.push(("NODE-PORT-TCP", port.to_string())),
            Protocol::Udp => entries.push(("NODE-PORT-UDP", port.to_string())),
            // One entry for each address of the node, which the sets' writer does not know.
            Protocol::Sctp => {}
        }
    }
    entries
}

const NAT_CHAINS: [&str; 5] =
    ["KUBE-SERVICES", "KUBE-POSTROUTING", "KUBE-NODE-PORT", "KUBE-LOAD-BALANCER", "KUBE-MARK-MASQ"];

const FILTER_CHAINS: [&str; 6] = [
    "KUBE-FORWARD",
    "KUBE-NODE-PORT",
    "KUBE-PROXY-FIREWALL",
    "KUBE-SOURCE-RANGES-FIREWALL",
    "KUBE-IPVS-FILTER",
    "KUBE-IPVS-OUT-FILTER",
];

/// Rules of built-in chains that lead to kube-proxy's, each inserted above the ones before it.
const JUMPS: &str = r#"*nat
-I OUTPUT -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-I PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-I POSTROUTING -m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING
COMMIT
*filter
-I FORWARD -m comment --comment "kubernetes forwarding rules" -j KUBE-FORWARD
-I INPUT -m comment --comment "kubernetes health check rules" -j KUBE-NODE-PORT
-I INPUT -m comment --comment "kube-proxy firewall rules" -j KUBE-PROXY-FIREWALL
-I FORWARD -m comment --comment "kube-proxy firewall rules" -j KUBE-PROXY-FIREWALL
-I INPUT -m comment --comment "kubernetes ipvs access filter" -j KUBE-IPVS-FILTER
-I OUTPUT -m comment --comment "kubernetes ipvs access filter" -j KUBE-IPVS-OUT-FILTER
COMMIT
"#;

/// Input for [`Xtables::restore`](super::Xtables::restore): the chains of the mode in one family, for Services
/// with cluster IPs and TCP node ports. The [sets](load_sets) must be there.
pub fn ruleset(family: IpFamily) -> String {
    [nat(family), filter(family), JUMPS.to_owned()].concat()
}

fn matching(family: IpFamily, set: &str, directions: &str) -> String {
    format!("-m set --match-set {} {directions}", name(family, set))
}

fn nat(family: IpFamily) -> String {
    let loopback = match family {
        IpFamily::V4 => "127.0.0.0/8",
        IpFamily::V6 => "::1/128",
    };
    let cluster_ip = matching(family, "CLUSTER-IP", "dst,dst");
    let load_balancer = matching(family, "LOAD-BALANCER", "dst,dst");
    let node_port = matching(family, "NODE-PORT-TCP", "dst");
    let hairpin = matching(family, "LOOP-BACK", "dst,dst,src");
    let pods = pod_cidr(family);
    let mut rules = String::new();
    for rule in [
        &format!("KUBE-SERVICES -s {loopback} -j RETURN"),
        &format!("KUBE-SERVICES {load_balancer} -j KUBE-LOAD-BALANCER"),
        &format!("KUBE-SERVICES {cluster_ip} ! -s {pods} -j KUBE-MARK-MASQ"),
        "KUBE-SERVICES -m addrtype --dst-type LOCAL -j KUBE-NODE-PORT",
        &format!("KUBE-SERVICES {cluster_ip} -j ACCEPT"),
        "KUBE-LOAD-BALANCER -j KUBE-MARK-MASQ",
        &format!("KUBE-NODE-PORT -p tcp {node_port} -j KUBE-MARK-MASQ"),
        &format!("KUBE-POSTROUTING {hairpin} -j MASQUERADE"),
        &format!("KUBE-POSTROUTING -m mark ! --mark {MARK}/{MARK} -j RETURN"),
        &format!("KUBE-POSTROUTING -j MARK --xor-mark {MARK}"),
        "KUBE-POSTROUTING -j MASQUERADE --random-fully",
        &format!("KUBE-MARK-MASQ -j MARK --or-mark {MARK}"),
    ] {
        add(&mut rules, rule);
    }
    table("nat", &declared(&NAT_CHAINS), &[&rules])
}

fn filter(family: IpFamily) -> String {
    let mut rules = String::new();
    for set in ["LOAD-BALANCER", "CLUSTER-IP", "EXTERNAL-IP", "EXTERNAL-IP-LOCAL"] {
        let set = matching(family, set, "dst,dst");
        add(&mut rules, &format!("KUBE-IPVS-FILTER {set} -j RETURN"));
    }
    let health = matching(family, "HEALTH-CHECK-NODE-PORT", "dst");
    let addresses = matching(family, "IPVS-IPS", "dst");
    let guarded = matching(family, "LOAD-BALANCER-FW", "dst,dst");
    for rule in [
        &format!("KUBE-IPVS-FILTER {health} -j RETURN"),
        &format!("KUBE-IPVS-FILTER -m conntrack --ctstate NEW {addresses} -j REJECT"),
        &format!("KUBE-PROXY-FIREWALL {guarded} -j KUBE-SOURCE-RANGES-FIREWALL"),
        "KUBE-SOURCE-RANGES-FIREWALL -j DROP",
        &format!("KUBE-FORWARD -m mark --mark {MARK}/{MARK} -j ACCEPT"),
        "KUBE-FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
        &format!("KUBE-NODE-PORT {health} -j ACCEPT"),
    ] {
        add(&mut rules, rule);
    }
    table("filter", &declared(&FILTER_CHAINS), &[&rules])
}
