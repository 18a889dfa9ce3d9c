//! What HAProxy is to be configured with for one service port.
//!
//! Pure. Always holds: what a Service is called comes into the text only by [`identifier`], and everything
//! else there is a number, an address or a word of ours, so that no Service can write configuration.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use portolan_core::event::TrafficPolicy;
use portolan_core::plan::{LocalDetector, NodePortAddresses, NodeSettings};
use portolan_core::{Endpoint, IpFamily, Protocol, ServicePort, ServicePortName};

/// Most words of ours in one line; HAProxy takes 64 (MAX_LINE_ARGS in include/haproxy/defaults.h).
const WORDS: usize = 48;
/// How many clients are remembered for a Service with affinity, some 10 MB when all of them come.
const CLIENTS: &str = "100k";

/// What holds for all Services of a node.
#[derive(Debug, Clone, Copy)]
pub struct NodeContext<'a> {
    /// The family of every address.
    pub family: IpFamily,
    /// The plan's settings.
    pub node: &'a NodeSettings,
    /// The node's own addresses, without loopback.
    pub addresses: &'a [IpAddr],
    /// Where a Service has one of these addresses for its own, which goes before node ports.
    pub claimed: &'a BTreeSet<SocketAddr>,
}

/// The part of the configuration that serves one service port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// Its frontends and what they remember: what takes a reload to change.
    pub frontends: String,
    /// Where they lead.
    pub farms: Vec<Farm>,
}

/// Servers that a frontend leads to; a `backend` section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Farm {
    /// The section's name.
    pub name: String,
    /// Its lines but for the servers.
    pub settings: String,
    /// The servers, sorted.
    pub servers: Vec<SocketAddr>,
}

impl Block {
    /// The block as a file.
    pub fn text(&self) -> String {
        let mut text = self.frontends.clone();
        for farm in &self.farms {
            // Writing to a string cannot fail, here and below.
            let _ = write!(text, "backend {}\n{}", farm.name, farm.settings);
            for server in &farm.servers {
                let _ = writeln!(text, "    server {} {server}", server_name(server));
            }
        }
        text
    }

    /// A digest of all but the servers; equal ones need no reload.
    pub fn digest(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.frontends.hash(&mut hasher);
        for farm in &self.farms {
            (&farm.name, &farm.settings).hash(&mut hasher);
        }
        hasher.finish()
    }
}

/// What a server is called: its address, where brackets are not allowed.
pub fn server_name(server: &SocketAddr) -> String {
    format!("{}:{}", server.ip(), server.port())
}

/// `shop.web.http`, in which letters that names of Kubernetes do not have are written as numbers.
pub fn identifier(name: &ServicePortName) -> String {
    let part = |text: &str| -> String {
        let escape = |byte: u8| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' => char::from(byte).to_string(),
            other => format!("_{other:02x}"),
        };
        text.bytes().map(escape).collect()
    };
    [&*name.service.namespace, &*name.service.name, &*name.port].map(part).join(".")
}

/// The block of a service port; none for a port without a listener, so that the kernel rejects connections.
pub fn block(site: &NodeContext<'_>, name: &ServicePortName, port: &ServicePort) -> Option<Block> {
    if name.protocol != Protocol::Tcp {
        return None;
    }
    let id = identifier(name);
    let mut frontends = String::new();
    let internal = port.cluster_ip.filter(|_| !port.internal_endpoints().is_empty());
    if let Some(ip) = internal {
        let farm = farm_name(&id, port.internal_traffic_policy);
        let _ = write!(
            frontends,
            "frontend {id}:cluster-ip\n    bind {} transparent\n    default_backend {farm}\n",
            SocketAddr::new(ip, port.port)
        );
    }
    external_frontends(site, &id, port, &mut frontends);
    if frontends.is_empty() {
        return None;
    }
    if let Some(timeout) = port.session_affinity {
        let kind = if site.family == IpFamily::V4 { "ip" } else { "ipv6" };
        let seconds = timeout.as_secs();
        let _ = write!(
            frontends,
            "backend {id}:clients\n    stick-table type {kind} size {CLIENTS} expire {seconds}s\n"
        );
    }
    let farm = |policy, endpoints: &[Endpoint]| farm(&id, port, policy, endpoints);
    let farms = [
        farm(TrafficPolicy::Cluster, &port.cluster_endpoints),
        farm(TrafficPolicy::Local, &port.local_endpoints),
    ];
    Some(Block { frontends, farms: farms.into_iter().flatten().collect() })
}

