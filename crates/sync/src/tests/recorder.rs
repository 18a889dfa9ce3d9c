//! An observer that records its calls.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use portolan_core::event::{Event, Node};
use portolan_core::plan::NodePortAddresses;
use portolan_core::state::WithoutLocalEndpoints;
use portolan_core::{HealthCheck, IpFamily, ObjectName, PerFamily};

use crate::{Attempt, Cause, FlowAttempt, SyncObserver};

/// Records each call as a short text.
#[derive(Clone, Default)]
pub(crate) struct Recorder {
    recorded: Arc<Mutex<Vec<String>>>,
    without_local: Arc<Mutex<PerFamily<Option<WithoutLocalEndpoints>>>>,
}

impl Recorder {
    /// The records since the last call.
    pub(super) fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.recorded.lock().unwrap())
    }

    /// The last reported number of service ports without local endpoints, if any.
    pub(super) fn without_local(&self, family: IpFamily) -> Option<WithoutLocalEndpoints> {
        self.without_local.lock().unwrap()[family]
    }

    fn note(&self, text: String) {
        self.recorded.lock().unwrap().push(text);
    }
}

impl SyncObserver for Recorder {
    fn started(&mut self, family: IpFamily) {
        self.note(format!("started {family}"));
    }

    fn received(&mut self, _: &Event) {
        self.note("received".into());
    }

    fn node(&mut self, node: &Node) {
        self.note(format!("node {}", node.name));
    }

    fn queued(&mut self, family: IpFamily) {
        self.note(format!("queued {family}"));
    }

    fn attempted(&mut self, family: IpFamily, attempt: &Attempt<'_>) {
        let verdict = match (attempt.result, attempt.cause) {
            (Ok(_), Cause::Changes) => "applied",
            (Ok(_), Cause::FullSync) => "checked",
            (Ok(_), Cause::Repair) => "repaired",
            (Err(_), _) => "failed",
        };
        self.note(format!("{verdict} {family} {:?} in {} ms", attempt.scope, attempt.took.as_millis()));
    }

    fn rules_damaged(&mut self, family: IpFamily) {
        self.note(format!("damaged {family}"));
    }

    fn programmed(&mut self, family: IpFamily, after: Duration) {
        self.note(format!("programmed {family} after {} s", after.as_secs()));
    }

    fn synced(&mut self, family: IpFamily) {
        self.note(format!("synced {family}"));
    }

    fn without_local_endpoints(&mut self, family: IpFamily, count: WithoutLocalEndpoints) {
        let last = self.without_local.lock().unwrap()[family].replace(count);
        if last.is_some_and(|last| last != count) {
            self.note(format!("without local {family} {} {}", count.internal, count.external));
        }
    }

    fn health_checks(
        &mut self,
        family: IpFamily,
        addresses: &NodePortAddresses,
        changed: Vec<(ObjectName, Option<HealthCheck>)>,
    ) {
        if !changed.is_empty() {
            self.note(format!("health checks {family} {addresses:?} {changed:?}"));
        }
    }

    fn flows_checked(&mut self, family: IpFamily, attempt: &FlowAttempt) {
        let result = attempt.result.as_ref().map_err(|error| error.action.clone());
        self.note(format!("flows {family} {result:?}"));
    }

    fn all_synced(&mut self) {
        self.note("all synced".into());
    }
}
