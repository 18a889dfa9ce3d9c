//! One statement at a time.

use super::*;

/// Whether a rule of these statements takes the packet, in a chain of this hook.
pub(super) fn takes(
    sets: impl FnOnce(&mut Transaction),
    hook: Hook,
    rule: Vec<Statement>,
    packet: &Packet,
) -> bool {
    let tables = table(|t| {
        sets(t);
        let rule = [rule, vec![Statement::Drop]].concat();
        base(t, ("chain", ChainKind::Filter, hook, 0), [rule]);
    });
    let outcomes = trace(&tables, packet);
    assert!(outcomes.is_dropped() != outcomes.is_untouched(), "{outcomes}");
    outcomes.is_dropped()
}

fn matches(statement: Statement, packet: &Packet) -> bool {
    takes(|_| {}, Hook::Prerouting, vec![statement], packet)
}

pub(super) fn address(text: &str) -> Bytes {
    Bytes::addr(text.parse().unwrap())
}

#[test]
fn a_match_compares_what_its_selector_loads() {
    let packet = arriving(VIP).with_mark(7);
    let cases = [
        (Selector::Saddr, address("192.0.2.9"), address("10.96.0.1")),
        (Selector::Daddr, address("10.96.0.1"), address("192.0.2.9")),
        (Selector::L4Proto, Bytes::proto(6), Bytes::proto(17)),
        (Selector::ThSport, Bytes::port(4000), Bytes::port(80)),
        (Selector::ThDport, Bytes::port(80), Bytes::port(4000)),
        (Selector::Mark, Bytes::u32_host(7), Bytes::u32_host(0)),
        (Selector::Iifname, Bytes::ifname("eth0"), Bytes::ifname("eth")),
        (Selector::CtState, Bytes::u32_host(8), Bytes::u32_host(2)),
        (Selector::CtOriginalSaddr, address("192.0.2.9"), address("10.96.0.1")),
        (Selector::CtOriginalDaddr, address("10.96.0.1"), address("192.0.2.9")),
        (Selector::CtOriginalProtoDst, Bytes::port(80), Bytes::port(4000)),
        (Selector::FibSaddrType, Bytes::u32_host(1), Bytes::u32_host(2)),
        (Selector::FibDaddrType, Bytes::u32_host(1), Bytes::u32_host(2)),
    ];
    for (selector, right, wrong) in cases {
        let matched = |op, value| matches(Statement::Match { selector, op, value }, &packet);
        assert!(matched(MatchOp::Eq, right) && !matched(MatchOp::Eq, wrong), "{selector:?}");
        assert!(!matched(MatchOp::Ne, right) && matched(MatchOp::Ne, wrong), "{selector:?}");
    }
}

#[test]
fn every_protocol_has_its_number() {
    for (protocol, number) in [(Protocol::Tcp, 6), (Protocol::Udp, 17), (Protocol::Sctp, 132)] {
        let packet = Packet::arriving(protocol, at(CLIENT), at(VIP));
        assert!(matches(is(Selector::L4Proto, Bytes::proto(number)), &packet));
    }
}

#[test]
fn fib_types_tell_local_broadcast_and_multicast_addresses_from_others() {
    let cases = [
        (NODE, 2),
        ("127.0.0.53", 2),
        ("198.51.100.1", 1),
        ("255.255.255.255", 3),
        ("224.0.0.1", 5),
        ("2001:db8::1", 2),
        ("::1", 2),
        ("2001:db8::2", 1),
        ("ff02::1", 5),
    ];
    for (text, expected) in cases {
        assert_eq!(host().address_type(text.parse().unwrap()), expected, "{text}");
    }
    let local = |selector| is(selector, Bytes::u32_host(2));
    assert!(matches(local(Selector::FibDaddrType), &arriving("192.0.2.1:80")));
    let output = |packet| takes(|_| {}, Hook::Output, vec![local(Selector::FibSaddrType)], &packet);
    assert!(output(sent(VIP)));
}

