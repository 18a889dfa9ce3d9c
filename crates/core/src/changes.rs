//! How a plan differs from the last one that is in force.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use crate::name::ServicePortName;
use crate::plan::{NodeSettings, ServicePort};

/// How a plan differs from the last one that a backend made true.
///
/// Exact: a service port that changed and changed back is not in it.
#[derive(Debug, Default)]
pub struct ChangeSet {
    service_ports: HashMap<ServicePortName, Option<Arc<ServicePort>>>,
    node: Option<NodeSettings>,
    complete: bool,
}

impl ChangeSet {
    /// The set that says "compare everything": nothing is known of the kernel's state.
    pub fn complete() -> Self {
        Self { complete: true, ..Self::default() }
    }

    /// Whether the backend must compare the whole plan with what is loaded.
    ///
    /// True for the first plan, and when a full resync was asked for. The
    /// service ports that are listed are then not all that may differ.
    pub fn is_complete(&self) -> bool {
        self.complete
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        !self.complete && self.node.is_none() && self.service_ports.is_empty()
    }

    /// Number of service ports listed.
    pub fn len(&self) -> usize {
        self.service_ports.len()
    }

    /// The service ports that were added, changed or removed, each as it was when
    /// last applied; `None` when it did not exist. What it is now is in the plan.
    pub fn service_ports(&self) -> impl Iterator<Item = (&ServicePortName, Option<&Arc<ServicePort>>)> {
        self.service_ports.iter().map(|(name, old)| (name, old.as_ref()))
    }

    /// The node's settings as they were when last applied, if they changed since.
    pub fn old_node(&self) -> Option<&NodeSettings> {
        self.node.as_ref()
    }

    /// Notes that nothing is known of the kernel's state any more. What was applied to it, and is not in the plan
    /// any more, stays listed: the flows that it brought about are still there.
    pub(crate) fn forget_applied(&mut self) {
        self.complete = true;
        self.node = None;
        // What is new may have been applied in part.
        self.service_ports.retain(|_, old| old.is_some());
    }

    /// Notes that `name` went from `old` to `new`, keeping what it was when last applied.
    pub(crate) fn record(
        &mut self,
        name: &ServicePortName,
        old: Option<Arc<ServicePort>>,
        new: Option<&Arc<ServicePort>>,
    ) {
        // A first plan has many ports, and everything is compared with what the plan has anyway.
        if self.complete && old.is_none() {
            return;
        }
        match self.service_ports.entry(name.clone()) {
            Entry::Vacant(entry) => {
                entry.insert(old);
            }
            Entry::Occupied(entry) => {
                if entry.get().as_ref() == new {
                    entry.remove();
                }
            }
        }
    }

    /// Notes that the node's settings went from `old` to `new`.
    pub(crate) fn record_node(&mut self, old: NodeSettings, new: &NodeSettings) {
        if self.complete {
            return;
        }
        let applied = self.node.take().unwrap_or(old);
        self.node = (applied != *new).then_some(applied);
    }
}
