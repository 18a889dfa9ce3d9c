//! The difference between a plan and the last applied one.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use crate::name::ServicePortName;
use crate::plan::{NodeSettings, ServicePort};

/// The difference between a plan and the last one that was applied.
///
/// Exact: a service port that changed and changed back is not in it.
#[derive(Debug, Default)]
pub struct ChangeSet {
    service_ports: HashMap<ServicePortName, Option<Arc<ServicePort>>>,
    node: Option<NodeSettings>,
    complete: bool,
}

impl ChangeSet {
    /// A request for a full sync: the kernel's state is unknown.
    pub fn complete() -> Self {
        Self { complete: true, ..Self::default() }
    }

    /// Whether the backend must compare the whole plan with the kernel.
    ///
    /// True for the initial sync and for a full sync. The listed service ports are then not all that may differ.
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

    /// The service ports that were added, changed or removed, each as it was last applied; `None` if it did not exist.
    /// The plan has their current values.
    pub fn service_ports(&self) -> impl Iterator<Item = (&ServicePortName, Option<&Arc<ServicePort>>)> {
        self.service_ports.iter().map(|(name, old)| (name, old.as_ref()))
    }

    /// The node's settings as they were last applied, if they have changed since.
    pub fn old_node(&self) -> Option<&NodeSettings> {
        self.node.as_ref()
    }

    /// Makes the set complete, because the kernel's state is unknown. Service ports that were applied and have changed
    /// since stay listed: their flows may still exist.
    pub(crate) fn forget_applied(&mut self) {
        self.complete = true;
        self.node = None;
        // A new one may have been applied in part.
        self.service_ports.retain(|_, old| old.is_some());
    }

    /// Records a change of `name` from `old` to `new`, and keeps its last applied value.
    pub(crate) fn record(
        &mut self,
        name: &ServicePortName,
        old: Option<Arc<ServicePort>>,
        new: Option<&Arc<ServicePort>>,
    ) {
        // The initial plan has many ports, and all of them are compared anyway.
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

    /// Records a change of the node's settings from `old` to `new`.
    pub(crate) fn record_node(&mut self, old: NodeSettings, new: &NodeSettings) {
        if self.complete {
            return;
        }
        let applied = self.node.take().unwrap_or(old);
        self.node = (applied != *new).then_some(applied);
    }
}
