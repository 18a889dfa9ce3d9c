//! What earlier proxies and other modes left is removed, once our own rules are in force.
//!
//! In this order a new connection always finds rules that know its Service: the old ones, both, or ours. Connections
//! that were there before go on; where it is the ipvs mode that went, its virtual servers stay until they have ended.
//!
//! From then on it is looked each sync period whether another proxy writes rules again ([`beside`](crate::beside)).

use std::sync::Arc;
use std::time::Duration;

use portolan_core::backend::{CleanupReport, error_chain};
use portolan_core::{BackendFactory, IpFamily, PerFamily, ProxyMode, Registry};
use portolan_metrics::Metrics;
use portolan_source::EventRecorder;
use portolan_sync::Configuration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tracing::{debug, error, info, warn};

use crate::aside::aside;
use crate::beside::{Beside, Contention, Findings, Found, Kind};
use crate::reports;

/// How long to wait before stale objects that connections used are removed, first and at most.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

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

/// What the running proxy takes over from, and what it finds beside itself.
pub(crate) struct Takeover {
    /// All modes of this binary.
    pub(crate) registry: Registry,
    /// The one that runs.
    pub(crate) mode: ProxyMode,
    /// The families in which something may be left.
    pub(crate) families: Vec<IpFamily>,
    pub(crate) metrics: Metrics,
    pub(crate) events: EventRecorder,
    /// Tells the sync period.
    pub(crate) configuration: watch::Receiver<Configuration>,
    /// When our own rules had to be repaired.
    pub(crate) contention: Contention,
}

/// Modes with stale objects that connections still use, and when to try to remove them again.
struct Pending {
    modes: Vec<Arc<dyn BackendFactory>>,
    pause: Duration,
    due: Instant,
}

impl Pending {
    fn of(modes: Vec<Arc<dyn BackendFactory>>, pause: Duration) -> Option<Self> {
        (!modes.is_empty()).then(|| Self { modes, pause, due: Instant::now() + pause })
    }
}

/// What is remembered from one check for another proxy to the next.
#[derive(Default)]
struct Lookout {
    beside: Beside,
    contended: PerFamily<bool>,
    /// Why the last check failed. The same is not logged twice in a row.
    problem: Option<String>,
}

impl Takeover {
    /// Removes stale rules, and later those that another proxy writes and no longer updates; to be called when rules are
    /// programmed. What cannot be removed is logged, and stays. Does not end.
    pub(crate) async fn run(self) {
        let mut pending = Pending::of(self.remove_stale(self.modes()).await, FIRST_PAUSE);
        // The series are there, so that a fleet can be asked for the greatest.
        for factory in self.registry.factories() {
            for family in &self.families {
                self.metrics.leftovers.foreign(factory.mode().as_str(), &family.to_string(), false);
            }
        }
        let mut lookout = Lookout::default();
        let mut check_due = Instant::now() + self.sync_period();
        loop {
            match pending {
                Some(Pending { modes, pause, due }) if due <= check_due => {
                    sleep_until(due).await;
                    let left = self.remove_stale(modes).await;
                    pending = Pending::of(left, (2 * pause).min(LONGEST_PAUSE));
                }
                _ => {
                    sleep_until(check_due).await;
                    if self.are_foreign_rules_stale(&mut lookout).await {
                        let left = self.remove_foreign(&mut lookout).await;
                        pending = pending.or_else(|| Pending::of(left, FIRST_PAUSE));
                    }
                    check_due = Instant::now() + self.sync_period();
                }
            }
        }
    }

    fn modes(&self) -> Vec<Arc<dyn BackendFactory>> {
        self.registry.factories().cloned().collect()
    }

    fn sync_period(&self) -> Duration {
        self.configuration.borrow().sync_period
    }

    /// Looks for rules of another proxy and reports them. Returns whether it no longer updates them.
    async fn are_foreign_rules_stale(&self, lookout: &mut Lookout) -> bool {
        self.check_contention(lookout);
        let (modes, running, families) = (self.modes(), self.mode.clone(), self.families.clone());
        let found = aside(async move { foreign_rules(&modes, &running, &families).await }).await;
        match found.unwrap_or_else(|crash| Err(crash.to_string())) {
            Ok(found) => {
                lookout.problem = None;
                let findings = lookout.beside.look(&found, Instant::now(), self.sync_period());
                self.tell(&findings);
                findings.are_stale
            }
            Err(problem) => {
                if lookout.problem.as_ref() != Some(&problem) {
                    info!(err = problem, "Cannot look for rules of another proxy on this node");
                    lookout.problem = Some(problem);
                }
                false
            }
        }
    }

    /// Reports another process that keeps changing the chains that our mode shares with kube-proxy.
    fn check_contention(&self, lookout: &mut Lookout) {
        if !self.registry.get(&self.mode).is_some_and(|factory| factory.has_kube_proxys_names()) {
            return;
        }
        for family in self.families.iter().copied() {
            let is_contended = self.contention.is_now(family, Instant::now(), self.sync_period());
            let was_contended = std::mem::replace(&mut lookout.contended[family], is_contended);
            if is_contended && !was_contended {
                self.appeared(&(self.mode.clone(), family));
            } else if was_contended && !is_contended {
                self.gone(&(self.mode.clone(), family));
            }
        }
    }

    fn tell(&self, findings: &Findings) {
        for kind in &findings.gone {
            self.gone(kind);
        }
        for kind in &findings.appeared {
            self.appeared(kind);
        }
    }

