//! Elements that packets put into dynamic sets, and what they mean to the next packet.

use std::time::Duration;

use portolan_nft::SetTimeout;

use super::*;

const HOUR: Duration = Duration::from_secs(3600);

/// Two endpoints, picked at random unless the client is known; clients become known after DNAT.
fn sticky(size: Option<u32>) -> FakeTables {
    let slot = Selector::NumgenRandom { modulus: 2 };
    let endpoint = [Selector::Daddr, Selector::ThDport];
    let slots = Arc::new(Set::map("slots", [slot], endpoint));
    let affinity = Set::map("affinity", [Selector::CtOriginalSaddr], endpoint);
    table(|t| {
        t.add_set(affinity.filled_by_rules(SetTimeout::Default(HOUR), size));
        let element = |n: u16| Element::data(Bytes::u32_host(n.into()), socket(pod(n)));
        t.add_set(Arc::clone(&slots)).add_elements(&slots, [element(0), element(1)]);
        let known = Statement::DnatMap { key: vec![Selector::Saddr], map: "affinity".into() };
        let pick = Statement::DnatMap { key: vec![slot], map: "slots".into() };
        base(t, ("nat", ChainKind::Nat, Hook::Prerouting, -100), [vec![known], vec![pick]]);
        let learn = Statement::UpdateMap {
            map: "affinity".into(),
            key: vec![Selector::CtOriginalSaddr],
            data: endpoint.to_vec(),
            timeout: None,
        };
        let rule = vec![learn, Statement::MarkOr(1)];
        base(t, ("learn", ChainKind::Filter, Hook::Prerouting, -90), [rule]);
    })
}

#[test]
fn what_the_first_packet_learns_decides_for_the_next() {
    let (tables, host) = (sticky(None), host());
    let before = tables.to_nft();
    let first = trace(&tables, &arriving(VIP));
    assert_eq!(first.endpoints(), [pod(0), pod(1)].into());
    for outcome in &first {
        let [learned] = &outcome.learned[..] else { panic!("{outcome}") };
        assert_eq!((learned.data, learned.novelty), (outcome.endpoint().map(socket), Novelty::Added));
        assert_eq!((&*learned.set, learned.lifetime), ("affinity", Some(HOUR)));

        let next = Tracer::new(&tables, &host).after(outcome).trace(&arriving(VIP)).unwrap();
        let next = next.only().unwrap();
        assert_eq!(next.endpoint(), outcome.endpoint());
        assert_eq!(next.learned[0].novelty, Novelty::Refreshed);

        let stranger = Packet { source: at("192.0.2.10:4000"), ..arriving(VIP) };
        let other = Tracer::new(&tables, &host).after(outcome).trace(&stranger).unwrap();
        assert_eq!(other.endpoints().len(), 2);
    }
    assert_eq!(tables.to_nft(), before);
}

#[test]
fn an_element_that_is_there_keeps_its_data() {
    let tables = sticky(None);
    let packet = arriving(VIP);
    let first = trace(&tables, &packet);
    let to = |n| first.iter().find(|outcome| outcome.endpoint() == Some(pod(n))).unwrap();
    // A packet of the connection to pod 1 comes by while the client is known to prefer pod 0.
    let host = host();
    let tracer = Tracer::new(&tables, &host).after(to(0));
    let later = tracer.trace(&packet.unanswered(to(1))).unwrap();
    let later = later.only().unwrap();
    assert_eq!(later.endpoint(), Some(pod(1)));
    assert_eq!((later.learned[0].novelty, later.learned[0].data), (Novelty::Refreshed, Some(socket(pod(0)))));
}

#[test]
fn a_full_set_ends_the_rule() {
    let tables = sticky(Some(1));
    let host = host();
    let learned = trace(&tables, &arriving(VIP)).iter().next().unwrap().clone();
    assert!(matches!(learned.fate, Fate::Delivered { mark: 1, .. }));
    let full = Tracer::new(&tables, &host).after(&learned).after(&learned);
    let stranger = Packet { source: at("192.0.2.10:4000"), ..arriving(VIP) };
    for outcome in &full.trace(&stranger).unwrap() {
        assert!(matches!(outcome.fate, Fate::Delivered { mark: 0, .. }) && outcome.learned.is_empty());
    }
    // Those who are in still get new time.
    let again = full.trace(&arriving(VIP)).unwrap();
    assert!(matches!(again.only().unwrap().fate, Fate::Delivered { mark: 1, .. }));
}

/// A set of clients that is filled before the packet is dropped unless it finds itself in it.
fn noted(timeout: SetTimeout, of_rule: Option<Duration>) -> FakeTables {
    table(|t| {
        t.add_set(Set::new("seen", [Selector::Saddr]).filled_by_rules(timeout, None));
        let seen = |op| Statement::InSet { key: vec![Selector::Saddr], op, set: "seen".into() };
        let note = Statement::UpdateSet { set: "seen".into(), key: vec![Selector::Saddr], timeout: of_rule };
        let rules = [
            vec![seen(MatchOp::Eq), Statement::Reject],
            vec![note],
            vec![seen(MatchOp::Eq), Statement::Drop],
        ];
        base(t, ("chain", ChainKind::Filter, Hook::Prerouting, 0), rules);
    })
}

