//! The running proxy: starts the parts, waits for the first one to end.
//!
//! ```text
//! main thread:  source ─▶ events ─▶ ┐          servers ◀─ metrics, health, service health
//!               config file ─▶ ┐    │                          ▲
//! sync thread:                 └────┴▶ SyncLoop ─▶ backends    │
//!                                       │  └── Observer ───────┘
//! flow threads:                         └▶ Conntrack
//! ```
//!
//! No part ends by itself while all is well, so whichever does ends the process.

use std::ffi::{OsStr, OsString};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context, anyhow};
use portolan_config::{Config, Source};
use portolan_core::{BackendFactory, IpFamily, Registry};
use portolan_health::{Health, NodeEligibility};
use portolan_host::Host;
use portolan_metrics::{Build, Metrics};
use portolan_source::EventRecorder;
use portolan_sync::{Stopped, SyncThread};
use tokio::runtime;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::{error, info, warn};

use crate::logging::VerbosityHandle;
use crate::reload::Reread;
use crate::selection::{LAST_WORDS, choose_mode};
use crate::setup::Setup;
use crate::signals::Signals;
use crate::source::{AnySource, Requests};
use crate::{VERSION, families, limits, service_manager, tuning};

/// How long the apply that is going on may take to finish when we are asked to end. Far
/// below the 30 s that the kubelet grants, far above any transaction.
const STOP_PATIENCE: Duration = Duration::from_secs(10);

/// Parts on the main thread; each runs for as long as the process.
pub(crate) type Parts = JoinSet<anyhow::Result<()>>;

/// How the process was started.
pub(crate) struct Start {
    pub(crate) started: SystemTime,
    /// As what the binary was called.
    pub(crate) program: Option<OsString>,
    pub(crate) reread: Reread,
    pub(crate) verbosity: VerbosityHandle,
    pub(crate) extent: Extent,
}

/// How much is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
    /// Only what needs privileges beyond `CAP_NET_ADMIN` (`--init-only`): settings of connection tracking and of the
    /// mode, and then end.
    Privileged,
    /// Forward packets.
    Everything,
}

/// Runs the proxy until a signal asks it to end.
///
/// # Errors
/// It cannot start, or a part of it ended.
pub(crate) fn run(config: &Config, registry: &Registry, start: Start) -> anyhow::Result<()> {
    limits::raise_open_files();
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .thread_name("blocking")
        .build()
        .context("cannot start")?;
    let result = runtime.block_on(serve(config, registry, start));
    // A look at a slow disk must not hold up the end.
    runtime.shutdown_background();
    result
}

async fn serve(config: &Config, registry: &Registry, start: Start) -> anyhow::Result<()> {
    let mut signals = Signals::listen().context("cannot wait for signals")?;
    announce(config);
    let host = Host::new();
    let ready = tokio::select! {
        ready = prepare(config, registry, start.program.as_deref(), &host) => ready?,
        signal = signals.received() => {
            info!(signal, "stopping before the start");
            return Ok(());
        }
    };
    if start.extent == Extent::Privileged {
        return prepare_host(&host, config, ready.factory.as_ref()).await;
    }
    tuning::apply(&host, config);
    tuning::apply_oom_score(&host, config);
    let Ready { metrics, source, events, factory, families } = ready;
    let Start { started, verbosity, reread, .. } = start;
    let health = new_health(config);
    let setup =
        Setup { config, registry, factory, started, families, metrics, health, events, host, verbosity };
    let mut parts = Parts::new();
    let sync = setup.start(source, reread, &mut parts)?;
    wait(&mut signals, sync, &mut parts, &setup.events).await
}

/// Makes the settings of the host, as `--init-only` asks: all that can be made, whatever becomes of the others.
///
/// # Errors
/// One is not as wanted, and cannot be made.
async fn prepare_host(host: &Host, config: &Config, factory: &dyn BackendFactory) -> anyhow::Result<()> {
    let tracking = tuning::require(host, config).context("cannot set up connection tracking");
    let mode = factory.mode();
    let prepared = factory.prepare_host(&config.node()).await;
    let prepared = prepared.with_context(|| format!("cannot prepare the host for {mode} mode"));
    if let (Err(_), Err(problem)) = (&tracking, &prepared) {
        error!(err = format!("{problem:#}"), "nor can this be set");
    }
    tracking.and(prepared)?;
    info!(%mode, "what needs privileges is done");
    Ok(())
}

