//! The process in the middle: a backend with one Service.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use portolan_backend_userspace::{Addresses, Options, UserspaceFactory};
use portolan_core::plan::Locality;
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
    if factory.counters().unserved.get() > 0 {
        return Err("the relay's address is not to be had".into());
    }
    crate::wait_for_the_end()
}

/// Starts with so many services of TCP, and compares them all once more.
pub(crate) fn start_with(count: u32) -> Outcome<()> {
    let options = Options { addresses: Addresses::Prepared, ..Options::default() };
    let mut backend = UserspaceFactory::new(options).create(IpFamily::V4)?;
    let settings = NodeConfig::new("here").settings(IpFamily::V4, None, []);
    let address = |number: u32| Ipv4Addr::from_bits(Ipv4Addr::new(127, 80, 0, 1).to_bits() + number);
    let mut plan = NodePlan::new(IpFamily::V4, settings);
    for number in 0..count {
        let from = SocketAddr::new(address(number).into(), 8080);
        plan.service_ports.insert(name(number), Arc::new(service_port(from, crate::DIRECT.parse()?)));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let mut out = std::io::stdout().lock();
    for what in ["started", "compared"] {
        let start = Instant::now();
        let report = runtime.block_on(backend.apply(&plan, &ChangeSet::complete()))?;
        let (memory, _) = crate::usage(std::process::id())?;
        writeln!(out, "{what} in {:?}: {} operations, {memory:.1} MB", start.elapsed(), report.operations)?;
    }
    Ok(())
}

fn name(number: u32) -> ServicePortName {
    let service = ObjectName::new("bench", format!("s{number}"));
    ServicePortName { service, port: "".into(), protocol: Protocol::Tcp }
}

fn service_port(from: SocketAddr, to: SocketAddr) -> ServicePort {
    ServicePort {
        cluster_ip: Some(from.ip()),
        cluster_endpoints: [Endpoint { address: to.ip(), port: to.port(), locality: Locality::Local }].into(),
        ..ServicePort::new(from.port())
    }
}
