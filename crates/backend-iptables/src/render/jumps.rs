//! The rules in the kernel's chains that lead to ours.

use super::Context;
use crate::comment::Comment;
use crate::names::BuiltIn::{self, Forward, Input, Output, Postrouting, Prerouting};
use crate::names::Chain;
use crate::names::Fixed::{self, ExternalServices, Firewall, NodePorts, ProxyFirewall, Services};
use crate::names::Table::{self, Filter, Nat};
use crate::rule::{Body, Is, Rule, States, Target};

/// Which packets a jump is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Packets {
    All,
    New,
}

use Packets::{All, New};

type Jump = (Table, BuiltIn, Packets, Fixed, &'static str);

/// As kube-proxy inserts them, each above those before it.
const JUMPS: [Jump; 14] = [
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

/// The jumps from the kernel's chains, in the order in which they are inserted at the top: in each chain
/// the last of them is then the first rule.
///
/// Those to `KUBE-FIREWALL` are among them where [`fixed_chains`](super::fixed_chains) has that chain.
pub fn jumps(cx: &Context<'_>) -> impl Iterator<Item = (Table, BuiltIn, Rule<'static>)> + use<> {
    let has_firewall = cx.serves_loopback();
    let wanted = move |jump: &Jump| jump.3 != Firewall || has_firewall;
    JUMPS.into_iter().filter(wanted).map(|(table, from, packets, to, comment)| {
        let state = (packets == New).then_some(Is::Just(States::NEW));
        let target = Some(Target::Jump(Chain::Fixed(to)));
        let comment = if comment.is_empty() { Comment::None } else { Comment::Text(comment) };
        (table, from, Rule { comment, body: Body { state, target, ..Body::default() } })
    })
}
