//! What rules know of a connection, and what becomes of its later packets.

use super::*;

fn bits(selector: Selector, mask: u32) -> Statement {
    Statement::MatchBits { selector, mask, op: MatchOp::Ne }
}

/// Marks packets by what filter chains before and after DNAT see of them; DNAT goes to pod 1.
fn watched() -> FakeTables {
    table(|t| {
        add_dnat_map(t, &[(80, pod(1))]);
        let watch = |shift: u32| {
            [
                vec![bits(Selector::CtState, 8), Statement::MarkOr(1 << shift)],
                vec![bits(Selector::CtState, 2), Statement::MarkOr(2 << shift)],
                vec![bits(Selector::CtStatus, 32), Statement::MarkOr(4 << shift)],
                vec![to_port(80), Statement::MarkOr(8 << shift)],
                vec![
                    is(Selector::CtOriginalDaddr, Bytes::addr(at(VIP).ip())),
                    is(Selector::CtOriginalProtoDst, Bytes::port(80)),
                    is(Selector::CtOriginalSaddr, Bytes::addr(at(CLIENT).ip())),
                    Statement::MarkOr(16 << shift),
                ],
            ]
        };
        base(t, ("before", ChainKind::Filter, Hook::Prerouting, -110), watch(0));
        base(t, ("nat", ChainKind::Nat, Hook::Prerouting, -100), [vec![dnat()]]);
        base(t, ("after", ChainKind::Filter, Hook::Forward, 0), watch(8));
        base(
            t,
            ("masquerading", ChainKind::Nat, Hook::Postrouting, 100),
            [vec![Statement::Masquerade { random_fully: false }, Statement::Drop]],
        );
    })
}

fn mark(outcome: &Outcome) -> u32 {
    match outcome.fate {
        Fate::Delivered { mark, .. } => mark,
        Fate::Refused(_) | Fate::Dropped => panic!("{outcome}"),
    }
}

const NEW: u32 = 1;
const ESTABLISHED: u32 = 2;
const TRANSLATED: u32 = 4;
const UNCHANGED_PORT: u32 = 8;
const ORIGINAL: u32 = 16;

#[test]
fn a_first_packet_is_translated_between_the_chains_before_and_after() {
    let first = outcome(&watched(), &arriving(VIP));
    let before = NEW | UNCHANGED_PORT | ORIGINAL;
    assert_eq!(mark(&first), before | (NEW | TRANSLATED | ORIGINAL) << 8, "{first}");
    assert_eq!(first.endpoint(), Some(pod(1)));
    let source = Source::Masqueraded;
    assert_eq!(first.translation, Translation { destination: Some(pod(1)), source });
}

#[test]
fn later_packets_skip_nat_chains_and_are_translated() {
    let tables = watched();
    let packet = arriving(VIP);
    let first = outcome(&tables, &packet);
    for (later, state) in [(packet.unanswered(&first), NEW), (packet.established(&first), ESTABLISHED)] {
        let later = outcome(&tables, &later);
        let seen_before = state | TRANSLATED | UNCHANGED_PORT | ORIGINAL;
        let seen_after = state | TRANSLATED | ORIGINAL;
        assert_eq!(mark(&later), seen_before | seen_after << 8, "{later}");
        assert_eq!((later.endpoint(), later.translation), (Some(pod(1)), first.translation));
        assert!(!chains(&later).contains(&"nat"), "{later}");
        assert!(!chains(&later).contains(&"masquerading"), "{later}");
    }
}

#[test]
fn a_connection_that_nat_left_alone_once_is_left_alone_for_good() {
    let packet = arriving(VIP);
    let first = outcome(&FakeTables::new(), &packet);
    let later = outcome(&watched(), &packet.unanswered(&first));
    assert_eq!((later.endpoint(), later.translation.source), (Some(at(VIP)), Source::Kept));
}

#[test]
fn a_packet_that_was_dropped_leaves_no_connection() {
    let packet = arriving(VIP);
    let dropping = table(|t| {
        base(t, ("all", ChainKind::Filter, Hook::Forward, 0), [vec![Statement::Drop]]);
    });
    let dropped = outcome(&dropping, &packet);
    assert_eq!(packet.unanswered(&dropped), packet);
    assert_eq!(packet.established(&dropped), packet);
}

#[test]
fn before_connection_tracking_the_state_is_invalid_and_all_else_unknown() {
    let tables = table(|t| {
        let anything = |selector| {
            vec![Statement::MatchBits { selector, mask: 32, op: MatchOp::Eq }, Statement::MarkOr(4)]
        };
        let original = Statement::Match {
            selector: Selector::CtOriginalProtoDst,
            op: MatchOp::Ne,
            value: Bytes::port(1),
        };
        let rules = [
            vec![bits(Selector::CtState, 1), Statement::MarkOr(1)],
            vec![bits(Selector::CtState, 8), Statement::MarkOr(2)],
            anything(Selector::CtStatus),
            vec![original, Statement::MarkOr(8)],
        ];
        base(t, ("raw", ChainKind::Filter, Hook::Prerouting, -300), rules);
    });
    assert_eq!(mark(&outcome(&tables, &arriving(VIP))), 1);
    // What comes back by the loopback interface was tracked on its way out.
    assert_eq!(mark(&outcome(&tables, &sent("127.0.0.1:80"))), 2 | 4 | 8);
}

