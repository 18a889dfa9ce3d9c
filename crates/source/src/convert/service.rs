//! Services: which are proxied, and on which addresses.

use std::collections::HashSet;
use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use portolan_core::Event;
use portolan_core::address::{IpFamily, PerFamily, parse_ip};
use portolan_core::event::{Change, Service, ServicePortSpec, ServiceType, TrafficPolicy};
use portolan_core::name::ObjectName;

use super::{Converted, Converter, FAMILIES, ObjectReport, Resource, text, timestamp};
use crate::decode::Malformed;
use crate::wire::{self, LoadBalancerIngress, Metadata, Text};

/// `sessionAffinityConfig.clientIP.timeoutSeconds` when unset
/// (`DefaultClientIPServiceAffinitySeconds` in `k8s.io/api/core/v1`), three hours.
const DEFAULT_AFFINITY: Duration = Duration::from_secs(10_800);

/// The maximum that the API accepts there (`MaxClientIPServiceAffinitySeconds`), a day, in seconds.
const MAX_AFFINITY: u64 = 86_400;

const SERVICE_TYPES: [(&str, ServiceType); 3] = [
    ("ClusterIP", ServiceType::ClusterIp),
    ("NodePort", ServiceType::NodePort),
    ("LoadBalancer", ServiceType::LoadBalancer),
];

const TRAFFIC_POLICIES: [(&str, TrafficPolicy); 2] =
    [("Cluster", TrafficPolicy::Cluster), ("Local", TrafficPolicy::Local)];

impl Resource for Service {
    const KIND: &'static str = "Service";
    const PATH: &'static str = "/api/v1/services";
    const EVENT: fn(Change<Self>) -> Event = Event::Service;
    type Wire<'a> = wire::Service<'a>;

    fn metadata<'a, 'w>(wire: &'a Self::Wire<'w>) -> &'a Metadata<'w> {
        &wire.metadata
    }

    fn convert(converter: &mut Converter, wire: &wire::Service<'_>) -> Result<Converted<Self>, Malformed> {
        let name = converter.object_name(Self::KIND, &wire.metadata)?;
        // The slices of a Service repeat its name; those of the slices themselves are unique.
        let name = ObjectName { name: converter.intern(&name.name), ..name };
        let report = &mut ObjectReport { converter, kind: Self::KIND, object: &name };
        let Some(cluster_ips) = proxied_cluster_ips(wire, report) else {
            return Ok(Converted::NotProxied(name));
        };
        let spec = &wire.spec;
        let internal = spec.internal_traffic_policy.as_ref();
        let external = spec.external_traffic_policy.as_ref();
        let mut service = Self {
            created: timestamp(wire.metadata.creation_timestamp.as_ref()),
            service_type: report.value("spec.type", spec.service_type.as_ref(), &SERVICE_TYPES),
            cluster_ips,
            ports: service_ports(&spec.ports, report),
            external_ips: report.addresses("spec.externalIPs", spec.external_ips.iter().map(|ip| &**ip)),
            load_balancer_ips: load_balancer_ips(&wire.status.load_balancer.ingress, report),
            load_balancer_source_ranges: source_ranges(&spec.load_balancer_source_ranges, report),
            internal_traffic_policy: report.value("spec.internalTrafficPolicy", internal, &TRAFFIC_POLICIES),
            external_traffic_policy: report.value("spec.externalTrafficPolicy", external, &TRAFFIC_POLICIES),
            health_check_node_port: spec.health_check_node_port.filter(|port| *port != 0),
            session_affinity: session_affinity(spec, report),
            name: name.clone(),
        };
        limit_addresses(&mut service, report);
        Ok(Converted::Proxied(service))
    }
}

