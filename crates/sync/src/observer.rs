//! Who is told what the loop does: metrics and health, joined by the binary.

use std::time::Duration;

use portolan_core::backend::Scope;
use portolan_core::event::{Event, Node};
use portolan_core::flows::FlowError;
use portolan_core::plan::NodePortAddresses;
use portolan_core::state::WithoutLocalEndpoints;
use portolan_core::{ApplyReport, BackendError, HealthCheck, IpFamily, ObjectName};

/// Is told what the loop does, on the loop's thread, so it should be quick.
///
/// After a successful write the order is kube-proxy's: [`attempted`], then
/// [`programmed`] for each pod change that has come into force, then
/// [`without_local_endpoints`], [`in_force`] and [`health_checks`]; [`flows_checked`]
/// comes at any time after that. After a failed write only `attempted` is called.
///
/// [`attempted`]: Self::attempted
/// [`programmed`]: Self::programmed
/// [`without_local_endpoints`]: Self::without_local_endpoints
/// [`in_force`]: Self::in_force
/// [`health_checks`]: Self::health_checks
/// [`flows_checked`]: Self::flows_checked
pub trait SyncObserver: Send {
    /// `family` takes part from now on. Once per family, before anything else.
    fn started(&mut self, family: IpFamily);

    /// An event has come in.
    fn received(&mut self, event: &Event);

    /// This is what the Node object says now.
    fn node(&mut self, node: &Node);

    /// Changes of `family` wait to be applied. Comes again with each further change.
    fn queued(&mut self, family: IpFamily);

    /// An apply has ended.
    fn attempted(&mut self, family: IpFamily, attempt: &Attempt<'_>);

    /// The rules of `family` are not as they were left; they are written again at once. Comes before the
    /// attempt to do so, and once however many of those it takes.
    fn found_damaged(&mut self, _family: IpFamily) {}

    /// A pod change of `family` came into force this long after it happened.
    fn programmed(&mut self, family: IpFamily, after: Duration);

    /// So many service ports of `family` have endpoints elsewhere, but none here that their
    /// policy admits.
    fn without_local_endpoints(&mut self, _family: IpFamily, _count: WithoutLocalEndpoints) {}

    /// The kernel holds the present plan of `family`. Also called when changes cancelled
    /// each other out before they were written, as nothing waits then either.
    fn in_force(&mut self, family: IpFamily);

    /// From now on load balancers must be told this about `family`: the health checks that
    /// changed since the last call, `None` for those that are gone. They are asked for at
    /// `addresses`. Follows every [`in_force`](Self::in_force), even if none has changed.
    fn health_checks(
        &mut self,
        _family: IpFamily,
        _addresses: &NodePortAddresses,
        _changed: Vec<(ObjectName, Option<HealthCheck>)>,
    ) {
    }

    /// A search for stale flows of `family` has ended.
    fn flows_checked(&mut self, _family: IpFamily, _attempt: &FlowAttempt<'_>) {}

    /// The kernel holds the present plans of all families: nothing that has come in waits.
    fn settled(&mut self);
}

/// How one apply went.
#[derive(Debug)]
pub struct Attempt<'a> {
    /// Whether it compared everything, or what had changed.
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
    /// Something had changed, an earlier attempt had failed, or the backend had asked for it.
    Changes,
    /// Nothing had changed: everything was compared because it was time to. What was written, others had
    /// changed behind our back.
    Comparison,
    /// The rules were found gone. What was written is above all what others had removed.
    Repair,
}

/// How one search for stale flows went.
#[derive(Debug)]
pub struct FlowAttempt<'a> {
    /// How long it took.
    pub took: Duration,
    /// How many flows were removed, or why there may be some left.
    pub result: Result<usize, &'a FlowError>,
}