/// What had to be found out before anything starts.
struct Ready<'a> {
    metrics: Metrics,
    source: AnySource,
    events: EventRecorder,
    factory: &'a Arc<dyn BackendFactory>,
    families: Vec<IpFamily>,
}

/// Finds out where to ask for Services, which mode can run, and for which families. Others have a say in that, such as
/// programs for credentials, and may take their time; whoever waits here can still be asked to end.
///
/// # Errors
/// It cannot be found out, or no mode can run.
async fn prepare<'a>(
    config: &Config,
    registry: &'a Registry,
    program: Option<&OsStr>,
    host: &Host,
) -> anyhow::Result<Ready<'a>> {
    let metrics = Metrics::new(&Build { git_version: config.reported_version.clone(), version: VERSION })?;
    metrics.features(config.gates.iter());
    let requests = Arc::new(Requests(metrics.client.clone()));
    let source = AnySource::new(&config.source, &config.node().node_name, program, requests).await?;
    let events = source.events();
    let factory = choose_mode(config, registry, &events, &metrics).await?;
    let families = families::served(config, host, factory).await?;
    Ok(Ready { metrics, source, events, factory, families })
}

/// Says at the start what runs, and what is special about its configuration.
fn announce(config: &Config) {
    let node = config.node().node_name;
    info!(version = VERSION, kubernetes = config.reported_version, %node, "starting");
    if config.logging.verbosity >= 1 {
        for (name, value) in &config.flags {
            info!("FLAG: --{name}={value:?}");
        }
    }
}

/// Nobody has seen the Node yet, so no load balancer should count on it; but a folder of
/// manifests need not have a Node at all, and then nobody will ever say that it goes.
fn new_health(config: &Config) -> Health {
    let health = Health::new(config.sync.max);
    if matches!(config.source, Source::Manifests(_)) {
        health.set_node(NodeEligibility::Eligible);
    }
    health
}

/// Waits for a signal and then stops the loop, or fails with whatever ended before.
async fn wait(
    signals: &mut Signals,
    mut sync: SyncThread,
    parts: &mut Parts,
    events: &EventRecorder,
) -> anyhow::Result<()> {
    let signal = tokio::select! {
        // A source that fails takes the loop with it; its reason is the one to tell.
        biased;
        Some(ended) = parts.join_next() => return Err(unexpected(ended)),
        ended = sync.ended() => return Err(anyhow!(why(ended?))),
        signal = signals.received() => signal,
    };
    info!(signal, "stopping; the rules stay");
    service_manager::stopping();
    sync.stop();
    match timeout(STOP_PATIENCE, sync.ended()).await {
        Ok(ended) => {
            ended?;
        }
        Err(_elapsed) => {
            warn!(waited = ?STOP_PATIENCE, "the last update has not ended, and is left to itself");
        }
    }
    events.flush(LAST_WORDS).await;
    Ok(())
}

/// Why a loop that nobody asked to stop has.
fn why(stopped: Stopped) -> &'static str {
    match stopped {
        Stopped::NoPodCidrs => {
            "timed out waiting for this node's Node object to have podCIDRs, which --detect-local-mode=NodeCIDR needs"
        }
        Stopped::SourceEnded => "the sync loop ended because the source did",
        Stopped::Requested => "the sync loop was stopped",
    }
}

/// Why a part that should run for ever does not.
fn unexpected(ended: Result<anyhow::Result<()>, tokio::task::JoinError>) -> anyhow::Error {
    match ended {
        Ok(Ok(())) => anyhow!("the source ended"),
        Ok(Err(problem)) => problem,
        Err(panic) => anyhow!(panic).context("a part of the proxy ended"),
    }
}
