use super::*;
use crate::name::ObjectName;
use crate::node::NodeConfig;
use crate::plan::Locality;

fn service_port(endpoint: &str) -> Arc<ServicePort> {
    let at: SocketAddr = endpoint.parse().unwrap();
    let endpoint = Endpoint { address: at.ip(), port: at.port(), locality: Locality::Local };
    Arc::new(ServicePort {
        cluster_ip: Some("10.96.0.10".parse().unwrap()),
        node_port: Some(30053),
        cluster_endpoints: [endpoint].into(),
        ..ServicePort::new(53)
    })
}

fn name(service: &str) -> ServicePortName {
    ServicePortName { service: ObjectName::new("ns", service), port: "".into(), protocol: Protocol::Udp }
}

fn plan() -> NodePlan {
    let config = NodeConfig::new("n1");
    NodePlan::new(IpFamily::V4, config.settings(IpFamily::V4, None, []))
}

/// What the initial sync checks with one service port, with a node port, in a known ServiceCIDR.
fn check_of_a_start() -> FlowCheck {
    let mut plan = plan();
    plan.node.service_cidrs = vec!["10.96.0.0/16".parse().unwrap()];
    plan.service_ports.insert(name("dns"), service_port("10.244.0.1:5353"));
    FlowCheck::after(&plan, &ChangeSet::complete())
}

fn flow(destination: &str, endpoint: &str) -> Flow {
    let source = "10.1.1.1:1000".parse().unwrap();
    let (destination, reply_source) = (destination.parse().unwrap(), endpoint.parse().unwrap());
    Flow { source, destination, reply_source, reply_destination: source }
}

/// Repeated, because the order of changes is random.
#[test]
fn node_port_with_a_new_owner_is_checked_for_endpoints_of_both_owners() {
    for _ in 0..16 {
        let mut plan = plan();
        plan.service_ports.insert(name("heir"), service_port("10.244.0.2:5353"));
        let mut changes = ChangeSet::default();
        changes.record(&name("former"), Some(service_port("10.244.0.1:5353")), None);
        changes.record(&name("heir"), None, plan.service_ports.get(&name("heir")));

        let check = FlowCheck::after(&plan, &changes);

        assert!(check.is_stale(&flow("192.0.2.1:30053", "10.244.0.1:5353")));
        assert!(!check.is_stale(&flow("192.0.2.1:30053", "10.244.0.2:5353")));
        assert!(!check.is_stale(&flow("192.0.2.1:30053", "172.17.0.2:99")), "of another program");
    }
}

/// Which addresses are this node's only the cleaner knows.
#[test]
fn only_flows_checked_by_node_port_need_an_address_of_this_node() {
    let check = check_of_a_start();
    for (destination, is_by_node_port) in [
        ("192.0.2.1:30053", true),
        ("10.96.0.9:30053", true),
        ("10.96.0.10:30053", true),
        ("10.96.0.10:53", false),
        ("10.96.0.9:53", false),
        ("192.0.2.1:53", false),
    ] {
        assert_eq!(
            check.is_by_node_port(&flow(destination, "10.244.0.9:1")),
            is_by_node_port,
            "{destination}"
        );
    }
}

#[test]
fn unknown_cluster_ip_is_checked_by_node_port_only() {
    let check = check_of_a_start();
    for endpoint in ["10.244.0.1:5353", "10.244.0.9:99"] {
        assert!(!check.is_stale(&flow("10.96.0.9:99", endpoint)), "{endpoint}: another proxy's");
        let passing = flow("10.96.0.9:30053", endpoint);
        assert!(!check.is_stale(&passing) || check.is_by_node_port(&passing), "{endpoint}");
    }
    assert!(!check.is_stale(&flow("10.96.0.9:99", "10.96.0.9:99")), "never translated");
}

