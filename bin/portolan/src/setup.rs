//! Makes the parts of the proxy and joins them.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use anyhow::Context as _;
use portolan_config::{Config, Source};
use portolan_conntrack::Conntrack;
use portolan_core::node::DetectLocal;
use portolan_core::{BackendError, BackendFactory, IpFamily, PerFamily, Registry, State};
use portolan_health::Health;
use portolan_health::service_health::ServiceHealth;
use portolan_health::status::Status;
use portolan_host::Host;
use portolan_metrics::Metrics;
use portolan_source::{EventRecorder, SourceMetrics};
use portolan_sync::{Configuration, NodeWait, SyncLoop, SyncSettings, SyncThread};
use tokio::sync::{mpsc, oneshot, watch};

use crate::beside::Contention;
use crate::logging::VerbosityHandle;
use crate::node_address::FamilyCheck;
use crate::observer::Observer;
use crate::page::{self, Numbers};
use crate::proxy::Parts;
use crate::reload::{Configz, Reload, Reread, configuration};
use crate::servers::{Servers, never};
use crate::source::AnySource;
use crate::takeover::{Takeover, earlier_rules};
use crate::{reports, service_manager};

/// Events that may wait while the sync thread is busy. A source that is ahead of it by
/// more than this waits, rather than filling memory.
const EVENTS: usize = 1024;

/// What the parts are made of.
pub(crate) struct Setup<'a> {
    pub(crate) config: &'a Config,
    pub(crate) registry: &'a Registry,
    pub(crate) factory: &'a Arc<dyn BackendFactory>,
    /// When the process did.
    pub(crate) started: SystemTime,
    pub(crate) families: Vec<IpFamily>,
    pub(crate) metrics: Metrics,
    pub(crate) health: Health,
    pub(crate) events: EventRecorder,
    pub(crate) host: Host,
    pub(crate) verbosity: VerbosityHandle,
}

