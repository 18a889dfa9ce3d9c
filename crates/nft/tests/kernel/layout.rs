//! A table with everything in it, once per family.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use portolan_nft::{
    Bytes, CT_STATE_NEW, CT_STATUS_DNAT, Chain, ChainKind, Element, FIB_TYPE_LOCAL, Family, Hook, MatchOp,
    PRIORITY_DSTNAT, PRIORITY_SRCNAT, Rule, Selector, Set, Statement, Table, TableDump, TableId, Transaction,
    Verdict,
};

use MatchOp::{Eq, Ne};
use Selector::{Daddr, L4Proto, Saddr, ThDport};

/// What a table shall hold.
pub(crate) struct Layout {
    pub(crate) family: Family,
    pub(crate) sets: Vec<(Arc<Set>, Vec<Element>)>,
    pub(crate) chains: Vec<(Chain, Vec<Rule>)>,
}

pub(crate) const VIP: [Selector; 3] = [Daddr, L4Proto, ThDport];
pub(crate) const SLOT: Selector = Selector::NumgenRandom { modulus: 2 };

pub(crate) fn tables() -> [TableId; 2] {
    [Family::Ip, Family::Ip6].map(|family| TableId::new(family, "portolan"))
}

/// An address of `family` that ends in `last`, in a network of its own per `net`.
pub(crate) fn address(family: Family, net: u8, last: u8) -> IpAddr {
    match family {
        Family::Ip => IpAddr::from([10, net, 0, last]),
        Family::Ip6 => IpAddr::from([0xfd00, net.into(), 0, 0, 0, 0, 0, last.into()]),
    }
}

pub(crate) fn vip_key(family: Family, last: u8, proto: u8, port: u16) -> Bytes {
    *Bytes::new().push_addr(address(family, 96, last)).push_proto(proto).push_port(port)
}

pub(crate) fn endpoint(family: Family, last: u8, port: u16) -> Bytes {
    *Bytes::new().push_addr(address(family, 244, last)).push_port(port)
}

impl Layout {
    pub(crate) fn new(family: Family) -> Self {
        Self { family, sets: sets(family), chains: chains(family) }
    }

    pub(crate) fn set(&self, name: &str) -> &Arc<Set> {
        &self.sets.iter().find(|(set, _)| &*set.name == name).unwrap().0
    }

    /// All of it in one transaction, chains before what leads to them.
    pub(crate) fn load(&self, table: TableId) -> Transaction {
        let mut transaction = Transaction::new(table);
        transaction.add_table(Table { comment: Some("service proxy".into()), ..Table::default() });
        for (chain, _) in &self.chains {
            transaction.add_chain(chain.clone());
        }
        for (set, elements) in &self.sets {
            transaction.add_set(Arc::clone(set)).add_elements(set, elements.iter().cloned());
        }
        for (chain, rules) in &self.chains {
            for rule in rules {
                transaction.add_rule(Arc::clone(&chain.name), rule.clone());
            }
        }
        transaction
    }

    /// Fails unless `dump` holds just this.
    #[track_caller]
    pub(crate) fn assert_loaded(&self, dump: &TableDump) {
        assert_eq!(dump.chains.len(), self.chains.len());
        for (chain, rules) in &self.chains {
            let loaded = dump.chain(&chain.name).unwrap();
            assert!(
                loaded.holds(chain, rules, self.family),
                "chain {}: {loaded:#?}\nwanted {rules:#?}",
                chain.name
            );
        }
        assert_eq!(dump.sets.len(), self.sets.len());
        for (set, elements) in &self.sets {
            let loaded = dump.set(&set.name).unwrap();
            assert_eq!(loaded.set.as_ref(), Some(set));
            assert_eq!(sorted(loaded.elements.iter()), sorted(elements.iter().cloned()), "{}", set.name);
        }
    }
}

/// The layout and so many further endpoints, each of a VIP of its own, as one transaction.
pub(crate) fn many_endpoints(layout: &Layout, id: &TableId, count: u32) -> Transaction {
    let element = |index: u32| Element::data(nth_slot(index), endpoint(Family::Ip, 5, 8443));
    let mut transaction = layout.load(id.clone());
    transaction.add_elements(layout.set("endpoints"), (0..count).map(element));
    transaction
}

/// The key of one of the many.
pub(crate) fn nth_slot(index: u32) -> Bytes {
    let [_, b, c, d] = index.to_be_bytes();
    *Bytes::new().push_addr([11, b, c, d].into()).push_proto(6).push_port(443).push_u32_host(0)
}

pub(crate) fn sorted(elements: impl Iterator<Item = Element>) -> Vec<Element> {
    let mut elements: Vec<Element> = elements.collect();
    elements.sort_by(|a, b| (&a.key, &a.key_end).cmp(&(&b.key, &b.key_end)));
    elements
}

