//! A table with everything in it, once per family.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use portolan_nft::{
    Bytes, Chain, Element, Family, Rule, Selector, Set, SetTimeout, Table, TableDump, TableId, Transaction,
    Verdict,
};

use Selector::{Daddr, L4Proto, Saddr, ThDport};

use crate::rules;

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
        Self { family, sets: sets(family), chains: rules::chains(family) }
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
                .filled_by_rules(SetTimeout::Default(Duration::from_secs(10_800)), Some(1000)),
            vec![],
        ),
        (
            Set::map("affinity-8080/shop/web/tcp/http", [Selector::CtOriginalSaddr], [Daddr])
                .filled_by_rules(SetTimeout::PerElement, Some(262_144)),
            vec![],
        ),
        (Set::new("recent", [Saddr]).filled_by_rules(SetTimeout::PerElement, None), vec![]),
        (Set::new("seen", [Saddr, L4Proto]).filled_by_rules(SetTimeout::None, Some(100)), vec![]),
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
