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
/// One deviation, on purpose: `/healthz` is 503 until every family has been synced
/// once. kube-proxy answers 200 from the start of its loop on, before any rule
/// exists, so a load balancer may send connections to a node that still refuses
/// them. `/livez` is 200 meanwhile: a restart would help nobody.
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
    last_updated: Moment,
    synced: bool,
    /// Since when the oldest change waits.
    queued: Option<Instant>,
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
        self.families[family] = Some(FamilyHealth { last_updated: now, synced: false, queued: None });
    }

    /// A change of `family` waits to be written.
    pub fn queued(&mut self, family: IpFamily, now: Moment) {
        if let Some(health) = &mut self.families[family] {
            health.queued.get_or_insert(now.monotonic);
        }
    }

    /// All changes of `family` so far are in force.
    pub fn updated(&mut self, family: IpFamily, now: Moment) {
        if let Some(health) = &mut self.families[family] {
            *health = FamilyHealth { last_updated: now, synced: true, queued: None };
        }
    }

    /// How old the oldest change of `family` is that is not in force; zero if all are.
    pub fn lag(&self, family: IpFamily, now: Moment) -> Duration {
        let queued = self.families[family].and_then(|health| health.queued);
        queued.map_or(Duration::ZERO, |since| now.monotonic.saturating_duration_since(since))
    }

    /// What the Node object says.
    pub fn set_node(&mut self, node: NodeEligibility) {
        self.node = node;
    }

    /// What the Node object says.
    pub fn node(&self) -> NodeEligibility {
        self.node
    }

    /// The families that take part, with when each was last in force and whether it is late.
    pub(crate) fn families(&self, now: Moment) -> impl Iterator<Item = (IpFamily, FamilyStatus)> {
        self.families.iter().filter_map(move |(family, health)| {
            let health = health.as_ref()?;
            let waits = |since| now.monotonic.saturating_duration_since(since);
            let late = health.queued.is_some_and(|since| waits(since) >= self.late_after);
            Some((family, FamilyStatus { last_updated: health.last_updated, synced: health.synced, late }))
        })
    }
}

/// One family, seen at one moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FamilyStatus {
    /// When it was last in force; before that, when it began to take part.
    pub(crate) last_updated: Moment,
    /// Whether it has ever been in force.
    pub(crate) synced: bool,
    /// Whether a change has waited too long.
    pub(crate) late: bool,
}

#[cfg(test)]
mod tests;