    fn appeared(&self, (mode, family): &Kind) {
        let (mode, family) = (mode.as_str(), family.to_string());
        warn!(
            mode,
            ipFamily = family,
            "Another proxy writes rules on this node; remove kube-proxy from it, or stop Portolan"
        );
        self.events.record(reports::foreign_rules(mode, &family));
        self.metrics.leftovers.foreign(mode, &family, true);
    }

    fn gone(&self, (mode, family): &Kind) {
        let (mode, family) = (mode.as_str(), family.to_string());
        info!(mode, ipFamily = family, "Rules of another proxy are gone");
        self.metrics.leftovers.foreign(mode, &family, false);
    }

    /// Removes rules that another proxy no longer updates. Returns the modes of which something stays.
    async fn remove_foreign(&self, lookout: &mut Lookout) -> Vec<Arc<dyn BackendFactory>> {
        info!("Removing rules of another proxy that it does not update any more");
        let removed = lookout.beside.removed();
        let left = self.remove_stale(self.modes()).await;
        for kind in removed {
            self.gone(&kind);
        }
        left
    }

    /// Has these modes remove their stale rules. Returns those of which connections still use something.
    async fn remove_stale(&self, modes: Vec<Arc<dyn BackendFactory>>) -> Vec<Arc<dyn BackendFactory>> {
        let mut left = Vec::new();
        for factory in modes {
            let mut in_use = 0;
            for family in self.families.iter().copied() {
                let (asked, running) = (Arc::clone(&factory), self.mode.clone());
                match aside(async move { asked.remove_stale(Some(&running), family).await }).await {
                    Ok(report) => {
                        log(&factory.mode(), family, &report, Some(&self.metrics));
                        in_use += report.in_use;
                    }
                    Err(crash) => {
                        self.metrics.leftovers.failed(factory.mode().as_str());
                        error!(mode = %factory.mode(), ipFamily = %family, err = %crash, "Removing stale rules crashed");
                    }
                }
            }
            if in_use > 0 {
                info!(
                    mode = %factory.mode(),
                    objects = in_use,
                    "Keeping stale virtual servers of a previous proxy as long as connections use them"
                );
                left.push(factory);
            }
        }
        left
    }
}

/// Looks for rules that another proxy writes, in all modes and families.
///
/// # Errors
/// Says why a mode cannot tell.
async fn foreign_rules(
    modes: &[Arc<dyn BackendFactory>],
    running: &ProxyMode,
    families: &[IpFamily],
) -> Result<Vec<Found>, String> {
    let mut found = Vec::new();
    for factory in modes {
        for family in families.iter().copied() {
            let version = factory.foreign_rules(running, family).await;
            let version = version.map_err(|problem| error_chain(&problem))?;
            found.extend(version.map(|version| ((factory.mode(), family), version)));
        }
    }
    Ok(found)
}

/// Logs and counts what became of stale rules; returns how many steps failed.
///
/// A running proxy that cannot look whether there is anything has not failed, so that a host that hides its tables from
/// it raises no alert. A cleanup has, for it cannot say that nothing is left. Only the former has metrics.
pub(crate) fn log(
    mode: &ProxyMode,
    family: IpFamily,
    report: &CleanupReport,
    metrics: Option<&Metrics>,
) -> usize {
    let CleanupReport { removed, kept, failures, .. } = report;
    if *removed > 0 {
        info!(%mode, ipFamily = %family, removed, "Removed stale rules of a previous proxy");
    }
    for what in kept {
        warn!(%mode, ipFamily = %family, what, "Kept stale rules of a previous proxy");
    }
    if let Some(metrics) = metrics {
        metrics.leftovers.removed(mode.as_str(), *removed);
    }
    let mut failed = 0;
    for failure in failures {
        let err = error_chain(&*failure.error);
        if !failure.found && metrics.is_some() {
            info!(%mode, ipFamily = %family, err, "Cannot look for stale rules of a previous proxy");
            continue;
        }
        failed += 1;
        error!(%mode, ipFamily = %family, err, "Failed to remove stale rules of a previous proxy");
        if let Some(metrics) = metrics {
            metrics.leftovers.failed(mode.as_str());
        }
    }
    failed
}

#[cfg(test)]
mod tests {
    use portolan_core::backend::CleanupFailure;
    use portolan_metrics::Build;

    use super::*;

    fn failed(found: bool) -> CleanupReport {
        let error = "Another app holds the lock.".into();
        CleanupReport { failures: vec![CleanupFailure { found, error }], ..CleanupReport::default() }
    }

    fn logged(report: &CleanupReport, metrics: Option<&Metrics>) -> usize {
        log(&ProxyMode::IPTABLES, IpFamily::V4, report, metrics)
    }

    /// How many failures the alert sees.
    fn counted(report: &CleanupReport) -> Option<String> {
        let metrics = Metrics::new(&Build { git_version: "v1".into(), version: "1" }).unwrap();
        logged(report, Some(&metrics));
        let page = metrics.render().unwrap();
        let series = "portolan_leftovers_failures_total{of=\"iptables\"} ";
        page.lines().find_map(|line| line.strip_prefix(series).map(str::to_owned))
    }

    #[test]
    fn what_was_found_and_cannot_be_removed_is_a_failure() {
        assert_eq!(counted(&failed(true)).as_deref(), Some("1"));
    }

    #[test]
    fn that_nothing_could_be_looked_at_is_no_failure_of_a_running_proxy() {
        assert_eq!(counted(&failed(false)).as_deref(), Some("0"));
    }

    #[test]
    fn a_cleanup_that_cannot_look_has_failed() {
        let mut report = failed(false);
        report.merge(failed(true));
        assert_eq!(logged(&report, None), 2);
    }
}
