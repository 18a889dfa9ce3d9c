//! What earlier proxies and other modes left is removed, once our own rules are in force.
//!
//! In this order a new connection always finds rules that know its Service: the old ones, both, or ours. Connections
//! that were there before go on; where it is the ipvs mode that went, its virtual servers stay until they have ended.
//!
//! From then on it is looked each sync period whether another proxy writes rules again ([`beside`](crate::beside)).

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use portolan_backend_iptables::stale as iptables;
use portolan_backend_ipvs::stale::{self as ipvs, Connections};
use portolan_backend_nftables::stale as nftables;
use portolan_core::backend::{CleanupFailure, CleanupReport, error_chain};
use portolan_core::{BackendFactory, IpFamily, PerFamily, ProxyMode, Registry};
use portolan_iptables::stale::{self, ForeignChains, Mode, Running};
use portolan_metrics::Metrics;
use portolan_source::EventRecorder;
use portolan_sync::Configuration;
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep_until};
use tracing::{debug, error, info, warn};

use crate::aside::aside;
use crate::beside::{Beside, Contention, Findings, Kind};
use crate::mode::probe;
use crate::reports;

/// How long to wait before it is looked again whether connections by old virtual servers have ended, first and at
/// most.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Whether what `mode` writes goes by kube-proxy's names. It then makes no difference whose it is: it is
/// removed together with what kube-proxy left, in one way for both.
pub(crate) fn goes_by_kube_proxys_names(mode: &ProxyMode) -> bool {
    own_part(mode).is_some()
}

/// A mode of kube-proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    Nftables,
    Iptables,
    Ipvs,
}

impl Part {
    const ALL: [Self; 3] = [Self::Nftables, Self::Iptables, Self::Ipvs];

    /// Removes the stale rules of this mode; `running` is the mode of this process.
    fn remove(self, running: Option<&ProxyMode>, family: IpFamily) -> Removed {
        let report = match self {
            // Our own table is removed by its mode's cleanup.
            Self::Nftables => nftables::remove(Some(&ProxyMode::NFTABLES), family),
            Self::Iptables => iptables::remove(running, family),
            Self::Ipvs => ipvs::remove(running, family),
        };
        Removed { part: self, family, report }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nftables => "nftables",
            Self::Iptables => "iptables",
            Self::Ipvs => "ipvs",
        })
    }
}

/// The stale rules of a mode in one family, and what became of them.
#[derive(Debug)]
pub(crate) struct Removed {
    part: Part,
    family: IpFamily,
    report: CleanupReport,
}

/// Rules of another proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ForeignRules {
    pub(crate) part: Part,
    pub(crate) family: IpFamily,
    /// Another number whenever they have been written again.
    pub(crate) version: u64,
}

/// The part that is `mode`'s own, if it goes by kube-proxy's names.
fn own_part(mode: &ProxyMode) -> Option<Part> {
    if *mode == ProxyMode::IPTABLES {
        Some(Part::Iptables)
    } else if *mode == ProxyMode::IPVS {
        Some(Part::Ipvs)
    } else {
        None
    }
}

/// Removes all stale rules; `running` is the mode of this process.
pub(crate) fn remove_stale(running: Option<&ProxyMode>, families: &[IpFamily]) -> Vec<Removed> {
    let all = Part::ALL.into_iter().flat_map(|part| families.iter().map(move |family| (part, *family)));
    all.map(|(part, family)| part.remove(running, family)).collect()
}

/// Removes virtual servers that connections used, if these have ended.
fn remove_unused_servers(families: &[IpFamily]) -> Vec<Removed> {
    let report = |family| ipvs::remove_servers(Connections::Kept, family);
    let removed =
        families.iter().map(|family| Removed { part: Part::Ipvs, family: *family, report: report(*family) });
    removed.collect()
}

