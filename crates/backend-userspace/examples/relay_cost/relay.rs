//! The process in the middle: a backend with one Service.

use std::net::SocketAddr;
use std::sync::Arc;

use portolan_backend_userspace::{Addresses, Options, UserspaceFactory};
use portolan_core::event::TrafficPolicy;
use portolan_core::plan::{Locality, Unserved};
use portolan_core::{
    BackendFactory, ChangeSet, Endpoint, IpFamily, NodeConfig, NodePlan, ObjectName, Protocol, ServicePort,
    ServicePortName,
};

use crate::Outcome;

/// Relays what comes to one address to the other until the parent has had enough.
pub(crate) fn serve(from: SocketAddr, to: SocketAddr) -> Outcome<()> {
    let options = Options { addresses: Addresses::Prepared, ..Options::default() };
    let factory = UserspaceFactory::new(options);
    let mut backend = factory.create(IpFamily::V4)?;
    let settings = NodeConfig::new("here").settings(IpFamily::V4, None, []);
    let mut plan = NodePlan::new(IpFamily::V4, settings);
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        let service = ObjectName::new("bench", "relay");
        let name = ServicePortName { service, port: protocol.to_string().into(), protocol };
        plan.service_ports.insert(name, Arc::new(service_port(from, to)));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    runtime.block_on(backend.apply(&plan, &ChangeSet::complete()))?;
    if factory.counters().unserved() > 0 {
        return Err("the relay's address is not to be had".into());
    }
    crate::wait_for_the_end()
}

fn service_port(from: SocketAddr, to: SocketAddr) -> ServicePort {
    ServicePort {
        port: from.port(),
        cluster_ip: Some(from.ip()),
        load_balancer_ips: Box::default(),
        external_ips: Box::default(),
        node_port: None,
        health_check_node_port: None,
        source_ranges: Box::default(),
        internal_traffic_policy: TrafficPolicy::Cluster,
        external_traffic_policy: TrafficPolicy::Cluster,
        session_affinity: None,
        cluster_endpoints: [Endpoint { address: to.ip(), port: to.port(), locality: Locality::Local }].into(),
        local_endpoints: Arc::default(),
        lingering_endpoints: Box::default(),
        unserved: Unserved::Reject,
    }
}
