//! What earlier proxies and other modes left is removed, once our own rules are in force.
//!
//! In this order a new connection always finds rules that know its Service: the old ones, both, or ours. Connections
//! that were there before go on; where it is the ipvs mode that went, its virtual servers stay until they have ended.

use std::sync::Arc;
use std::time::Duration;

use portolan_backend_iptables::programs::Programs;
use portolan_core::backend::error_chain;
use portolan_core::{BackendFactory, IpFamily, ProxyMode, Registry};
use portolan_leftovers::{Outcome, Part, Variant, retire, retire_beside, retire_lasting};
use portolan_metrics::Metrics;
use tokio::task::spawn_blocking;
use tokio::time::sleep;
use tracing::{debug, error, info, warn};

use crate::aside::aside;
use crate::mode::probe;

/// How long to wait before it is looked again whether connections by old virtual servers have ended, first and at
/// most.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Whether what `mode` writes goes by kube-proxy's names. It then makes no difference whose it is: it is
/// removed together with what kube-proxy left, in one way for both.
pub(crate) fn goes_by_kube_proxys_names(mode: &ProxyMode) -> bool {
    [ProxyMode::IPTABLES, ProxyMode::IPVS].contains(mode)
}

/// Removes all that is not `mode`'s, and says what became of it. What connections use stays.
fn remove_foreign(mode: &ProxyMode, families: &[IpFamily]) -> Vec<Outcome> {
    let own = if *mode == ProxyMode::IPTABLES {
        Part::Iptables
    } else if *mode == ProxyMode::IPVS {
        Part::Ipvs
    } else {
        return retire(&Part::ALL, families);
    };
    retire_beside(own, families, variant)
}

/// The kind of iptables that the rules of a family are written by. The same chains in tables of the other kind are
/// left from when the host, or an image, had other programs.
fn variant(family: IpFamily) -> Option<Variant> {
    let found = Programs::find(family);
    if let Err(problem) = &found {
        // The mode does not serve this family.
        debug!(%family, err = error_chain(problem), "nothing is looked for of iptables");
    }
    found.ok().map(|programs| programs.variant())
}

/// Whether any mode has rules of an earlier process in effect; `running` is the mode of this one.
pub(crate) async fn earlier_rules(registry: Registry, running: ProxyMode, families: Vec<IpFamily>) -> bool {
    for factory in registry.factories() {
        let mode = factory.mode();
        for family in families.iter().copied() {
            let asked = Arc::clone(factory);
            let answer = aside(async move { asked.is_forwarding(family).await }).await;
            let is_forwarding = match answer {
                Ok(Ok(is_forwarding)) => is_forwarding,
                Ok(Err(problem)) => {
                    debug!(%mode, %family, err = error_chain(&problem), "Cannot look for earlier rules");
                    mode == running
                }
                Err(crash) => {
                    error!(%mode, %family, err = %crash, "Looking for earlier rules crashed");
                    true
                }
            };
            if is_forwarding {
                debug!(%mode, %family, "Rules of an earlier process are in effect");
                return true;
            }
        }
    }
    false
}

/// What is still there after an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    /// Nothing that another attempt would remove.
    Nothing,
    /// Virtual servers with connections.
    InUse,
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
        let mode = self.mode.clone();
        let mut left = self.removed(move |families| remove_foreign(&mode, families)).await;
        let mut pause = FIRST_PAUSE;
        while left == Left::InUse {
            sleep(pause).await;
            pause = (2 * pause).min(LONGEST_PAUSE);
            left = self.removed(retire_lasting).await;
        }
    }

    /// Removes something, beside the runtime, and says what is left.
    async fn removed(&self, remove: impl FnOnce(&[IpFamily]) -> Vec<Outcome> + Send + 'static) -> Left {
        let families = self.families.clone();
        match spawn_blocking(move || remove(&families)).await {
            Ok(outcomes) => {
                report(&outcomes, Some(&self.metrics));
                let lasting: usize = outcomes.iter().map(|outcome| outcome.lasting).sum();
                if lasting == 0 {
                    return Left::Nothing;
                }
                info!(lasting, "virtual servers of an earlier proxy stay as long as connections use them");
                Left::InUse
            }
            Err(crash) => {
                error!(err = %crash, "removing what earlier proxies left has crashed");
                Left::Nothing
            }
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
            if let Err(problem) = cleaned_up(factory, *family).await {
                self.metrics.leftovers.failed(mode.as_str());
                warn!(%mode, %family, err = problem, "what this mode left cannot be removed");
            }
        }
    }
}

/// Has a mode clean up beside the runtime; an error is in words.
async fn cleaned_up(factory: &Arc<dyn BackendFactory>, family: IpFamily) -> Result<(), String> {
    let factory = Arc::clone(factory);
    let outcome = aside(async move { factory.cleanup(family).await }).await;
    outcome.map_err(|crash| crash.to_string())?.map_err(|problem| error_chain(&problem))
}

/// Logs and counts what became of leftovers; returns how many steps failed.
pub(crate) fn report(outcomes: &[Outcome], metrics: Option<&Metrics>) -> usize {
    let mut failures = 0;
    for Outcome { part, family, removed, kept, result, .. } in outcomes {
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
