//! What the loop's timing depends on, and what may change while it runs.

use std::time::{Duration, SystemTime};

use portolan_core::NodeConfig;
use portolan_core::backend::FULL_SYNC_PERIOD;

use crate::node_wait::NodeWait;

/// What the loop's timing depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SyncSettings {
    /// Shortest time from the end of one apply to the start of the next, per family.
    pub min_period: Duration,
    /// Longest time from a failed apply to the next, and time from one look at whether the rules are
    /// there still to the next; kube-proxy's `syncPeriod`.
    pub sync_period: Duration,
    /// Time from one complete comparison with the kernel to the next. Finds what others
    /// have changed behind our back; kube-proxy's full sync.
    pub full_period: Duration,
    /// When the process started. Older pod changes were not ours to carry out, so how
    /// long they took says nothing about this process.
    pub started: SystemTime,
    /// What the Node object must have before the first apply, if anything.
    pub node_wait: Option<NodeWait>,
}

/// What may change while the loop runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Configuration {
    /// What plans are made of, except for the node's name.
    pub node: NodeConfig,
    /// See [`SyncSettings::min_period`].
    pub min_period: Duration,
    /// See [`SyncSettings::sync_period`].
    pub sync_period: Duration,
}

impl SyncSettings {
    /// These periods, a complete comparison every hour, and no waiting for the Node object.
    pub fn new(min_period: Duration, sync_period: Duration, started: SystemTime) -> Self {
        Self { min_period, sync_period, full_period: FULL_SYNC_PERIOD, started, node_wait: None }
    }
}