fn service_ports(ports: &[wire::ServicePort<'_>], report: &mut ObjectReport<'_>) -> Vec<ServicePortSpec> {
    let mut converted: Vec<ServicePortSpec> = Vec::with_capacity(ports.len());
    let mut seen = HashSet::with_capacity(ports.len());
    if ports.is_empty() && report.is_manifest() {
        report.skip("spec.ports", "is empty");
    }
    for (index, port) in ports.iter().enumerate() {
        let field = format_args!("spec.ports[{index}]");
        let Some(protocol) = report.protocol(field, port.port, port.protocol.as_ref()) else { continue };
        let name = report.converter.name(port.name.as_ref()).unwrap_or_default();
        // The API rejects this; in a file endpoints could not be assigned to the one or the other.
        if !seen.insert((name.clone(), protocol)) {
            let reason = format_args!("an earlier {protocol} port is named {name:?}; that one is used");
            report.skip(field, reason);
            continue;
        }
        let node_port = port.node_port.filter(|port| *port != 0);
        converted.push(ServicePortSpec { name, protocol, port: port.port, node_port });
    }
    converted
}

/// The most combinations of ports and addresses of one Service, and of ports, load-balancer addresses and source
/// ranges.
///
/// Every port is served on every address, so that one object of 1.5 MB, the maximum that an API server accepts, could
/// require hundreds of millions of rules.
const MAX_COMBINATIONS: usize = 1 << 18;

/// Leaves out the last addresses of a Service that has too many for its ports and source ranges.
fn limit_addresses(service: &mut Service, report: &mut ObjectReport<'_>) {
    let ports = service.ports.len().max(1);
    let addresses = MAX_COMBINATIONS / ports;
    let balanced = match service.load_balancer_source_ranges.len() {
        0 => addresses,
        // The addresses themselves may join the ranges, so that n of them have n × (ranges + n) combinations.
        ranges => (ranges.pow(2).saturating_add(4 * addresses).isqrt() - ranges) / 2,
    };
    shorten(&mut service.load_balancer_ips, balanced, "status.loadBalancer.ingress", report);
    let external = addresses - service.load_balancer_ips.len();
    shorten(&mut service.external_ips, external, "spec.externalIPs", report);
}

fn shorten(list: &mut Vec<IpAddr>, length: usize, field: &str, report: &mut ObjectReport<'_>) {
    if list.len() > length {
        let all = list.len();
        let reason = format_args!(
            "only the first {length} of {all} addresses are served: a Service may have {MAX_COMBINATIONS} \
             combinations of ports, addresses and source ranges"
        );
        report.skip_valid(field, reason);
        list.truncate(length);
    }
}

/// The cluster IPs of a Service, or nothing when this proxy does not serve it.
fn proxied_cluster_ips(
    wire: &wire::Service<'_>,
    report: &mut ObjectReport<'_>,
) -> Option<PerFamily<Option<IpAddr>>> {
    let spec = &wire.spec;
    let is_foreign = wire.metadata.labels.service_proxy_name.is_some();
    if is_foreign || text(spec.service_type.as_ref()) == Some("ExternalName") {
        return None;
    }
    match text(spec.cluster_ip.as_ref()).or_else(|| text(spec.cluster_ips.first())) {
        Some("None") => None,
        Some(first) => {
            let cluster_ips = cluster_ips(spec, first, report);
            cluster_ips.iter().any(|(_, ip)| ip.is_some()).then_some(cluster_ips)
        }
        None => {
            // An API server gives every Service an address; a file has only what its author wrote.
            if report.is_manifest() {
                report.skip_valid("spec.clusterIP", "is missing, and only an API server assigns one");
            }
            None
        }
    }
}

/// kube-proxy's rule: without `ipFamilies` the single `clusterIP` is used, for its own family; otherwise the address
/// of a family is the one in `clusterIPs` at the index where `ipFamilies` names it.
fn cluster_ips(
    spec: &wire::ServiceSpec<'_>,
    first: &str,
    report: &mut ObjectReport<'_>,
) -> PerFamily<Option<IpAddr>> {
    let mut found = PerFamily::<Option<IpAddr>>::default();
    if spec.ip_families.is_empty() {
        match parse_ip(first) {
            Ok(ip) => found[IpFamily::of(ip)] = Some(ip),
            Err(error) => report.skip("spec.clusterIP", error),
        }
        return found;
    }
    for (index, name) in spec.ip_families.iter().enumerate() {
        let Some(family) = report.known_value(format_args!("spec.ipFamilies[{index}]"), name, &FAMILIES)
        else {
            continue;
        };
        // A file may leave `clusterIPs` out; the API never does.
        let implied = (index == 0 && spec.cluster_ips.is_empty()).then_some(first);
        let Some(ip) = text(spec.cluster_ips.get(index)).or(implied) else { continue };
        let field = format_args!("spec.clusterIPs[{index}]");
        match parse_ip(ip) {
            Ok(ip) if IpFamily::of(ip) == family => found[family] = found[family].or(Some(ip)),
            Ok(ip) => report.skip(field, format_args!("{ip} is no {family} address")),
            Err(error) => report.skip(field, error),
        }
    }
    found
}

/// Entries whose `ipMode` is VIP, which is also the default (KEP-1860). Traffic for the others passes the load
/// balancer itself.
fn load_balancer_ips(ingress: &[LoadBalancerIngress<'_>], report: &mut ObjectReport<'_>) -> Vec<IpAddr> {
    const FIELD: &str = "status.loadBalancer.ingress";
    let is_vip = |entry: &LoadBalancerIngress<'_>| entry.ip_mode.as_ref().is_none_or(|mode| &**mode == "VIP");
    for (index, entry) in ingress.iter().enumerate().filter(|(_, entry)| !is_vip(entry)) {
        let field = format_args!("{FIELD}[{index}].ipMode");
        report.value(field, entry.ip_mode.as_ref(), &[("VIP", ()), ("Proxy", ())]);
    }
    let ips = ingress.iter().map(|entry| if is_vip(entry) { text(entry.ip.as_ref()) } else { None });
    report.addresses(FIELD, ips.map(Option::unwrap_or_default))
}

/// Source ranges; a family in which some range holds every address is not restricted at all.
fn source_ranges(ranges: &[Text<'_>], report: &mut ObjectReport<'_>) -> Vec<IpNet> {
    let mut nets = report.cidrs("spec.loadBalancerSourceRanges", ranges.iter().map(|range| &**range));
    for family in IpFamily::ALL {
        let of_family = |net: &IpNet| IpFamily::of_net(net) == family;
        if nets.iter().any(|net| of_family(net) && net.prefix_len() == 0) {
            nets.retain(|net| !of_family(net));
        }
    }
    nets
}

fn session_affinity(spec: &wire::ServiceSpec<'_>, report: &mut ObjectReport<'_>) -> Option<Duration> {
    let known = [("None", false), ("ClientIP", true)];
    if !report.value("spec.sessionAffinity", spec.session_affinity.as_ref(), &known) {
        return None;
    }
    let Some(seconds) = spec.session_affinity_config.client_ip.timeout_seconds else {
        return Some(DEFAULT_AFFINITY);
    };
    // An API server rejects more than a day; what it has stored nevertheless is used.
    let longest = if report.is_manifest() { MAX_AFFINITY } else { u64::MAX };
    match u64::try_from(seconds) {
        Ok(seconds) if (1..=longest).contains(&seconds) => Some(Duration::from_secs(seconds)),
        _ => {
            let field = "spec.sessionAffinityConfig.clientIP.timeoutSeconds";
            report.skip(field, format_args!("{seconds} is not a time from 1 to {MAX_AFFINITY} seconds"));
            Some(DEFAULT_AFFINITY)
        }
    }
}
