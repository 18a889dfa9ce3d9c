//! Waiting for this node's Node object before the first apply.
//!
//! Right after a node has joined its cluster its Node object may be missing, or lack what plans are
//! made of. Rules made without it would be wrong for a moment: node ports open on all addresses, pods
//! taken for strangers. An earlier run's rules stay in force meanwhile.

use std::time::Duration;

use portolan_core::event::Node;
use tokio::time::Instant;

/// What to wait for, and how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodeWait {
    /// What the Node object must have.
    pub needs: NodeNeed,
    /// How long after all lists have come.
    pub patience: Duration,
}

/// What a Node object must have before plans are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeNeed {
    /// An address. Without one the proxy starts all the same when its patience is over.
    Address,
    /// A range of pod addresses (`spec.podCIDRs`), without which nobody can tell which packets are
    /// local pods'. When patience is over the loop ends.
    PodCidr,
}

impl NodeWait {
    /// For an address: 30 s, as in kube-proxy.
    pub const ADDRESS: Self = Self { needs: NodeNeed::Address, patience: Duration::from_secs(30) };
    /// For pod CIDRs: 5 minutes, as in kube-proxy.
    pub const POD_CIDR: Self = Self { needs: NodeNeed::PodCidr, patience: Duration::from_secs(5 * 60) };
}

impl NodeNeed {
    fn is_met_by(self, node: &Node) -> bool {
        match self {
            Self::Address => !node.addresses.is_empty(),
            Self::PodCidr => !node.pod_cidrs.is_empty(),
        }
    }
}

/// Keeps the loop from applying anything until the Node object is as needed.
#[derive(Debug)]
pub(crate) struct Gate {
    wait: Option<NodeWait>,
    /// When patience ends; known once all lists have come.
    until: Option<Instant>,
}

/// What a gate says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Passage {
    /// Go on, as before.
    Open,
    /// From this moment on.
    Opens,
    /// Not yet.
    Closed,
    /// The Node object never came to have this.
    GaveUp(NodeNeed),
}

impl Gate {
    pub(crate) fn new(wait: Option<NodeWait>) -> Self {
        Self { wait, until: None }
    }

    pub(crate) fn is_open(&self) -> bool {
        self.wait.is_none()
    }

    /// When patience ends, if that is known.
    pub(crate) fn until(&self) -> Option<Instant> {
        self.until
    }

    /// Looks at the Node object, after all lists have come.
    pub(crate) fn look(&mut self, node: Option<&Node>, now: Instant) -> Passage {
        let Some(NodeWait { needs, patience }) = self.wait else { return Passage::Open };
        let until = *self.until.get_or_insert(now + patience);
        if node.is_some_and(|node| needs.is_met_by(node)) {
            self.wait = None;
            return Passage::Opens;
        }
        if now < until {
            return Passage::Closed;
        }
        self.wait = None;
        Passage::GaveUp(needs)
    }
}
