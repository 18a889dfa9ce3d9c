//! The rules of the table: the proxy's own kind, and every other that can be written.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use portolan_nft::{
    Bytes, CT_STATE_NEW, CT_STATUS_DNAT, Chain, ChainKind, FIB_TYPE_LOCAL, Family, Hook, MatchOp,
    PRIORITY_DSTNAT, PRIORITY_SRCNAT, Rule, Selector, Statement,
};

use MatchOp::{Eq, Ne};
use Selector::{Daddr, L4Proto, Saddr, ThDport};

use crate::layout::{VIP, address};

/// All chains, each after those it leads to.
pub(crate) fn chains(family: Family) -> Vec<(Chain, Vec<Rule>)> {
    [regular(family), learning(), hooked()].concat()
}

/// Chains that only jumps reach.
fn regular(family: Family) -> Vec<(Chain, Vec<Rule>)> {
    let is = |selector, value| Statement::Match { selector, op: Eq, value };
    let jump = |chain: &str| Statement::Jump(chain.into());
    let vmap = |key: &[Selector], map: &str| Statement::Vmap { key: key.into(), map: map.into() };
    let within = |key: &[Selector], op, set: &str| Statement::InSet { key: key.into(), op, set: set.into() };
    let dnat = |key: &[Selector], modulus, map: &str| Statement::DnatMap {
        key: [key, &[Selector::NumgenRandom { modulus }]].concat(),
        map: map.into(),
    };
    let prefix = |value: IpAddr, bits, op| Statement::MatchPrefix {
        selector: Daddr,
        op,
        value: Bytes::addr(value),
        bits,
    };
    let local = Bytes::u32_host(FIB_TYPE_LOCAL);
    vec![
        (Chain::regular("mark-masquerade"), vec![Rule::new([Statement::MarkOr(0x4000)])]),
        (
            Chain::regular("cluster-2"),
            vec![
                Rule::new([within(&[Saddr], Ne, "pod-cidrs"), jump("mark-masquerade")]),
                Rule::new([dnat(&VIP, 2, "endpoints")]),
                Rule::new([dnat(&VIP, 1, "endpoints")]).with_comment("lost a race: slot 0"),
            ],
        ),
        (
            Chain::regular("nodeport-1"),
            vec![
                Rule::new([jump("mark-masquerade")]),
                Rule::new([dnat(&[L4Proto, ThDport], 1, "nodeport-endpoints")]),
            ],
        ),
        (
            Chain::regular("services"),
            vec![
                Rule::new([vmap(&VIP, "services")]),
                Rule::new([
                    is(Selector::FibDaddrType, local),
                    prefix(address(family, 127, 0), 8, Ne),
                    vmap(&[L4Proto, ThDport], "nodeports"),
                ]),
            ],
        ),
        (Chain::regular("every-match"), every_match(family)),
    ]
}

/// Chains that learn clients' endpoints and send them there again.
fn learning() -> Vec<(Chain, Vec<Rule>)> {
    let is = |selector, value| Statement::Match { selector, op: Eq, value };
    let learn = Statement::UpdateMap {
        map: "affinity".into(),
        key: vec![Selector::CtOriginalSaddr],
        data: vec![Daddr, ThDport],
        timeout: None,
    };
    let map: Arc<str> = "affinity-8080/shop/web/tcp/http".into();
    let learn_address = Statement::UpdateMap {
        map: Arc::clone(&map),
        key: vec![Selector::CtOriginalSaddr],
        data: vec![Daddr],
        timeout: Some(Duration::from_secs(10_800)),
    };
    let again = Statement::DnatMapPort { key: vec![Saddr], map, port: 8080 };
    vec![
        (
            Chain::regular("learn"),
            vec![
                Rule::new([is(L4Proto, Bytes::proto(6)), learn]),
                Rule::new([Statement::UpdateSet {
                    set: "seen".into(),
                    key: vec![Saddr, L4Proto],
                    timeout: None,
                }]),
                Rule::new([Statement::UpdateSet {
                    set: "recent".into(),
                    key: vec![Saddr],
                    timeout: Some(Duration::from_millis(90_500)),
                }]),
                Rule::new([is(L4Proto, Bytes::proto(6)), is(ThDport, Bytes::port(8080)), learn_address]),
            ],
        ),
        (
            Chain::regular("affinity/shop/web/tcp/http"),
            vec![Rule::new([is(L4Proto, Bytes::proto(6)), again])],
        ),
    ]
}

