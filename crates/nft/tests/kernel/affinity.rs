//! Dynamic maps: filled by packets, read back, emptied by key.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use portolan_nft::{
    Bytes, Chain, ChainKind, Element, ElementValue, Family, Hook, MatchOp, NetlinkTables, Rule, Selector,
    Set, SetTimeout, Statement, Table, TableId, Tables, Transaction,
};
use portolan_testkit::netns::isolated;

/// How long entries live.
const LIFE: Duration = Duration::from_secs(3600);

/// Learns from UDP packets this host sends to itself whom they were sent to.
fn learning(id: &TableId) -> (Arc<Set>, Transaction) {
    let map = Set::map("affinity", [Selector::CtOriginalSaddr], [Selector::Daddr, Selector::ThDport]);
    let map = Arc::new(map.filled_by_rules(SetTimeout::Default(LIFE), Some(50_000)));
    let udp = Statement::Match { selector: Selector::L4Proto, op: MatchOp::Eq, value: Bytes::proto(17) };
    let learn = Statement::UpdateMap {
        map: "affinity".into(),
        key: vec![Selector::CtOriginalSaddr],
        data: vec![Selector::Daddr, Selector::ThDport],
        timeout: None,
    };
    let chain = Chain::base("learn", ChainKind::Filter, Hook::Output, -90);
    let mut transaction = Transaction::new(id.clone());
    transaction
        .add_table(Table::default())
        .add_set(Arc::clone(&map))
        .add_chain(chain.clone())
        .add_rule(chain.name, Rule::new([udp, learn]));
    (map, transaction)
}

fn check(family: Family, here: &str) {
    let id = TableId::new(family, "portolan");
    let (map, transaction) = learning(&id);
    let mut tables = NetlinkTables::open().unwrap();
    tables.commit(&transaction).unwrap();
    let target: SocketAddr = here.parse().unwrap();
    let socket = UdpSocket::bind((target.ip(), 0)).unwrap();
    socket.send_to(b"hello", target).unwrap();

    let learned = tables.dump_set(&id, "affinity").unwrap().unwrap();
    assert_eq!(learned.set.as_ref(), Some(&map));
    let element = learned.elements.iter().next().unwrap();
    assert_eq!(learned.elements.len(), 1);
    assert_eq!(element.key, Bytes::addr(target.ip()));
    let wanted = *Bytes::new().push_addr(target.ip()).push_port(target.port());
    assert_eq!(element.value, ElementValue::Data(wanted));
    assert!(element.expires.is_some_and(|left| left <= LIFE && left > LIFE / 2), "{element:?}");

    // Taken away, and put back with less time to live.
    let mut transaction = Transaction::new(id.clone());
    transaction.delete_elements(&map, [Element::key(element.key)]);
    let short = Element { expires: Some(Duration::from_secs(60)), ..element };
    transaction.add_elements(&map, [short.clone()]);
    tables.commit(&transaction).unwrap();
    let again = tables.dump_set(&id, "affinity").unwrap().unwrap().elements.iter().next().unwrap();
    assert_eq!((again.key, &again.value), (short.key, &short.value));
    assert!(again.expires.is_some_and(|left| left <= Duration::from_secs(60)), "{again:?}");
}

#[test]
fn a_packet_is_remembered_with_its_destination() {
    isolated(|| check(Family::Ip, "127.0.0.1:5353"));
}

#[test]
fn an_ip6_packet_is_remembered_with_its_destination() {
    isolated(|| check(Family::Ip6, "[::1]:5353"));
}

#[test]
fn a_map_without_size_is_the_same_after_a_rule_uses_it() {
    isolated(|| {
        let id = TableId::new(Family::Ip, "portolan");
        let (map, transaction) = learning(&id);
        let sizeless = Arc::new(Set { size: None, ..(*map).clone() });
        let mut load = Transaction::new(id.clone());
        for operation in transaction.operations() {
            match operation {
                portolan_nft::Operation::AddSet(_) => load.add_set(Arc::clone(&sizeless)),
                other => load.push(other.clone()),
            };
        }
        let mut tables = NetlinkTables::open().unwrap();
        tables.commit(&load).unwrap();
        assert_eq!(tables.dump_set(&id, "affinity").unwrap().unwrap().set, Some(sizeless));
    });
}
