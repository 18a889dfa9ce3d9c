//! Who is listened to, by what leads where.

use std::net::IpAddr;
use std::time::Duration;

use portolan_core::Endpoint;
use portolan_core::event::TrafficPolicy;
use portolan_core::node::NodeConfig;
use portolan_core::plan::{LocalDetector, Locality, Unserved};
use portolan_testkit::netns::{Topology, isolated};

use super::*;
use crate::balancer::Via;
use crate::capture::{Captures, Object};
use crate::filter::{Guard, Scope};
use crate::frontends::stance::guard_for;
use crate::limits::Limits;
use crate::relay::{Relay, UdpTimeouts};

const EXTERNAL: [Via; 3] = [Via::NodePort, Via::LoadBalancer, Via::ExternalIp];

fn port(cluster: u8, local: u8, unserved: Unserved) -> ServicePort {
    let endpoint = |number| Endpoint {
        address: IpAddr::from([10, 244, 0, number]),
        port: 8080,
        locality: Locality::Unknown,
    };
    ServicePort {
        cluster_ip: Some(IpAddr::from([10, 96, 0, 80])),
        load_balancer_ips: [IpAddr::from([203, 0, 113, 80])].into(),
        external_ips: [IpAddr::from([203, 0, 113, 81])].into(),
        node_port: Some(30_080),
        external_traffic_policy: TrafficPolicy::Local,
        cluster_endpoints: (1..=cluster).map(endpoint).collect(),
        local_endpoints: (1..=local).map(endpoint).collect(),
        unserved,
        ..ServicePort::new(80)
    }
}

#[test]
fn nobody_listens_where_nobody_serves_anywhere() {
    let port = port(0, 0, Unserved::Reject);
    for via in [Via::ClusterIp, Via::NodePort, Via::LoadBalancer, Via::ExternalIp] {
        assert_eq!(guard_for(&port, via, None), None);
    }
}

#[test]
fn without_local_endpoints_only_the_node_and_its_pods_get_through_from_outside() {
    let port = port(2, 0, Unserved::Drop);
    let pods = "10.244.0.0/24".parse().unwrap();
    for via in EXTERNAL {
        let scope = |detector: Option<LocalDetector>| guard_for(&port, via, detector.as_ref()).unwrap().scope;
        assert_eq!(scope(None), Scope::Inside(None));
        assert_eq!(scope(Some(LocalDetector::Cidr(pods))), Scope::Inside(Some(pods)));
        assert_eq!(scope(Some(LocalDetector::Interface("cni0".into()))), Scope::Everywhere);
    }
    assert_eq!(guard_for(&port, Via::ClusterIp, None), Some(Guard::open()));
}

#[test]
fn with_local_endpoints_everybody_gets_through() {
    for via in EXTERNAL {
        assert_eq!(guard_for(&port(2, 1, Unserved::Drop), via, None), Some(Guard::open()));
    }
}

#[test]
fn a_cluster_ip_without_local_endpoints_is_silent() {
    let port = ServicePort { internal_traffic_policy: TrafficPolicy::Local, ..port(2, 0, Unserved::Drop) };
    assert_eq!(guard_for(&port, Via::ClusterIp, None), Some(Guard::closed()));
}

#[test]
fn source_ranges_guard_load_balancer_addresses_only() {
    let ranges: Box<[ipnet::IpNet]> = ["192.0.2.0/24".parse().unwrap()].into();
    let port = ServicePort { source_ranges: ranges.clone(), ..port(2, 1, Unserved::Drop) };
    assert_eq!(guard_for(&port, Via::LoadBalancer, None).unwrap().ranges, ranges);
    for via in [Via::ClusterIp, Via::NodePort, Via::ExternalIp] {
        assert_eq!(guard_for(&port, via, None), Some(Guard::open()));
    }
}

/// Whole addresses are all that a kernel without rules for ports has to give.
#[test]
fn without_rules_for_ports_addresses_of_other_hosts_and_of_the_api_server_are_not_taken() {
    isolated(|| {
        let net = Topology::routed(1).unwrap();
        let objects = net.node().run(|| {
            let timeouts = UdpTimeouts { idle: Duration::ZERO, single: Duration::ZERO };
            let relay = Relay::start(1, Limits::new(Arc::default(), 0, 0), timeouts).unwrap();
            let captures = Captures::begin(IpFamily::V4).unwrap().without_port_rules();
            let mut frontends = Frontends::new(IpFamily::V4, relay, Some(captures)).unwrap();
            let settings = NodeConfig::new("n1").settings(IpFamily::V4, None, []);
            let api_server = vec!["203.0.113.90:6443".parse().unwrap()];
            frontends.node = Some(NodeSettings { api_server, ..settings });
            let external = ["192.0.2.2", "203.0.113.80", "203.0.113.90"].map(|ip| ip.parse().unwrap());
            let port = ServicePort { external_ips: external.into(), ..port(1, 0, Unserved::Reject) };
            frontends.captures_of(&port, Transport::Tcp)
        });
        let taken = ["10.96.0.80", "203.0.113.80", "203.0.113.80"];
        assert_eq!(objects.unwrap(), taken.map(|ip| Object::Address(ip.parse().unwrap())));
    });
}
