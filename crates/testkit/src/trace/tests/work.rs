//! What a way costs.

use super::*;

#[test]
fn a_way_costs_the_chains_rules_and_expressions_that_were_met() {
    let found = || Statement::InSet { key: vec![Selector::ThDport], op: MatchOp::Eq, set: "ports".into() };
    let tables = table(|t| {
        let ports = Arc::new(Set::new("ports", [Selector::ThDport]));
        t.add_set(Arc::clone(&ports));
        t.add_elements(&ports, [Element::key(Bytes::port(80))]);
        regular(t, "more", [vec![found()], vec![Statement::Drop]]);
        let elsewhere = is(Selector::L4Proto, Bytes::proto(17));
        let first = [vec![elsewhere, found(), Statement::Drop], vec![Statement::Jump("more".into())]];
        base(t, ("first", ChainKind::Filter, Hook::Prerouting, 0), first);
        base(t, ("second", ChainKind::Filter, Hook::Prerouting, 1), [vec![Statement::Accept]]);
    });
    // `first`: two expressions of the rule that stops there, the jump; `more`: a load and a look-up, the drop.
    let work = Work { base_chains: 1, rules: 4, expressions: 6, lookups: 1 };
    assert_eq!(outcome(&tables, &arriving(VIP)).work, work);
}

#[test]
fn nat_chains_cost_the_first_packet_of_a_connection_alone() {
    let tables = table(|t| {
        base(t, ("nat", ChainKind::Nat, Hook::Prerouting, -100), [vec![Statement::Accept]]);
    });
    let first = arriving(VIP);
    let opened = outcome(&tables, &first);
    assert_eq!(opened.work.base_chains, 1);
    assert_eq!(outcome(&tables, &first.established(&opened)).work, Work::default());
}
