//! Random objects with every field that any decision reads.
//!
//! Built on the plain objects one level up: those choose names and addresses, this adds
//! policies, types, hints, ranges and the rest. Everything shrinks to the plain object, so
//! that a failing case shows only the fields it takes.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use ipnet::IpNet;
use portolan_core::address::{IpFamily, PerFamily, Protocol};
use portolan_core::event::{
    Change, EndpointSlice, Event, Hints, Node, Service, ServiceCidr, ServiceType, SlicePort, TrafficPolicy,
};
use portolan_core::name::{Name, ObjectName};
use portolan_core::node::{DEFAULT_MASQUERADE_MARK, DetectLocal, NodeConfig, NodePortSelection};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::{THIS_NODE, distinct, service_name};

/// Zones of the nodes; this one is in the first, in the second, or in none.
const ZONES: [&str; 2] = ["za", "zb"];

/// Ranges for `loadBalancerSourceRanges`: clients, pods, this node itself, all clients in one
/// piece and in two, and the same of the other family.
const SOURCE_RANGES: [&str; 10] = [
    "203.0.113.0/24",
    "203.0.113.128/25",
    "10.244.0.0/16",
    "192.0.2.1/32",
    "2001:db8:2::/48",
    "fd00:10:244::/64",
    "0.0.0.0/1",
    "128.0.0.0/1",
    "0.0.0.0/0",
    "::/0",
];

/// Some events in a row, of every kind and with every field.
pub fn events(length: impl Into<proptest::collection::SizeRange>) -> impl Strategy<Value = Vec<Event>> {
    proptest::collection::vec(event(), length)
}

/// Anything that can happen, to objects with every field.
pub fn event() -> impl Strategy<Value = Event> {
    let services = || distinct(proptest::collection::vec(service(), 0..8));
    let slices = || distinct(proptest::collection::vec(slice(), 0..9));
    prop_oneof![
        18 => service().prop_map(|service| Event::Service(Change::Applied(service))),
        4 => service_name().prop_map(|name| Event::Service(Change::Deleted(name))),
        24 => slice().prop_map(|slice| Event::EndpointSlice(Change::Applied(slice))),
        4 => slice_name().prop_map(|name| Event::EndpointSlice(Change::Deleted(name))),
        2 => services().prop_map(|list| Event::Service(Change::Replaced(list))),
        2 => slices().prop_map(|list| Event::EndpointSlice(Change::Replaced(list))),
        3 => node().prop_map(|node| Event::Node(Change::Applied(node))),
        1 => Just(Event::Node(Change::Deleted(THIS_NODE.into()))),
        1 => proptest::option::of(node()).prop_map(|node| Event::Node(Change::Replaced(node.into_iter().collect()))),
        2 => service_cidr().prop_map(|cidr| Event::ServiceCidr(Change::Applied(cidr))),
        1 => service_cidr_name().prop_map(|name| Event::ServiceCidr(Change::Deleted(name))),
        1 => distinct(proptest::collection::vec(service_cidr(), 0..3))
            .prop_map(|list| Event::ServiceCidr(Change::Replaced(list))),
    ]
}

/// Any configuration that a node can have.
pub fn any_config() -> impl Strategy<Value = NodeConfig> {
    let detect_local = prop_oneof![
        4 => nets(&["10.244.0.0/16", "fd00:10:244::/64"]).prop_map(DetectLocal::ClusterCidr),
        1 => Just(DetectLocal::NodeCidr),
        1 => Just(DetectLocal::BridgeInterface("cbr0".into())),
        1 => Just(DetectLocal::InterfaceNamePrefix("veth".into())),
    ];
    let addresses = ["192.0.2.0/24", "192.0.2.9/32", "2001:db8:2::/48", "127.0.0.0/8", "0.0.0.0/0", "::/0"];
    let node_port_addresses = prop_oneof![
        2 => Just(NodePortSelection::Primary),
        1 => nets(&addresses).prop_map(NodePortSelection::Cidrs),
    ];
    let mark = prop_oneof![4 => Just(DEFAULT_MASQUERADE_MARK), 1 => Just(1 << 15)];
    let bind_address = prop::option::weighted(0.2, Just(IpAddr::from([192, 0, 2, 9])));
    let switches = (prop::bool::weighted(0.2), prop::bool::weighted(0.9));
    (detect_local, switches, node_port_addresses, mark, bind_address).prop_map(
        |(detect_local, switches, node_port_addresses, masquerade_mark, bind_address)| NodeConfig {
            node_name: THIS_NODE.into(),
            detect_local,
            masquerade_all: switches.0,
            masquerade_mark,
            node_port_addresses,
            bind_address,
            allow_external_ips: switches.1,
        },
    )
}

/// Some of these ranges.
fn nets(texts: &[&str]) -> impl Strategy<Value = Vec<IpNet>> + use<> {
    let nets: Vec<IpNet> = texts.iter().filter_map(|text| text.parse().ok()).collect();
    let most = nets.len();
    subsequence(nets, 0..=most)
}

fn policy() -> impl Strategy<Value = TrafficPolicy> {
    prop_oneof![2 => Just(TrafficPolicy::Cluster), 1 => Just(TrafficPolicy::Local)]
}

