//! What earlier proxies and other modes left is removed, once our own rules are in force.
//!
//! In this order a new connection always finds rules that know its Service: the old ones, both, or ours.

use std::sync::Arc;

use portolan_backend_iptables::programs::Programs;
use portolan_core::backend::error_chain;
use portolan_core::{BackendFactory, IpFamily, ProxyMode, Registry};
use portolan_leftovers::{Outcome, Part, remove, remove_of_variant};
use portolan_metrics::Metrics;
use tokio::task::spawn_blocking;
use tracing::{debug, error, info, warn};

use crate::mode::probe;

/// Whether what `mode` writes goes by kube-proxy's names. It then makes no difference whose it is: it is
/// removed together with what kube-proxy left, in one way for both.
pub(crate) fn goes_by_kube_proxys_names(mode: &ProxyMode) -> bool {
    [ProxyMode::IPTABLES, ProxyMode::IPVS].contains(mode)
}

/// What may be left under kube-proxy's names that `mode` would not use itself. The ipvs mode shares most
/// chains with the iptables mode, and puts what else it finds in iptables' tables in order by itself.
fn foreign_parts(mode: &ProxyMode) -> Vec<Part> {
    if *mode == ProxyMode::IPTABLES {
        vec![Part::KubeProxyNftables, Part::Ipvs]
    } else if *mode == ProxyMode::IPVS {
        vec![Part::KubeProxyNftables]
    } else {
        Part::ALL.to_vec()
    }
}

/// Removes all that is not `mode`'s, and says what became of it.
fn remove_foreign(mode: &ProxyMode, families: &[IpFamily]) -> Vec<Outcome> {
    let mut outcomes = remove(&foreign_parts(mode), families);
    if goes_by_kube_proxys_names(mode) {
        for family in families {
            outcomes.extend(remove_of_other_variant(*family));
        }
    }
    outcomes
}

/// The rules are in the tables of the kind that the programs are of. The same chains in those of the other
/// kind are left from when the host, or an image, had other programs.
fn remove_of_other_variant(family: IpFamily) -> Vec<Outcome> {
    match Programs::find(family) {
        Ok(programs) => remove_of_variant(programs.variant().other(), &[family]),
        // The mode does not serve this family.
        Err(problem) => {
            debug!(%family, err = error_chain(&problem), "nothing is looked for of another iptables");
            Vec::new()
        }
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
        let is_other = |mode: &ProxyMode| *mode != self.mode && !goes_by_kube_proxys_names(mode);
        for factory in self.registry.factories().filter(|factory| is_other(&factory.mode())) {
            self.clean_up_after(factory).await;
        }
        let (mode, families) = (self.mode, self.families);
        match spawn_blocking(move || remove_foreign(&mode, &families)).await {
            Ok(outcomes) => {
                report(&outcomes, Some(&self.metrics));
            }
            Err(crash) => error!(err = %crash, "removing what earlier proxies left has crashed"),
        }
    }

    /// Removes what another mode of this binary left, if that could have run on this host at all.
    async fn clean_up_after(&self, factory: &Arc<dyn BackendFactory>) {
        let mode = factory.mode();
        if let Err(failure) = probe(factory).await {
            debug!(%mode, err = failure.missing, "nothing is looked for that this mode may have left");
            return;
        }
        for family in &self.families {
            if let Err(problem) = factory.cleanup(*family).await {
                self.metrics.leftovers.failed(mode.as_str());
                warn!(%mode, %family, err = error_chain(&problem), "what this mode left cannot be removed");
            }
        }
    }
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
