//! The fake and the kernel agree on what is refused and on what comes of the rest.
//!
//! Random transactions over a handful of names go to both. Which error number a
//! refusal carries is compared too, but for two that kernel versions differ in.

use std::sync::Arc;
use std::time::Duration;

use portolan_nft::{
    Bytes, Chain, ChainKind, Element, Family, Hook, MatchOp, NetlinkTables, NftError, Rule, Selector, Set,
    SetTimeout, Statement, Table, TableDump, TableId, Tables, Transaction, Verdict,
};
use portolan_testkit::fake::FakeTables;
use portolan_testkit::netns::isolated;
use portolan_testkit::random;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use crate::layout::sorted;

/// One step, by the names it is about.
#[derive(Debug, Clone)]
enum Step {
    AddChain(usize),
    DeleteChain(usize),
    FlushChain(usize),
    AddRule(usize, usize),
    AddSet(usize),
    DeleteSet(usize),
    FlushSet(usize),
    AddElement(usize, usize, usize),
    DeleteElement(usize, usize),
    DestroyElement(usize, usize),
    RemakeTable,
}

const REGULAR: [&str; 4] = ["a", "b", "c", "d"];
const CHAINS: usize = 7;
const RULES: usize = 18;
const SETS: usize = 7;
/// Those that are not of ranges.
const DESTROYABLE: [usize; 5] = [0, 1, 3, 5, 6];

fn chain(index: usize) -> Chain {
    match index {
        4 => Chain::base("nat", ChainKind::Nat, Hook::Prerouting, -100),
        5 => Chain::base("post", ChainKind::Nat, Hook::Postrouting, 100),
        6 => Chain::base("filter", ChainKind::Filter, Hook::Forward, 0),
        regular => Chain::regular(REGULAR[regular]),
    }
}

fn set(index: usize) -> Set {
    match index {
        0 => Set::verdict_map("verdicts", [Selector::Daddr]),
        1 => Set::map("data", [Selector::Daddr], [Selector::Daddr, Selector::ThDport]),
        2 => Set::intervals("ranges", [Selector::Daddr]),
        3 => Set { size: Some(2), ..Set::new("small", [Selector::Daddr]) },
        4 => Set::intervals("sources", [Selector::Daddr, Selector::ThDport, Selector::Saddr]),
        5 => Set::map("affinity", [Selector::CtOriginalSaddr], [Selector::Daddr])
            .filled_by_rules(SetTimeout::PerElement, Some(4)),
        _ => Set::new("seen", [Selector::Saddr]).filled_by_rules(SetTimeout::None, None),
    }
}

fn rule(index: usize) -> Rule {
    let key = || vec![Selector::Daddr];
    match index {
        0..4 => Rule::new([Statement::Jump(REGULAR[index].into())]),
        4 => Rule::new([Statement::Vmap { key: key(), map: "verdicts".into() }]),
        5 => Rule::new([Statement::DnatMap { key: key(), map: "data".into() }]),
        6 => Rule::new([Statement::Masquerade { random_fully: false }]),
        7 => Rule::new([Statement::Reject]),
        8 => Rule::new([Statement::InSet { key: key(), op: MatchOp::Eq, set: "ranges".into() }]),
        9 => Rule::new([Statement::Goto("nat".into())]),
        10 => Rule::new([Statement::DnatMapPort { key: key(), map: "affinity".into(), port: 8080 }]),
        11 => update("affinity", Some(Duration::from_secs(60))),
        12 => Rule::new([Statement::UpdateSet {
            set: "seen".into(),
            key: vec![Selector::Saddr],
            timeout: None,
        }]),
        // What these are about is of another kind.
        13 => Rule::new([Statement::Vmap { key: key(), map: "data".into() }]),
        14 => Rule::new([Statement::DnatMapPort { key: key(), map: "small".into(), port: 1 }]),
        15 => Rule::new([Statement::UpdateSet {
            set: "affinity".into(),
            key: vec![Selector::Saddr],
            timeout: None,
        }]),
        16 => update("seen", None),
        _ => Rule::new([Statement::Counter, Statement::Return]).with_comment("end"),
    }
}

fn update(map: &str, timeout: Option<Duration>) -> Rule {
    let (key, data) = (vec![Selector::CtOriginalSaddr], vec![Selector::Daddr]);
    Rule::new([Statement::UpdateMap { map: map.into(), key, data, timeout }])
}

fn address(last: usize) -> Bytes {
    Bytes::addr([10, 0, 0, u8::try_from(last).unwrap()].into())
}

/// An element of a set: `key` says which, `value` what it holds.
fn element(set: usize, key: usize, value: usize) -> Element {
    match set {
        0 if value < 4 => Element::verdict(address(key), Verdict::Goto(REGULAR[value].into())),
        0 => Element::verdict(address(key), Verdict::Drop),
        1 => Element::data(
            address(key),
            *Bytes::new().push_addr([10, 1, 1, 1].into()).push_port(u16::try_from(value).unwrap()),
        ),
        2 => Element::range(address(key * 3), address(key * 3 + value)),
        4 => {
            // None lies across another: what becomes of those has tests of its own.
            let (last, value) = (u8::try_from(key * 8).unwrap(), u16::try_from(value).unwrap());
            let head = *Bytes::new().push_addr([10, 9, 9, 9].into()).push_port(value);
            Element::key_with_prefix(head, [10, 0, 0, last].into(), 29)
        }
        5 => Element::data(address(key), address(value)),
        _ => Element::key(address(key)),
    }
}

