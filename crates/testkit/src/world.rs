//! Random clusters and random things that happen to them, for model tests.
//!
//! The universe is small on purpose: few names, addresses and ports, so that
//! objects meet, take addresses from each other, and vanish and come back often.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, SystemTime};

use portolan_core::State;
use portolan_core::address::{IpFamily, PerFamily, Protocol};
use portolan_core::event::{
    Change, Conditions, EndpointSlice, Event, Node, Object, Service, ServiceCidr, ServicePortSpec,
    ServiceType, SliceEndpoint, SlicePort, TrafficPolicy,
};
use portolan_core::name::{Name, ObjectName};
use portolan_core::node::{DetectLocal, NodeConfig};
use proptest::prelude::*;

mod whole;

pub use whole::{any_config, event, events};

/// The node that random worlds are seen from.
pub const THIS_NODE: &str = "n1";

/// All objects of a cluster, the plain way: what any state must agree with.
#[derive(Debug, Clone, Default)]
pub struct World {
    services: BTreeMap<ObjectName, Service>,
    slices: BTreeMap<ObjectName, EndpointSlice>,
    service_cidrs: BTreeMap<Name, ServiceCidr>,
    api_server: BTreeSet<SocketAddr>,
    /// This node's Node; what it said last when it is gone.
    node: Option<Node>,
}

impl World {
    /// Takes in one event.
    pub fn handle(&mut self, event: &Event) {
        match event {
            Event::Service(change) => update(&mut self.services, change),
            Event::EndpointSlice(change) => update(&mut self.slices, change),
            Event::ServiceCidr(change) => update(&mut self.service_cidrs, change),
            Event::ApiServer(sockets) => self.api_server.clone_from(sockets),
            Event::Node(Change::Applied(node)) => self.set_node(std::slice::from_ref(node)),
            Event::Node(Change::Replaced(nodes)) => self.set_node(nodes),
            Event::Node(Change::Deleted(_)) => {}
        }
    }

    fn set_node(&mut self, nodes: &[Node]) {
        self.node = nodes.iter().find(|node| &*node.name == THIS_NODE).cloned().or(self.node.take());
    }

    /// The lists that a proxy starting now would get.
    pub fn lists(&self) -> [Event; 5] {
        [
            Event::Service(Change::Replaced(self.services.values().cloned().collect())),
            Event::EndpointSlice(Change::Replaced(self.slices.values().cloned().collect())),
            Event::Node(Change::Replaced(self.node.iter().cloned().collect())),
            Event::ServiceCidr(Change::Replaced(self.service_cidrs.values().cloned().collect())),
            Event::ApiServer(self.api_server.clone()),
        ]
    }

    /// A state made from these objects alone.
    pub fn state(&self, config: NodeConfig) -> State {
        let mut state = State::new(config);
        for event in self.lists() {
            state.handle(event);
        }
        state.prepare();
        state
    }
}

fn update<T: Object + Clone>(objects: &mut BTreeMap<T::Key, T>, change: &Change<T>) {
    match change {
        Change::Applied(object) => {
            objects.insert(object.key().clone(), object.clone());
        }
        Change::Deleted(key) => {
            objects.remove(key);
        }
        Change::Replaced(all) => {
            *objects = all.iter().map(|object| (object.key().clone(), object.clone())).collect();
        }
    }
}

/// A configuration that detects local pods by their address, and is otherwise the default.
pub fn config() -> NodeConfig {
    let cidrs = ["10.244.0.0/16", "fd00:10:244::/64"].map(str::parse);
    let detect_local = DetectLocal::ClusterCidr(cidrs.into_iter().flatten().collect());
    NodeConfig { detect_local, ..NodeConfig::new(THIS_NODE) }
}

/// A list names every object once, as an API server's does.
fn distinct<T: Object + std::fmt::Debug + 'static>(
    lists: impl Strategy<Value = Vec<T>>,
) -> impl Strategy<Value = Vec<T>> {
    lists.prop_map(|mut list| {
        list.sort_by(|a, b| a.key().cmp(b.key()));
        list.dedup_by(|a, b| a.key() == b.key());
        list
    })
}

fn service_name() -> impl Strategy<Value = ObjectName> {
    prop::sample::select(vec!["default/a", "default/b", "shop/a", "shop/c"])
        .prop_map(crate::objects::object_name)
}

fn slice_name() -> impl Strategy<Value = ObjectName> {
    let names = vec!["default/a-1", "default/a-2", "default/b-1", "shop/a-1", "shop/a-2", "shop/c-1"];
    prop::sample::select(names).prop_map(crate::objects::object_name)
}

fn protocol() -> impl Strategy<Value = Protocol> {
    prop_oneof![4 => Just(Protocol::Tcp), 2 => Just(Protocol::Udp), 1 => Just(Protocol::Sctp)]
}

fn port_name() -> impl Strategy<Value = Name> {
    prop_oneof![3 => Just(""), 1 => Just("http")].prop_map(Name::from)
}

