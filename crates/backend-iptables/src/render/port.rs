//! One service port among its rules: what its chains are called, and what packets to it match.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use portolan_core::ServicePortName;
use portolan_core::event::TrafficPolicy;
use portolan_core::plan::{ServicePort, Unserved};

use super::Context;
use crate::comment::Comment;
use crate::names::{Chain, Hash, Kind};
use crate::rule::{Body, Is, Target};

/// A service port whose rules are told.
#[derive(Debug, Clone, Copy)]
pub(super) struct Port<'a> {
    pub(super) cx: &'a Context<'a>,
    pub(super) name: &'a ServicePortName,
    pub(super) plan: &'a ServicePort,
    hash: Hash,
}

impl<'a> Port<'a> {
    pub(super) fn new(cx: &'a Context<'a>, name: &'a ServicePortName, plan: &'a ServicePort) -> Self {
        Self { cx, name, plan, hash: Hash::of_port(name) }
    }

    /// Its chain of this kind; those to endpoints have a name of each endpoint's.
    pub(super) fn chain(&self, kind: Kind) -> Chain {
        Chain::Own(kind, self.hash)
    }

    /// The chain that chooses for the cluster IP, if there is anybody to choose.
    pub(super) fn internal_chain(&self) -> Option<Chain> {
        self.chain_under(self.plan.internal_traffic_policy)
    }

    /// The chain that chooses by all other addresses, for everybody who is not on this node.
    pub(super) fn external_chain(&self) -> Option<Chain> {
        self.chain_under(self.plan.external_traffic_policy)
    }

    /// The chain that chooses under this policy.
    pub(super) fn chain_under(&self, policy: TrafficPolicy) -> Option<Chain> {
        let (endpoints, kind) = match policy {
            TrafficPolicy::Cluster => (&self.plan.cluster_endpoints, Kind::Cluster),
            TrafficPolicy::Local => (&self.plan.local_endpoints, Kind::Local),
        };
        (!endpoints.is_empty()).then(|| self.chain(kind))
    }

    /// Whether anybody serves, here or elsewhere.
    pub(super) fn is_served(&self) -> bool {
        self.plan.unserved == Unserved::Drop
            || !self.plan.cluster_endpoints.is_empty()
            || !self.plan.local_endpoints.is_empty()
    }

    /// Whether not everybody may use its load-balancer addresses.
    pub(super) fn is_guarded(&self) -> bool {
        !self.plan.load_balancer_ips.is_empty() && !self.plan.source_ranges.is_empty()
    }

    /// What packets to one of its addresses match.
    pub(super) fn at(&self, address: IpAddr) -> Body<'a> {
        Body { destination: Some(Is::Just(IpNet::from(address))), ..self.at_port(self.plan.port) }
    }

    /// What packets by its protocol to this port match, whatever the address.
    pub(super) fn at_port(&self, port: u16) -> Body<'a> {
        Body { protocol: Some(self.name.protocol), destination_port: Some(port), ..Body::default() }
    }

    /// What becomes of packets that no chain in nat takes, and what the rule says of it.
    pub(super) fn refusal(&self) -> (Target, Comment<'a>) {
        if self.is_served() {
            (Target::Drop, self.says(" has no local endpoints"))
        } else {
            (Target::Reject, self.says(" has no endpoints"))
        }
    }

    /// Its name, and then this.
    pub(super) fn says(&self, after: &'static str) -> Comment<'a> {
        Comment::Port("", self.name, after)
    }

    /// Its name between these.
    pub(super) fn says_between(&self, before: &'static str, after: &'static str) -> Comment<'a> {
        Comment::Port(before, self.name, after)
    }

    /// Its name and an endpoint, unless there are too many of them.
    pub(super) fn says_where(&self, endpoint: SocketAddr) -> Comment<'a> {
        if self.cx.is_large { Comment::None } else { Comment::Endpoint(self.name, endpoint) }
    }
}
