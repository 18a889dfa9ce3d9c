//! Makes nftables backends on the real kernel, and finds out whether it can.

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
use portolan_leftovers::{ForeignWatch, Part};
use portolan_nft::{Chain, NetlinkTables, NftError, Table, TableId, Tables, Transaction};

use crate::affinity::Sticky;
use crate::backend::NftablesBackend;
use crate::class::Class;
use crate::delivery::{Counts, Kind};
use crate::layout::{Layout, nft_family};
use crate::loaded::SlotLists;

/// The table that the probe makes and removes within one transaction.
const PROBE_TABLE: &str = "portolan-probe";

/// `--mode nftables`.
///
/// Both families talk through one socket, which stays open as long as either
/// backend lives: while it is open nobody else can change our tables.
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

    /// The table of kube-proxy's mode of this name, and unless this mode runs its own.
    async fn remove_stale(&self, running: Option<&ProxyMode>, family: IpFamily) -> CleanupReport {
        let outcomes = portolan_leftovers::remove(&[Part::KubeProxyNftables], &[family]);
        let mut report: CleanupReport = outcomes.into_iter().collect();
        // Without nf_tables there is no table, and no privilege to ask for one means that this mode never ran here.
        let is_own_stale = match running {
            None => true,
            Some(running) => *running != self.mode() && self.probe().await.is_ok(),
        };
        if is_own_stale {
            report.merge(match self.create(family) {
                Ok(mut backend) => backend.cleanup().await.into(),
                Err(error) => Err(error).into(),
            });
        }
        report
    }

    async fn foreign_rules(
        &self,
        _running: &ProxyMode,
        family: IpFamily,
    ) -> Result<Option<u64>, BackendError> {
        ForeignWatch::default().version(Part::KubeProxyNftables, family, None)
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

/// All that we will ever ask of the kernel, made and removed in one transaction, so
/// that nothing of it is ever in force.
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
    if let Some(sticky) = Sticky::of(&name, &port, &SlotLists::default(), &settings) {
        for set in sticky.sets() {
            transaction.add_set(Arc::clone(set));
        }
        for (chain, rules) in sticky.chains {
            transaction.add_chain(Chain::regular(Arc::clone(&chain)));
            for rule in rules {
                transaction.add_rule(Arc::clone(&chain), rule);
            }
        }
    }
    transaction.delete_table();
    transaction
}

/// A service port whose chains use whatever affinity needs.
/// One with affinity, and with as many addresses as have slots of their own.
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

/// What to tell the person who runs the node.
fn missing(error: &NftError) -> String {
    let detail = error_chain(error);
    if error.is_not_permitted() {
        return format!("the privilege to change nftables, CAP_NET_ADMIN ({detail})");
    }
    if error.is_unsupported() || error.is_not_found() {
        return format!(
            "a kernel with nf_tables and all expressions that we use, Linux 5.10 or later ({detail})"
        );
    }
    format!("an nf_tables that takes our rules ({detail})")
}