/// An address outside the cluster, of which several Services may claim the same.
fn outside(family: IpFamily, last: u8) -> IpAddr {
    match family {
        IpFamily::V4 => Ipv4Addr::new(203, 0, 113, last).into(),
        IpFamily::V6 => Ipv6Addr::new(0x2001, 0xdb8, 0x113, 0, 0, 0, 0, u16::from(last)).into(),
    }
}

fn cluster_ip(family: IpFamily, last: u8) -> IpAddr {
    match family {
        IpFamily::V4 => Ipv4Addr::new(10, 96, 0, last).into(),
        IpFamily::V6 => Ipv6Addr::new(0xfd00, 0x10, 0x96, 0, 0, 0, 0, u16::from(last)).into(),
    }
}

fn pod_ip(family: IpFamily, last: u8) -> IpAddr {
    match family {
        IpFamily::V4 => Ipv4Addr::new(10, 244, 0, last).into(),
        IpFamily::V6 => Ipv6Addr::new(0xfd00, 0x10, 0x244, 0, 0, 0, 0, u16::from(last)).into(),
    }
}

fn family() -> impl Strategy<Value = IpFamily> {
    prop::sample::select(IpFamily::ALL.to_vec())
}

fn service() -> impl Strategy<Value = Service> {
    let spec = (port_name(), protocol(), 80_u16..83, proptest::option::of(30080_u16..30083))
        .prop_map(|(name, protocol, port, node_port)| ServicePortSpec { name, protocol, port, node_port });
    let few = || proptest::collection::vec((family(), 1_u8..4).prop_map(|(f, l)| outside(f, l)), 0..3);
    // Some backends serve many addresses of one Service in another way than a few.
    let many = || (family(), 5_u8..9).prop_map(|(f, count)| (1..count).map(|l| outside(f, l)).collect());
    let outsides = || prop_oneof![6 => few(), 1 => many()];
    // Now and then a cluster IP belongs to another Service as well, which only manifests can do.
    let cluster_ips =
        (proptest::option::of(1_u8..6), proptest::option::of(1_u8..6)).prop_map(|(v4, v6)| PerFamily {
            v4: v4.map(|last| cluster_ip(IpFamily::V4, last)),
            v6: v6.map(|last| cluster_ip(IpFamily::V6, last)),
        });
    (
        service_name(),
        proptest::option::of(0_u64..3),
        cluster_ips,
        proptest::collection::vec(spec, 0..4),
        outsides(),
        outsides(),
    )
        .prop_map(|(name, created, cluster_ips, mut ports, external_ips, load_balancer_ips)| {
            ports.sort_by(|a, b| (&a.name, a.protocol).cmp(&(&b.name, b.protocol)));
            ports.dedup_by(|a, b| (&a.name, a.protocol) == (&b.name, b.protocol));
            Service {
                name,
                created: created.map(|s| SystemTime::UNIX_EPOCH + Duration::from_secs(s)),
                service_type: ServiceType::LoadBalancer,
                cluster_ips,
                ports,
                external_ips,
                load_balancer_ips,
                load_balancer_source_ranges: Vec::new(),
                internal_traffic_policy: TrafficPolicy::Cluster,
                external_traffic_policy: TrafficPolicy::Cluster,
                health_check_node_port: None,
                session_affinity: None,
            }
        })
}

fn slice() -> impl Strategy<Value = EndpointSlice> {
    let port = (port_name(), protocol(), 8080_u16..8082).prop_map(|(name, protocol, port)| SlicePort {
        name,
        protocol,
        port,
    });
    let conditions = (any::<bool>(), any::<bool>(), any::<bool>())
        .prop_map(|(ready, serving, terminating)| Conditions { ready, serving, terminating });
    let conditions = prop_oneof![3 => Just(Conditions::READY), 1 => conditions];
    let on = prop::sample::select(vec![None, Some(THIS_NODE), Some("n2"), Some("n3")]);
    let endpoints = proptest::collection::vec((1_u8..12, conditions, on), 0..8);
    // A slice is called after its Service, and sometimes belongs to another one.
    let owner = prop_oneof![9 => Just(None), 1 => service_name().prop_map(Some)];
    (slice_name(), owner, family(), proptest::collection::vec(port, 0..3), endpoints).prop_map(
        |(name, owner, family, ports, endpoints)| EndpointSlice {
            service: owner
                .map_or_else(|| name.name.split('-').next().unwrap_or("a").into(), |owner| owner.name),
            name,
            family,
            ports,
            endpoints: endpoints
                .into_iter()
                .map(|(last, conditions, node)| SliceEndpoint {
                    address: pod_ip(family, last),
                    conditions,
                    node: node.map(Into::into),
                    hints: None,
                })
                .collect(),
            trigger_time: None,
        },
    )
}

fn node() -> impl Strategy<Value = Node> {
    prop::sample::subsequence(vec!["192.0.2.1", "2001:db8:2::1", "192.0.2.9"], 0..=3)
        .prop_map(|addresses| crate::objects::node(THIS_NODE, &addresses))
}
