//! The iptables mode.

use std::fmt::Write;
use std::net::SocketAddr;

use portolan_core::IpFamily;

use super::name::hash;
use super::{MASQUERADE_MARK as MARK, Service, of_family, pod_cidr};

/// Rules of built-in chains that lead to kube-proxy's, each inserted above the ones before it.
const JUMPS: &str = r#"*filter
-I INPUT -m conntrack --ctstate NEW -m comment --comment "kubernetes externally-visible service portals" -j KUBE-EXTERNAL-SERVICES
-I FORWARD -m conntrack --ctstate NEW -m comment --comment "kubernetes externally-visible service portals" -j KUBE-EXTERNAL-SERVICES
-I INPUT -m comment --comment "kubernetes health check service ports" -j KUBE-NODEPORTS
-I FORWARD -m conntrack --ctstate NEW -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-I OUTPUT -m conntrack --ctstate NEW -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-I FORWARD -m comment --comment "kubernetes forwarding rules" -j KUBE-FORWARD
-I INPUT -m conntrack --ctstate NEW -m comment --comment "kubernetes load balancer firewall" -j KUBE-PROXY-FIREWALL
-I OUTPUT -m conntrack --ctstate NEW -m comment --comment "kubernetes load balancer firewall" -j KUBE-PROXY-FIREWALL
-I FORWARD -m conntrack --ctstate NEW -m comment --comment "kubernetes load balancer firewall" -j KUBE-PROXY-FIREWALL
COMMIT
*nat
-I OUTPUT -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-I PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-I POSTROUTING -m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING
COMMIT
*mangle
:KUBE-PROXY-CANARY - [0:0]
COMMIT
"#;

const FILTER_CHAINS: [&str; 6] = [
    "KUBE-SERVICES",
    "KUBE-EXTERNAL-SERVICES",
    "KUBE-FORWARD",
    "KUBE-NODEPORTS",
    "KUBE-PROXY-FIREWALL",
    "KUBE-PROXY-CANARY",
];

const NAT_CHAINS: [&str; 5] =
    ["KUBE-SERVICES", "KUBE-NODEPORTS", "KUBE-POSTROUTING", "KUBE-MARK-MASQ", "KUBE-PROXY-CANARY"];

/// Input for [`Xtables::restore`](super::Xtables::restore): all chains and rules of the mode in one family.
///
/// Traffic to the cluster IPs and node ports of `services` gets to their endpoints, from outside of the pods'
/// range with the node's address; Services without endpoints reject it.
pub fn ruleset(family: IpFamily, services: &[Service]) -> String {
    [filter(family, services), nat(family, services), JUMPS.to_owned()].concat()
}

fn filter(family: IpFamily, services: &[Service]) -> String {
    let rejects = of_family(family, services).filter(|service| service.endpoints.is_empty());
    let mut rules = String::new();
    for service in rejects {
        let frontend = cluster_ip(service, &format!("{} has no endpoints", service.title()));
        add(&mut rules, &format!("KUBE-SERVICES {frontend} -j REJECT"));
    }
    table("filter", &declared(&FILTER_CHAINS), &[&rules, FORWARD])
}

const FORWARD: &str = r#"-A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP
-A KUBE-FORWARD -m comment --comment "kubernetes forwarding rules" -m mark --mark 0x00004000/0x00004000 -j ACCEPT
-A KUBE-FORWARD -m comment --comment "kubernetes forwarding conntrack rule" -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
"#;

fn nat(family: IpFamily, services: &[Service]) -> String {
    let (mut chains, mut dispatch, mut rules) = (declared(&NAT_CHAINS), String::new(), String::new());
    for service in of_family(family, services).filter(|service| !service.endpoints.is_empty()) {
        let names = Names::of(service);
        for chain in [&names.service].into_iter().chain(&names.external).chain(&names.endpoints) {
            chains += &declared(&[chain]);
        }
        let frontend = cluster_ip(service, &format!("{} cluster IP", service.title()));
        add(&mut dispatch, &format!("KUBE-SERVICES {frontend} -j {}", names.service));
        if let (Some(port), Some(external)) = (service.node_port, &names.external) {
            let (title, protocol) = (service.title(), service.protocol);
            let matches = format!("-m comment --comment {title} -m {protocol} -p {protocol} --dport {port}");
            add(&mut dispatch, &format!("KUBE-NODEPORTS {matches} -j {external}"));
        }
        rules += &service_chains(service, &names, &frontend);
    }
    let not_loopback = match family {
        IpFamily::V4 => "",
        IpFamily::V6 => " ! -d ::1/128",
    };
    let note = "kubernetes service nodeports; NOTE: this must be the last rule in this chain";
    let local = format!("-m addrtype --dst-type LOCAL{not_loopback}");
    add(&mut dispatch, &format!("KUBE-SERVICES -m comment --comment \"{note}\" {local} -j KUBE-NODEPORTS"));
    table("nat", &chains, &[&masquerading(), &dispatch, &rules])
}