fn sets(family: Family) -> Vec<(Arc<Set>, Vec<Element>)> {
    let goto = |chain: &str| Verdict::Goto(chain.into());
    let key = |last, proto, port| vip_key(family, last, proto, port);
    let slot = |last, index| *key(last, 17, 53).clone().push_u32_host(index);
    let port = |proto, port| *Bytes::new().push_proto(proto).push_port(port);
    let pair =
        |last| *Bytes::new().push_addr(address(family, 244, last)).push_addr(address(family, 244, last));
    let pods = Element::prefix(Bytes::addr(address(family, 244, 0)), 16);
    let sets = [
        (
            Set::verdict_map("services", VIP).with_comment("VIP to class"),
            vec![
                Element::verdict(key(10, 17, 53), goto("cluster-2")),
                Element::verdict(key(11, 6, 443), goto("cluster-2")).with_comment("default/web:https"),
                Element::verdict(key(12, 132, 9), Verdict::Drop),
            ],
        ),
        (
            Set::map("endpoints", [&VIP[..], &[SLOT]].concat(), [Daddr, ThDport]),
            vec![
                Element::data(slot(10, 0), endpoint(family, 7, 5353)),
                Element::data(slot(10, 1), endpoint(family, 8, 5353)),
            ],
        ),
        (
            Set::map("nodeport-endpoints", [L4Proto, ThDport, SLOT], [Daddr, ThDport]),
            vec![Element::data(*port(6, 30080).push_u32_host(0), endpoint(family, 9, 8080))],
        ),
        (
            Set::verdict_map("nodeports", [L4Proto, ThDport]),
            vec![Element::verdict(port(6, 30080), goto("nodeport-1"))],
        ),
        (Set::new("cluster-ips", [Daddr]), vec![Element::key(Bytes::addr(address(family, 96, 10)))]),
        (Set::new("hairpin", [Saddr, Daddr]), vec![Element::key(pair(7)), Element::key(pair(8))]),
        (Set::intervals("pod-cidrs", [Saddr]), vec![pods]),
        (Set::intervals("source-ranges", [Daddr, L4Proto, ThDport, Saddr]), source_ranges(family)),
        (Set::new("uplinks", [Selector::Iifname]), vec![Element::key(Bytes::ifname("eth0"))]),
        (
            Set::map("affinity", [Selector::CtOriginalSaddr], [Daddr, ThDport])
                .filled_by_rules(Some(Duration::from_secs(10_800)), Some(1000)),
            vec![],
        ),
        (Set::new("seen", [Saddr, L4Proto]).filled_by_rules(None, Some(100)), vec![]),
    ];
    sets.into_iter().map(|(set, elements)| (Arc::new(set), elements)).collect()
}

/// One range, one prefix and one address, all for the same VIP.
fn source_ranges(family: Family) -> Vec<Element> {
    let key = |net, last| *vip_key(family, 11, 6, 443).push_addr(address(family, net, last));
    let (low, high) = match family {
        Family::Ip => (key(50, 0), *vip_key(family, 11, 6, 443).push_addr([10, 50, 255, 255].into())),
        Family::Ip6 => {
            let last = [0xfd00, 50, 0, 0, 0, 0, 0xffff, 0xffff];
            (key(50, 0), *vip_key(family, 11, 6, 443).push_addr(last.into()))
        }
    };
    vec![Element::range(low, high), Element::range(key(60, 3), key(60, 9)), Element::key(key(70, 1))]
}

fn chains(family: Family) -> Vec<(Chain, Vec<Rule>)> {
    let is = |selector, value| Statement::Match { selector, op: Eq, value };
    let jump = |chain: &str| Statement::Jump(chain.into());
    let vmap = |key: &[Selector], map: &str| Statement::Vmap { key: key.into(), map: map.into() };
    let within = |key: &[Selector], op, set: &str| Statement::InSet { key: key.into(), op, set: set.into() };
    let dnat = |key: &[Selector], modulus, map: &str| Statement::DnatMap {
        key: [key, &[Selector::NumgenRandom { modulus }]].concat(),
        map: map.into(),
    };
    let bits = |selector, mask, op| Statement::MatchBits { selector, mask, op };
    let prefix = |value: IpAddr, bits, op| Statement::MatchPrefix {
        selector: Daddr,
        op,
        value: Bytes::addr(value),
        bits,
    };
    let learn = Statement::UpdateMap {
        map: "affinity".into(),
        key: vec![Selector::CtOriginalSaddr],
        data: vec![Daddr, ThDport],
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
        (
            Chain::regular("learn"),
            vec![
                Rule::new([is(L4Proto, Bytes::proto(6)), learn]),
                Rule::new([Statement::UpdateSet { set: "seen".into(), key: vec![Saddr, L4Proto] }]),
            ],
        ),
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
        Rule::new([
            Statement::Match { selector: Selector::Iifname, op: Ne, value: Bytes::ifname("lo") },
            Statement::MarkAnd(0xffff_bfff),
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
