//! A node in this process: what the kernel holds after it is what the real proxy would have made of the same
//! events.

use std::sync::{Arc, Mutex};

use anyhow::Context as _;
use portolan_backend_nftables::NftablesBackend;
use portolan_core::event::Event;
use portolan_core::node::{DetectLocal, NodeConfig};
use portolan_core::{ApplyReport, IpFamily, ProxyBackend, State};
use portolan_nft::NetlinkTables;
use tokio::runtime::Runtime;

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
