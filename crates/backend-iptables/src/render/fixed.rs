//! What does not depend on Services: fixed chains, the ends of lists, and the jumps from built-in chains.

use ipnet::IpNet;
use portolan_core::plan::NodePortAddresses;

use super::Context;
use crate::comment::Comment;
use crate::names::BuiltIn::{self, Forward, Input, Output, Postrouting, Prerouting};
use crate::names::Fixed::{self, ExternalServices, Firewall, NodePorts, ProxyFirewall, Services};
use crate::names::{Chain, Table};
use crate::options::{INVALID_DROPPED, loopback};
use crate::rule::{Body, Is, Mark, Rule, States, Target};

/// A chain that exists without any Service, with all its rules.
#[derive(Debug, Clone)]
pub struct FixedChain<'a> {
    /// The table.
    pub table: Table,
    /// The chain.
    pub chain: Fixed,
    /// Its rules.
    pub rules: Vec<Rule<'a>>,
}

/// The chains that all other rules need, and the canaries.
///
/// The [`LISTS`](super::LISTS) are not among them. `KUBE-FIREWALL` is among them only where node ports answer on
/// loopback addresses, since the kubelet uses it too.
pub fn fixed_chains<'a>(cx: &Context<'a>) -> Vec<FixedChain<'a>> {
    let chain = |table, chain, rules| FixedChain { table, chain, rules };
    let mut chains = Table::ALL.map(|table| chain(table, Fixed::Canary, Vec::new())).to_vec();
    chains.push(chain(Table::Filter, Fixed::Forward, forward(cx)));
    if cx.serves_loopback() {
        chains.push(chain(Table::Filter, Firewall, vec![firewall(cx)]));
    }
    let Mark { value, mask } = cx.mark();
    let masquerade = Target::Masquerade { random_fully: cx.options.random_fully };
    let postrouting = vec![
        rule("", marked(Is::Not(cx.mark())), Target::Return),
        // A packet that passes these rules again must not be masqueraded again.
        rule("", Body::default(), Target::SetXmark(Mark { value, mask: 0 })),
        rule("kubernetes service traffic requiring SNAT", Body::default(), masquerade),
    ];
    chains.push(chain(Table::Nat, Fixed::Postrouting, postrouting));
    let mark = rule("", Body::default(), Target::SetXmark(Mark { value, mask }));
    chains.push(chain(Table::Nat, Fixed::MarkMasq, vec![mark]));
    chains
}

fn rule<'a>(comment: &'a str, body: Body<'a>, target: Target) -> Rule<'a> {
    let comment = if comment.is_empty() { Comment::None } else { Comment::Text(comment) };
    Rule { comment, body: Body { target: Some(target), ..body } }
}

fn in_state(state: Is<States>) -> Body<'static> {
    Body { state: Some(state), ..Body::default() }
}

fn marked(mark: Is<Mark>) -> Body<'static> {
    Body { mark: Some(mark), ..Body::default() }
}

/// Accepts forwarded packets of Services, whatever other rules of the host drop.
fn forward<'a>(cx: &Context<'a>) -> Vec<Rule<'a>> {
    let counter = cx.options.counters.invalid_dropped.then_some(INVALID_DROPPED);
    let known = in_state(Is::Just(States::RELATED.or(States::ESTABLISHED)));
    let mut rules = vec![
        rule("kubernetes forwarding rules", marked(Is::Just(cx.mark())), Target::Accept),
        rule("kubernetes forwarding conntrack rule", known, Target::Accept),
    ];
    if cx.options.drop_invalid {
        // Connection tracking would not translate such a packet back, and its receiver would reset the connection
        // (kubernetes issue 74839).
        let invalid = Body { counter, ..in_state(Is::Just(States::INVALID)) };
        rules.insert(0, rule("", invalid, Target::Drop));
    }
    rules
}

