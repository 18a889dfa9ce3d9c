//! One service port: the names of its chains, and what packets to it match.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use portolan_core::ServicePortName;
use portolan_core::event::TrafficPolicy;
use portolan_core::plan::{ServicePort, Unserved};

use super::Context;
use crate::comment::Comment;
use crate::names::{Chain, Hash, Kind};
use crate::rule::{Body, Is, Target};

/// A service port whose rules are rendered.
#[derive(Debug, Clone, Copy)]
pub(super) struct Port<'a> {
    pub(super) cx: Context<'a>,
    pub(super) name: &'a ServicePortName,
    pub(super) plan: &'a ServicePort,
    hash: Hash,
}

impl<'a> Port<'a> {
    pub(super) fn new(cx: &Context<'a>, name: &'a ServicePortName, plan: &'a ServicePort) -> Self {
        Self { cx: *cx, name, plan, hash: Hash::of_port(name) }
    }

    /// Its chain of this kind, which is any but [`Kind::Endpoint`].
    pub(super) fn chain(&self, kind: Kind) -> Chain {
        Chain::Own(kind, self.hash)
    }

    /// The chain that selects an endpoint for the cluster IP, if there is one to select.
    pub(super) fn internal_chain(&self) -> Option<Chain> {
        self.policy_chain(self.plan.internal_traffic_policy)
    }

    /// The chain that selects an endpoint for all other addresses, for clients outside this node.
    pub(super) fn external_chain(&self) -> Option<Chain> {
        self.policy_chain(self.plan.external_traffic_policy)
    }

    /// The chain that selects an endpoint under this policy.
    pub(super) fn policy_chain(&self, policy: TrafficPolicy) -> Option<Chain> {
        let (endpoints, kind) = match policy {
            TrafficPolicy::Cluster => (&self.plan.cluster_endpoints, Kind::Cluster),
            TrafficPolicy::Local => (&self.plan.local_endpoints, Kind::Local),
        };
        (!endpoints.is_empty()).then(|| self.chain(kind))
    }

    /// Whether it has endpoints, on this node or another.
    pub(super) fn is_served(&self) -> bool {
        self.plan.unserved == Unserved::Drop
            || !self.plan.cluster_endpoints.is_empty()
            || !self.plan.local_endpoints.is_empty()
    }

    /// Whether source ranges restrict its load-balancer addresses.
    pub(super) fn has_source_ranges(&self) -> bool {
        !self.plan.load_balancer_ips.is_empty() && !self.plan.source_ranges.is_empty()
    }

    /// Matches packets to one of its addresses.
    pub(super) fn at(&self, address: IpAddr) -> Body<'a> {
        Body { destination: Some(Is::Just(IpNet::from(address))), ..self.at_port(self.plan.port) }
    }

    /// Matches packets of its protocol to this port, at any address.
    pub(super) fn at_port(&self, port: u16) -> Body<'a> {
        Body { protocol: Some(self.name.protocol), destination_port: Some(port), ..Body::default() }
    }

    /// The target for packets that no chain in nat translates, and its comment.
    pub(super) fn unserved(&self) -> (Target, Comment<'a>) {
        if self.is_served() {
            (Target::Drop, self.comment(" has no local endpoints"))
        } else {
            (Target::Reject, self.comment(" has no endpoints"))
        }
    }

    /// Its name, followed by this.
    pub(super) fn comment(&self, after: &'static str) -> Comment<'a> {
        self.comment_between("", after)
    }

    /// Its name between these.
    pub(super) fn comment_between(&self, before: &'static str, after: &'static str) -> Comment<'a> {
        Comment::Port(before, self.name, after)
    }

    /// Its name and an endpoint, except in large clusters.
    pub(super) fn endpoint_comment(&self, endpoint: SocketAddr) -> Comment<'a> {
        if self.cx.is_large { Comment::None } else { Comment::Endpoint(self.name, endpoint) }
    }
}