#[test]
fn an_element_is_there_at_once_and_stays_when_the_packet_does_not_get_through() {
    let tables = noted(SetTimeout::None, None);
    let first = outcome(&tables, &arriving(VIP));
    assert_eq!(first.fate, Fate::Dropped);
    let [learned] = &first.learned[..] else { panic!("{first}") };
    assert_eq!((learned.data, learned.key), (None, Bytes::addr(at(CLIENT).ip())));
    assert_eq!(learned.to_string(), "adds ip t seen { 192.0.2.9 }");
    let host = host();
    assert!(Tracer::new(&tables, &host).after(&first).trace(&arriving(VIP)).unwrap().is_refused());
}

#[test]
fn elements_live_as_long_as_the_rule_or_else_the_set_says() {
    let lifetime = |timeout, of_rule| outcome(&noted(timeout, of_rule), &arriving(VIP)).learned[0].lifetime;
    let minute = Duration::from_secs(60);
    assert_eq!(lifetime(SetTimeout::None, None), None);
    assert_eq!(lifetime(SetTimeout::PerElement, None), None);
    assert_eq!(lifetime(SetTimeout::PerElement, Some(minute)), Some(minute));
    assert_eq!(lifetime(SetTimeout::Default(HOUR), None), Some(HOUR));
    assert_eq!(lifetime(SetTimeout::Default(HOUR), Some(minute)), Some(minute));
}

#[test]
fn a_dynamic_set_without_a_size_holds_as_many_elements_as_nft_gives_it() {
    let mut tables = noted(SetTimeout::None, None);
    let set = Set::new("seen", [Selector::Saddr]).filled_by_rules(SetTimeout::None, None);
    let mut fill = |numbers: std::ops::Range<u32>| {
        let element = |n: u32| Element::key(Bytes::addr(std::net::Ipv4Addr::from(n).into()));
        let mut transaction = Transaction::new(id());
        transaction.add_elements(&Arc::new(set.clone()), numbers.map(element));
        tables.commit(&transaction).unwrap();
        outcome(&tables, &arriving(VIP)).learned.len()
    };
    assert_eq!(fill(0..65_534), 1);
    assert_eq!(fill(65_534..65_535), 0);
}

#[test]
fn sets_of_the_same_name_in_other_tables_learn_nothing() {
    let mut tables = noted(SetTimeout::None, None);
    let first = outcome(&tables, &arriving(VIP));
    let mut other = Transaction::new(id());
    other.delete_table();
    tables.commit(&other).unwrap();
    add_table(&mut tables, TableId::new(Family::Ip, "u"), |t| {
        t.add_set(Set::new("seen", [Selector::Saddr]).filled_by_rules(SetTimeout::None, None));
        let seen = Statement::InSet { key: vec![Selector::Saddr], op: MatchOp::Eq, set: "seen".into() };
        base(t, ("chain", ChainKind::Filter, Hook::Prerouting, 0), [vec![seen, Statement::Drop]]);
    });
    let host = host();
    assert!(Tracer::new(&tables, &host).after(&first).trace(&arriving(VIP)).unwrap().is_untouched());
}

#[test]
fn what_differs_in_what_it_learns_is_another_outcome() {
    let slot = Selector::NumgenRandom { modulus: 3 };
    let tables = table(|t| {
        t.add_set(Set::new("drawn", [slot]).filled_by_rules(SetTimeout::None, None));
        let note = Statement::UpdateSet { set: "drawn".into(), key: vec![slot], timeout: None };
        base(t, ("chain", ChainKind::Filter, Hook::Prerouting, 0), [vec![note]]);
    });
    let outcomes = trace(&tables, &arriving(VIP));
    let keys: Vec<_> = outcomes.iter().map(|outcome| outcome.learned[0].key).collect();
    assert_eq!(keys, [0, 1, 2].map(Bytes::u32_host));
    assert!(outcomes.iter().all(|outcome| outcome.probability == Probability::of(1, 3).unwrap()));
}

#[test]
fn an_update_that_cannot_load_its_key_ends_the_rule() {
    let tables = table(|t| {
        t.add_set(Set::new("seen", [Selector::CtOriginalSaddr]).filled_by_rules(SetTimeout::None, None));
        let key = vec![Selector::CtOriginalSaddr];
        let note = Statement::UpdateSet { set: "seen".into(), key, timeout: None };
        base(t, ("raw", ChainKind::Filter, Hook::Prerouting, -300), [vec![note, Statement::Drop]]);
    });
    let untracked = outcome(&tables, &arriving(VIP));
    assert!(untracked.learned.is_empty() && untracked.endpoint().is_some(), "{untracked}");
}
