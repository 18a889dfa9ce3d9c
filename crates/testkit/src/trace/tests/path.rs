//! The explanation that a failed assertion prints.

use super::*;

#[test]
fn outcome_lists_the_rules_on_its_path_with_their_matches() {
    let map = Arc::new(Set::verdict_map("services", [Selector::Daddr, Selector::ThDport]));
    let tables = table(|t| {
        regular(t, "mark", [vec![Statement::MarkOr(0x4000)]]);
        add_dnat_map(t, &[(80, pod(7))]);
        regular(t, "cluster-1", [vec![Statement::Jump("mark".into())], vec![dnat()]]);
        t.add_set(Arc::clone(&map));
        t.add_elements(&map, [Element::verdict(socket(at(VIP)), Verdict::Goto("cluster-1".into()))]);
        let look_up = Statement::Vmap { key: map.key.clone(), map: "services".into() };
        let rules = [vec![to_port(81), Statement::Drop], vec![look_up]];
        base(t, ("nat", ChainKind::Nat, Hook::Prerouting, -100), rules);
    });
    let expected = "\
translated to 10.244.0.7:8080, mark 0x00004000, probability 1
    ip t nat: ip daddr . th dport vmap @services  # 10.96.0.1 . 80 : goto cluster-1
    ip t cluster-1: jump mark
    ip t mark: meta mark set meta mark | 0x00004000
    ip t cluster-1: dnat ip to th dport map @dnat  # 80 : 10.244.0.7 . 8080
";
    assert_eq!(trace(&tables, &arriving(VIP)).to_string(), expected);
}

#[test]
fn rule_without_match_is_listed_only_if_it_had_an_effect() {
    let set = Arc::new(Set::new("ports", [Selector::ThDport]));
    let tables = table(|t| {
        t.add_set(Arc::clone(&set)).add_elements(&set, [Element::key(Bytes::port(80))]);
        let found =
            || Statement::InSet { key: vec![Selector::ThDport], op: MatchOp::Eq, set: "ports".into() };
        let rules = [
            vec![found(), to_port(81), Statement::Drop],
            vec![found(), Statement::MarkOr(1), to_port(81)],
            vec![Statement::Reject],
        ];
        base(t, ("chain", ChainKind::Filter, Hook::Prerouting, 0), rules);
    });
    let expected = "\
refused by an ICMP error, probability 1
    ip t chain: th dport @ports meta mark set meta mark | 0x00000001 th dport 81  # 80
    ip t chain: reject
";
    assert_eq!(trace(&tables, &arriving(VIP)).to_string(), expected);
}

#[test]
fn rule_lists_all_matches_and_outcome_all_learned_elements() {
    let set = Arc::new(Set::new("ports", [Selector::ThDport]));
    let tables = table(|t| {
        t.add_set(Arc::clone(&set)).add_elements(&set, [Element::key(Bytes::port(80))]);
        t.add_set(Set::new("seen", [Selector::Saddr]).filled_by_rules(portolan_nft::SetTimeout::None, None));
        let found =
            || Statement::InSet { key: vec![Selector::ThDport], op: MatchOp::Eq, set: "ports".into() };
        let note = || Statement::UpdateSet { set: "seen".into(), key: vec![Selector::Saddr], timeout: None };
        let rules = [vec![note(), found(), found()], vec![note()]];
        base(t, ("chain", ChainKind::Filter, Hook::Prerouting, 0), rules);
    });
    let expected = "\
delivered to 10.96.0.1:80, probability 1
    adds ip t seen { 192.0.2.9 }
    refreshes ip t seen { 192.0.2.9 }
    ip t chain: update @seen { ip saddr } th dport @ports th dport @ports  # 80; 80
    ip t chain: update @seen { ip saddr }
";
    assert_eq!(trace(&tables, &arriving(VIP)).to_string(), expected);
}

#[test]
fn outcome_with_several_paths_lists_the_likeliest() {
    let draw = is(Selector::NumgenRandom { modulus: 3 }, Bytes::u32_host(0));
    let tables = table(|t| {
        regular(t, "often", [vec![Statement::Counter]]);
        regular(t, "seldom", [vec![Statement::Counter]]);
        let rules = [vec![draw, Statement::Goto("seldom".into())], vec![Statement::Jump("often".into())]];
        base(t, ("chain", ChainKind::Filter, Hook::Prerouting, 0), rules);
    });
    assert_eq!(chains(&outcome(&tables, &arriving(VIP))), ["chain", "often"]);
}

#[test]
fn every_fate_has_its_words() {
    let listed = |statement: Statement, hook, kind| {
        let tables = table(|t| base(t, ("chain", kind, hook, 100), [vec![statement]]));
        trace(&tables, &arriving(VIP)).to_string().lines().next().unwrap().to_owned()
    };
    let filter = |statement| listed(statement, Hook::Prerouting, ChainKind::Filter);
    assert_eq!(filter(Statement::Drop), "dropped, probability 1");
    assert_eq!(filter(Statement::RejectTcpReset), "refused by a TCP reset, probability 1");
    assert_eq!(filter(Statement::Accept), "delivered to 10.96.0.1:80, probability 1");
    let masquerade = Statement::Masquerade { random_fully: true };
    let masqueraded = listed(masquerade, Hook::Postrouting, ChainKind::Nat);
    assert_eq!(masqueraded, "delivered to 10.96.0.1:80, masqueraded, probability 1");
}