fn apply(step: &Step, transaction: &mut Transaction) {
    let name = |index: usize| Arc::clone(&chain(index).name);
    match *step {
        Step::AddChain(index) => transaction.add_chain(chain(index)),
        Step::DeleteChain(index) => transaction.delete_chain(name(index)),
        Step::FlushChain(index) => transaction.flush_chain(name(index)),
        Step::AddRule(chain, index) => transaction.add_rule(name(chain), rule(index)),
        Step::AddSet(index) => transaction.add_set(set(index)),
        Step::DeleteSet(index) => transaction.delete_set(set(index).name),
        Step::FlushSet(index) => transaction.flush_set(set(index).name),
        Step::AddElement(index, key, value) => {
            transaction.add_elements(&Arc::new(set(index)), [element(index, key, value)])
        }
        Step::DeleteElement(index, key) => {
            let element = Element { value: portolan_nft::ElementValue::None, ..element(index, key, 0) };
            transaction.delete_elements(&Arc::new(set(index)), [element])
        }
        Step::DestroyElement(index, key) => {
            let element = Element { value: portolan_nft::ElementValue::None, ..element(index, key, 0) };
            transaction.destroy_elements(&Arc::new(set(index)), [element])
        }
        Step::RemakeTable => transaction.delete_table().add_table(Table::default()),
    };
}

fn steps() -> impl Strategy<Value = Vec<Vec<Step>>> {
    let step = prop_oneof![
        6 => (0..CHAINS).prop_map(Step::AddChain),
        1 => (0..CHAINS).prop_map(Step::DeleteChain),
        1 => (0..CHAINS).prop_map(Step::FlushChain),
        8 => (0..CHAINS, 0..RULES).prop_map(|(chain, rule)| Step::AddRule(chain, rule)),
        6 => (0..SETS).prop_map(Step::AddSet),
        1 => (0..SETS).prop_map(Step::DeleteSet),
        1 => (0..SETS).prop_map(Step::FlushSet),
        8 => (0..SETS, 0..4_usize, 0..6_usize).prop_map(|(s, key, value)| Step::AddElement(s, key, value)),
        4 => (0..SETS, 0..4_usize).prop_map(|(set, key)| Step::DeleteElement(set, key)),
        4 => (prop::sample::select(&DESTROYABLE), 0..4_usize).prop_map(|(s, key)| Step::DestroyElement(s, key)),
        1 => Just(Step::RemakeTable),
    ];
    let everything = (0..CHAINS).map(Step::AddChain).chain((0..SETS).map(Step::AddSet)).collect::<Vec<_>>();
    let transactions = prop::collection::vec(prop::collection::vec(step, 1..4), 1..40);
    (any::<bool>(), transactions).prop_map(move |(filled, mut transactions)| {
        if filled {
            transactions.insert(0, everything.clone());
        }
        transactions
    })
}

/// Which error it is, as far as all kernels agree.
fn number(error: &NftError) -> i32 {
    match error.errno() {
        // Loops: newer kernels only count how deep jumps nest.
        Some(libc::EMLINK) => libc::ELOOP,
        Some(errno) => errno,
        None => panic!("{error:?}"),
    }
}

/// What the fake refuses and some kernels do not: loops that no packet can reach, and a range that
/// lies within another and ends where that one ends, after which the kernel holds neither.
fn is_left_to_the_fake(outcome: Result<(), i32>, steps: &[Step]) -> bool {
    let adds_range = steps.iter().any(|step| matches!(step, Step::AddElement(2, ..)));
    outcome == Err(libc::ELOOP) || outcome == Err(libc::EEXIST) && adds_range
}

fn content(dump: &TableDump) -> String {
    let mut chains: Vec<String> = dump
        .chains
        .iter()
        .map(|chain| {
            let rules: Vec<_> = chain.rules.iter().map(|rule| (&rule.expressions, &rule.comment)).collect();
            format!("{:?} {rules:#?}", chain.chain)
        })
        .collect();
    let mut sets: Vec<String> =
        dump.sets.iter().map(|set| format!("{:?} {:#?}", set.set, sorted(set.elements.iter()))).collect();
    chains.sort();
    sets.sort();
    format!("{}\n{}", chains.join("\n"), sets.join("\n"))
}

fn check(transactions: &[Vec<Step>]) -> Result<(), TestCaseError> {
    let id = TableId::new(Family::Ip, "portolan");
    let mut kernel = NetlinkTables::open().unwrap();
    let mut fake = FakeTables::new().with_features(kernel.features().unwrap());
    let mut fresh = Transaction::new(id.clone());
    fresh.ensure_table_absent(id.clone()).add_table(Table::default());
    kernel.commit(&fresh).unwrap();
    fake.commit(&fresh).unwrap();
    for steps in transactions {
        let mut transaction = Transaction::new(id.clone());
        for step in steps {
            apply(step, &mut transaction);
        }
        let ours = fake.commit(&transaction).map(|_| ()).map_err(|error| number(&error));
        if is_left_to_the_fake(ours, steps) {
            continue;
        }
        let theirs = kernel.commit(&transaction).map(|_| ()).map_err(|error| number(&error));
        prop_assert_eq!(ours, theirs, "{:?}", steps);
        let ours = content(&fake.dump(&id).unwrap().unwrap());
        let theirs = content(&kernel.dump(&id).unwrap().unwrap());
        prop_assert_eq!(ours, theirs, "after {:?}", steps);
    }
    Ok(())
}

#[test]
fn the_fake_refuses_and_does_what_the_kernel_refuses_and_does() {
    isolated(|| {
        let mut runner = TestRunner::new(random::cases(40));
        if let Err(reason) = runner.run(&steps(), |transactions| check(&transactions)) {
            panic!("{reason}");
        }
    });
}