fn farm_name(id: &str, policy: TrafficPolicy) -> String {
    match policy {
        TrafficPolicy::Cluster => format!("{id}:cluster"),
        TrafficPolicy::Local => format!("{id}:local"),
    }
}

fn farm(id: &str, port: &ServicePort, policy: TrafficPolicy, endpoints: &[Endpoint]) -> Option<Farm> {
    if endpoints.is_empty() {
        return None;
    }
    let mut settings = "    balance random\n".to_owned();
    if port.session_affinity.is_some() {
        let _ = writeln!(settings, "    stick on src table {id}:clients");
    }
    let servers = endpoints.iter().map(Endpoint::socket_address).collect();
    Some(Farm { name: farm_name(id, policy), settings, servers })
}

/// Those of addresses that are reached from outside; load-balancer addresses have one of their own where
/// not every client may come.
fn external_frontends(site: &NodeContext<'_>, id: &str, port: &ServicePort, text: &mut String) {
    if port.external_endpoints().is_empty() && port.cluster_endpoints.is_empty() {
        return;
    }
    let vip = |ip: &IpAddr| format!("{} transparent", SocketAddr::new(*ip, port.port));
    let balanced: Vec<_> = port.load_balancer_ips.iter().map(vip).collect();
    let mut open: Vec<_> = port.external_ips.iter().map(vip).collect();
    if let Some(node_port) = port.node_port {
        let addresses = site.addresses.iter().map(|address| SocketAddr::new(*address, node_port));
        let is_ours =
            |at: &SocketAddr| answers(&site.node.node_port_addresses, at.ip()) && !site.claimed.contains(at);
        open.extend(addresses.filter(is_ours).map(|at| at.to_string()));
    }
    if port.source_ranges.is_empty() {
        open.extend(balanced);
        frontend(site, &format!("{id}:external"), &open, id, port, text);
    } else {
        frontend(site, &format!("{id}:external"), &open, id, port, text);
        let mut guarded = String::new();
        frontend(site, &format!("{id}:load-balancer"), &balanced, id, port, &mut guarded);
        if let Some((head, rest)) = guarded.split_once('\n') {
            let _ = writeln!(text, "{head}");
            acl("allowed", &port.source_ranges, text);
            let _ = write!(text, "    tcp-request connection reject unless allowed\n{rest}");
        }
    }
}

fn answers(selection: &NodePortAddresses, address: IpAddr) -> bool {
    match selection {
        NodePortAddresses::All => true,
        NodePortAddresses::Within(ranges) => ranges.iter().any(|range| range.contains(&address)),
    }
}

fn frontend(
    site: &NodeContext<'_>,
    name: &str,
    binds: &[String],
    id: &str,
    port: &ServicePort,
    text: &mut String,
) {
    if binds.is_empty() {
        return;
    }
    let _ = writeln!(text, "frontend {name}");
    for bind in binds {
        let _ = writeln!(text, "    bind {bind}");
    }
    if port.external_traffic_policy == TrafficPolicy::Cluster {
        let _ = writeln!(text, "    default_backend {}", farm_name(id, TrafficPolicy::Cluster));
        return;
    }
    acl_of_this_node(site, text);
    if port.local_endpoints.is_empty() {
        let _ = writeln!(text, "    tcp-request connection reject unless here");
    }
    if !port.cluster_endpoints.is_empty() {
        let _ = writeln!(text, "    use_backend {} if here", farm_name(id, TrafficPolicy::Cluster));
    }
    if !port.local_endpoints.is_empty() {
        let _ = writeln!(text, "    default_backend {}", farm_name(id, TrafficPolicy::Local));
    }
}

/// The clients on this node: its pods, its own addresses, and a client that connects to an address from it, as the
/// node's programs do.
fn acl_of_this_node(site: &NodeContext<'_>, text: &mut String) {
    text.push_str("    tcp-request connection set-var(sess.from) src\n");
    text.push_str("    acl here dst,strcmp(sess.from) eq 0\n");
    let own = site.addresses.iter().copied().map(IpNet::from);
    let pods = match &site.node.local_detector {
        Some(LocalDetector::Cidr(range)) => Some(*range),
        _ => None,
    };
    acl("here", &own.chain(pods).collect::<Vec<_>>(), text);
}

/// Sources; lines of one name add up.
fn acl(name: &str, ranges: &[IpNet], text: &mut String) {
    for some in ranges.chunks(WORDS) {
        let words: Vec<_> = some.iter().map(IpNet::to_string).collect();
        let _ = writeln!(text, "    acl {name} src {}", words.join(" "));
    }
}

#[cfg(test)]
mod tests;
