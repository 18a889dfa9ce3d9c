//! The nftables mode.

use std::fmt::Write;
use std::net::SocketAddr;

use portolan_core::IpFamily;

use super::name::hash;
use super::{MASQUERADE_MARK as MARK, Service, of_family, pod_cidr};

/// Input for `nft -f`: the table `kube-proxy` of one family.
///
/// Traffic to the cluster IPs and node ports of `services` gets to their endpoints, from outside of the pods'
/// range with the node's address; Services without endpoints reject it.
pub fn ruleset(family: IpFamily, services: &[Service]) -> String {
    let ip = match family {
        IpFamily::V4 => "ip",
        IpFamily::V6 => "ip6",
    };
    let mut content = containers(family, services);
    content += &fixed_chains(family, ip);
    for service in of_family(family, services).filter(|service| !service.endpoints.is_empty()) {
        content += &service_chains(service, ip);
    }
    format!("table {ip} kube-proxy {{\n comment \"rules for kube-proxy\"\n{content}}}\n")
}

/// What a Service's chains are called after.
fn base(service: &Service) -> String {
    let text = format!("{}/{}/{}", service.name, service.protocol, service.port_name);
    format!("{}-{text}", hash(&text, 8))
}

fn containers(family: IpFamily, services: &[Service]) -> String {
    let (mut cluster_ips, mut dispatch, mut node_ports) = (Vec::new(), Vec::new(), Vec::new());
    let (mut unserved, mut hairpins) = (Vec::new(), Vec::new());
    for service in of_family(family, services) {
        let protocol = service.protocol;
        let frontend = format!("{} . {protocol} . {}", service.vip.ip(), service.vip.port());
        cluster_ips.push(service.vip.ip().to_string());
        if service.endpoints.is_empty() {
            unserved.push(format!("{frontend} comment \"{}\" : goto reject-chain", service.name));
            continue;
        }
        dispatch.push(format!("{frontend} : goto service-{}", base(service)));
        if let Some(port) = service.node_port {
            node_ports.push(format!("{protocol} . {port} : goto external-{}", base(service)));
        }
        for endpoint in &service.endpoints {
            let ip = endpoint.ip();
            hairpins.push(format!("{ip} . {ip} . {protocol} . {}", endpoint.port()));
        }
    }
    cluster_ips.dedup();
    let address = match family {
        IpFamily::V4 => "ipv4_addr",
        IpFamily::V6 => "ipv6_addr",
    };
    let frontends = format!("{address} . inet_proto . inet_service : verdict");
    let hairpin = format!("{address} . {address} . inet_proto . inet_service");
    let ports = "inet_proto . inet_service : verdict";
    [
        container("set cluster-ips", address, "Active ClusterIPs", &cluster_ips),
        container("set hairpin-connections", &hairpin, "service hairpin connections", &hairpins),
        container(
            "map service-ips",
            &frontends,
            "ClusterIP, ExternalIP and LoadBalancer IP traffic",
            &dispatch,
        ),
        container("map service-nodeports", ports, "NodePort traffic", &node_ports),
        container(
            "map no-endpoint-services",
            &frontends,
            "vmap to drop or reject packets to services with no endpoints",
            &unserved,
        ),
        container(
            "map no-endpoint-nodeports",
            ports,
            "vmap to drop or reject packets to service nodeports with no endpoints",
            &[],
        ),
        container(
            "map firewall-ips",
            &frontends,
            "destinations that are subject to LoadBalancerSourceRanges",
            &[],
        ),
    ]
    .concat()
}

fn container(name: &str, kind: &str, comment: &str, elements: &[String]) -> String {
    let elements = match elements {
        [] => String::new(),
        some => format!(" elements = {{ {} }}\n", some.join(", ")),
    };
    format!(" {name} {{\n type {kind}\n comment \"{comment}\"\n{elements} }}\n")
}

fn fixed_chains(family: IpFamily, ip: &str) -> String {
    let loopback = match family {
        IpFamily::V4 => "127.0.0.0/8",
        IpFamily::V6 => "::1",
    };
    let pods = pod_cidr(family);
    let (port, frontend) = ("meta l4proto . th dport", format!("{ip} daddr . meta l4proto . th dport"));
    format!(
        " chain reject-chain {{ comment \"helper for @no-endpoint-services / @no-endpoint-nodeports\"; reject; }}
 chain firewall-check {{ {frontend} vmap @firewall-ips; }}
 chain nodeport-endpoints-check {{ {ip} daddr != {loopback} {port} vmap @no-endpoint-nodeports; }}
 chain service-endpoints-check {{ {frontend} vmap @no-endpoint-services; }}
 chain cluster-ips-check {{
  {ip} daddr @cluster-ips reject comment \"Reject traffic to invalid ports of ClusterIPs\"
 }}
 chain masquerading {{
  meta mark & {MARK} != 0 meta mark set meta mark ^ {MARK} masquerade fully-random
  ct status dnat {ip} saddr . {ip} daddr . meta l4proto . th dport @hairpin-connections masquerade fully-random
 }}
 chain services {{
  {ip} daddr @cluster-ips {ip} saddr != {pods} meta mark set meta mark | {MARK} comment \"masquerade clusterIP traffic from outside cluster\"
  {frontend} vmap @service-ips
  fib daddr type local {ip} daddr != {loopback} {port} vmap @service-nodeports
 }}
 chain filter-prerouting-pre-dnat {{ type filter hook prerouting priority -110; ct state new jump firewall-check; }}
 chain filter-output-pre-dnat {{ type filter hook output priority -110; ct state new jump firewall-check; }}
 chain filter-input {{
  type filter hook input priority 0
  ct state new jump nodeport-endpoints-check
  ct state new jump service-endpoints-check
 }}
 chain filter-forward {{
  type filter hook forward priority 0
  ct state new jump service-endpoints-check
  ct state new jump cluster-ips-check
 }}
 chain filter-output {{
  type filter hook output priority 0
  ct state new jump service-endpoints-check
  ct state new jump cluster-ips-check
 }}
 chain nat-prerouting {{ type nat hook prerouting priority -100; jump services; }}
 chain nat-output {{ type nat hook output priority -100; jump services; }}
 chain nat-postrouting {{ type nat hook postrouting priority 100; jump masquerading; }}
"
    )
}

fn service_chains(service: &Service, ip: &str) -> String {
    let (base, protocol) = (base(service), service.protocol);
    let slot = |(index, endpoint): (usize, &SocketAddr)| {
        format!("{index} : {} . {}", endpoint.ip(), endpoint.port())
    };
    let slots: Vec<_> = service.endpoints.iter().enumerate().map(slot).collect();
    let choice = format!("numgen random mod {} map {{ {} }}", slots.len(), slots.join(", "));
    let mut chains = String::new();
    let rule = format!("meta l4proto {protocol} dnat {ip} to {choice}");
    let _ = writeln!(chains, " chain service-{base} {{ {rule}; }}");
    if service.node_port.is_some() {
        let mark = format!("meta mark set meta mark | {MARK} comment \"masquerade\"");
        let _ = writeln!(chains, " chain external-{base} {{ {mark}; goto service-{base}; }}");
    }
    chains
}
