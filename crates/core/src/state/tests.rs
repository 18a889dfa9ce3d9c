//! Deleted objects leave no state behind.

use std::net::IpAddr;
use std::time::SystemTime;

use super::*;
use crate::event::{
    Conditions, EndpointSlice, Service, ServicePortSpec, ServiceType, SliceEndpoint, SlicePort, TrafficPolicy,
};

fn object_name(text: &str) -> ObjectName {
    let (namespace, name) = text.split_once('/').unwrap();
    ObjectName::new(namespace, name)
}

/// A load-balancer Service with a health check, one UDP port, and an external IP that all have.
fn web(name: &str, v4: &str, v6: Option<&str>) -> Event {
    Event::Service(Change::Applied(Service {
        name: object_name(name),
        created: None,
        service_type: ServiceType::LoadBalancer,
        cluster_ips: PerFamily { v4: v4.parse().ok(), v6: v6.and_then(|ip| ip.parse().ok()) },
        ports: vec![ServicePortSpec {
            name: "".into(),
            protocol: Protocol::Udp,
            port: 53,
            node_port: Some(30053),
        }],
        external_ips: vec!["203.0.113.1".parse().unwrap()],
        load_balancer_ips: vec![],
        load_balancer_source_ranges: vec![],
        internal_traffic_policy: TrafficPolicy::Cluster,
        external_traffic_policy: TrafficPolicy::Local,
        health_check_node_port: Some(32000),
        session_affinity: None,
    }))
}

fn pods(name: &str, owner: &str) -> Event {
    Event::EndpointSlice(Change::Applied(EndpointSlice {
        name: object_name(name),
        service: owner.into(),
        family: IpFamily::V4,
        ports: vec![SlicePort { name: "".into(), protocol: Protocol::Udp, port: 53 }],
        endpoints: vec![SliceEndpoint {
            address: "10.244.0.1".parse().unwrap(),
            conditions: Conditions::READY,
            node: Some("n1".into()),
            hints: None,
        }],
        trigger_time: Some(SystemTime::UNIX_EPOCH),
    }))
}

fn gone(name: &str) -> Event {
    Event::EndpointSlice(Change::Deleted(object_name(name)))
}

fn commit(state: &mut State) {
    for family in IpFamily::ALL {
        state.committed(family);
    }
}

fn assert_empty(state: &State, rule: &str) {
    assert!(state.services.is_empty(), "{rule}: {:?}", state.services);
    assert!(state.slices.is_empty() && state.dirty.is_empty(), "{rule}");
    assert!(state.service_cidrs.is_empty(), "{rule}");
    for (family, kept) in state.families.iter() {
        assert!(kept.is_bare(), "{rule}, {family}: {kept:?}");
    }
}

#[test]
fn deleted_objects_leave_no_state_behind() {
    let rows = [
        ("one slice", vec![pods("ns/a-1", "a"), gone("ns/a-1")]),
        (
            "two of one Service",
            vec![pods("ns/a-1", "a"), pods("ns/a-2", "a"), gone("ns/a-1"), gone("ns/a-2")],
        ),
        (
            "two in one namespace",
            vec![pods("ns/a-1", "a"), pods("ns/b-1", "b"), gone("ns/b-1"), gone("ns/a-1")],
        ),
        (
            "two namespaces",
            vec![pods("ns/a-1", "a"), pods("other/a-1", "a"), gone("ns/a-1"), gone("other/a-1")],
        ),
        ("one that changed its Service", vec![pods("ns/a-1", "a"), pods("ns/a-1", "b"), gone("ns/a-1")]),
        (
            "Services that contend for an address",
            vec![
                web("ns/a", "10.96.0.1", Some("fd00::1")),
                web("ns/b", "10.96.0.2", None),
                Event::Service(Change::Deleted(object_name("ns/a"))),
                Event::Service(Change::Replaced(vec![])),
            ],
        ),
        (
            "a ServiceCIDR",
            vec![
                Event::ServiceCidr(Change::Applied(ServiceCidr { name: "a".into(), cidrs: vec![] })),
                Event::ServiceCidr(Change::Deleted("a".into())),
            ],
        ),
    ];
    for (rule, events) in rows {
        // In one step, and with every step committed before the next.
        for step_by_step in [false, true] {
            let mut state = State::new(NodeConfig::new("n1"));
            for event in events.clone() {
                state.handle(event);
                if step_by_step {
                    state.prepare();
                    commit(&mut state);
                }
            }
            state.prepare();
            commit(&mut state);
            assert_empty(&state, rule);
        }
    }
}

