//! Each object that rustables lists, against what was written.

use std::collections::BTreeMap;

use portolan_core::IpFamily;
use portolan_nft::{Chain, ChainKind, Family, Rule, Set, SetData, SetTimeout, TableId};
use portolan_testkit::fake::FakeTable;
use portolan_testkit::netns::isolated;
use rustables::query::list_objects_with_data;
use rustables::{ChainPolicy, ChainType, list_chains_for_table, list_rules_for_chain, list_tables};

use crate::expected::expected;
use crate::node::program;

/// What rustables shows of rules, by chain; nothing for the chains it cannot read.
type Shown = BTreeMap<String, Option<Vec<rustables::Rule>>>;

fn check(family: IpFamily, nft_family: Family) {
    let tables = program(family);
    let tables = tables.lock().unwrap();
    let written = tables.written.table(&TableId::new(nft_family, "portolan")).unwrap();

    let listed = list_tables().unwrap();
    let [table] = &listed[..] else { panic!("{listed:?}") };
    assert_eq!(table.get_name().map(String::as_str), Some("portolan"));
    assert_eq!(table.get_flags(), Some(&written.attributes().flags.bits()));
    assert_eq!(comment(table.get_userdata()), written.attributes().comment.as_deref());

    check_sets(written, nft_family);
    let mut shown = Shown::new();
    let chains = list_chains_for_table(table).unwrap();
    for chain in &chains {
        let name = chain.get_name().unwrap();
        check_chain(chain, written.chain(name).unwrap_or_else(|| panic!("{name}")).chain());
        shown.insert(name.clone(), list_rules_for_chain(chain).ok());
    }
    assert_eq!(chains.len(), written.chains().count());
    check_rules(&shown, written, nft_family);
}

fn check_chain(shown: &rustables::Chain, written: &Chain) {
    let hook = shown.get_hook();
    let number = hook.and_then(|hook| hook.get_class()).copied();
    let priority = hook.and_then(|hook| hook.get_priority()).map(|priority| priority.cast_signed());
    let kind = |kind| match kind {
        ChainKind::Filter => ChainType::Filter,
        ChainKind::Nat => ChainType::Nat,
    };
    assert_eq!(number, written.base.map(|base| base.hook.number()), "{shown:?}");
    assert_eq!(priority, written.base.map(|base| base.priority), "{shown:?}");
    assert_eq!(shown.get_type().copied(), written.base.map(|base| kind(base.kind)), "{shown:?}");
    assert_eq!(shown.get_policy().copied(), written.base.map(|_| ChainPolicy::Accept), "{shown:?}");
}

fn check_sets(written: &FakeTable, family: Family) {
    let mut sets = Vec::new();
    let each = |set: rustables::Set, sets: &mut Vec<rustables::Set>| {
        sets.push(set);
        Ok(())
    };
    let kind = u16::try_from(rustables::sys::NFT_MSG_GETSET).unwrap();
    list_objects_with_data(kind, &each, None, &mut sets).unwrap();
    assert_eq!(sets.len(), written.sets().count());
    for shown in sets {
        let name = shown.name.as_deref().unwrap();
        let set = written.set(name).unwrap_or_else(|| panic!("{name}")).set();
        let length = u32::try_from(set.key_len(family)).unwrap();
        assert_eq!((shown.table.as_deref(), shown.key_len), (Some("portolan"), Some(length)), "{shown:?}");
        assert_eq!(shown.flags.unwrap_or(0), flags(set), "{shown:?}");
        let types = set.key.iter().fold(0, |all, part| all << 6 | part.datatype(family) as u32);
        assert_eq!(shown.key_type, Some(types), "{shown:?}");
        let timeout = match set.timeout {
            SetTimeout::Default(timeout) => Some(u64::try_from(timeout.as_millis()).unwrap()),
            SetTimeout::None | SetTimeout::PerElement => None,
        };
        assert_eq!(shown.timeout.filter(|timeout| *timeout != 0), timeout, "{shown:?}");
    }
}

/// `NFT_SET_*`, linux/netfilter/nf_tables.h.
fn flags(set: &Set) -> u32 {
    let ranges = if set.key.len() > 1 { 0x84 } else { 0x4 };
    let flags = [
        (set.interval, ranges),
        (set.data != SetData::None, 0x8),
        (set.timeout != SetTimeout::None, 0x10),
        (set.dynamic, 0x20),
    ];
    flags.into_iter().filter(|(is_set, _)| *is_set).map(|(_, flag)| flag).sum()
}

fn check_rules(shown: &Shown, written: &FakeTable, family: Family) {
    let (mut compared, mut unreadable) = (0, 0);
    for (name, shown) in shown {
        let rules = written.chain(name).unwrap().rules();
        let expected: Vec<Option<Vec<_>>> = rules.iter().map(|rule| expressions(rule, family)).collect();
        let is_readable = expected.iter().all(Option::is_some);
        assert_eq!(shown.is_some(), is_readable, "{name}: {rules:?}");
        let Some(shown) = shown else {
            unreadable += 1;
            continue;
        };
        assert_eq!(shown.len(), rules.len(), "{name}");
        for ((shown, rule), expected) in shown.iter().zip(rules).zip(expected.into_iter().flatten()) {
            let expressions: Vec<_> = shown.get_expressions().map_or_else(Vec::new, |list| {
                list.iter().map(|one| one.get_data().unwrap().clone()).collect()
            });
            assert_eq!(expected, expressions, "{name}: {rule:?}");
            assert_eq!(comment(shown.get_userdata()), rule.comment.as_deref(), "{name}: {rule:?}");
            compared += 1;
        }
    }
    // In the chains with the most common Services keys take registers of four bytes.
    assert!(compared >= 10, "{compared} rules, {unreadable} chains not");
}

fn expressions(rule: &Rule, family: Family) -> Option<Vec<crate::expected::Expected>> {
    let parts: Option<Vec<_>> = rule.statements.iter().map(|statement| expected(statement, family)).collect();
    parts.map(|parts| parts.concat())
}

/// The only note that tables and rules have: its kind, zero, its length with the zero at its end, and the text.
fn comment(notes: Option<&Vec<u8>>) -> Option<&str> {
    let [0, length, text @ .., 0] = &notes?[..] else { panic!("{notes:?}") };
    assert_eq!(usize::from(*length), text.len() + 1);
    Some(std::str::from_utf8(text).unwrap())
}

#[test]
fn rustables_lists_the_ipv4_table_as_it_was_written() {
    isolated(|| check(IpFamily::V4, Family::Ip));
}

#[test]
fn rustables_lists_the_ipv6_table_as_it_was_written() {
    isolated(|| check(IpFamily::V6, Family::Ip6));
}
