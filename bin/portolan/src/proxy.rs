//! The running proxy: starts the parts, waits for the first one to end.
//!
//! ```text
//! main thread:  source ─▶ events ─▶ ┐          servers ◀─ metrics, health, service health
//! sync thread:                      └▶ SyncLoop ─▶ backends   ▲
//!                                       │  └── Observer ──────┘
//! flow threads:                         └▶ Conntrack
//! ```
//!
//! No part ends by itself while all is well, so whichever does ends the process.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context, anyhow};
use portolan_config::{Config, Source};
use portolan_conntrack::Conntrack;
use portolan_core::{BackendError, BackendFactory, IpFamily, NodeConfig, ProxyMode, Registry, State};
use portolan_health::service_health::ServiceHealth;
use portolan_health::status::Status;
use portolan_health::{Health, HealthState, NodeEligibility, Probe, SystemClock, listen, probes, status};
use portolan_metrics::Metrics;
use portolan_sync::{Stopped, SyncLoop, SyncSettings, SyncThread};
use tokio::runtime;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::{info, warn};

use crate::observer::Observer;
use crate::page::metrics_page;
use crate::signals::Signals;
use crate::source::AnySource;
use crate::{VERSION, families, limits, mode};

/// Events that may wait while the sync thread is busy. A source that is ahead of it by
/// more than this waits, rather than filling memory.
const EVENTS: usize = 1024;

/// How long the apply that is going on may take to finish when we are asked to end. Far
/// below the 30 s that the kubelet grants, far above any transaction.
const STOP_PATIENCE: Duration = Duration::from_secs(10);

/// Parts on the main thread; each runs for as long as the process.
type Parts = JoinSet<anyhow::Result<()>>;

/// Runs the proxy until a signal asks it to end.
///
/// # Errors
/// It cannot start, or a part of it ended.
pub(crate) fn run(config: &Config, registry: &Registry, started: SystemTime) -> anyhow::Result<()> {
    limits::raise_open_files();
    let runtime = runtime::Builder::new_current_thread().enable_all().build().context("cannot start")?;
    let result = runtime.block_on(serve(config, registry, started));
    // A look at a slow disk must not hold up the end.
    runtime.shutdown_background();
    result
}

async fn serve(config: &Config, registry: &Registry, started: SystemTime) -> anyhow::Result<()> {
    let mut signals = Signals::listen().context("cannot wait for signals")?;
    let factory = mode::pick(registry, &config.mode)?;
    factory.probe().await?;
    let node = config.node();
    info!(version = VERSION, mode = %factory.mode(), node = %node.node_name, "starting");

    let metrics = Metrics::new(VERSION)?;
    let health = new_health(config);
    let source = AnySource::new(&config.source, &node.node_name).await?;
    let page = Status {
        mode: factory.mode(),
        started,
        metrics_content_type: Metrics::CONTENT_TYPE,
        metrics: metrics_page(metrics.clone(), source.metrics()),
    };

    let mut parts = Parts::new();
    let service_health = start_servers(&mut parts, config, &health, &metrics, page);
    let (sender, events) = mpsc::channel(EVENTS);
    parts.spawn(async move { source.run(sender).await.context("the source failed") });
    let settings = SyncSettings::new(config.sync.min, config.sync.max, started);
    let families = families::served(Path::new(families::PROC));
    let mode = factory.mode();
    let observer = Observer { metrics, health, service_health, mode, families: families.len() };
    let make = loop_maker(Arc::clone(factory), families, node, settings, observer);
    let sync = SyncThread::start(make, events)?;
    wait(&mut signals, sync, &mut parts).await
}

/// Nobody has seen the Node yet, so no load balancer should count on it; but a folder of
/// manifests need not have a Node at all, and then nobody will ever say that it goes.
fn new_health(config: &Config) -> Health {
    let mut state = HealthState::new(config.sync.max);
    if matches!(config.source, Source::Manifests(_)) {
        state.set_node(NodeEligibility::Eligible);
    }
    Health::new(state, SystemClock)
}

/// Starts all servers. Those for load balancers' checks of single Services listen once told of some.
fn start_servers(
    parts: &mut Parts,
    config: &Config,
    health: &Health,
    metrics: &Metrics,
    page: Status,
) -> ServiceHealth {
    let answers = metrics.probes.clone();
    let answered = Arc::new(move |probe, status| match probe {
        Probe::Healthz => answers.healthz(status),
        Probe::Livez => answers.livez(status),
    });
    let probes = probes::router(health.clone(), answered);
    let health_server = config.healthz_address.map(|address| ("health", address, probes));
    let metrics_server = ("metrics", config.metrics_address, status::router(page));
    for (name, address, router) in health_server.into_iter().chain([metrics_server]) {
        parts.spawn(async move { match listen::serve(name, address, router).await {} });
    }
    let service_health = ServiceHealth::default();
    let servers = service_health.clone().serve(health.clone());
    parts.spawn(async move { match servers.await {} });
    service_health
}

/// Puts the loop together, on the thread where it will run.
fn loop_maker(
    factory: Arc<dyn BackendFactory>,
    families: Vec<IpFamily>,
    node: NodeConfig,
    settings: SyncSettings,
    observer: Observer,
) -> impl FnOnce() -> Result<SyncLoop, BackendError> + Send + 'static {
    move || {
        let backends = families.iter().map(|family| Ok((*family, factory.create(*family)?)));
        let backends = backends.collect::<Result<Vec<_>, _>>()?;
        let sync_loop = SyncLoop::new(State::new(node), backends, &settings, Box::new(observer));
        let tracked = families.into_iter().filter(|_| leaves_flows(&factory.mode()));
        Ok(tracked.fold(sync_loop, |sync_loop, family| {
            sync_loop.with_flow_cleaner(family, Box::new(Conntrack::new()))
        }))
    }
}

/// Whether the kernel's connection tracking remembers for `mode` where flows go. A backend of
/// somebody else's may have other ways, and then its flows are not ours to remove.
fn leaves_flows(mode: &ProxyMode) -> bool {
    [ProxyMode::NFTABLES, ProxyMode::IPTABLES, ProxyMode::IPVS].contains(mode)
}

/// Waits for a signal and then stops the loop, or fails with whatever ended before.
async fn wait(signals: &mut Signals, mut sync: SyncThread, parts: &mut Parts) -> anyhow::Result<()> {
    let signal = tokio::select! {
        // A source that fails takes the loop with it; its reason is the one to tell.
        biased;
        Some(ended) = parts.join_next() => return Err(unexpected(ended)),
        ended = sync.ended() => {
            let stopped: Stopped = ended?;
            return Err(anyhow!("the sync loop ended: {stopped:?}"));
        }
        signal = signals.received() => signal,
    };
    info!(signal, "stopping; the rules stay");
    sync.stop();
    match timeout(STOP_PATIENCE, sync.ended()).await {
        Ok(ended) => {
            ended?;
        }
        Err(_elapsed) => {
            warn!(waited = ?STOP_PATIENCE, "the last update has not ended, and is left to itself");
        }
    }
    Ok(())
}

/// Why a part that should run for ever does not.
fn unexpected(ended: Result<anyhow::Result<()>, tokio::task::JoinError>) -> anyhow::Error {
    match ended {
        Ok(Ok(())) => anyhow!("the source ended"),
        Ok(Err(problem)) => problem,
        Err(panic) => anyhow!(panic).context("a part of the proxy ended"),
    }
}
