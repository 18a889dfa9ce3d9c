//! The chains of one service port: which packets are masqueraded, which policy applies to them, and which endpoint
//! they get.

use std::iter;
use std::net::SocketAddr;
use std::time::Duration;

use portolan_core::ServicePortName;
use portolan_core::event::TrafficPolicy;
use portolan_core::plan::{Endpoint, ServicePort};

use super::Context;
use super::port::Port;
use crate::comment::Comment;
use crate::names::{Chain, Fixed, Hash, Kind};
use crate::rule::{Body, Is, Probability, Recent, RecentAction, Rule, Target};

const MARK_MASQ: Target = Target::Jump(Chain::Fixed(Fixed::MarkMasq));

/// The chains of one service port, each with all its rules. All are in the table nat.
pub fn own_chains<'a>(
    cx: &Context<'a>,
    name: &'a ServicePortName,
    plan: &'a ServicePort,
) -> impl Iterator<Item = (Chain, Vec<Rule<'a>>)> {
    let port = Port::new(cx, name, plan);
    let is_external = port.is_served() && plan.is_external();
    let external = is_external.then(|| (port.chain(Kind::External), external(&port)));
    let is_restricted = is_external && port.has_source_ranges();
    let firewall = is_restricted.then(|| (port.chain(Kind::Firewall), firewall(&port)));
    // An endpoint of both lists has one chain.
    let is_local_only = |endpoint: &Endpoint| plan.cluster_endpoints.binary_search(endpoint).is_err();
    let cluster = policy_chains(port, TrafficPolicy::Cluster, &plan.cluster_endpoints, |_| true);
    let local = policy_chains(port, TrafficPolicy::Local, &plan.local_endpoints, is_local_only);
    external.into_iter().chain(firewall).chain(cluster).chain(local)
}

fn rule<'a>(comment: Comment<'a>, body: Body<'a>, target: impl Into<Target>) -> Rule<'a> {
    Rule { comment, body: Body { target: Some(target.into()), ..body } }
}

/// `KUBE-EXT-…`: for all addresses but the cluster IP.
fn external<'a>(port: &Port<'a>) -> Vec<Rule<'a>> {
    let mut rules = match port.plan.external_traffic_policy {
        TrafficPolicy::Cluster => {
            let comment = port.comment_between("masquerade traffic for ", " external destinations");
            vec![rule(comment, Body::default(), MARK_MASQ)]
        }
        TrafficPolicy::Local => from_this_node(port),
    };
    rules.extend(port.external_chain().map(|chain| rule(Comment::None, Body::default(), chain)));
    rules
}

/// The Local policy restricts clients outside this node only: those on it may use every endpoint.
fn from_this_node<'a>(port: &Port<'a>) -> Vec<Rule<'a>> {
    let Some(all) = port.policy_chain(TrafficPolicy::Cluster) else { return Vec::new() };
    let comment = |before| port.comment_between(before, " external destinations");
    let node = Body { from_this_node: true, ..Body::default() };
    let pods = port.cx.matching_pods().map(|pods| rule(comment("pod traffic for "), pods, all));
    let node = [
        rule(comment("masquerade LOCAL traffic for "), node, MARK_MASQ),
        rule(comment("route LOCAL traffic for "), node, all),
    ];
    pods.into_iter().chain(node).collect()
}

/// `KUBE-FW-…`: packets from source ranges go on to the external chain. The others return unchanged, and filter
/// drops them because they still have the load-balancer address.
fn firewall<'a>(port: &Port<'a>) -> Vec<Rule<'a>> {
    let allowed = port.plan.source_ranges.iter().map(|range| {
        let body = Body { source: Some(Is::Just(*range)), ..Body::default() };
        rule(port.comment(" loadbalancer IP"), body, port.chain(Kind::External))
    });
    let comment = port.comment_between("other traffic to ", " will be dropped by KUBE-PROXY-FIREWALL");
    allowed.chain([Rule { comment, body: Body::default() }]).collect()
}

/// The chain that selects among endpoints, if there are any, and the chains of those that `needs_chain` accepts.
fn policy_chains<'a>(
    port: Port<'a>,
    policy: TrafficPolicy,
    endpoints: &'a [Endpoint],
    needs_chain: impl Fn(&Endpoint) -> bool,
) -> impl Iterator<Item = (Chain, Vec<Rule<'a>>)> {
    let endpoints = sorted(port.name, endpoints);
    let selecting = port.policy_chain(policy).map(|chain| (chain, select(&port, policy, &endpoints)));
    let chains = endpoints.into_iter().filter(move |to| needs_chain(&to.endpoint));
    selecting.into_iter().chain(chains.map(move |to| (to.chain, endpoint(&port, &to))))
}

