//! Counting the rules of one chain, as others add to them and take them away.

use std::sync::Arc;

use portolan_nft::{
    Chain, ChainKind, Family, Hook, NetlinkTables, PRIORITY_FILTER, Rule, Selector, Set, Statement, Table,
    TableId, Tables, Transaction,
};
use portolan_testkit::netns::{Program, isolated};

fn nft(words: &str) {
    Program::new("nft").args(words.split(' ')).run().unwrap();
}

#[test]
fn the_rules_of_a_base_chain_are_counted_until_they_are_deleted() {
    isolated(|| {
        let id = TableId::new(Family::Ip, "portolan");
        let mut tables = NetlinkTables::open().unwrap();
        let count = |tables: &mut NetlinkTables| tables.count_rules(&id, "base").unwrap();
        assert_eq!(count(&mut tables), None, "there is no table");

        let mut load = Transaction::new(id.clone());
        load.add_table(Table::default()).add_set(Arc::new(Set::new("set", [Selector::Daddr])));
        load.add_chain(Chain::regular("regular"));
        load.add_chain(Chain::base("base", ChainKind::Filter, Hook::Input, PRIORITY_FILTER));
        load.add_rule("base", Rule::new([Statement::Counter]));
        load.add_rule("base", Rule::new([Statement::Jump("regular".into())]));
        tables.commit(&load).unwrap();
        assert_eq!(count(&mut tables), Some(2));

        nft("add rule ip portolan base counter");
        assert_eq!(count(&mut tables), Some(3));
        nft("flush table ip portolan");
        assert_eq!(count(&mut tables), Some(0), "sets and chains stay, rules go");
        nft("delete chain ip portolan base");
        assert_eq!(count(&mut tables), None, "the chain is gone");
        nft("delete table ip portolan");
        assert_eq!(count(&mut tables), None, "and the table with it");
    });
}
