//! The interface to metrics, health and load balancers' health checks, which the binary implements.

use std::time::Duration;

use portolan_core::backend::Scope;
use portolan_core::event::{Event, Node};
use portolan_core::flows::FlowError;
use portolan_core::plan::NodePortAddresses;
use portolan_core::state::WithoutLocalEndpoints;
use portolan_core::{ApplyReport, BackendError, HealthCheck, IpFamily, ObjectName};

/// Receives what the loop does. Called on the loop's thread, so it should be quick.
///
/// After a successful apply the order is kube-proxy's: [`attempted`], then [`programmed`] for each pod change in it,
/// then [`without_local_endpoints`], [`synced`] and [`health_checks`]; [`flows_checked`] comes at any time after
/// that. After a failed apply only `attempted` is called.
///
/// [`attempted`]: Self::attempted
/// [`programmed`]: Self::programmed
/// [`without_local_endpoints`]: Self::without_local_endpoints
/// [`synced`]: Self::synced
/// [`health_checks`]: Self::health_checks
/// [`flows_checked`]: Self::flows_checked
pub trait SyncObserver: Send {
    /// The loop serves `family`. Called once per family, before anything else.
    fn started(&mut self, family: IpFamily);

    /// An event has arrived.
    fn received(&mut self, event: &Event);

    /// The Node object has changed.
    fn node(&mut self, node: &Node);

    /// Changes of `family` wait to be applied. Called again for each further change.
    fn queued(&mut self, family: IpFamily);

    /// An apply has ended.
    fn attempted(&mut self, family: IpFamily, attempt: &Attempt<'_>);

    /// An integrity check found that the rules of `family` were changed. Called before the repair, and once however
    /// many attempts the repair takes.
    fn rules_damaged(&mut self, _family: IpFamily) {}

    /// A pod change of `family` was programmed this long after it happened.
    fn programmed(&mut self, family: IpFamily, after: Duration);

    /// This many service ports of `family` have endpoints on other nodes but none on this one that their policy allows.
    fn without_local_endpoints(&mut self, _family: IpFamily, _count: WithoutLocalEndpoints) {}

    /// The kernel has the current plan of `family`. Also called when changes cancelled each other out before they were
    /// applied.
    fn synced(&mut self, family: IpFamily);

    /// The health checks of `family` that changed since the last call, `None` for those that were removed. They are
    /// served at `addresses`. Follows every [`synced`](Self::synced), even if none has changed.
    fn health_checks(
        &mut self,
        _family: IpFamily,
        _addresses: &NodePortAddresses,
        _changed: Vec<(ObjectName, Option<HealthCheck>)>,
    ) {
    }

    /// A search for stale flows of `family` has ended.
    fn flows_checked(&mut self, _family: IpFamily, _attempt: &FlowAttempt) {}

    /// The kernel has the current plans of all families: no event waits.
    fn all_synced(&mut self);
}

/// The outcome of one apply.
#[derive(Debug)]
pub struct Attempt<'a> {
    /// Whether it compared everything, or only what had changed.
    pub scope: Scope,
    /// How long it took.
    pub took: Duration,
    /// Why it was made.
    pub cause: Cause,
    /// What it did, or why it failed.
    pub result: Result<&'a ApplyReport, &'a BackendError>,
}

/// Why an apply was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The plan had changed, an earlier attempt had failed, or the backend had asked for another apply.
    Changes,
    /// The periodic full sync, without a change of the plan. What it wrote, other programs had changed.
    FullSync,
    /// An integrity check failed. What it wrote is above all what other programs had removed.
    Repair,
}

/// The outcome of one search for stale flows.
#[derive(Debug)]
pub struct FlowAttempt {
    /// How long the search and the removal took.
    pub took: Duration,
    /// How many flows were removed, or why some may be left.
    pub result: Result<usize, FlowError>,
}
