//! Services: which are proxied, and on which addresses.

use std::collections::HashSet;
use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use portolan_core::address::{IpFamily, PerFamily, parse_ip};
use portolan_core::event::{Service, ServicePortSpec, ServiceType, TrafficPolicy};
use portolan_core::name::ObjectName;

use super::{Converted, Converter, Origin, Report, family, text, timestamp};
use crate::decode::Malformed;
use crate::wire::{self, Ingress, Text};

const KIND: &str = "Service";

/// `sessionAffinityConfig.clientIP.timeoutSeconds` when unset
/// (`DefaultClientIPServiceAffinitySeconds` in `k8s.io/api/core/v1`), three hours.
const DEFAULT_AFFINITY: Duration = Duration::from_secs(10_800);

/// The most that the API takes there (`MaxClientIPServiceAffinitySeconds`), a day, in seconds.
const MAX_AFFINITY: u64 = 86_400;

const SERVICE_TYPES: [(&str, ServiceType); 3] = [
    ("ClusterIP", ServiceType::ClusterIp),
    ("NodePort", ServiceType::NodePort),
    ("LoadBalancer", ServiceType::LoadBalancer),
];

const TRAFFIC_POLICIES: [(&str, TrafficPolicy); 2] =
    [("Cluster", TrafficPolicy::Cluster), ("Local", TrafficPolicy::Local)];

impl Converter {
    /// Converts a Service.
    ///
    /// # Errors
    /// It has no name.
    pub(crate) fn service(&mut self, wire: &wire::Service<'_>) -> Result<Converted<Service>, Malformed> {
        let name = self.object_name(KIND, &wire.metadata)?;
        // The slices of a Service repeat its name; those of the slices themselves are unique.
        let name = ObjectName { name: self.intern(&name.name), ..name };
        let mut problems = std::mem::take(&mut self.problems);
        let mut report = Report::new(KIND, &name, &mut problems);
        let cluster_ips = proxied_cluster_ips(wire, self.origin, &mut report);
        let converted = match cluster_ips {
            None => Converted::NotProxied(name.clone()),
            Some(cluster_ips) => {
                let spec = &wire.spec;
                let mut service = Service {
                    name: name.clone(),
                    created: timestamp(wire.metadata.creation_timestamp.as_ref()),
                    service_type: report.word(
                        "spec.type",
                        spec.service_type.as_ref(),
                        &SERVICE_TYPES,
                        ServiceType::ClusterIp,
                    ),
                    cluster_ips,
                    ports: self.service_ports(&spec.ports, &mut report),
                    external_ips: report
                        .addresses("spec.externalIPs", spec.external_ips.iter().map(|ip| &**ip)),
                    load_balancer_ips: load_balancer_ips(&wire.status.load_balancer.ingress, &mut report),
                    load_balancer_source_ranges: source_ranges(
                        &spec.load_balancer_source_ranges,
                        &mut report,
                    ),
                    internal_traffic_policy: report.word(
                        "spec.internalTrafficPolicy",
                        spec.internal_traffic_policy.as_ref(),
                        &TRAFFIC_POLICIES,
                        TrafficPolicy::Cluster,
                    ),
                    external_traffic_policy: report.word(
                        "spec.externalTrafficPolicy",
                        spec.external_traffic_policy.as_ref(),
                        &TRAFFIC_POLICIES,
                        TrafficPolicy::Cluster,
                    ),
                    health_check_node_port: spec.health_check_node_port.filter(|port| *port != 0),
                    session_affinity: session_affinity(spec, self.origin, &mut report),
                };
                bound(&mut service, &mut report);
                Converted::Proxied(service)
            }
        };
        self.problems = problems;
        Ok(converted)
    }

