//! What is written reads back, and what is garbled does no harm.

use std::time::Duration;

use portolan_netlink::{Batch, MessageIter};
use proptest::prelude::*;

use super::*;
use crate::element::Ranges;
use crate::encode::encode;
use crate::wire::message as kind;
use crate::{
    Bytes, CT_STATE_NEW, Element, ElementList, Features, MatchOp, Rule, Selector, Set, SetTimeout, Statement,
    Transaction, Verdict,
};

const VIP: [Selector; 3] = [Selector::Daddr, Selector::L4Proto, Selector::ThDport];

fn id() -> TableId {
    TableId::new(Family::Ip, "portolan")
}

fn services() -> Arc<Set> {
    Arc::new(Set::verdict_map("services", VIP).with_comment("VIPs"))
}

fn ranges() -> Arc<Set> {
    Arc::new(Set::intervals("ranges", [Selector::Saddr]))
}

fn vip(last: u8) -> Bytes {
    *Bytes::new().push_addr([10, 0, 0, last].into()).push_proto(6).push_port(80)
}

fn net(second: u8) -> Element {
    Element::prefix(Bytes::addr([10, second, 0, 0].into()), 16)
}

fn rules() -> Vec<Rule> {
    let slot = Selector::NumgenRandom { modulus: 3 };
    let key = vec![VIP[0], VIP[1], VIP[2], slot];
    let value = Bytes::addr([172, 16, 0, 0].into());
    vec![
        Rule::new([Statement::MarkOr(0x4000), Statement::Counter]).with_comment("mark"),
        Rule::new([Statement::Vmap { key: VIP.to_vec(), map: "services".into() }]),
        Rule::new([Statement::DnatMap { key, map: "endpoints".into() }]),
        Rule::new([
            Statement::MatchPrefix { selector: Selector::Daddr, op: MatchOp::Ne, value, bits: 12 },
            Statement::MatchBits { selector: Selector::CtState, mask: CT_STATE_NEW, op: MatchOp::Ne },
            Statement::InSet { key: vec![Selector::Saddr], op: MatchOp::Ne, set: "ranges".into() },
            Statement::Reject,
        ]),
        Rule::new([
            Statement::UpdateMap {
                map: "affinity".into(),
                key: vec![Selector::CtOriginalSaddr],
                data: vec![Selector::Daddr, Selector::ThDport],
                timeout: None,
            },
            Statement::Masquerade { random_fully: true },
            Statement::Goto("elsewhere".into()),
        ]),
        Rule::new([
            Statement::Match {
                selector: Selector::FibDaddrType,
                op: MatchOp::Eq,
                value: Bytes::u32_host(crate::FIB_TYPE_LOCAL),
            },
            Statement::RejectTcpReset,
        ]),
    ]
}

/// A batch with something of every kind.
fn transaction() -> Transaction {
    let mut transaction = Transaction::new(id());
    let affinity = Set::map("affinity", [Selector::CtOriginalSaddr], [Selector::Daddr, Selector::ThDport]);
    transaction
        .add_table(Table { flags: TableFlags::OWNED, comment: Some("all".into()) })
        .add_chain(Chain::base("nat", ChainKind::Nat, Hook::Output, -100))
        .add_chain(Chain::regular("elsewhere"))
        .add_set(services())
        .add_set(ranges())
        .add_set(affinity.filled_by_rules(SetTimeout::Default(Duration::from_secs(60)), Some(77)));
    for rule in rules() {
        transaction.add_rule("nat", rule);
    }
    transaction
        .add_elements(
            &services(),
            [1, 2].map(|last| Element::verdict(vip(last), Verdict::Goto("nat".into()))),
        )
        .add_elements(&services(), [Element::verdict(vip(3), Verdict::Drop).with_comment("ns/name:port")])
        .add_elements(&ranges(), [net(9), net(10), Element::key(Bytes::addr([10, 12, 0, 1].into()))]);
    transaction
}

fn encoded(transaction: &Transaction) -> Vec<u8> {
    let batch = encode(transaction, Features::default(), Batch::new(1)).unwrap().batch;
    batch.pages().flatten().copied().collect()
}

fn of_kind(bytes: &[u8], message: u8) -> Vec<Message<'_>> {
    let wanted = crate::wire::message_kind(message);
    MessageIter::new(bytes).filter(|message| message.kind == wanted).collect()
}

fn elements(bytes: &[u8], ranges: bool) -> ElementList {
    let mut elements = Elements::default();
    for message in of_kind(bytes, kind::NEW_ELEMENTS) {
        elements.take(&message, ranges);
    }
    assert_eq!(elements.unreadable, 0);
    elements.finish()
}

#[test]
fn tables_chains_and_rules_read_back_as_written() {
    let bytes = encoded(&transaction());
    let table = table(&of_kind(&bytes, kind::NEW_TABLE)[0]).unwrap();
    assert_eq!((table.id, table.table.flags), (id(), TableFlags::OWNED));
    assert_eq!(table.table.comment.as_deref(), Some("all"));

    let chains: Vec<_> = of_kind(&bytes, kind::NEW_CHAIN).iter().filter_map(chain).collect();
    let wanted = [Chain::base("nat", ChainKind::Nat, Hook::Output, -100), Chain::regular("elsewhere")];
    assert!(chains.iter().all(|(table, chain)| *table == "portolan" && !chain.foreign));
    assert_eq!(chains.iter().map(|(_, c)| c.chain.clone()).collect::<Vec<_>>(), wanted);

    let read: Vec<_> = of_kind(&bytes, kind::NEW_RULE).iter().filter_map(rule).collect();
    assert_eq!(read.len(), rules().len());
    for ((chain, read), wanted) in read.iter().zip(rules()) {
        assert!(&**chain == "nat" && read.is(&wanted, Family::Ip), "{read:?}");
    }
}

