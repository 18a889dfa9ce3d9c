//! Look-ups in sets and maps of every kind.

use super::statement::{address, takes};
use super::*;

/// Whether `key` of the packet is in a set of these elements, by both operators.
#[track_caller]
fn contains(set: Set, elements: &[Element], packet: &Packet) -> bool {
    let (set, name) = (Arc::new(set), Arc::from("set"));
    let found = |op| {
        let statement = Statement::InSet { key: set.key.clone(), op, set: Arc::clone(&name) };
        let fill = |t: &mut Transaction| {
            t.add_set(Arc::clone(&set)).add_elements(&set, elements.iter().cloned());
        };
        takes(fill, Hook::Prerouting, vec![statement], packet)
    };
    let answer = found(MatchOp::Eq);
    assert_ne!(found(MatchOp::Ne), answer);
    answer
}

#[test]
fn single_keys_have_their_natural_length() {
    let ports = || Set::new("set", [Selector::ThDport]);
    assert!(contains(ports(), &[Element::key(Bytes::port(80))], &arriving(VIP)));
    assert!(!contains(ports(), &[Element::key(Bytes::port(81))], &arriving(VIP)));
    let protocols = Set::new("set", [Selector::L4Proto]);
    assert!(contains(protocols, &[Element::key(Bytes::proto(6))], &arriving(VIP)));
}

#[test]
fn concatenated_keys_have_padded_parts() {
    let key = [Selector::Saddr, Selector::L4Proto, Selector::ThDport, Selector::Iifname];
    let element = |interface: &str| {
        let mut key = Bytes::new();
        key.push_addr(at(CLIENT).ip()).push_proto(6).push_port(80).push(&Bytes::ifname(interface));
        [Element::key(key)]
    };
    assert!(contains(Set::new("set", key), &element("eth0"), &arriving(VIP)));
    assert!(!contains(Set::new("set", key), &element("eth1"), &arriving(VIP)));
}

#[test]
fn intervals_hold_their_ends_and_what_lies_between() {
    let cases = [
        ("192.0.2.9", "192.0.2.9", true),
        ("192.0.2.9", "192.0.2.20", true),
        ("192.0.2.1", "192.0.2.9", true),
        ("192.0.2.1", "192.0.2.8", false),
        ("192.0.2.10", "192.0.2.20", false),
    ];
    for (first, last, expected) in cases {
        let set = Set::intervals("set", [Selector::Saddr]);
        let elements = [
            Element::range(address("1.0.0.0"), address("1.255.255.255")),
            Element::range(address(first), address(last)),
            Element::prefix(address("203.0.113.0"), 24),
        ];
        assert_eq!(contains(set, &elements, &arriving(VIP)), expected, "{first}-{last}");
    }
}

#[test]
fn a_concatenated_interval_must_hold_every_part() {
    let end = |address: &str, port: u16| *Bytes::new().push_addr(address.parse().unwrap()).push_port(port);
    let cases = [
        ((("192.0.2.0", 80), ("192.0.2.255", 80)), true),
        ((("192.0.2.0", 70), ("192.0.2.255", 90)), true),
        // As one number the key would lie between these.
        ((("192.0.2.0", 90), ("192.0.2.255", 100)), false),
        ((("192.0.3.0", 70), ("192.0.3.255", 90)), false),
    ];
    for ((first, last), expected) in cases {
        let set = Set::intervals("set", [Selector::Saddr, Selector::ThDport]);
        let range = Element::range(end(first.0, first.1), end(last.0, last.1));
        assert_eq!(contains(set, &[range], &arriving(VIP)), expected, "{first:?}-{last:?}");
    }
}

#[test]
fn a_verdict_map_decides_and_a_missing_key_ends_the_rule() {
    let map = Arc::new(Set::verdict_map("verdicts", [Selector::ThDport]));
    let tables = table(|t| {
        regular(t, "pass", [vec![Statement::Accept]]);
        let element = |port, verdict| Element::verdict(Bytes::port(port), verdict);
        t.add_set(Arc::clone(&map)).add_elements(
            &map,
            [
                element(1, Verdict::Drop),
                element(2, Verdict::Accept),
                element(3, Verdict::Return),
                element(4, Verdict::Goto("pass".into())),
                element(5, Verdict::Jump("pass".into())),
            ],
        );
        let look_up = Statement::Vmap { key: vec![Selector::ThDport], map: "verdicts".into() };
        // What follows a look-up that finds nothing must not run, nor what follows one that does.
        let rules = [vec![look_up, Statement::Reject], vec![Statement::MarkOr(1)]];
        base(t, ("chain", ChainKind::Filter, Hook::Prerouting, 0), rules);
    });
    let mark = |port: u16| match outcome(&tables, &arriving(&format!("198.51.100.1:{port}"))).fate {
        Fate::Delivered { mark, .. } => Some(mark),
        Fate::Dropped => None,
        Fate::Refused(_) => panic!("a statement ran after a look-up"),
    };
    assert_eq!([1, 2, 3, 4, 5, 6].map(mark), [None, Some(0), Some(0), Some(0), Some(0), Some(1)]);
}

#[test]
fn dnat_takes_address_and_port_from_its_map_and_a_missing_key_ends_the_rule() {
    let tables = table(|t| {
        add_dnat_map(t, &[(80, pod(7))]);
        let rules = [vec![dnat(), Statement::Drop], vec![Statement::MarkOr(1)]];
        base(t, ("nat", ChainKind::Nat, Hook::Prerouting, -100), rules);
    });
    let translated = outcome(&tables, &arriving(VIP));
    assert_eq!(translated.fate, Fate::Delivered { to: pod(7), source: Source::Kept, mark: 0 });
    assert!(translated.is_translated());
    let other = outcome(&tables, &arriving("10.96.0.1:81"));
    let to = at("10.96.0.1:81");
    assert_eq!(other.fate, Fate::Delivered { to, source: Source::Kept, mark: 1 });
    assert!(!other.is_translated());
}

#[test]
fn dnat_with_a_port_of_its_own_takes_only_the_address_from_its_map() {
    let map = Arc::new(Set::map("clients", [Selector::Saddr], [Selector::Daddr]));
    let tables = table(|t| {
        let element = Element::data(address("192.0.2.9"), address("10.244.0.7"));
        t.add_set(Arc::clone(&map)).add_elements(&map, [element]);
        let key = vec![Selector::Saddr];
        let rule = vec![Statement::DnatMapPort { key, map: "clients".into(), port: 8080 }];
        base(t, ("nat", ChainKind::Nat, Hook::Prerouting, -100), [rule]);
    });
    assert_eq!(outcome(&tables, &arriving(VIP)).endpoint(), Some(pod(7)));
}

#[test]
fn dnat_to_where_the_packet_goes_anyway_is_no_translation() {
    let tables = table(|t| {
        add_dnat_map(t, &[(80, at(VIP))]);
        base(t, ("nat", ChainKind::Nat, Hook::Prerouting, -100), [vec![dnat()]]);
        let translated = Statement::MatchBits { selector: Selector::CtStatus, mask: 32, op: MatchOp::Ne };
        base(t, ("after", ChainKind::Filter, Hook::Prerouting, 0), [vec![translated, Statement::Drop]]);
    });
    assert!(trace(&tables, &arriving(VIP)).is_untouched());
}