fn service() -> impl Strategy<Value = Service> {
    let service_type = select(vec![ServiceType::ClusterIp, ServiceType::NodePort, ServiceType::LoadBalancer]);
    let ranges = prop_oneof![
        3 => Just(Vec::new()),
        1 => proptest::collection::vec(select(SOURCE_RANGES.to_vec()), 0..4),
    ]
    .prop_map(|texts| texts.iter().filter_map(|text| text.parse().ok()).collect());
    let affinity = prop_oneof![
        2 => Just(None),
        1 => select(vec![10_800, 1, 30]).prop_map(|seconds| Some(Duration::from_secs(seconds))),
    ];
    let health_check_node_port = proptest::option::of(32_000_u16..32_003);
    let rest = (service_type, policy(), policy(), ranges, affinity, health_check_node_port);
    (super::service(), cluster_ips(), rest).prop_map(
        |(
            plain,
            cluster_ips,
            (service_type, internal, external, ranges, affinity, health_check_node_port),
        )| Service {
            service_type,
            cluster_ips,
            internal_traffic_policy: internal,
            external_traffic_policy: external,
            load_balancer_source_ranges: ranges,
            session_affinity: affinity,
            health_check_node_port,
            ..plain
        },
    )
}

/// Mostly one of each family, and often enough an address that another Service has as well.
fn cluster_ips() -> impl Strategy<Value = PerFamily<Option<IpAddr>>> {
    let families = prop_oneof![1 => Just((true, false)), 1 => Just((false, true)), 6 => Just((true, true))];
    (families, 1_u8..6, 1_u8..6).prop_map(|((has_v4, has_v6), v4, v6)| PerFamily {
        v4: has_v4.then(|| super::cluster_ip(IpFamily::V4, v4)),
        v6: has_v6.then(|| super::cluster_ip(IpFamily::V6, v6)),
    })
}

/// Most of the ports that Services of the random world have, so that slices and Services match.
fn slice_ports() -> impl Strategy<Value = Vec<SlicePort>> {
    let all: Vec<_> =
        ["", "http"].into_iter().flat_map(|name| Protocol::ALL.map(|protocol| (name, protocol))).collect();
    let numbers = proptest::collection::vec(8080_u16..8082, all.len());
    (subsequence(all, 0..=6), numbers).prop_map(|(ports, numbers)| {
        let port = |((name, protocol), port): ((&str, Protocol), u16)| SlicePort {
            name: name.into(),
            protocol,
            port,
        };
        ports.into_iter().zip(numbers).map(port).collect()
    })
}

/// How the control plane hinted the endpoints of one slice.
#[derive(Debug, Clone, Copy)]
enum Hinting {
    Not,
    Zones,
    Nodes,
    Both,
    /// Some of the endpoints, as while it changes its mind.
    Some,
}

/// Slices of each family have names of their own, so that a Service can have both.
fn slice_name() -> impl Strategy<Value = ObjectName> {
    (super::slice_name(), super::family()).prop_map(|(name, family)| of_family(&name, family))
}

fn of_family(name: &ObjectName, family: IpFamily) -> ObjectName {
    ObjectName::new(name.namespace.clone(), format!("{}-{family}", name.name))
}

fn slice() -> impl Strategy<Value = EndpointSlice> {
    let hinting = select(vec![Hinting::Not, Hinting::Zones, Hinting::Nodes, Hinting::Both, Hinting::Some]);
    let hints = (subsequence(ZONES.to_vec(), 1..=2), subsequence(vec![THIS_NODE, "n2", "n3"], 1..=2));
    let trigger_time = proptest::option::weighted(0.2, 1_000_u64..1_004);
    (super::slice(), slice_ports(), hinting, proptest::collection::vec(hints, 8), trigger_time).prop_map(
        |(mut slice, ports, hinting, hints, trigger_time)| {
            slice.name = of_family(&slice.name, slice.family);
            slice.ports = ports;
            for (index, (endpoint, (zones, nodes))) in slice.endpoints.iter_mut().zip(&hints).enumerate() {
                let (zones, nodes) = match hinting {
                    Hinting::Zones => (&zones[..], &[][..]),
                    Hinting::Nodes => (&[][..], &nodes[..]),
                    Hinting::Both => (&zones[..], &nodes[..]),
                    Hinting::Some if index % 2 == 0 => (&zones[..], &[][..]),
                    Hinting::Some | Hinting::Not => continue,
                };
                endpoint.hints = Some(Arc::new(Hints { zones: names(zones), nodes: names(nodes) }));
            }
            slice.trigger_time = trigger_time.map(|time| SystemTime::UNIX_EPOCH + Duration::from_secs(time));
            slice
        },
    )
}

fn names(texts: &[&str]) -> Vec<Name> {
    texts.iter().map(|text| Name::from(*text)).collect()
}

fn node() -> impl Strategy<Value = Node> {
    let pod_cidrs = nets(&["10.244.0.0/24", "fd00:10:244::/80"]);
    let zone = proptest::option::of(select(ZONES.to_vec()));
    // Now and then one that is none of this proxy's business.
    let name = prop_oneof![9 => Just(THIS_NODE), 1 => Just("n2")];
    (super::node(), name, pod_cidrs, zone, any::<bool>()).prop_map(
        |(plain, name, pod_cidrs, zone, leaving)| Node {
            name: name.into(),
            pod_cidrs,
            zone: zone.map(Name::from),
            leaving,
            ..plain
        },
    )
}

fn service_cidr_name() -> impl Strategy<Value = Name> {
    select(vec!["kubernetes", "more"]).prop_map(Name::from)
}

fn service_cidr() -> impl Strategy<Value = ServiceCidr> {
    let cidrs = nets(&["10.96.0.0/24", "fd00:10:96::/112", "10.96.0.0/30", "10.97.0.0/16"]);
    (service_cidr_name(), cidrs).prop_map(|(name, cidrs)| ServiceCidr { name, cidrs })
}