#[test]
fn sets_read_back_as_written_and_not_in_another_table() {
    let bytes = encoded(&transaction());
    let messages = of_kind(&bytes, kind::NEW_SET);
    let read: Vec<_> = messages.iter().filter_map(|message| set(message, &id())).collect();
    assert_eq!(read[0].set.as_ref(), Some(&*services()));
    assert_eq!(read[1].set.as_ref(), Some(&*ranges()));
    assert!(!read[0].ranges && read[1].ranges);
    let affinity = read[2].set.as_ref().unwrap();
    assert_eq!((affinity.timeout, affinity.size), (SetTimeout::Default(Duration::from_secs(60)), Some(77)));
    assert!(set(&messages[0], &TableId::new(Family::Ip6, "portolan")).is_none());
    assert!(set(&messages[0], &TableId::new(Family::Ip, "other")).is_none());
}

#[test]
fn elements_read_back_as_written() {
    let wanted = [
        Element::verdict(vip(1), Verdict::Goto("nat".into())),
        Element::verdict(vip(2), Verdict::Drop).with_comment("ns/name:port"),
        Element::key(vip(3)),
    ];
    let mut transaction = Transaction::new(id());
    transaction.add_elements(&services(), wanted.clone());
    assert_eq!(elements(&encoded(&transaction), false), wanted.into_iter().collect());
}

#[test]
fn neighbouring_ranges_stay_apart() {
    let single = Element::key(Bytes::addr([10, 12, 0, 1].into()));
    let last = Element::prefix(Bytes::addr([240, 0, 0, 0].into()), 4);
    let wanted = [net(9), net(10), single, last];
    let mut transaction = Transaction::new(id());
    transaction.add_elements(&ranges(), wanted.clone());
    assert_eq!(elements(&encoded(&transaction), true), wanted.into_iter().collect());
}

#[test]
fn many_elements_are_spread_over_messages_and_all_read_back() {
    let wanted: ElementList = (0..20_000_u32)
        .map(|index| {
            let mut key = Bytes::new();
            key.push_addr(std::net::Ipv4Addr::from(index).into()).push_proto(17).push_port(53);
            Element::verdict(key, Verdict::Goto(format!("cluster-{}", index % 7).into()))
        })
        .collect();
    let mut transaction = Transaction::new(id());
    transaction.add_elements(&services(), wanted.iter());
    let bytes = encoded(&transaction);
    assert!(of_kind(&bytes, kind::NEW_ELEMENTS).len() > 10);
    assert_eq!(elements(&bytes, false), wanted);
}

#[test]
fn an_offset_in_a_message_leads_to_its_element() {
    let mut transaction = Transaction::new(id());
    transaction.add_elements(&services(), (0..9).map(|last| Element::verdict(vip(last), Verdict::Drop)));
    let encoded = encode(&transaction, Features::default(), Batch::new(1)).unwrap();
    let message = encoded.batch.message(2).unwrap();
    let at = |offset| element_at(message, offset, Ranges::None).map(|element| element.key);
    let keys: Vec<_> = (0..message.len()).filter_map(at).collect();
    assert!(keys.is_sorted());
    assert_eq!((keys.first(), keys.last()), (Some(&vip(0)), Some(&vip(8))));
    assert_eq!(at(0), None);
    assert_eq!(at(message.len()), None);
}

/// Reads bytes as everything they could be.
fn read_as_anything(bytes: &[u8]) {
    for message in MessageIter::new(bytes) {
        let _ = (table(&message), chain(&message), set(&message, &id()));
        if let Some((_, rule)) = rule(&message) {
            rule.expressions.iter().for_each(|expression| _ = expression.verdict());
            assert_eq!(rule, rule.clone());
        }
        for ranges in [false, true] {
            let mut elements = Elements::default();
            elements.take(&message, ranges);
            elements.finish();
        }
    }
    for offset in [0, 20, 40, usize::MAX] {
        for ranges in [Ranges::None, Ranges::Ends, Ranges::Keys] {
            let _ = element_at(bytes, offset, ranges);
        }
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        read_as_anything(&bytes);
    }

    #[test]
    fn bytes_changed_anywhere_do_no_harm(
        places in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20),
    ) {
        let mut bytes = encoded(&transaction());
        for (place, byte) in places {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        read_as_anything(&bytes);
    }

    #[test]
    fn messages_cut_anywhere_do_no_harm(at in any::<prop::sample::Index>(), skip in any::<prop::sample::Index>()) {
        let bytes = encoded(&transaction());
        let cut = &bytes[..at.index(bytes.len())];
        read_as_anything(cut);
        read_as_anything(&cut[skip.index(cut.len().max(1)).min(cut.len())..]);
    }
}
