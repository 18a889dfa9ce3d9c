//! Makes ipvs backends, finds out whether they can work here, and makes the settings that they need.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use portolan_core::backend::{CleanupReport, error_chain};
use portolan_core::node::{NodeConfig, NodePortSelection};
use portolan_core::{BackendError, BackendFactory, IpFamily, ProbeFailure, ProxyBackend, ProxyMode};
use portolan_host::Host;
use portolan_iptables::programs;
use portolan_iptables::stale::{ForeignChains, Mode};
use portolan_ipvs::{DEVICE, IpvsError, Links, Servers, Sets};

use crate::kernel::{KernelError, Netlink, settings};
use crate::{IpvsBackend, Options, stale};

/// A device that is made and deleted at once, to see whether that is possible.
const TRIAL: &str = "portolan-trial";

/// What a host lacks that has no virtual servers.
const NO_IPVS: &str = "the kernel module ip_vs, which is neither loaded nor could be loaded";

/// `--mode ipvs`.
#[derive(Debug, Default)]
pub struct IpvsFactory {
    options: Options,
    foreign: Mutex<ForeignChains>,
}

impl IpvsFactory {
    /// A factory that has looked at nothing yet.
    pub fn new(options: Options) -> Self {
        Self { options, ..Self::default() }
    }

    fn find_missing(&self) -> Option<String> {
        self.find_scheduler()
            .and_then(|()| find_sets())
            .and_then(|()| find_dummy())
            .and_then(|()| programs::probe_any())
            .err()
    }

    fn find_scheduler(&self) -> Result<(), String> {
        let scheduler = self.options.scheduler();
        let has = |servers: Option<Servers>| {
            servers.map(|mut servers| servers.has_scheduler(&scheduler)).transpose()
        };
        match Servers::load().and_then(has) {
            Ok(Some(true)) => Ok(()),
            Ok(None) => Err(NO_IPVS.to_owned()),
            Ok(Some(false)) => Err(format!("the IPVS scheduler {scheduler} (module ip_vs_{scheduler})")),
            Err(error) => Err(unanswered("IPVS schedulers", &error)),
        }
    }
}

fn find_sets() -> Result<(), String> {
    match Sets::load().and_then(|mut sets| sets.are_there()) {
        Ok(true) => Ok(()),
        Ok(false) => Err("address sets (module ip_set)".to_owned()),
        Err(error) => Err(unanswered("address sets", &error)),
    }
}

fn find_dummy() -> Result<(), String> {
    let try_one = || -> Result<(), IpvsError> {
        let mut links = Links::open()?;
        if links.find(DEVICE)?.is_some() {
            return Ok(());
        }
        links.create_dummy(TRIAL)?;
        if let Some(link) = links.find(TRIAL)? {
            links.delete(&link, TRIAL)?;
        }
        Ok(())
    };
    try_one().map_err(|error| match error.errno() {
        Some(libc::EOPNOTSUPP) => "dummy devices (module dummy)".to_owned(),
        _ => unanswered("dummy devices", &error),
    })
}

fn unanswered(what: &str, error: &IpvsError) -> String {
    format!("an answer of the kernel about {what}: {}", error_chain(error))
}

#[async_trait]
impl BackendFactory for IpvsFactory {
    fn mode(&self) -> ProxyMode {
        ProxyMode::IPVS
    }

    async fn probe(&self) -> Result<(), ProbeFailure> {
        self.find_missing().map_or(Ok(()), |missing| Err(ProbeFailure { mode: self.mode(), missing }))
    }

    async fn probe_family(&self, family: IpFamily) -> Result<(), ProbeFailure> {
        programs::probe(family).map_err(|missing| ProbeFailure { mode: self.mode(), missing })
    }

    fn kernel_keeps_udp_flows(&self) -> bool {
        true
    }

    /// Loads IPVS, without which its sysctls are not there.
    async fn prepare_host(&self, _node: &NodeConfig) -> Result<(), BackendError> {
        let lacking = || BackendError::unsupported(&self.mode(), NO_IPVS);
        let mut servers = Servers::load().map_err(KernelError::from)?.ok_or_else(lacking)?;
        settings::set_timeouts(&mut servers, self.options.timeouts);
        Ok(settings::make_all(&Host::new(), self.options.strict_arp).map_err(KernelError::from)?)
    }

    /// By the device, which both families share and which is asked for without loading IPVS.
    async fn is_forwarding(&self, _family: IpFamily) -> Result<bool, BackendError> {
        let device = Links::open().and_then(|mut links| links.find(DEVICE)).map_err(KernelError::from)?;
        Ok(device.is_some())
    }

    fn create(&self, family: IpFamily) -> Result<Box<dyn ProxyBackend>, BackendError> {
        let kernel = Netlink::open(family, self.options.clone())?;
        Ok(Box::new(IpvsBackend::new(family, self.options.clone(), kernel)))
    }

    fn fallback(&self) -> Option<ProxyMode> {
        Some(ProxyMode::IPTABLES)
    }

    fn default_node_ports(&self) -> NodePortSelection {
        NodePortSelection::Cidrs(Vec::new())
    }

    /// Whether other processes removed one of many virtual servers, or a member of a set, shows only in a full sync.
    fn full_sync_period(&self, sync_period: Duration) -> Duration {
        sync_period
    }

    /// Without loading IPVS to find that there is nothing of it.
    async fn remove_stale(&self, running: Option<&ProxyMode>, family: IpFamily) -> CleanupReport {
        stale::remove(running, family)
    }

    async fn foreign_rules(
        &self,
        running: &ProxyMode,
        family: IpFamily,
    ) -> Result<Option<u64>, BackendError> {
        let mut foreign = self.foreign.lock().unwrap_or_else(PoisonError::into_inner);
        foreign.beside(running, Mode::Ipvs, family)
    }

    fn has_kube_proxys_names(&self) -> bool {
        true
    }
}
