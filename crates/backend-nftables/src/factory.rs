//! Creates nftables backends on the real kernel, and probes whether it supports them.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use portolan_core::backend::{CleanupReport, error_chain};
use portolan_core::node::NodeConfig;
use portolan_core::plan::Locality;
use portolan_core::{
    BackendError, BackendFactory, Endpoint, IpFamily, Name, ObjectName, ProbeFailure, Protocol, ProxyBackend,
    ProxyMode, ServicePort, ServicePortName,
};
use portolan_nft::{Chain, NetlinkTables, NftError, Table, TableId, Tables, Transaction};

use crate::backend::NftablesBackend;
use crate::class::Class;
use crate::dedicated::Dedicated;
use crate::delivery::{Counts, Kind};
use crate::layout::{Layout, nft_family};
use crate::programmed::SlotLists;
use crate::stale;

/// The table that the probe creates and deletes within one transaction.
const PROBE_TABLE: &str = "portolan-probe";

/// `--mode nftables`.
///
/// Both families use one socket, which stays open as long as either backend lives: while it is
/// open, no other process can change our tables.
#[derive(Default)]
pub struct NftablesFactory {
    tables: Mutex<Option<Arc<Mutex<NetlinkTables>>>>,
}

impl NftablesFactory {
    /// A factory that has not opened its socket yet.
    pub fn new() -> Self {
        Self::default()
    }
}

#[async_trait]
impl BackendFactory for NftablesFactory {
    fn mode(&self) -> ProxyMode {
        ProxyMode::NFTABLES
    }

    async fn probe(&self) -> Result<(), ProbeFailure> {
        let failure = |missing| ProbeFailure { mode: self.mode(), missing };
        let mut tables = NetlinkTables::open()
            .map_err(|error| failure(format!("no netlink socket for nf_tables ({})", error_chain(&error))))?;
        tables.commit(&rehearsal()).map_err(|error| failure(missing(&error)))?;
        Ok(())
    }

    fn kernel_keeps_udp_flows(&self) -> bool {
        true
    }

    async fn remove_stale(&self, running: Option<&ProxyMode>, family: IpFamily) -> CleanupReport {
        stale::remove(running, family)
    }

    async fn foreign_rules(
        &self,
        _running: &ProxyMode,
        family: IpFamily,
    ) -> Result<Option<u64>, BackendError> {
        stale::foreign_rules(family)
            .map_err(|error| BackendError::unread(format!("{family} table of kube-proxy"), error))
    }

    async fn is_forwarding(&self, family: IpFamily) -> Result<bool, BackendError> {
        self.create(family)?.is_intact().await
    }

    fn create(&self, family: IpFamily) -> Result<Box<dyn ProxyBackend>, BackendError> {
        let mut shared = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        let tables = if let Some(tables) = &*shared {
            Arc::clone(tables)
        } else {
            let tables = NetlinkTables::open()
                .map_err(|error| BackendError::io("open a netlink socket for nf_tables", error))?;
            Arc::clone(shared.insert(Arc::new(Mutex::new(tables))))
        };
        Ok(Box::new(NftablesBackend::new(family, tables)))
    }
}

/// Every kind of object and rule that the backend uses, created and deleted in one transaction, so that
/// none of it is ever active.
fn rehearsal() -> Transaction {
    let layout = Layout::new(IpFamily::V4);
    let settings = NodeConfig::new("probe").settings(layout.family, None, []);
    let mut transaction = Transaction::new(TableId::new(nft_family(layout.family), PROBE_TABLE));
    transaction.add_table(Table::default());
    for set in layout.sets() {
        transaction.add_set(Arc::clone(set));
    }
    for (chain, rules) in layout.chains(&settings) {
        let name = Arc::clone(&chain.name);
        transaction.add_chain(chain);
        for rule in rules {
            transaction.add_rule(Arc::clone(&name), rule);
        }
    }
    let class = Class { kind: Kind::External, counts: Counts { all: 2, outside: Some(0) } };
    transaction.add_chain(Chain::regular(class.chain()));
    for rule in class.rules(&settings) {
        transaction.add_rule(class.chain(), rule);
    }
    let (name, port) = service_with_all();
    if let Some(dedicated) = Dedicated::of(&name, &port, &SlotLists::default(), &settings) {
        for set in dedicated.sets() {
            transaction.add_set(Arc::clone(set));
        }
        for (chain, rules) in dedicated.chains {
            transaction.add_chain(Chain::regular(Arc::clone(&chain)));
            for rule in rules {
                transaction.add_rule(Arc::clone(&chain), rule);
            }
        }
    }
    transaction.delete_table();
    transaction
}

/// A service port with every kind of dedicated object: with affinity, and with many external addresses.
fn service_with_all() -> (ServicePortName, ServicePort) {
    let name = ServicePortName {
        service: ObjectName::new("probe", "probe"),
        port: Name::default(),
        protocol: Protocol::Tcp,
    };
    let address = IpAddr::from([192, 0, 2, 1]);
    let endpoints: Arc<[Endpoint]> = [Endpoint { address, port: 80, locality: Locality::Local }].into();
    let port = ServicePort {
        cluster_ip: Some(address),
        external_ips: (2..8).map(|last| IpAddr::from([192, 0, 2, last])).collect(),
        session_affinity: Some(Duration::from_secs(1)),
        cluster_endpoints: endpoints,
        ..ServicePort::new(80)
    };
    (name, port)
}

/// What the node lacks, for the log.
fn missing(error: &NftError) -> String {
    let detail = error_chain(error);
    if error.is_not_permitted() {
        return format!("the privilege to change nftables, CAP_NET_ADMIN ({detail})");
    }
    if error.is_unsupported() || error.is_not_found() {
        return format!(
            "a kernel with nf_tables and all expressions that Portolan uses, Linux 5.10 or later ({detail})"
        );
    }
    format!("an nf_tables that accepts the rules of Portolan ({detail})")
}