#[test]
fn service_cidrs_need_no_flow_check() {
    let mut plan = plan();
    let before = plan.node.clone();
    plan.node.service_cidrs = vec!["10.96.0.0/16".parse().unwrap()];
    plan.service_ports.insert(name("dns"), service_port("10.244.0.1:5353"));
    let mut changes = ChangeSet::default();
    changes.record_node(before, &plan.node);
    assert!(FlowCheck::after(&plan, &changes).is_empty());
    plan.service_ports.clear();
    assert!(FlowCheck::after(&plan, &ChangeSet::complete()).is_empty(), "nothing is ours");
}

/// The endpoint is not ready and still serves its flows; the next owner of the address has no endpoint.
#[test]
fn address_lost_by_a_port_with_only_draining_endpoints_is_checked() {
    let lingering = |cluster_ip: Option<IpAddr>| {
        let port = ServicePort::clone(&service_port("10.244.0.1:5353"));
        let draining_endpoints = port.cluster_endpoints.iter().map(Endpoint::socket_address).collect();
        Arc::new(ServicePort { cluster_ip, cluster_endpoints: Arc::default(), draining_endpoints, ..port })
    };
    let mut plan = plan();
    let (old, new) = (lingering("10.96.0.10".parse().ok()), lingering(None));
    plan.service_ports.insert(name("dns"), Arc::clone(&new));
    let mut changes = ChangeSet::default();
    changes.record(&name("dns"), Some(old), Some(&new));

    let check = FlowCheck::after(&plan, &changes);

    assert!(check.is_stale(&flow("10.96.0.10:53", "10.244.0.1:5353")));
    assert!(!check.is_stale(&flow("192.0.2.1:30053", "10.244.0.1:5353")), "the node port stays");
}

/// A search fails after a Service was deleted; the next one, of everything, knows nothing of it.
#[test]
fn failed_check_is_repeated_for_an_address_without_owner() {
    let mut plan = plan();
    plan.service_ports.insert(name("stays"), service_port("10.244.0.2:5353"));
    let former = service_port("10.244.0.1:5353");
    let moved = |port: Arc<ServicePort>, node_port| {
        Arc::new(ServicePort {
            cluster_ip: "10.96.0.11".parse().ok(),
            node_port,
            ..ServicePort::clone(&port)
        })
    };
    let mut changes = ChangeSet::default();
    changes.record(&name("gone"), Some(moved(former, Some(30_054))), None);
    let mut failed = FlowCheck::after(&plan, &changes);

    let check = FlowCheck::after(&plan, &ChangeSet::complete());
    let [lost, kept] = [("10.96.0.11:53", "10.244.0.1:5353"), ("10.96.0.10:53", "10.244.0.2:5353")];
    assert!(!check.is_stale(&flow(lost.0, lost.1)), "not ours any more");
    failed.merge(check);

    let foreign = flow("192.0.2.1:30054", "172.17.0.2:99");
    assert!(failed.is_stale(&flow(lost.0, lost.1)));
    assert!(failed.is_stale(&flow("192.0.2.1:30054", lost.1)));
    assert!(!failed.is_stale(&foreign), "of another program");
    assert!(!failed.is_stale(&flow(kept.0, kept.1)));

    failed.forget_endpoints();
    assert!(failed.is_stale(&foreign), "as when everything is compared");
}

#[test]
fn failed_check_of_an_address_with_a_new_owner_uses_the_latest_plan() {
    let mut plan = plan();
    let mut changes = ChangeSet::default();
    changes.record(&name("first"), Some(service_port("10.244.0.1:5353")), None);
    let mut check = FlowCheck::after(&plan, &changes);
    plan.service_ports.insert(name("second"), service_port("10.244.0.2:5353"));
    let mut changes = ChangeSet::default();
    changes.record(&name("second"), None, plan.service_ports.get(&name("second")));

    check.merge(FlowCheck::after(&plan, &changes));

    for destination in ["10.96.0.10:53", "192.0.2.1:30053"] {
        assert!(check.is_stale(&flow(destination, "10.244.0.1:5353")), "{destination}");
        assert!(!check.is_stale(&flow(destination, "10.244.0.2:5353")), "{destination}");
    }
}