impl Setup<'_> {
    /// Starts everything. Ports open at once, rules are written when the source has told all there is.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub(crate) fn start(
        &self,
        source: AnySource,
        reread: Reread,
        parts: &mut Parts,
    ) -> anyhow::Result<SyncThread> {
        let configz = Configz::new(self.config.configz(&self.factory.mode()));
        let service_health = self.servers(parts, self.status(source.metrics(), configz.clone()));
        self.events.record(reports::starting());

        let earlier =
            earlier_rules(self.registry.clone(), self.factory.mode(), self.host.families_to_clean_up());
        let source = source.cautious(&self.health, earlier);
        let (sender, events) = mpsc::channel(EVENTS);
        parts.spawn(async move { source.run(sender).await.context("the source failed") });
        let (synced, is_synced) = oneshot::channel();
        let (configured, configurations) = watch::channel(configuration(self.config));
        let contention = Contention::default();
        let takeover = self.takeover(configurations.clone(), contention.clone());
        tokio::spawn(after_initial_sync(takeover, is_synced));
        if let Some(path) = self.config.file.clone() {
            self.follow_file(parts, path, reread, configz, configured);
        }
        let make = self.loop_maker(configurations, self.observer(service_health, synced, contention));
        Ok(SyncThread::start(make, events)?)
    }

    fn status(&self, source: Arc<SourceMetrics>, configz: Configz) -> Status {
        let numbers = Numbers {
            metrics: self.metrics.clone(),
            health: self.health.clone(),
            source,
            families: self.families.clone(),
            factory: Arc::clone(self.factory),
        };
        page::status(self.config, self.factory.mode(), self.started, numbers, configz, &self.verbosity)
    }

    fn servers(&self, parts: &mut Parts, page: Status) -> ServiceHealth {
        let servers = Servers {
            config: self.config,
            health: self.health.clone(),
            metrics: self.metrics.clone(),
            events: self.events.clone(),
            node_name: self.config.node().node_name.to_string(),
        };
        servers.start(parts, page)
    }

    fn observer(
        &self,
        service_health: ServiceHealth,
        synced: oneshot::Sender<()>,
        contention: Contention,
    ) -> Observer {
        Observer {
            metrics: self.metrics.clone(),
            health: self.health.clone(),
            service_health,
            events: self.events.clone(),
            families: self.families.len(),
            family_check: FamilyCheck::new(self.config, &self.families),
            synced: Some(synced),
            failing: PerFamily::default(),
            contention,
        }
    }

    fn takeover(&self, configuration: watch::Receiver<Configuration>, contention: Contention) -> Takeover {
        Takeover {
            registry: self.registry.clone(),
            mode: self.factory.mode(),
            families: self.host.families_to_clean_up(),
            metrics: self.metrics.clone(),
            events: self.events.clone(),
            configuration,
            contention,
        }
    }

    fn follow_file(
        &self,
        parts: &mut Parts,
        path: PathBuf,
        reread: Reread,
        configz: Configz,
        sync: watch::Sender<Configuration>,
    ) {
        let reload = Reload {
            reread,
            started_with: self.config.clone(),
            current: self.config.clone(),
            effective: self.config.clone(),
            mode: self.factory.mode(),
            configz,
            sync,
            health: self.health.clone(),
            verbosity: self.verbosity.clone(),
            host: self.host.clone(),
            metrics: self.metrics.clone(),
        };
        parts.spawn(async move { never(reload.run(&path).await) });
    }

    /// Puts the loop together, on the thread where it will run.
    fn loop_maker(
        &self,
        configurations: watch::Receiver<Configuration>,
        observer: Observer,
    ) -> impl FnOnce() -> Result<SyncLoop, BackendError> + Send + use<> {
        let (factory, families) = (Arc::clone(self.factory), self.families.clone());
        let settings = sync_settings(self.config, factory.as_ref(), self.started);
        let node = self.config.node();
        move || {
            let backends = families.iter().map(|family| Ok((*family, factory.create(*family)?)));
            let backends = backends.collect::<Result<Vec<_>, BackendError>>()?;
            let sync_loop = SyncLoop::new(State::new(node), backends, &settings, Box::new(observer));
            let tracked = families.into_iter().filter(|_| factory.kernel_keeps_udp_flows());
            let sync_loop = sync_loop.with_configurations(configurations);
            Ok(tracked.fold(sync_loop, |sync_loop, family| {
                sync_loop.with_flow_cleaner(family, Box::new(Conntrack::new()))
            }))
        }
    }
}

/// What happens when all rules are in force.
async fn after_initial_sync(takeover: Takeover, synced: oneshot::Receiver<()>) {
    // Otherwise the loop ended before that, and the process with it.
    if synced.await.is_ok() {
        service_manager::ready();
        takeover.run().await;
    }
}

/// A folder of manifests need not have a Node, so it is not waited for there.
fn sync_settings(config: &Config, factory: &dyn BackendFactory, started: SystemTime) -> SyncSettings {
    let node_wait = match (&config.source, config.node().detect_local) {
        (Source::Manifests(_), _) => None,
        (Source::Api(_), DetectLocal::NodeCidr) => Some(NodeWait::PodCidrs),
        (Source::Api(_), _) => Some(NodeWait::Address),
    };
    let full_period = factory.full_sync_period(config.sync.max);
    SyncSettings { node_wait, full_period, ..SyncSettings::new(config.sync.min, config.sync.max, started) }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use portolan_backend_ipvs::IpvsFactory;
    use portolan_backend_nftables::NftablesFactory;

    use super::*;

    #[test]
    fn everything_is_compared_in_each_period_in_ipvs_mode_and_every_hour_in_others() {
        let half_a_minute = Duration::from_secs(30);
        assert_eq!(IpvsFactory::default().full_sync_period(half_a_minute), half_a_minute);
        assert_eq!(NftablesFactory::new().full_sync_period(half_a_minute), Duration::from_secs(3600));
    }
}