fn masquerading() -> String {
    let mut rules = String::new();
    add(&mut rules, &format!("KUBE-POSTROUTING -m mark ! --mark {MARK}/{MARK} -j RETURN"));
    add(&mut rules, &format!("KUBE-POSTROUTING -j MARK --xor-mark {MARK}"));
    let comment = "-m comment --comment \"kubernetes service traffic requiring SNAT\"";
    add(&mut rules, &format!("KUBE-POSTROUTING {comment} -j MASQUERADE --random-fully"));
    add(&mut rules, &format!("KUBE-MARK-MASQ -j MARK --or-mark {MARK}"));
    rules
}

/// The chains of one Service.
struct Names {
    service: String,
    /// Where node ports lead.
    external: Option<String>,
    endpoints: Vec<String>,
}

impl Names {
    fn of(service: &Service) -> Self {
        let port = format!("{}{}", service.title(), service.protocol);
        let endpoint = |at: &SocketAddr| format!("KUBE-SEP-{}", hash(&format!("{port}{at}"), 16));
        Self {
            service: format!("KUBE-SVC-{}", hash(&port, 16)),
            external: service.node_port.map(|_| format!("KUBE-EXT-{}", hash(&port, 16))),
            endpoints: service.endpoints.iter().map(endpoint).collect(),
        }
    }
}

fn service_chains(service: &Service, names: &Names, frontend: &str) -> String {
    let (title, protocol) = (service.title(), service.protocol);
    let pods = pod_cidr(service.family());
    let mut rules = String::new();
    add(&mut rules, &format!("{} {frontend} ! -s {pods} -j KUBE-MARK-MASQ", names.service));
    if let Some(external) = &names.external {
        let comment =
            format!("-m comment --comment \"masquerade traffic for {title} external destinations\"");
        add(&mut rules, &format!("{external} {comment} -j KUBE-MARK-MASQ"));
        add(&mut rules, &format!("{external} -j {}", names.service));
    }
    for (index, (chain, endpoint)) in names.endpoints.iter().zip(&service.endpoints).enumerate() {
        let comment = format!("-m comment --comment \"{title} -> {endpoint}\"");
        let left = service.endpoints.len() - index;
        let choice = match left {
            1 => String::new(),
            _ => format!(" -m statistic --mode random --probability {:.10}", chance(left)),
        };
        add(&mut rules, &format!("{} {comment}{choice} -j {chain}", names.service));
        let own = format!("{chain} -m comment --comment {title}");
        add(&mut rules, &format!("{own} -s {} -j KUBE-MARK-MASQ", endpoint.ip()));
        let dnat = format!("-m {protocol} -p {protocol} -j DNAT --to-destination {endpoint}");
        add(&mut rules, &format!("{own} {dnat}"));
    }
    rules
}

/// One of so many.
fn chance(left: usize) -> f64 {
    1.0 / f64::from(u32::try_from(left).unwrap_or(u32::MAX))
}

/// What traffic to the cluster IP matches, with a comment.
fn cluster_ip(service: &Service, comment: &str) -> String {
    let (protocol, address, port) = (service.protocol, service.vip.ip(), service.vip.port());
    format!("-m comment --comment \"{comment}\" -m {protocol} -p {protocol} -d {address} --dport {port}")
}

pub(super) fn declared(chains: &[&str]) -> String {
    let mut text = String::new();
    for chain in chains {
        // Writing to a text cannot fail.
        let _ = writeln!(text, ":{chain} - [0:0]");
    }
    text
}

pub(super) fn table(name: &str, chains: &str, rules: &[&str]) -> String {
    [&format!("*{name}\n"), chains, &rules.concat(), "COMMIT\n"].concat()
}

/// Appends a rule to what is to be restored.
pub(super) fn add(rules: &mut String, rule: &str) {
    // Writing to a text cannot fail.
    let _ = writeln!(rules, "-A {rule}");
}