/// With `route_localnet`, neighbours could reach what listens on loopback addresses. This drops their packets.
fn firewall<'a>(cx: &Context<'a>) -> Rule<'a> {
    let loopback = loopback(cx.family);
    let known = States::RELATED.or(States::ESTABLISHED).or(States::DNAT);
    let body = Body {
        destination: Some(Is::Just(loopback)),
        source: Some(Is::Not(loopback)),
        ..in_state(Is::Not(known))
    };
    rule("block incoming localnet connections", body, Target::Drop)
}

/// The rules at the end of nat's `KUBE-SERVICES`, after those of all service ports: they jump to the node ports,
/// which match any address.
///
/// kube-proxy lists the local addresses in the configured ranges and writes a rule for each. Here a rule matches a
/// range and local addresses, so addresses may come and go.
pub fn last_rules<'a>(cx: &Context<'a>) -> Vec<Rule<'a>> {
    let loopback = loopback(cx.family);
    let last = |destination: Option<Is<IpNet>>, target: Target| {
        let body = Body { to_this_node: true, destination, ..Body::default() };
        rule("kubernetes service nodeports; NOTE: this must be the last rule in this chain", body, target)
    };
    let node_ports = Target::Jump(Chain::Fixed(NodePorts));
    let nets = match &cx.node.node_port_addresses {
        NodePortAddresses::All if cx.serves_loopback() => return vec![last(None, node_ports)],
        NodePortAddresses::All => return vec![last(Some(Is::Not(loopback)), node_ports)],
        NodePortAddresses::Within(nets) => nets,
    };
    let is_served = |net: &&IpNet| cx.serves_loopback() || !loopback.contains(*net);
    let excludes_loopback =
        !cx.serves_loopback() && nets.iter().filter(is_served).any(|net| net.contains(&loopback));
    let excluded = excludes_loopback.then(|| last(Some(Is::Just(loopback)), Target::Return));
    let served = nets.iter().filter(is_served).map(|net| last(Some(Is::Just(*net)), node_ports));
    excluded.into_iter().chain(served).collect()
}

/// Which packets a jump matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Packets {
    All,
    New,
}

use Packets::{All, New};
use Table::{Filter, Nat};

type JumpRule = (Table, BuiltIn, Packets, Fixed, &'static str);

/// As kube-proxy inserts them, each above those before it.
const JUMPS: [JumpRule; 14] = [
    (Filter, Input, New, ExternalServices, "kubernetes externally-visible service portals"),
    (Filter, Forward, New, ExternalServices, "kubernetes externally-visible service portals"),
    (Filter, Input, All, NodePorts, "kubernetes health check service ports"),
    (Filter, Forward, New, Services, "kubernetes service portals"),
    (Filter, Output, New, Services, "kubernetes service portals"),
    (Filter, Forward, All, Fixed::Forward, "kubernetes forwarding rules"),
    (Filter, Input, New, ProxyFirewall, "kubernetes load balancer firewall"),
    (Filter, Output, New, ProxyFirewall, "kubernetes load balancer firewall"),
    (Filter, Forward, New, ProxyFirewall, "kubernetes load balancer firewall"),
    (Nat, Output, All, Services, "kubernetes service portals"),
    (Nat, Prerouting, All, Services, "kubernetes service portals"),
    (Nat, Postrouting, All, Fixed::Postrouting, "kubernetes postrouting rules"),
    (Filter, Input, All, Firewall, ""),
    (Filter, Output, All, Firewall, ""),
];

/// The jumps from built-in chains, in the order in which they are inserted at the top: in each chain the last of
/// them becomes the first rule.
///
/// Those to `KUBE-FIREWALL` are among them where [`fixed_chains`] has that chain.
pub fn jumps(cx: &Context<'_>) -> impl Iterator<Item = (Table, BuiltIn, Rule<'static>)> + use<> {
    let has_firewall = cx.serves_loopback();
    let is_wanted = move |jump: &JumpRule| jump.3 != Firewall || has_firewall;
    JUMPS.into_iter().filter(is_wanted).map(|(table, from, packets, to, comment)| {
        let state = (packets == New).then_some(Is::Just(States::NEW));
        let body = Body { state, ..Body::default() };
        (table, from, rule(comment, body, Target::Jump(Chain::Fixed(to))))
    })
}
