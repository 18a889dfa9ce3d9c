//! The chains of one service port: who is masqueraded, who comes to which list of endpoints, and which
//! endpoint is chosen.

use std::time::Duration;

use portolan_core::ServicePortName;
use portolan_core::event::TrafficPolicy;
use portolan_core::plan::{Endpoint, ServicePort};

use super::endpoints::{Choice, in_order};
use super::port::Port;
use super::{Context, Sink};
use crate::comment::Comment;
use crate::names::{Chain, Fixed, Kind, Table};
use crate::rule::{Body, Chance, Is, Recent, RecentAction, Rule, Target};

const MARK_MASQ: Target = Target::Jump(Chain::Fixed(Fixed::MarkMasq));

/// The chains of one service port, each with all its rules.
pub fn own_chains(cx: &Context<'_>, name: &ServicePortName, port: &ServicePort, sink: &mut impl Sink) {
    let port = Port::new(cx, name, port);
    let is_external = port.is_served() && port.plan.is_external();
    if is_external {
        external(&port, &mut chain(sink, port.chain(Kind::External)));
    }
    if is_external && port.is_guarded() {
        firewall(&port, &mut chain(sink, port.chain(Kind::Firewall)));
    }
    let plan = port.plan;
    choosing(&port, TrafficPolicy::Cluster, &plan.cluster_endpoints, |_| true, sink);
    // An endpoint of both lists has one chain.
    let is_first = |endpoint: &Endpoint| plan.cluster_endpoints.binary_search(endpoint).is_err();
    choosing(&port, TrafficPolicy::Local, &plan.local_endpoints, is_first, sink);
}

/// A chain that is being told.
struct Writing<'s, S> {
    sink: &'s mut S,
    chain: Chain,
}

fn chain<S: Sink>(sink: &mut S, chain: Chain) -> Writing<'_, S> {
    sink.chain(Table::Nat, chain);
    Writing { sink, chain }
}

impl<S: Sink> Writing<'_, S> {
    fn rule<'a>(&mut self, comment: Comment<'a>, body: Body<'a>, target: impl Into<Target>) {
        let body = Body { target: Some(target.into()), ..body };
        self.sink.rule(Table::Nat, self.chain, &Rule { comment, body });
    }
}

/// By all addresses but the cluster IP.
fn external(port: &Port<'_>, chain: &mut Writing<'_, impl Sink>) {
    let everybody = Body::default();
    match port.plan.external_traffic_policy {
        TrafficPolicy::Cluster => {
            let comment = port.says_between("masquerade traffic for ", " external destinations");
            chain.rule(comment, everybody, MARK_MASQ);
        }
        TrafficPolicy::Local => from_here(port, chain),
    }
    if let Some(target) = port.external_chain() {
        chain.rule(Comment::None, everybody, target);
    }
}

/// The Local policy is for those who are not on this node: who is here may use every endpoint.
fn from_here(port: &Port<'_>, chain: &mut Writing<'_, impl Sink>) {
    let Some(all) = port.chain_under(TrafficPolicy::Cluster) else { return };
    if let Some(pods) = port.cx.by_pods() {
        chain.rule(port.says_between("pod traffic for ", " external destinations"), pods, all);
    }
    let node = Body { from_this_node: true, ..Body::default() };
    let comment = port.says_between("masquerade LOCAL traffic for ", " external destinations");
    chain.rule(comment, node, MARK_MASQ);
    chain.rule(port.says_between("route LOCAL traffic for ", " external destinations"), node, all);
}

/// Who may use the load-balancer addresses. The others come back from here as they were, and the filter
/// knows them by that.
fn firewall(port: &Port<'_>, chain: &mut Writing<'_, impl Sink>) {
    for range in &port.plan.source_ranges {
        let body = Body { source: Some(Is::Just(*range)), ..Body::default() };
        chain.rule(port.says(" loadbalancer IP"), body, port.chain(Kind::External));
    }
    let comment = port.says_between("other traffic to ", " will be dropped by KUBE-PROXY-FIREWALL");
    chain.sink.rule(Table::Nat, chain.chain, &Rule { comment, body: Body::default() });
}

/// The chain that chooses among a list, if anybody is on it, and those of its endpoints that have none yet.
fn choosing<S: Sink>(
    port: &Port<'_>,
    policy: TrafficPolicy,
    list: &[Endpoint],
    has_no_chain: impl Fn(&Endpoint) -> bool,
    sink: &mut S,
) {
    let Some(own) = port.chain_under(policy) else { return };
    let choices = in_order(port.name, list);
    let mut writing = chain(sink, own);
    if port.plan.internal_traffic_policy == policy {
        masquerade_to_cluster_ip(port, &mut writing);
    }
    if let Some(timeout) = port.plan.session_affinity {
        remember(port, timeout, &choices, &mut writing);
    }
    choose(port, &choices, &mut writing);
    for choice in choices.iter().filter(|choice| has_no_chain(&choice.endpoint)) {
        endpoint(port, choice, &mut chain(sink, choice.chain));
    }
}

/// Whoever is no pod of this node sees answers come from the cluster IP only if they come back this way.
fn masquerade_to_cluster_ip(port: &Port<'_>, chain: &mut Writing<'_, impl Sink>) {
    let Some(address) = port.plan.cluster_ip else { return };
    let strangers = if port.cx.node.masquerade_all { Some(Body::default()) } else { port.cx.by_strangers() };
    if let Some(Body { source, interface, .. }) = strangers {
        chain.rule(port.says(" cluster IP"), Body { source, interface, ..port.at(address) }, MARK_MASQ);
    }
}

/// Clients that were here come to the endpoint that they had, the first of them that still knows them.
fn remember(port: &Port<'_>, timeout: Duration, choices: &[Choice], chain: &mut Writing<'_, impl Sink>) {
    // The programs take no less and no more.
    let seconds = timeout.as_secs().clamp(1, u64::from(u32::MAX));
    for choice in choices {
        let action = RecentAction::SeenWithin(seconds);
        let recent = Some(Recent { list: choice.chain, action });
        chain.rule(port.says_where(choice.address()), Body { recent, ..Body::default() }, choice.chain);
    }
}

/// Each endpoint is as likely as any other: the first is taken by one in so many, the second by one in so
/// many that are left, the last by all that are.
fn choose(port: &Port<'_>, choices: &[Choice], chain: &mut Writing<'_, impl Sink>) {
    for (index, choice) in choices.iter().enumerate() {
        let left = u32::try_from(choices.len() - index).unwrap_or(u32::MAX);
        let chance = (left > 1).then(|| Chance::one_in(left));
        chain.rule(port.says_where(choice.address()), Body { chance, ..Body::default() }, choice.chain);
    }
}

/// To one endpoint, which must not get packets from its own address: it would answer itself.
fn endpoint(port: &Port<'_>, choice: &Choice, chain: &mut Writing<'_, impl Sink>) {
    let comment = if port.cx.is_large { Comment::None } else { port.says("") };
    let address = choice.address();
    let itself = Body { source: Some(Is::Just(address.ip().into())), ..Body::default() };
    chain.rule(comment, itself, MARK_MASQ);
    let is_remembered = port.plan.session_affinity.is_some();
    let recent = is_remembered.then_some(Recent { list: choice.chain, action: RecentAction::Set });
    let body = Body { recent, protocol: Some(port.name.protocol), ..Body::default() };
    chain.rule(comment, body, Target::Dnat(address));
}
