//! Synthetic clusters of any size, and the node that serves them.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex};

use anyhow::Context as _;
use portolan_backend_nftables::NftablesBackend;
use portolan_core::event::{Change, EndpointSlice, Event, Service};
use portolan_core::node::{DetectLocal, NodeConfig};
use portolan_core::{ApplyReport, IpFamily, Protocol, ProxyBackend, State};
use portolan_nft::NetlinkTables;
use portolan_testkit::objects::{service, slice};
use tokio::runtime::Runtime;

/// Address number `index` of a range, skipping nothing: the ranges here are wide enough.
fn address(base: [u8; 4], index: u32) -> IpAddr {
    Ipv4Addr::from(u32::from(Ipv4Addr::from(base)) + index).into()
}

/// The `number`th Service, with one port and a cluster IP.
pub(crate) fn nth_service(number: u32) -> Service {
    let ip = address([10, 96, 0, 1], number).to_string();
    service(&format!("bench/s{number}"), &ip).port("http", Protocol::Tcp, 80).build()
}

/// Its slice, whose endpoints start at the `first`th of the address range.
pub(crate) fn nth_slice(number: u32, first: u32, endpoints: u32) -> EndpointSlice {
    let mut pods =
        slice(&format!("bench/s{number}-1"), &format!("s{number}")).port("http", Protocol::Tcp, 8080);
    for index in first..first + endpoints {
        pods = pods.on(&format!("node{}", index % 100), &address([10, 128, 0, 0], index).to_string());
    }
    pods.build()
}

/// The lists that an API server with so many Services would give.
pub(crate) fn lists(services: u32, endpoints: u32) -> [Event; 3] {
    let slices = (0..services).map(|number| nth_slice(number, number * endpoints, endpoints));
    [
        Event::Service(Change::Replaced((0..services).map(nth_service).collect())),
        Event::EndpointSlice(Change::Replaced(slices.collect())),
        Event::Node(Change::Replaced(Vec::new())),
    ]
}

/// A node: its knowledge, its backend and the kernel below.
pub(crate) struct Node {
    pub(crate) state: State,
    backend: NftablesBackend<NetlinkTables>,
    runtime: Runtime,
}

impl Node {
    /// A proxy that has just started.
    pub(crate) fn start() -> anyhow::Result<Self> {
        let tables =
            NetlinkTables::open().context("no netlink socket; run as root in a namespace of its own")?;
        let detect_local = DetectLocal::ClusterCidr(vec!["10.128.0.0/9".parse()?]);
        let config = NodeConfig { detect_local, ..NodeConfig::new("node1") };
        Ok(Self {
            state: State::new(config),
            backend: NftablesBackend::new(IpFamily::V4, Arc::new(Mutex::new(tables))),
            runtime: tokio::runtime::Builder::new_current_thread().build()?,
        })
    }

    /// From events to the kernel's acknowledgement.
    pub(crate) fn apply(&mut self, events: impl IntoIterator<Item = Event>) -> anyhow::Result<ApplyReport> {
        for event in events {
            self.state.handle(event);
        }
        self.state.prepare();
        let family = IpFamily::V4;
        let apply = self.backend.apply(self.state.plan(family), self.state.changes(family));
        let report = self.runtime.block_on(apply)?;
        self.state.committed(family);
        Ok(report)
    }

    /// Removes the table.
    pub(crate) fn clean(&mut self) -> anyhow::Result<()> {
        Ok(self.runtime.block_on(self.backend.cleanup())?)
    }
}