#[test]
fn what_a_packet_goes_to_is_what_translation_left() {
    let local = || is(Selector::FibDaddrType, Bytes::u32_host(2));
    let (address, port) = (|| is(Selector::Daddr, address(NODE)), || to_port(8080));
    let tables = table(|t| {
        add_dnat_map(t, &[(80, at("192.0.2.1:8080"))]);
        base(t, ("nat", ChainKind::Nat, Hook::Prerouting, -100), [vec![dnat()]]);
        let early = [vec![local(), Statement::Drop], vec![address(), Statement::Drop]];
        base(t, ("before", ChainKind::Filter, Hook::Prerouting, -110), early);
        let late = [vec![local(), address(), port(), Statement::Reject]];
        base(t, ("after", ChainKind::Filter, Hook::Prerouting, -90), late);
    });
    assert!(trace(&tables, &arriving(VIP)).is_refused());
}

#[test]
fn a_prefix_compares_only_its_bits() {
    let cases = [
        ("192.0.2.9", 32, true),
        ("192.0.2.8", 32, false),
        ("192.0.2.8", 31, true),
        ("192.0.2.10", 31, false),
        ("192.0.3.9", 23, true),
        ("192.0.1.9", 23, false),
        ("192.0.2.200", 24, true),
        ("192.0.3.9", 24, false),
        ("200.0.0.0", 4, true),
        ("208.0.0.0", 4, false),
        ("1.2.3.4", 0, true),
    ];
    for (text, bits, expected) in cases {
        let (selector, value) = (Selector::Saddr, address(text));
        let matched = |op| matches(Statement::MatchPrefix { selector, op, value, bits }, &arriving(VIP));
        assert_eq!((matched(MatchOp::Eq), matched(MatchOp::Ne)), (expected, !expected), "{text}/{bits}");
    }
}

#[test]
fn a_prefix_of_an_interface_name_compares_its_letters() {
    let named = |name: &str, letters: u8| Statement::MatchPrefix {
        selector: Selector::Iifname,
        op: MatchOp::Eq,
        value: Bytes::ifname(name),
        bits: letters * 8,
    };
    let packet = arriving(VIP).by_interface("vethA1");
    assert!(matches(named("veth", 4), &packet));
    assert!(!matches(named("vethB", 5), &packet));
    assert!(!matches(named("veth", 4), &arriving(VIP)));
}

#[test]
fn bits_match_when_one_of_them_is_set_and_negated_when_none_is() {
    let bits = |mask, op| Statement::MatchBits { selector: Selector::Mark, mask, op };
    let packet = arriving(VIP).with_mark(0b0110);
    for (mask, some) in [(0b0010, true), (0b1100, true), (0b1001, false)] {
        assert_eq!(matches(bits(mask, MatchOp::Ne), &packet), some, "{mask:#b}");
        assert_eq!(matches(bits(mask, MatchOp::Eq), &packet), !some, "{mask:#b}");
    }
}

#[test]
fn a_source_belongs_to_the_interface_of_the_narrowest_network_around_it() {
    let host = host().with_network("10.244.7.0/24".parse().unwrap(), "veth7");
    let of = |text: &str| host.interface_towards(text.parse().unwrap()).to_string();
    assert_eq!([of("10.244.7.1"), of("10.244.6.1"), of("10.245.0.1")], ["veth7", "veth0", "eth0"]);
    let from_pod = Packet::arriving(Protocol::Tcp, pod(1), at(VIP));
    assert!(matches(is(Selector::Iifname, Bytes::ifname("veth0")), &from_pod));
}

