//! The health of the proxy: what has been synced, what is pending, and for how long.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use portolan_core::{IpFamily, PerFamily};

use crate::probes::{Probe, Report};

/// The health of the proxy.
///
/// As in kube-proxy a family is *late* if its oldest pending change is older than twice the sync period; a sync of that
/// family clears it, and families that do not take part are ignored.
///
/// One intended difference: `/healthz` is 503 until the initial sync of every family has completed. kube-proxy returns
/// 200 from the start of its loop on, before any rule exists, so a load balancer may send connections to a node that
/// rejects them. `/livez` is 200 meanwhile: a restart would not help.
///
/// `/readyz` is `/healthz` without the node: a node that is about to be deleted still forwards, and its pod must not
/// delay a rollout.
///
/// Clones share it.
#[derive(Clone)]
pub struct Health {
    state: Arc<Mutex<State>>,
    clock: Arc<dyn Fn() -> Moment + Send + Sync>,
}

/// What is known of the proxy's health.
#[derive(Debug)]
pub(crate) struct State {
    late_after: Duration,
    families: PerFamily<Option<FamilyHealth>>,
    pub(crate) node: NodeEligibility,
    /// Why not all Services are known.
    pub(crate) incomplete: Option<String>,
}

/// Whether load balancers may send traffic to this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeEligibility {
    /// They may.
    Eligible,
    /// They should not: the node is about to be deleted, or was never seen.
    Ineligible,
}

/// A point in time: lateness is measured on the monotonic clock, timestamps are those of the wall clock.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    pub(crate) monotonic: Instant,
    pub(crate) wall: SystemTime,
}

/// The health of an IP family.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FamilyHealth {
    started: Instant,
    /// When the kernel last had all rules of the family; `None` before the initial sync has completed.
    pub(crate) programmed: Option<Moment>,
    /// Whether another process has removed the rules since then.
    pub(crate) is_removed: bool,
    /// The time of the oldest pending change.
    queued: Option<Instant>,
    /// Whether the last sync failed.
    pub(crate) is_failing: bool,
}

impl FamilyHealth {
    fn new(started: Instant) -> Self {
        Self { started, programmed: None, is_removed: false, queued: None, is_failing: false }
    }

    /// The age of the oldest pending change.
    pub(crate) fn waiting(&self, now: Moment) -> Option<Duration> {
        self.queued.map(|since| now.monotonic.saturating_duration_since(since))
    }
}

impl Health {
    /// No family takes part yet, and the node has not been seen.
    pub fn new(sync_period: Duration) -> Self {
        Self::with_clock(sync_period, || Moment { monotonic: Instant::now(), wall: SystemTime::now() })
    }

    pub(crate) fn with_clock(
        sync_period: Duration,
        clock: impl Fn() -> Moment + Send + Sync + 'static,
    ) -> Self {
        let state = State {
            late_after: 2 * sync_period,
            families: PerFamily::default(),
            node: NodeEligibility::Ineligible,
            incomplete: None,
        };
        Self { state: Arc::new(Mutex::new(state)), clock: Arc::new(clock) }
    }

    /// Changes are late after twice this period.
    pub fn set_sync_period(&self, sync_period: Duration) {
        self.lock().0.late_after = 2 * sync_period;
    }

    /// Sets the reason why not all Services are known, if so: `/healthz` is 503 with that reason. Known Services are
    /// served, and their health checks do not change.
    pub fn set_incomplete(&self, reason: Option<String>) {
        self.lock().0.incomplete = reason;
    }

    /// Sets the eligibility by the Node object.
    pub fn set_node(&self, node: NodeEligibility) {
        self.lock().0.node = node;
    }

    /// `family` takes part.
    pub fn started(&self, family: IpFamily) {
        let (mut state, now) = self.lock();
        state.families[family] = Some(FamilyHealth::new(now.monotonic));
    }

    /// A change of `family` is pending.
    pub fn queued(&self, family: IpFamily) {
        self.pending(family, |_| {});
    }

    /// A sync of `family` failed. The kernel's rules may differ from the plan, so a sync is pending even without a
    /// change.
    pub fn failed(&self, family: IpFamily) {
        self.pending(family, |health| health.is_failing = true);
    }

    /// Another process has removed rules of `family`; writing them again is pending.
    pub fn removed(&self, family: IpFamily) {
        self.pending(family, |health| health.is_removed = true);
    }

    fn pending(&self, family: IpFamily, change: impl FnOnce(&mut FamilyHealth)) {
        let (mut state, now) = self.lock();
        if let Some(health) = &mut state.families[family] {
            health.queued.get_or_insert(now.monotonic);
            change(health);
        }
    }

    /// All changes of `family` so far are programmed.
    pub fn updated(&self, family: IpFamily) {
        let (mut state, now) = self.lock();
        if let Some(health) = &mut state.families[family] {
            *health = FamilyHealth { programmed: Some(now), ..FamilyHealth::new(health.started) };
        }
    }

    /// Whether the kernel has the rules of `family`, perhaps without the latest changes: not before the initial
    /// sync has completed, and not while rules that another process removed are missing.
    pub fn is_programmed(&self, family: IpFamily) -> bool {
        let health = self.lock().0.families[family];
        health.is_some_and(|health| health.programmed.is_some() && !health.is_removed)
    }

    /// The age of the oldest change of `family` that is not programmed; zero if all are. Before the initial sync has
    /// completed it is the time since the start: older changes are unknown.
    pub fn lag(&self, family: IpFamily) -> Duration {
        let (state, now) = self.lock();
        let pending = state.families[family].and_then(|health| match health.programmed {
            None => Some(health.started),
            Some(_) => health.queued,
        });
        pending.map_or(Duration::ZERO, |since| now.monotonic.saturating_duration_since(since))
    }

    /// Whether the rules of this node are up to date with the Services that are known, whatever its eligibility.
    pub fn is_healthy(&self) -> bool {
        let (state, now) = self.lock();
        state.is_healthy(now)
    }

    /// The response to `probe`.
    pub fn report(&self, probe: Probe) -> Report {
        let (state, now) = self.lock();
        state.report(probe, now)
    }

    /// The state, and the time while it is locked. Every method leaves the state consistent, so a panic elsewhere does
    /// not matter.
    fn lock(&self) -> (MutexGuard<'_, State>, Moment) {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        (state, (self.clock)())
    }
}

impl State {
    /// The families that take part.
    pub(crate) fn families(&self) -> impl Iterator<Item = (IpFamily, FamilyHealth)> {
        self.families.iter().filter_map(|(family, health)| Some((family, (*health)?)))
    }

    /// Whether a change has waited for longer than twice the sync period.
    pub(crate) fn is_late(&self, family: FamilyHealth, now: Moment) -> bool {
        family.waiting(now).is_some_and(|waiting| waiting >= self.late_after)
    }

    /// Whether all rules of this family are up to date.
    pub(crate) fn is_family_healthy(&self, family: FamilyHealth, now: Moment) -> bool {
        family.programmed.is_some() && !self.is_late(family, now)
    }

    /// Whether all rules are up to date.
    pub(crate) fn is_healthy(&self, now: Moment) -> bool {
        let mut families = self.families().peekable();
        families.peek().is_some() && families.all(|(_, family)| self.is_family_healthy(family, now))
    }
}

#[cfg(test)]
mod tests;
