use std::sync::Arc;
use std::time::Duration;

use crate::fake::FakeTables;
use portolan_nft::{
    Chain, Family, MatchOp, Rule, Selector, Set, SetTimeout, Statement, Table, TableId, Tables, Transaction,
};

use Selector::{Daddr, Saddr, ThDport};

/// What a rule of one statement is refused with, given sets of every kind.
fn outcome(family: Family, statement: Statement) -> Result<(), i32> {
    let sets = [
        Set::new("plain", [Daddr]),
        Set::verdict_map("verdicts", [Daddr]),
        Set::map("addresses", [Daddr], [Daddr]),
        Set::map("endpoints", [Daddr], [Daddr, ThDport]),
        Set::new("seen", [Saddr]).filled_by_rules(SetTimeout::None, None),
        Set::map("affinity", [Saddr], [Daddr]).filled_by_rules(SetTimeout::PerElement, None),
    ];
    let mut transaction = Transaction::new(TableId::new(family, "portolan"));
    transaction.add_table(Table::default()).add_chain(Chain::regular("chain"));
    for set in sets {
        transaction.add_set(set);
    }
    transaction.add_rule("chain", Rule::new([statement]));
    FakeTables::new().commit(&transaction).map(drop).map_err(|error| error.errno().unwrap())
}

#[track_caller]
fn check(outcomes: impl Fn(Family, &'static str) -> Result<(), i32>, wanted: [Result<(), i32>; 6]) {
    for family in [Family::Ip, Family::Ip6] {
        let sets = ["plain", "verdicts", "addresses", "endpoints", "seen", "affinity"];
        assert_eq!(sets.map(|set| outcomes(family, set)), wanted, "{family}");
    }
}

const INVAL: Result<(), i32> = Err(libc::EINVAL);
const NOTSUPP: Result<(), i32> = Err(libc::EOPNOTSUPP);

#[test]
fn a_map_leads_to_what_it_holds_and_to_nothing_else() {
    let key = |set| vec![if ["seen", "affinity"].contains(&set) { Saddr } else { Daddr }];
    let vmap =
        |family, set: &'static str| outcome(family, Statement::Vmap { key: key(set), map: set.into() });
    check(vmap, [INVAL, Ok(()), INVAL, INVAL, INVAL, INVAL]);
    let dnat =
        |family, set: &'static str| outcome(family, Statement::DnatMap { key: key(set), map: set.into() });
    check(dnat, [INVAL, INVAL, INVAL, Ok(()), INVAL, INVAL]);
    let port = |family, set: &'static str| {
        outcome(family, Statement::DnatMapPort { key: key(set), map: set.into(), port: 80 })
    };
    check(port, [INVAL, INVAL, Ok(()), INVAL, INVAL, Ok(())]);
}

#[test]
fn a_key_has_the_length_of_the_sets() {
    for (key, good) in [(vec![Saddr], true), (vec![ThDport], false), (vec![Daddr, ThDport], false)] {
        let within = Statement::InSet { key, op: MatchOp::Ne, set: "plain".into() };
        assert_eq!(outcome(Family::Ip, within).is_ok(), good);
    }
}

#[test]
fn rules_fill_sets_that_were_made_for_it_with_what_these_hold() {
    let update = |data: &'static [Selector]| {
        move |family, map: &'static str| {
            let (key, timeout) = (vec![Saddr], None);
            outcome(family, Statement::UpdateMap { map: map.into(), key, data: data.to_vec(), timeout })
        }
    };
    check(update(&[Daddr]), [NOTSUPP, NOTSUPP, NOTSUPP, NOTSUPP, NOTSUPP, Ok(())]);
    check(update(&[Daddr, ThDport]), [NOTSUPP, NOTSUPP, NOTSUPP, NOTSUPP, NOTSUPP, INVAL]);
    let note = |timeout| {
        move |family, set: &'static str| {
            outcome(family, Statement::UpdateSet { set: set.into(), key: vec![Saddr], timeout })
        }
    };
    check(note(None), [NOTSUPP, NOTSUPP, NOTSUPP, NOTSUPP, Ok(()), INVAL]);
    check(note(Some(Duration::from_secs(1))), [NOTSUPP, NOTSUPP, NOTSUPP, NOTSUPP, NOTSUPP, INVAL]);
}

#[test]
fn a_set_in_use_by_a_rule_of_any_kind_cannot_be_deleted() {
    let id = TableId::new(Family::Ip, "portolan");
    let map: Arc<str> = "affinity".into();
    let uses = [
        Statement::DnatMapPort { key: vec![Saddr], map: Arc::clone(&map), port: 1 },
        Statement::UpdateMap { map: Arc::clone(&map), key: vec![Saddr], data: vec![Daddr], timeout: None },
    ];
    for statement in uses {
        let affinity = Set::map(Arc::clone(&map), [Saddr], [Daddr]);
        let mut transaction = Transaction::new(id.clone());
        transaction
            .add_table(Table::default())
            .add_chain(Chain::regular("chain"))
            .add_set(affinity.filled_by_rules(SetTimeout::PerElement, None))
            .add_rule("chain", Rule::new([statement]))
            .delete_set(Arc::clone(&map));
        assert!(FakeTables::new().commit(&transaction).unwrap_err().is_busy());
    }
}
