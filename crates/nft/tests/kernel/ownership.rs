//! Owned tables: one socket's, untouched by others, and adoptable when it is gone.

use portolan_nft::{Chain, Family, NetlinkTables, Owner, Table, TableFlags, TableId, Tables, Transaction};
use portolan_testkit::netns::{Program, isolated};

use crate::layout::{Layout, tables};

fn owned(id: &TableId) -> Transaction {
    let mut transaction = Transaction::new(id.clone());
    transaction.add_table(Table { flags: TableFlags::OWNED, comment: None });
    transaction
}

/// Whether this kernel has the feature decides what the other tests can show; they say so themselves.
fn owner() -> Option<NetlinkTables> {
    let mut tables = NetlinkTables::open().unwrap();
    let offered = tables.features().unwrap().owner_persist;
    assert_eq!(tables.list().unwrap(), [], "the probe left a table");
    offered.then_some(tables)
}

#[test]
fn an_owned_table_refuses_others_outlives_its_owner_and_is_adopted() {
    isolated(|| {
        let [id, _] = tables();
        let Some(mut first) = owner() else { return assert_refused_when_unknown(&id) };
        first.commit(&owned(&id)).unwrap();
        let layout = Layout::new(Family::Ip);
        let mut load = layout.load(id.clone());
        load = without_table(&load);
        first.commit(&load).unwrap();
        assert_eq!(first.dump(&id).unwrap().unwrap().owner, Owner::Us);

        let mut second = NetlinkTables::open().unwrap();
        let mut change = Transaction::new(id.clone());
        change.add_chain(Chain::regular("intruder"));
        let error = second.commit(&change).unwrap_err();
        assert!(error.is_not_permitted() && error.is_retryable(), "{error:?}");
        assert_eq!(second.dump(&id).unwrap().unwrap().owner, Owner::Other { port: first.port() });

        Program::new("nft").args(["flush", "ruleset"]).run().unwrap();
        layout.assert_loaded(&first.dump(&id).unwrap().unwrap());

        drop(first);
        let orphan = second.dump(&id).unwrap().unwrap();
        assert_eq!(
            (orphan.owner, orphan.table.flags),
            (Owner::None, TableFlags { owner: false, ..TableFlags::OWNED })
        );
        second.commit(&owned(&id)).unwrap();
        second.commit(&change).unwrap();
        let adopted = second.dump(&id).unwrap().unwrap();
        assert_eq!((adopted.owner, adopted.table.flags), (Owner::Us, TableFlags::OWNED));
        assert_eq!(adopted.chains.len(), layout.chains.len() + 1);
    });
}

/// On kernels without the feature a table with these flags must be refused, or the probe lied.
fn assert_refused_when_unknown(id: &TableId) {
    let error = NetlinkTables::open().unwrap().commit(&owned(id)).unwrap_err();
    assert!(error.is_unsupported() || error.errno() == Some(libc::EINVAL), "{error:?}");
}

fn without_table(transaction: &Transaction) -> Transaction {
    let mut rest = Transaction::new(transaction.table().clone());
    for operation in &transaction.operations()[1..] {
        rest.push(operation.clone());
    }
    rest
}

#[test]
fn a_table_without_owner_cannot_be_given_one() {
    isolated(|| {
        let [id, _] = tables();
        let Some(mut tables) = owner() else { return assert_refused_when_unknown(&id) };
        let mut plain = Transaction::new(id.clone());
        plain.add_table(Table::default());
        tables.commit(&plain).unwrap();
        let error = tables.commit(&owned(&id)).unwrap_err();
        assert!(error.is_unsupported() && !error.is_retryable(), "{error:?}");
    });
}

/// `nft list ruleset` must work beside an owned table, whatever the installed nft makes of its flags.
#[test]
fn nft_lists_an_owned_table() {
    isolated(|| {
        let [id, _] = tables();
        let Some(mut tables) = owner() else { return assert_refused_when_unknown(&id) };
        tables.commit(&owned(&id)).unwrap();
        let listing = Program::new("nft").args(["list", "ruleset"]).run().unwrap();
        assert!(listing.starts_with("table ip portolan {"), "{listing}");
    });
}
