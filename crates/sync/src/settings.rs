//! The timing of the loop, and what can change while it runs.

use std::time::{Duration, SystemTime};

use portolan_core::NodeConfig;
use portolan_core::backend::FULL_SYNC_PERIOD;
use portolan_core::event::Node;

/// The timing of the loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SyncSettings {
    /// Shortest time from the end of one apply to the start of the next, per family.
    pub min_period: Duration,
    /// Interval of integrity checks, and longest delay of a retry; kube-proxy's `syncPeriod`.
    pub sync_period: Duration,
    /// Time from one full sync to the next. A full sync finds changes by other programs that an integrity check does
    /// not.
    pub full_period: Duration,
    /// When the process started. Pod changes from before are left out of the programming latency.
    pub started: SystemTime,
    /// What the Node object must have before the first apply, if anything.
    pub node_wait: Option<NodeWait>,
}

/// What the Node object must have before the first apply.
///
/// Right after a node has joined its cluster its Node object may be missing or incomplete. Rules made without it would
/// be wrong for a moment: node ports open on all addresses, traffic of local pods masqueraded. Rules of an earlier run
/// remain in effect meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeWait {
    /// An address. After 30 s, as in kube-proxy, the loop starts without one.
    Address,
    /// `spec.podCIDRs`, without which local pods cannot be detected. After 5 minutes, as in kube-proxy, the loop ends.
    PodCidrs,
}

impl NodeWait {
    /// How long to wait after all initial lists have arrived.
    pub(crate) fn timeout(self) -> Duration {
        match self {
            Self::Address => Duration::from_secs(30),
            Self::PodCidrs => Duration::from_secs(5 * 60),
        }
    }

    pub(crate) fn is_met_by(self, node: &Node) -> bool {
        match self {
            Self::Address => !node.addresses.is_empty(),
            Self::PodCidrs => !node.pod_cidrs.is_empty(),
        }
    }
}

/// What can change while the loop runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Configuration {
    /// The configuration that plans depend on. A change of the node's name is ignored.
    pub node: NodeConfig,
    /// See [`SyncSettings::min_period`].
    pub min_period: Duration,
    /// See [`SyncSettings::sync_period`].
    pub sync_period: Duration,
}

impl SyncSettings {
    /// These periods, a full sync every hour, and no waiting for the Node object.
    pub fn new(min_period: Duration, sync_period: Duration, started: SystemTime) -> Self {
        Self { min_period, sync_period, full_period: FULL_SYNC_PERIOD, started, node_wait: None }
    }
}