/// `KUBE-SVC-…` and `KUBE-SVL-…`.
fn select<'a>(port: &Port<'a>, policy: TrafficPolicy, endpoints: &[EndpointChain]) -> Vec<Rule<'a>> {
    let masqueraded = (port.plan.internal_traffic_policy == policy).then(|| masquerade_cluster_ip(port));
    let recent =
        port.plan.session_affinity.into_iter().flat_map(|timeout| affinity(port, timeout, endpoints));
    // Every endpoint has the same chance: one in all for the first, one in those that are left for the next.
    let left = (1..=endpoints.len()).rev().map(|left| u32::try_from(left).unwrap_or(u32::MAX));
    let random = iter::zip(endpoints, left).map(|(to, left)| {
        let probability = (left > 1).then(|| Probability::one_in(left));
        let body = Body { probability, ..Body::default() };
        rule(port.endpoint_comment(to.address()), body, to.chain)
    });
    masqueraded.flatten().into_iter().chain(recent).chain(random).collect()
}

/// Without this, replies to clients that are not pods of this node would not return through it and would not get
/// the cluster IP as their source.
fn masquerade_cluster_ip<'a>(port: &Port<'a>) -> Option<Rule<'a>> {
    let address = port.plan.cluster_ip?;
    let clients = if port.cx.node.masquerade_all { Body::default() } else { port.cx.matching_others()? };
    let Body { source, interface, .. } = clients;
    let body = Body { source, interface, ..port.at(address) };
    Some(rule(port.comment(" cluster IP"), body, MARK_MASQ))
}

/// Clients return to the first endpoint that has them in its list.
fn affinity<'a>(
    port: &Port<'a>,
    timeout: Duration,
    endpoints: &[EndpointChain],
) -> impl Iterator<Item = Rule<'a>> {
    // The range that iptables accepts.
    let seconds = timeout.as_secs().clamp(1, u64::from(u32::MAX));
    endpoints.iter().map(move |to| {
        let recent = Some(Recent { list: to.chain, action: RecentAction::SeenWithin(seconds) });
        rule(port.endpoint_comment(to.address()), Body { recent, ..Body::default() }, to.chain)
    })
}

/// `KUBE-SEP-…`: packets of the endpoint itself are masqueraded, else it would answer to its own address.
fn endpoint<'a>(port: &Port<'a>, to: &EndpointChain) -> Vec<Rule<'a>> {
    let comment = if port.cx.is_large { Comment::None } else { port.comment("") };
    let address = to.address();
    let itself = Body { source: Some(Is::Just(address.ip().into())), ..Body::default() };
    let set = Recent { list: to.chain, action: RecentAction::Set };
    let recent = port.plan.session_affinity.map(|_| set);
    let body = Body { recent, protocol: Some(port.name.protocol), ..Body::default() };
    vec![rule(comment, itself, MARK_MASQ), rule(comment, body, Target::Dnat(address))]
}

/// An endpoint and its chain.
#[derive(Debug, Clone, Copy)]
struct EndpointChain {
    endpoint: Endpoint,
    chain: Chain,
}

impl EndpointChain {
    /// Address and port.
    fn address(&self) -> SocketAddr {
        self.endpoint.socket_address()
    }
}

/// These endpoints in the order of their text, as kube-proxy sorts them, so that its chains equal ours.
fn sorted(name: &ServicePortName, endpoints: &[Endpoint]) -> Vec<EndpointChain> {
    let chain = |endpoint: &Endpoint| {
        let hash = Hash::of_endpoint(name, endpoint.socket_address());
        EndpointChain { endpoint: *endpoint, chain: Chain::Own(Kind::Endpoint, hash) }
    };
    let mut chains: Vec<_> = endpoints.iter().map(chain).collect();
    chains.sort_by_cached_key(|chain| chain.address().to_string());
    chains
}

#[cfg(test)]
mod tests {
    use portolan_core::plan::Locality;
    use portolan_core::{ObjectName, Protocol};

    use super::*;

    fn order(texts: &[&str]) -> Vec<String> {
        let endpoints: Vec<_> = texts
            .iter()
            .map(|text| text.parse().unwrap())
            .map(|at: SocketAddr| Endpoint { address: at.ip(), port: at.port(), locality: Locality::Remote })
            .collect();
        let name = ServicePortName {
            service: ObjectName::new("shop", "web"),
            port: "".into(),
            protocol: Protocol::Tcp,
        };
        sorted(&name, &endpoints).iter().map(|chain| chain.address().to_string()).collect()
    }

    #[test]
    fn endpoints_are_sorted_by_their_text() {
        let v4 = ["10.0.0.2:80", "10.0.0.10:9", "10.0.0.10:80", "10.0.0.100:80", "9.0.0.1:80"];
        assert_eq!(order(&v4), ["10.0.0.100:80", "10.0.0.10:80", "10.0.0.10:9", "10.0.0.2:80", "9.0.0.1:80"]);
        let v6 = ["[fd00::9]:80", "[fd00::10]:80", "[fd00::1]:80", "[fd00::a]:80"];
        assert_eq!(order(&v6), ["[fd00::10]:80", "[fd00::1]:80", "[fd00::9]:80", "[fd00::a]:80"]);
    }
}