#[test]
fn ipv6_packets_meet_ipv6_tables_only() {
    let map = Arc::new(Set::map(
        "dnat",
        [Selector::Daddr, Selector::ThDport],
        [Selector::Daddr, Selector::ThDport],
    ));
    let (vip, endpoint) = (at("[fd00:96::1]:80"), at("[fd00:244::7]:8080"));
    let mut tables = table(|t| {
        base(t, ("all", ChainKind::Filter, Hook::Prerouting, 0), [vec![Statement::Drop]]);
    });
    add_table(&mut tables, TableId::new(Family::Ip6, "t"), |t| {
        t.add_set(Arc::clone(&map)).add_elements(&map, [Element::data(socket(vip), socket(endpoint))]);
        let wide = Statement::MatchPrefix {
            selector: Selector::Saddr,
            op: MatchOp::Eq,
            value: address("2001:db8:8000::"),
            bits: 33,
        };
        let look_up = Statement::DnatMap { key: map.key.clone(), map: "dnat".into() };
        base(t, ("nat", ChainKind::Nat, Hook::Prerouting, -100), [vec![wide, look_up]]);
    });
    let from = |source: &str| trace(&tables, &Packet::arriving(Protocol::Udp, at(source), vip)).endpoints();
    assert_eq!(from("[2001:db8:8001::5]:1"), [endpoint].into());
    assert_eq!(from("[2001:db8::5]:1"), [vip].into());
}

#[test]
fn marks_are_changed_bit_by_bit() {
    let after = |statement| {
        let tables = table(|t| {
            base(t, ("chain", ChainKind::Filter, Hook::Prerouting, 0), [vec![statement]]);
        });
        let fate = outcome(&tables, &arriving(VIP).with_mark(0b0110)).fate;
        let Fate::Delivered { mark, .. } = fate else { panic!("{fate:?}") };
        mark
    };
    assert_eq!(after(Statement::MarkOr(0b0011)), 0b0111);
    assert_eq!(after(Statement::MarkXor(0b0011)), 0b0101);
}

#[test]
fn a_reset_answers_tcp_alone() {
    let fate = |statement: Statement, protocol| {
        let tables = table(|t| {
            let rules = [vec![statement], vec![Statement::MarkOr(1)]];
            base(t, ("chain", ChainKind::Filter, Hook::Prerouting, 0), rules);
        });
        outcome(&tables, &Packet::arriving(protocol, at(CLIENT), at(VIP))).fate
    };
    assert_eq!(fate(Statement::RejectTcpReset, Protocol::Tcp), Fate::Refused(Refusal::TcpReset));
    assert_eq!(fate(Statement::RejectTcpReset, Protocol::Udp), Fate::Dropped);
    assert_eq!(fate(Statement::Reject, Protocol::Tcp), Fate::Refused(Refusal::Icmp));
    assert_eq!(fate(Statement::Reject, Protocol::Udp), Fate::Refused(Refusal::Icmp));
}

#[test]
fn a_rule_ends_at_the_first_condition_that_fails_but_what_it_did_stays() {
    let tables = table(|t| {
        let rules = [
            vec![to_port(81), Statement::MarkOr(1)],
            vec![Statement::Counter, Statement::MarkOr(2), to_port(81), Statement::MarkOr(4)],
            vec![to_port(80), Statement::Counter, Statement::MarkOr(8)],
        ];
        base(t, ("chain", ChainKind::Filter, Hook::Prerouting, 0), rules);
    });
    let fate = outcome(&tables, &arriving(VIP)).fate;
    assert!(matches!(fate, Fate::Delivered { mark: 0b1010, .. }), "{fate:?}");
}

#[test]
fn what_cannot_be_interpreted_is_an_error() {
    let error = |statement: Statement, packet: &Packet| {
        let tables = table(|t| {
            base(t, ("chain", ChainKind::Filter, Hook::Prerouting, 0), [vec![statement]]);
        });
        Tracer::new(&tables, &host()).trace(packet).unwrap_err().to_string()
    };
    let mixed = Packet::arriving(Protocol::Tcp, at(CLIENT), at("[::1]:80"));
    assert_eq!(error(Statement::Drop, &mixed), "no packet goes from 192.0.2.9:4000 to [::1]:80");
    let too_wide = is(Selector::NumgenRandom { modulus: (1 << 16) + 1 }, Bytes::u32_host(0));
    assert!(error(too_wide, &arriving(VIP)).ends_with("too many numbers to try them all"));
}