    fn service_ports(
        &self,
        ports: &[wire::ServicePort<'_>],
        report: &mut Report<'_>,
    ) -> Vec<ServicePortSpec> {
        let mut converted: Vec<ServicePortSpec> = Vec::with_capacity(ports.len());
        let mut seen = HashSet::with_capacity(ports.len());
        if ports.is_empty() && self.origin == Origin::Manifest {
            report.skip("spec.ports", "is empty");
        }
        for (index, port) in ports.iter().enumerate() {
            let field = || format!("spec.ports[{index}]");
            if port.port == 0 {
                report.skip(field() + ".port", "0 is no port");
                continue;
            }
            let Some(protocol) = report.protocol(|| field() + ".protocol", port.protocol.as_ref()) else {
                continue;
            };
            let name = self.intern(text(port.name.as_ref()).unwrap_or_default());
            // The API refuses this; a file may say it, and then endpoints could not be told apart.
            if !seen.insert((name.clone(), protocol)) {
                report.skip(
                    field(),
                    format!("a {protocol} port named {name:?} stands before it; that one counts"),
                );
                continue;
            }
            let node_port = port.node_port.filter(|port| *port != 0);
            converted.push(ServicePortSpec { name, protocol, port: port.port, node_port });
        }
        converted
    }
}

/// The most combinations of ports and addresses of one Service, and of ports, load-balancer addresses and source
/// ranges.
///
/// Every port answers at every address, so that one object of 1.5 MB, which is what an API server takes, could ask
/// for hundreds of millions of rules.
const MOST_COMBINATIONS: usize = 1 << 18;

/// Leaves out addresses of a Service that has too many for its ports and source ranges, the last first.
fn bound(service: &mut Service, report: &mut Report<'_>) {
    let ports = service.ports.len().max(1);
    let addresses = MOST_COMBINATIONS / ports;
    let balanced = match service.load_balancer_source_ranges.len() {
        0 => addresses,
        // The addresses themselves may join the ranges, so that n of them have n × (ranges + n) combinations.
        ranges => (ranges.pow(2).saturating_add(4 * addresses).isqrt() - ranges) / 2,
    };
    shorten(&mut service.load_balancer_ips, balanced, "status.loadBalancer.ingress", report);
    let external = addresses - service.load_balancer_ips.len();
    shorten(&mut service.external_ips, external, "spec.externalIPs", report);
}

fn shorten(list: &mut Vec<IpAddr>, length: usize, field: &str, report: &mut Report<'_>) {
    if list.len() > length {
        let all = list.len();
        report.skip_valid(field, format!(
            "only the first {length} of {all} addresses are served: a Service may have {MOST_COMBINATIONS} \
             combinations of ports, addresses and source ranges"
        ));
        list.truncate(length);
    }
}

/// The cluster IPs of a Service, or nothing when it is not for us to proxy.
fn proxied_cluster_ips(
    wire: &wire::Service<'_>,
    origin: Origin,
    report: &mut Report<'_>,
) -> Option<PerFamily<Option<IpAddr>>> {
    let spec = &wire.spec;
    let foreign = wire.metadata.labels.service_proxy_name.is_some();
    if foreign || text(spec.service_type.as_ref()) == Some("ExternalName") {
        return None;
    }
    let first = text(spec.cluster_ip.as_ref()).or_else(|| text(spec.cluster_ips.first()));
    match first {
        Some("None") => None,
        Some(first) => {
            let cluster_ips = cluster_ips(spec, first, report);
            cluster_ips.iter().any(|(_, ip)| ip.is_some()).then_some(cluster_ips)
        }
        None => {
            // An API server gives every Service an address; a file has only what its author wrote.
            if origin == Origin::Manifest {
                report.skip_valid("spec.clusterIP", "is missing, and only an API server assigns one");
            }
            None
        }
    }
}

/// kube-proxy's rule: without `ipFamilies` the single `clusterIP` counts, for its own
/// family; otherwise a family's address stands in `clusterIPs` where `ipFamilies` names it.
fn cluster_ips(
    spec: &wire::ServiceSpec<'_>,
    first: &str,
    report: &mut Report<'_>,
) -> PerFamily<Option<IpAddr>> {
    let mut found = PerFamily::<Option<IpAddr>>::default();
    if spec.ip_families.is_empty() {
        match parse_ip(first) {
            Ok(ip) => found[IpFamily::of(ip)] = Some(ip),
            Err(error) => report.skip("spec.clusterIP", error.to_string()),
        }
        return found;
    }
    for (index, name) in spec.ip_families.iter().enumerate() {
        let Some(family) = family(name) else {
            report.skip(format!("spec.ipFamilies[{index}]"), format!("{:?} is no IP family", &**name));
            continue;
        };
        // A file may leave `clusterIPs` out; the API never does.
        let implied = (index == 0 && spec.cluster_ips.is_empty()).then_some(first);
        let Some(ip) = text(spec.cluster_ips.get(index)).or(implied) else { continue };
        match parse_ip(ip) {
            Ok(ip) if IpFamily::of(ip) == family => found[family] = found[family].or(Some(ip)),
            Ok(ip) => {
                report.skip(format!("spec.clusterIPs[{index}]"), format!("{ip} is no {family} address"));
            }
            Err(error) => report.skip(format!("spec.clusterIPs[{index}]"), error.to_string()),
        }
    }
    found
}

/// Entries whose `ipMode` is VIP, which is also what an absent one means (KEP-1860).
/// The others are reached through the load balancer itself.
fn load_balancer_ips(ingress: &[Ingress<'_>], report: &mut Report<'_>) -> Vec<IpAddr> {
    const FIELD: &str = "status.loadBalancer.ingress";
    for (index, mode) in
        ingress.iter().enumerate().filter_map(|(at, entry)| Some((at, entry.ip_mode.as_ref()?)))
    {
        report.word(&format!("{FIELD}[{index}].ipMode"), Some(mode), &[("VIP", ()), ("Proxy", ())], ());
    }
    let vip = |entry: &Ingress<'_>| entry.ip_mode.as_ref().is_none_or(|mode| &**mode == "VIP");
    let ips = ingress.iter().map(|entry| if vip(entry) { text(entry.ip.as_ref()) } else { None });
    report.addresses(FIELD, ips.map(Option::unwrap_or_default))
}

/// A family in which some range holds every address is not restricted at all.
fn source_ranges(ranges: &[Text<'_>], report: &mut Report<'_>) -> Vec<IpNet> {
    let mut nets = report.cidrs("spec.loadBalancerSourceRanges", ranges.iter().map(|range| &**range));
    for family in IpFamily::ALL {
        let of_family = |net: &IpNet| IpFamily::of_net(net) == family;
        if nets.iter().any(|net| of_family(net) && net.prefix_len() == 0) {
            nets.retain(|net| !of_family(net));
        }
    }
    nets
}

fn session_affinity(
    spec: &wire::ServiceSpec<'_>,
    origin: Origin,
    report: &mut Report<'_>,
) -> Option<Duration> {
    let words = [("None", false), ("ClientIP", true)];
    if !report.word("spec.sessionAffinity", spec.session_affinity.as_ref(), &words, false) {
        return None;
    }
    let Some(seconds) = spec.session_affinity_config.client_ip.timeout_seconds else {
        return Some(DEFAULT_AFFINITY);
    };
    // An API server refuses more than a day; what it has stored all the same is followed.
    let longest = if origin == Origin::Manifest { MAX_AFFINITY } else { u64::MAX };
    match u64::try_from(seconds) {
        Ok(seconds) if (1..=longest).contains(&seconds) => Some(Duration::from_secs(seconds)),
        _ => {
            let field = "spec.sessionAffinityConfig.clientIP.timeoutSeconds";
            report.skip(field, format!("{seconds} is not a time from 1 to {MAX_AFFINITY} seconds"));
            Some(DEFAULT_AFFINITY)
        }
    }
}