/// Looks for rules of another proxy.
fn foreign_rules(
    chains: &mut ForeignChains,
    running: PerFamily<Option<Running>>,
    families: &[IpFamily],
) -> Result<Vec<ForeignRules>, String> {
    let mut found = Vec::new();
    let mut add = |part, family, version: Option<u64>| {
        found.extend(version.map(|version| ForeignRules { part, family, version }));
    };
    for family in families.iter().copied() {
        // Which of the chains would be ours is not known.
        let Some(running) = running[family] else { continue };
        add(Part::Nftables, family, nftables::foreign_rules(family).map_err(|error| error_chain(&error))?);
        for (part, mode) in [(Part::Iptables, Mode::Iptables), (Part::Ipvs, Mode::Ipvs)] {
            let version = chains.version(mode, running, family).map_err(|error| error_chain(&error))?;
            add(part, family, version);
        }
    }
    Ok(found)
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

/// Virtual servers that connections still use, and when to look at them again.
#[derive(Debug, Clone, Copy)]
struct Lasting {
    pause: Duration,
    due: Instant,
}

impl Lasting {
    fn of(left: Left, pause: Duration) -> Option<Self> {
        (left == Left::InUse).then(|| Self { pause, due: Instant::now() + pause })
    }
}

/// What is remembered from one look for another proxy to the next.
struct Lookout {
    own: Option<Part>,
    running: PerFamily<Option<Running>>,
    watch: ForeignChains,
    beside: Beside,
    contended: PerFamily<bool>,
    /// Why the last look failed. The same is not logged twice in a row.
    problem: Option<String>,
}

impl Takeover {
    /// Removes what others left, and what another proxy writes from then on and no longer updates; to be called when
    /// rules are in force. What cannot be removed is logged, and stays. Does not end.
    pub(crate) async fn run(self) {
        let is_other = |mode: &ProxyMode| *mode != self.mode && !goes_by_kube_proxys_names(mode);
        for factory in self.registry.factories().filter(|factory| is_other(&factory.mode())) {
            self.clean_up_after(factory).await;
        }
        let own = own_part(&self.mode);
        let mode = self.mode.clone();
        let running = move || PerFamily::from_fn(|family| stale::running(Some(&mode), family).ok());
        let running = spawn_blocking(running).await.unwrap_or_default();
        let mut lookout = Lookout {
            own,
            running,
            watch: ForeignChains::default(),
            beside: Beside::default(),
            contended: PerFamily::default(),
            problem: None,
        };
        let mode = self.mode.clone();
        let left = self.removed(move |families| remove_stale(Some(&mode), families)).await;
        let mut lasting = Lasting::of(left, FIRST_PAUSE);
        // The series are there, so that a fleet can be asked for the greatest.
        for part in Part::ALL {
            for family in &self.families {
                self.metrics.leftovers.foreign(&part.to_string(), &family.to_string(), false);
            }
        }
        let mut look_due = Instant::now() + self.sync_period();
        loop {
            match lasting {
                Some(Lasting { pause, due }) if due <= look_due => {
                    sleep_until(due).await;
                    let left = self.removed(remove_unused_servers).await;
                    lasting = Lasting::of(left, (2 * pause).min(LONGEST_PAUSE));
                }
                _ => {
                    sleep_until(look_due).await;
                    let left = self.look(&mut lookout).await;
                    lasting = lasting.or_else(|| Lasting::of(left, FIRST_PAUSE));
                    look_due = Instant::now() + self.sync_period();
                }
            }
        }
    }

    fn sync_period(&self) -> Duration {
        self.configuration.borrow().sync_period
    }

    /// Looks for rules of another proxy, tells of them, and removes those that are no longer updated.
    async fn look(&self, lookout: &mut Lookout) -> Left {
        self.look_at_contention(lookout);
        let running = lookout.running;
        let (families, mut watch) = (self.families.clone(), std::mem::take(&mut lookout.watch));
        let looked = spawn_blocking(move || {
            let found = foreign_rules(&mut watch, running, &families);
            (watch, found)
        });
        let found = match looked.await {
            Ok((watch, found)) => {
                lookout.watch = watch;
                found
            }
            Err(crash) => Err(crash.to_string()),
        };
        match found {
            Ok(found) => {
                lookout.problem = None;
                let findings = lookout.beside.look(&found, Instant::now(), self.sync_period());
                self.tell(&findings);
                if findings.are_stale {
                    return self.remove_stale(lookout).await;
                }
            }
            Err(problem) => {
                if lookout.problem.as_ref() != Some(&problem) {
                    info!(err = problem, "Cannot look for rules of another proxy on this node");
                    lookout.problem = Some(problem);
                }
            }
        }
        Left::Nothing
    }

    /// Tells of another process that keeps changing the chains that our mode shares with kube-proxy.
    fn look_at_contention(&self, lookout: &mut Lookout) {
        let Some(own) = lookout.own else { return };
        for family in self.families.iter().copied() {
            let is_contended = self.contention.is_now(family, Instant::now(), self.sync_period());
            let was_contended = std::mem::replace(&mut lookout.contended[family], is_contended);
            if is_contended && !was_contended {
                self.appeared((own, family));
            } else if was_contended && !is_contended {
                self.gone((own, family));
            }
        }
    }

    fn tell(&self, findings: &Findings) {
        for kind in &findings.gone {
            self.gone(*kind);
        }
        for kind in &findings.appeared {
            self.appeared(*kind);
        }
    }

    fn appeared(&self, (part, family): Kind) {
        let (mode, family) = (part.to_string(), family.to_string());
        warn!(
            mode,
            ipFamily = family,
            "Another proxy writes rules on this node; remove kube-proxy from it, or stop Portolan"
        );
        self.events.record(reports::foreign_rules(&mode, &family));
        self.metrics.leftovers.foreign(&mode, &family, true);
    }

    fn gone(&self, (part, family): Kind) {
        let (mode, family) = (part.to_string(), family.to_string());
        info!(mode, ipFamily = family, "Rules of another proxy are gone");
        self.metrics.leftovers.foreign(&mode, &family, false);
    }

    async fn remove_stale(&self, lookout: &mut Lookout) -> Left {
        info!("Removing rules of another proxy that it does not update any more");
        let (mode, removed) = (self.mode.clone(), lookout.beside.removed());
        let left = self.removed(move |families| remove_stale(Some(&mode), families)).await;
        for kind in removed {
            self.gone(kind);
        }
        left
    }

    /// Removes something, beside the runtime, and says what is left.
    async fn removed(&self, remove: impl FnOnce(&[IpFamily]) -> Vec<Removed> + Send + 'static) -> Left {
        let families = self.families.clone();
        match spawn_blocking(move || remove(&families)).await {
            Ok(outcomes) => {
                report(&outcomes, Some(&self.metrics));
                let lasting: usize = outcomes.iter().map(|outcome| outcome.report.in_use).sum();
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

/// Logs and counts what became of stale rules; returns how many steps failed.
///
/// A running proxy that cannot look whether there is anything has not failed, so that a host that hides its tables from
/// it raises no alert. A cleanup has, for it cannot say that nothing is left. Only the former has metrics.
pub(crate) fn report(outcomes: &[Removed], metrics: Option<&Metrics>) -> usize {
    let mut failures = 0;
    for Removed { part, family, report: CleanupReport { removed, kept, failures: failed, .. } } in outcomes {
        let (mode, family) = (part.to_string(), family.to_string());
        if *removed > 0 {
            info!(mode, ipFamily = family, removed, "Removed stale rules of a previous proxy");
        }
        for what in kept {
            warn!(mode, ipFamily = family, what, "Kept stale rules of a previous proxy");
        }
        if let Some(metrics) = metrics {
            metrics.leftovers.removed(&mode, *removed);
        }
        for CleanupFailure { found, error } in failed {
            let err = error_chain(&**error);
            if !found && metrics.is_some() {
                info!(mode, ipFamily = family, err, "Cannot look for stale rules of a previous proxy");
                continue;
            }
            failures += 1;
            error!(mode, ipFamily = family, err, "Failed to remove stale rules of a previous proxy");
            if let Some(metrics) = metrics {
                metrics.leftovers.failed(&mode);
            }
        }
    }
    failures
}

#[cfg(test)]
mod tests {
    use portolan_metrics::Build;

    use super::*;

    fn failed(found: bool) -> Removed {
        let failures = vec![CleanupFailure { found, error: "another program holds the lock".into() }];
        let report = CleanupReport { failures, ..CleanupReport::default() };
        Removed { part: Part::Iptables, family: IpFamily::V4, report }
    }

    /// How many failures the alert sees.
    fn counted(outcome: Removed) -> Option<String> {
        let metrics = Metrics::new(&Build { git_version: "v1".into(), version: "1" }).unwrap();
        report(&[outcome], Some(&metrics));
        let page = metrics.render().unwrap();
        let series = "portolan_leftovers_failures_total{of=\"iptables\"} ";
        page.lines().find_map(|line| line.strip_prefix(series).map(str::to_owned))
    }

    #[test]
    fn what_was_found_and_cannot_be_removed_is_a_failure() {
        assert_eq!(counted(failed(true)).as_deref(), Some("1"));
    }

    #[test]
    fn that_nothing_could_be_looked_at_is_no_failure_of_a_running_proxy() {
        assert_eq!(counted(failed(false)).as_deref(), Some("0"));
    }

    #[test]
    fn a_cleanup_that_cannot_look_has_failed() {
        assert_eq!(report(&[failed(false), failed(true)], None), 2);
    }
}
