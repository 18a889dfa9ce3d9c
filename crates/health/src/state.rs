//! The judgement: what has been synced, what waits, and for how long.

use std::time::{Duration, Instant};

use portolan_core::{IpFamily, PerFamily};

use crate::clock::Moment;

/// What is known of the proxy's health.
///
/// As in kube-proxy a family is *late* when a change has waited for twice the sync
/// period, counted from the oldest change that waits; a sync of that family clears it,
/// and a family that does not take part counts for nothing.
///
/// One deviation, on purpose: `/healthz` is 503 until the initial sync of every family
/// has completed. kube-proxy answers 200 from the start of its loop on, before any rule
/// exists, so a load balancer may send connections to a node that still refuses
/// them. `/livez` is 200 meanwhile: a restart would not help.
///
/// `/readyz` is `/healthz` without the node: a node that is about to be deleted still
/// forwards, and its pod must not hold up a rollout.
#[derive(Debug, Clone)]
pub struct HealthState {
    late_after: Duration,
    families: PerFamily<Option<FamilyHealth>>,
    node: NodeEligibility,
    /// Why not all Services are known.
    incomplete: Option<String>,
}

/// Whether load balancers may send traffic to this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeEligibility {
    /// They may.
    Eligible,
    /// They should not: the node is about to go, or was never seen.
    Ineligible,
}

#[derive(Debug, Clone, Copy)]
struct FamilyHealth {
    started: Instant,
    /// When the kernel last had all rules of the family; `None` before the initial sync has completed.
    programmed: Option<Moment>,
    /// Whether another process has removed the rules since then.
    is_removed: bool,
    /// Since when the oldest change waits.
    queued: Option<Instant>,
    /// Whether the last sync failed.
    is_failing: bool,
}

impl HealthState {
    /// No family takes part yet and the node has not been seen.
    pub fn new(sync_period: Duration) -> Self {
        Self {
            late_after: 2 * sync_period,
            families: PerFamily::default(),
            node: NodeEligibility::Ineligible,
            incomplete: None,
        }
    }

    /// Why not all Services are known, if so: `/healthz` is 503 with that reason. Those that are known are served, and
    /// load balancers that ask about one of them are answered as without it.
    pub fn set_incomplete(&mut self, reason: Option<String>) {
        self.incomplete = reason;
    }

    /// Why not all Services are known, if so.
    pub fn incomplete(&self) -> Option<&str> {
        self.incomplete.as_deref()
    }

    /// From now on changes are late after twice this period.
    pub fn set_sync_period(&mut self, sync_period: Duration) {
        self.late_after = 2 * sync_period;
    }

    /// From now on `family` takes part.
    pub fn started(&mut self, family: IpFamily, now: Moment) {
        self.families[family] = Some(FamilyHealth {
            started: now.monotonic,
            programmed: None,
            is_removed: false,
            queued: None,
            is_failing: false,
        });
    }

    /// A change of `family` waits to be written.
    pub fn queued(&mut self, family: IpFamily, now: Moment) {
        if let Some(health) = &mut self.families[family] {
            health.queued.get_or_insert(now.monotonic);
        }
    }

    /// A sync of `family` failed. What the kernel has may differ from the plan, so something waits from now on
    /// even if no change does.
    pub fn failed(&mut self, family: IpFamily, now: Moment) {
        self.queued(family, now);
        if let Some(health) = &mut self.families[family] {
            health.is_failing = true;
        }
    }

    /// Another process has removed rules of `family`; they wait to be written again.
    pub fn removed(&mut self, family: IpFamily, now: Moment) {
        self.queued(family, now);
        if let Some(health) = &mut self.families[family] {
            health.is_removed = true;
        }
    }

    /// All changes of `family` so far are programmed.
    pub fn updated(&mut self, family: IpFamily, now: Moment) {
        if let Some(health) = &mut self.families[family] {
            let started = health.started;
            *health = FamilyHealth {
                started,
                programmed: Some(now),
                is_removed: false,
                queued: None,
                is_failing: false,
            };
        }
    }

    /// Whether the kernel has the rules of `family`, perhaps without the latest changes: not before the initial
    /// sync has completed, and not while rules that another process removed are missing.
    pub fn is_programmed(&self, family: IpFamily) -> bool {
        self.families[family].is_some_and(|health| health.programmed.is_some() && !health.is_removed)
    }

    /// How old the oldest change of `family` is that is not programmed; zero if all are. Before the initial
    /// sync has completed it is the time since the start: nothing is known of older changes.
    pub fn lag(&self, family: IpFamily, now: Moment) -> Duration {
        let waiting = self.families[family].and_then(|health| match health.programmed {
            None => Some(health.started),
            Some(_) => health.queued,
        });
        waiting.map_or(Duration::ZERO, |since| now.monotonic.saturating_duration_since(since))
    }

    /// What the Node object says.
    pub fn set_node(&mut self, node: NodeEligibility) {
        self.node = node;
    }

    /// What the Node object says.
    pub fn node(&self) -> NodeEligibility {
        self.node
    }

    /// The families that take part, as they are at this moment.
    pub(crate) fn families(&self, now: Moment) -> impl Iterator<Item = (IpFamily, FamilyStatus)> {
        self.families.iter().filter_map(move |(family, health)| {
            let FamilyHealth { programmed, is_removed, queued, is_failing, .. } = (*health)?;
            let waiting = queued.map(|since| now.monotonic.saturating_duration_since(since));
            let is_late = waiting.is_some_and(|waiting| waiting >= self.late_after);
            Some((family, FamilyStatus { programmed, is_removed, waiting, is_late, is_failing }))
        })
    }
}

/// One family, seen at one moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FamilyStatus {
    /// When the kernel last had all its rules; `None` before the initial sync has completed.
    pub(crate) programmed: Option<Moment>,
    /// Whether another process has removed rules since then.
    pub(crate) is_removed: bool,
    /// For how long the oldest change has waited, if one waits.
    pub(crate) waiting: Option<Duration>,
    /// Whether that is too long.
    pub(crate) is_late: bool,
    /// Whether the last sync failed.
    pub(crate) is_failing: bool,
}

#[cfg(test)]
mod tests;
