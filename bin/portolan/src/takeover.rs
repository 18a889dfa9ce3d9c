//! What earlier proxies and other modes left is removed, once our own rules are in force.
//!
//! In this order a new connection always finds rules that know its Service: the old ones, both, or ours.

use std::sync::Arc;

use portolan_core::backend::error_chain;
use portolan_core::{BackendError, BackendFactory, IpFamily, ProxyMode, Registry};
use portolan_leftovers::{Outcome, Part, remove};
use portolan_metrics::Metrics;
use tokio::task::spawn_blocking;
use tracing::{debug, error, info, warn};

/// What may be left by kube-proxy that `mode` would not use itself. Our iptables and ipvs modes go by
/// kube-proxy's names, so that what they find of those is their own.
fn foreign_parts(mode: &ProxyMode) -> Vec<Part> {
    if [ProxyMode::IPTABLES, ProxyMode::IPVS].contains(mode) {
        vec![Part::KubeProxyNftables]
    } else {
        Part::ALL.to_vec()
    }
}

/// What the running proxy takes over from.
pub(crate) struct Takeover {
    /// All modes of this binary.
    pub(crate) registry: Registry,
    /// The one that runs.
    pub(crate) mode: ProxyMode,
    /// The families in which something may be left.
    pub(crate) families: Vec<IpFamily>,
    pub(crate) metrics: Metrics,
}

impl Takeover {
    /// Removes what others left; to be called when rules are in force. What cannot be removed is logged,
    /// and stays.
    pub(crate) async fn run(self) {
        let others = self.registry.factories().filter(|factory| factory.mode() != self.mode);
        for factory in others {
            self.clean_up_after(factory).await;
        }
        let (parts, families) = (foreign_parts(&self.mode), self.families);
        match spawn_blocking(move || remove(&parts, &families)).await {
            Ok(outcomes) => {
                report(&outcomes, Some(&self.metrics));
            }
            Err(crash) => error!(err = %crash, "removing what earlier proxies left has crashed"),
        }
    }

    /// Removes what another mode of this binary left, if that could have run on this host at all.
    async fn clean_up_after(&self, factory: &Arc<dyn BackendFactory>) {
        let mode = factory.mode();
        if let Err(failure) = factory.probe().await {
            debug!(%mode, err = failure.missing, "nothing is looked for that this mode may have left");
            return;
        }
        for family in &self.families {
            if let Err(problem) = clean_up(factory.as_ref(), *family).await {
                self.metrics.leftovers.failed(mode.as_str());
                warn!(%mode, %family, err = error_chain(&problem), "what this mode left cannot be removed");
            }
        }
    }
}

/// Has a mode remove all it may have created in one family.
///
/// # Errors
/// Something is left.
pub(crate) async fn clean_up(factory: &dyn BackendFactory, family: IpFamily) -> Result<(), BackendError> {
    factory.create(family)?.cleanup().await
}

/// Logs and counts what became of leftovers; returns how many steps failed.
pub(crate) fn report(outcomes: &[Outcome], metrics: Option<&Metrics>) -> usize {
    let mut failures = 0;
    for Outcome { part, family, removed, kept, result } in outcomes {
        let of = part.to_string();
        let family = family.map_or_else(|| "both".to_owned(), |family| family.to_string());
        if *removed > 0 {
            info!(of, family, removed, "what an earlier proxy left is removed");
        }
        for what in kept {
            warn!(of, family, what, "what an earlier proxy left stays");
        }
        if let Err(problem) = result {
            failures += 1;
            error!(of, family, err = error_chain(problem), "what an earlier proxy left cannot be removed");
        }
        if let Some(metrics) = metrics {
            metrics.leftovers.removed(&of, *removed);
            if result.is_err() {
                metrics.leftovers.failed(&of);
            }
        }
    }
    failures
}