#[test]
fn status_bits_follow_the_connection() {
    // IPS_*: seen reply 2, assured 4, confirmed 8, src nat 16, dst nat 32, src done 128, dst done 256.
    let status = |packet: &Packet, hook, expected: u32| {
        let matched = table(|t| {
            add_dnat_map(t, &[(80, pod(1))]);
            base(t, ("nat", ChainKind::Nat, Hook::Prerouting, -100), [vec![dnat()]]);
            let masquerade = Statement::Masquerade { random_fully: true };
            base(t, ("masquerading", ChainKind::Nat, Hook::Postrouting, 100), [vec![masquerade]]);
            let exactly = is(Selector::CtStatus, Bytes::u32_host(expected));
            base(t, ("status", ChainKind::Filter, hook, 200), [vec![exactly, Statement::Drop]]);
        });
        assert!(trace(&matched, packet).is_dropped(), "{expected:#x} in {hook:?}");
    };
    let first = arriving(VIP);
    status(&first, Hook::Forward, 32 | 256);
    status(&first, Hook::Postrouting, 16 | 32 | 128 | 256);
    status(&arriving("10.96.0.1:81"), Hook::Forward, 256);
    status(&sent("127.0.0.1:81"), Hook::Output, 256);
    status(&sent("127.0.0.1:81"), Hook::Input, 8 | 16 | 128 | 256);
    let connection = Connection::Established(Translation { destination: None, source: Source::Kept });
    let established = |protocol| Packet { protocol, connection, ..first.clone() };
    status(&established(Protocol::Tcp), Hook::Prerouting, 2 | 4 | 8 | 128 | 256);
    status(&established(Protocol::Udp), Hook::Prerouting, 2 | 8 | 128 | 256);
}

#[test]
fn masquerading_hides_the_source_and_accepts() {
    let masqueraded = outcome(&watched(), &arriving("10.96.0.1:81"));
    assert_eq!((masqueraded.endpoint(), masqueraded.is_translated()), (Some(at("10.96.0.1:81")), false));
    assert_eq!(masqueraded.translation.source, Source::Masqueraded);
    assert!(!trace(&watched(), &arriving("10.96.0.1:81")).is_untouched());
}

/// Masquerades all, and then asks for something of the source.
fn ask_masqueraded(selector: Selector, value: Bytes, host: &Host) -> Result<Outcomes, TraceError> {
    let tables = table(|t| {
        let masquerade = vec![Statement::Masquerade { random_fully: false }];
        base(t, ("masquerading", ChainKind::Nat, Hook::Postrouting, 100), [masquerade]);
        base(t, ("ask", ChainKind::Filter, Hook::Input, 0), [vec![is(selector, value), Statement::Drop]]);
    });
    Tracer::new(&tables, host).trace(&sent("127.0.0.1:80"))
}

#[test]
fn a_masqueraded_source_is_the_nodes_address_if_it_has_but_one() {
    let address = |text: &str| Bytes::addr(text.parse().unwrap());
    let with = |host: Host, more: [&str; 3]| {
        more.iter().fold(host, |host, address| host.with_address(address.parse().unwrap()))
    };
    // An address of the other family and one of the loopback interface are no choice.
    let one = with(Host::new("eth0"), ["2001:db8::77", "127.0.0.77", "192.0.2.77"]);
    let asked = |value, host| ask_masqueraded(Selector::Saddr, value, host);
    assert!(asked(address("192.0.2.77"), &one).unwrap().is_dropped());
    assert!(!asked(address(NODE), &one).unwrap().is_dropped());
    let unknown = |selector| Err(TraceError::Unknown { selector });
    let two = one.clone().with_address("198.51.100.77".parse().unwrap());
    assert_eq!(asked(address(NODE), &two), unknown(Selector::Saddr));
    let asked = ask_masqueraded(Selector::FibSaddrType, Bytes::u32_host(2), &two);
    assert_eq!(asked, unknown(Selector::FibSaddrType));
    let asked = ask_masqueraded(Selector::ThSport, Bytes::port(5000), &one);
    assert_eq!(asked, unknown(Selector::ThSport));
}

#[test]
fn packets_that_come_back_by_loopback_keep_their_mark_and_say_so() {
    let tables = table(|t| {
        let by = |op| Statement::Match { selector: Selector::Iifname, op, value: Bytes::ifname("lo") };
        let (set, unset) = (MatchOp::Eq, MatchOp::Ne);
        // What is sent has no interface, which is another one than lo.
        base(t, ("out", ChainKind::Filter, Hook::Output, 0), [vec![by(unset), Statement::MarkOr(1)]]);
        base(t, ("leave", ChainKind::Filter, Hook::Postrouting, 0), [vec![by(unset), Statement::MarkOr(2)]]);
        base(t, ("back", ChainKind::Filter, Hook::Prerouting, 0), [vec![by(set), Statement::MarkOr(4)]]);
        base(t, ("in", ChainKind::Filter, Hook::Input, 0), [vec![by(set), Statement::MarkOr(8)]]);
    });
    assert_eq!(mark(&outcome(&tables, &sent("127.0.0.1:80"))), 0b1111);
}

#[test]
fn the_interface_of_arrival_is_known_to_the_end() {
    let tables = table(|t| {
        let by = is(Selector::Iifname, Bytes::ifname("eth0"));
        base(t, ("pass", ChainKind::Filter, Hook::Forward, 0), [vec![by.clone(), Statement::MarkOr(1)]]);
        base(t, ("leave", ChainKind::Filter, Hook::Postrouting, 0), [vec![by, Statement::MarkOr(2)]]);
    });
    assert_eq!(mark(&outcome(&tables, &arriving(VIP))), 3);
}