/// Chains on hooks.
fn hooked() -> Vec<(Chain, Vec<Rule>)> {
    let is = |selector, value| Statement::Match { selector, op: Eq, value };
    let jump = |chain: &str| Statement::Jump(chain.into());
    let within = |key: &[Selector], op, set: &str| Statement::InSet { key: key.into(), op, set: set.into() };
    let bits = |selector, mask, op| Statement::MatchBits { selector, mask, op };
    vec![
        (
            Chain::base("filter-prerouting", ChainKind::Filter, Hook::Prerouting, PRIORITY_DSTNAT - 10),
            vec![
                Rule::new([within(&[Daddr, L4Proto, ThDport, Saddr], Ne, "source-ranges"), Statement::Drop]),
                Rule::new([
                    is(L4Proto, Bytes::proto(6)),
                    within(&[Daddr], Eq, "cluster-ips"),
                    Statement::RejectTcpReset,
                ]),
                Rule::new([within(&[Daddr], Eq, "cluster-ips"), Statement::Reject]),
            ],
        ),
        (
            Chain::base("nat-prerouting", ChainKind::Nat, Hook::Prerouting, PRIORITY_DSTNAT),
            vec![Rule::new([jump("services")])],
        ),
        (
            Chain::base("nat-output", ChainKind::Nat, Hook::Output, PRIORITY_DSTNAT),
            vec![Rule::new([jump("services")])],
        ),
        (
            Chain::base("filter-learn", ChainKind::Filter, Hook::Input, PRIORITY_DSTNAT + 10),
            vec![Rule::new([bits(Selector::CtState, CT_STATE_NEW, Ne), jump("learn")])],
        ),
        (
            Chain::base("nat-postrouting", ChainKind::Nat, Hook::Postrouting, PRIORITY_SRCNAT),
            vec![
                Rule::new([
                    bits(Selector::Mark, 0x4000, Ne),
                    Statement::MarkXor(0x4000),
                    Statement::Masquerade { random_fully: true },
                ]),
                Rule::new([
                    bits(Selector::CtStatus, CT_STATUS_DNAT, Ne),
                    within(&[Saddr, Daddr], Eq, "hairpin"),
                    Statement::Masquerade { random_fully: false },
                ]),
            ],
        ),
    ]
}

/// Matches of every kind; the chain is reached from nowhere.
fn every_match(family: Family) -> Vec<Rule> {
    let net = address(family, 172, 0);
    let (whole, nothing) = match family {
        Family::Ip => (32, IpAddr::from([0; 4])),
        Family::Ip6 => (128, IpAddr::from([0; 16])),
    };
    let prefix = |value, bits, op| Statement::MatchPrefix { selector: Daddr, op, value, bits };
    let iface = |name: &str, op, bits| Statement::MatchPrefix {
        selector: Selector::Iifname,
        op,
        value: Bytes::ifname(name),
        bits,
    };
    let is = |selector, value| Statement::Match { selector, op: Eq, value };
    let learned = Statement::Vmap {
        key: vec![Selector::CtOriginalDaddr, L4Proto, Selector::CtOriginalProtoDst],
        map: "services".into(),
    };
    vec![
        Rule::new([is(Daddr, Bytes::addr(net)), Statement::Counter, Statement::Accept]),
        Rule::new([prefix(Bytes::addr(net), 12, Eq), Statement::Return]),
        Rule::new([prefix(Bytes::addr(net), 16, Ne), Statement::Goto("learn".into())]),
        Rule::new([prefix(Bytes::addr(net), whole, Ne), Statement::Return]),
        Rule::new([prefix(Bytes::addr(nothing), 0, Eq), Statement::Return]),
        Rule::new([
            Statement::MatchPrefix {
                selector: Selector::CtOriginalSaddr,
                op: Eq,
                value: Bytes::addr(net),
                bits: 16,
            },
            Statement::Return,
        ]),
        Rule::new([iface("veth", Eq, 32), Statement::Accept]),
        Rule::new([iface("veth", Ne, 32), Statement::Accept]),
        Rule::new([iface("a+b", Ne, 24), Statement::Accept]),
        Rule::new([iface("e*h*", Eq, 32), Statement::Accept]),
        Rule::new([iface("fourteenletters", Ne, 14 * 8), Statement::Accept]),
        Rule::new([iface("fifteen-letters", Ne, 15 * 8), Statement::Accept]),
        Rule::new([is(Selector::Iifname, Bytes::ifname("e*h*")), Statement::Accept]),
        Rule::new([is(Selector::Iifname, Bytes::ifname("a\\")), Statement::Accept]),
        Rule::new([
            Statement::Match { selector: Selector::Iifname, op: Ne, value: Bytes::ifname("lo") },
            Statement::MarkXor(0xffff_bfff),
        ]),
        Rule::new([
            Statement::InSet { key: vec![Selector::Iifname], op: Eq, set: "uplinks".into() },
            Statement::MatchBits { selector: Selector::Mark, mask: 0x4000, op: Eq },
        ]),
        Rule::new([is(L4Proto, Bytes::proto(17)), is(Selector::ThSport, Bytes::port(53)), Statement::Drop]),
        Rule::new([is(Selector::FibSaddrType, Bytes::u32_host(FIB_TYPE_LOCAL)), Statement::Return]),
        Rule::new([is(L4Proto, Bytes::proto(6)), learned]),
    ]
}
