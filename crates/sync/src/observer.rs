//! Who is told what the loop does: metrics and health, joined by the binary.

use std::time::Duration;

use portolan_core::backend::Scope;
use portolan_core::event::{Event, Node};
use portolan_core::{ApplyReport, BackendError, IpFamily};

/// Is told what the loop does, on the loop's thread, so it should be quick.
///
/// After a successful write the order is kube-proxy's: [`attempted`], then
/// [`programmed`] for each pod change that has come into force, then [`in_force`].
/// After a failed one only `attempted` is called.
///
/// [`attempted`]: Self::attempted
/// [`programmed`]: Self::programmed
/// [`in_force`]: Self::in_force
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

    /// A pod change of `family` came into force this long after it happened.
    fn programmed(&mut self, family: IpFamily, after: Duration);

    /// The kernel holds the present plan of `family`. Also called when changes cancelled
    /// each other out before they were written, as nothing waits then either.
    fn in_force(&mut self, family: IpFamily);

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
    /// What it did, or why it failed.
    pub result: Result<&'a ApplyReport, &'a BackendError>,
}