/// All Services depend on where the node is, and on nothing else that changes with it: a Node object
/// is written anew every few minutes, and there may be 50,000 Services.
#[test]
fn node_update_without_topology_change_resolves_no_service() {
    let mut state = State::new(NodeConfig::new("n1"));
    let mut node = Node {
        name: "n1".into(),
        addresses: vec!["192.0.2.1".parse().unwrap()],
        pod_cidrs: vec![],
        zone: Some("za".into()),
        leaving: false,
    };
    let applied = |node: &Node| Event::Node(Change::Applied(node.clone()));
    state.handle(web("ns/web", "10.96.0.1", None));
    state.handle(applied(&node));
    state.prepare();
    node.leaving = true;
    node.pod_cidrs = vec!["10.244.0.0/24".parse().unwrap()];
    node.addresses.push("192.0.2.2".parse().unwrap());
    state.handle(applied(&node));
    assert!(state.dirty.is_empty(), "{:?}", state.dirty);
    node.zone = Some("zb".into());
    state.handle(applied(&node));
    assert_eq!(state.dirty.0.len(), 1, "the zone decides about hints");
}

/// The proxy's own connections come before the external IPs of Services, which any user may write, and after all
/// addresses that may be the API server's own Service.
#[test]
fn external_ip_of_a_service_does_not_take_over_the_api_server() {
    let server =
        |sockets: &[&str]| Event::ApiServer(sockets.iter().map(|socket| socket.parse().unwrap()).collect());
    let external = |state: &State, name: &str, port: u16| {
        let ports = &state.plan(IpFamily::V4).service_ports;
        ports.iter().find(|(owner, _)| &*owner.service.name == name).map(|(_, found)| {
            assert_eq!(found.port, port);
            found.external_addresses().map(|ip| ip.to_string()).collect::<Vec<_>>()
        })
    };
    let with = |name: &str, port, external: bool| {
        let Event::Service(Change::Applied(mut service)) = web(name, "10.96.0.1", None) else {
            unreachable!()
        };
        service.ports[0] =
            ServicePortSpec { name: "".into(), protocol: Protocol::Tcp, port, node_port: None };
        service.external_ips.clear();
        let ips = if external { &mut service.external_ips } else { &mut service.load_balancer_ips };
        ips.push("192.0.2.10".parse().unwrap());
        service.cluster_ips.v4 = Some(IpAddr::from([10, 96, 0, u8::try_from(name.len()).unwrap()]));
        Event::Service(Change::Applied(service))
    };
    let mut state = State::new(NodeConfig::new("n1"));
    state.handle(server(&["192.0.2.10:6443"]));
    state.handle(with("ns/tenant", 6443, true));
    state.handle(with("ns/other-port", 80, true));
    state.prepare();
    assert_eq!(external(&state, "tenant", 6443).unwrap(), [""; 0], "its cluster IP alone");
    assert_eq!(external(&state, "other-port", 80).unwrap(), ["192.0.2.10"]);
    let conflict = state.take_conflicts().pop().unwrap();
    let text = format!("{}: {}, not {}", conflict.address, conflict.owner, conflict.ignored);
    assert_eq!(text, "tcp 192.0.2.10:6443: default/kubernetes:https, not ns/tenant");

    // The load balancer of a cluster's own API servers.
    state.handle(with("ns/balancer", 6443, false));
    state.prepare();
    assert_eq!(external(&state, "balancer", 6443).unwrap(), ["192.0.2.10"]);
    let node = &state.plan(IpFamily::V4).node;
    let is_api_server = |port, protocol| node.is_api_server("192.0.2.10".parse().unwrap(), port, protocol);
    assert!(is_api_server(80, Protocol::Tcp) && is_api_server(6443, Protocol::Udp));
    assert!(!is_api_server(6443, Protocol::Tcp));
    assert!(!node.is_api_server("192.0.2.11".parse().unwrap(), 80, Protocol::Tcp));

    // Elsewhere by now.
    state.handle(Event::Service(Change::Deleted(ObjectName::new("ns", "balancer"))));
    state.handle(server(&["192.0.2.11:6443"]));
    state.prepare();
    assert_eq!(external(&state, "tenant", 6443).unwrap(), ["192.0.2.10"]);
}
