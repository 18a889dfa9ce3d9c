//! Elements that go by themselves, and deleting some that may be gone.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use portolan_nft::{
    Bytes, Element, Family, NetlinkTables, Selector, Set, SetTimeout, Table, TableId, Tables, Transaction,
};
use portolan_testkit::netns::{isolated, wait_until};

use crate::layout::{address, tables};

const PATIENCE: Duration = Duration::from_secs(60);

fn affinity() -> Arc<Set> {
    let map = Set::map("affinity", [Selector::CtOriginalSaddr], [Selector::Daddr]);
    Arc::new(map.filled_by_rules(SetTimeout::PerElement, Some(262_144)))
}

fn client(family: Family, last: u8, expires: Option<Duration>) -> Element {
    let [key, data] = [50, 244].map(|net| Bytes::addr(address(family, net, last)));
    Element { expires, ..Element::data(key, data) }
}

/// Clients 1 to 3, of whom the second will be gone in a moment.
fn loaded(id: &TableId) -> NetlinkTables {
    let lives = [None, Some(Duration::from_millis(20)), Some(Duration::from_secs(60))];
    let clients = (1..).zip(lives).map(|(last, expires)| client(id.family, last, expires));
    let mut load = Transaction::new(id.clone());
    load.add_table(Table::default()).add_set(affinity()).add_elements(&affinity(), clients);
    let mut tables = NetlinkTables::open().unwrap();
    tables.commit(&load).unwrap();
    tables
}

fn held(tables: &mut NetlinkTables, id: &TableId) -> Vec<(Bytes, bool)> {
    let dumped = tables.dump_set(id, "affinity").unwrap().unwrap();
    let mut held: Vec<_> =
        dumped.elements.iter().map(|element| (element.key, element.expires.is_some())).collect();
    held.sort_unstable();
    held
}

fn delete(id: &TableId, lasts: &[u8]) -> Transaction {
    let mut delete = Transaction::new(id.clone());
    delete.delete_elements(&affinity(), lasts.iter().map(|last| client(id.family, *last, None)));
    delete
}

#[test]
fn elements_live_as_long_as_each_was_given() {
    isolated(|| {
        for id in tables() {
            let mut tables = loaded(&id);
            let key = |last| client(id.family, last, None).key;
            let wanted = [(key(1), false), (key(3), true)];
            wait_until("the second went", PATIENCE, || held(&mut tables, &id) == wanted).unwrap();
            tables.commit(&delete(&id, &[1, 3])).unwrap();
            assert_eq!(held(&mut tables, &id), []);
        }
    });
}

#[test]
fn what_has_expired_cannot_be_deleted_but_destroyed_where_the_kernel_can() {
    isolated(|| {
        for id in tables() {
            let mut tables = loaded(&id);
            wait_until("the second went", PATIENCE, || held(&mut tables, &id).len() == 2).unwrap();
            let error = tables.commit(&delete(&id, &[1, 2])).unwrap_err();
            assert!(error.is_not_found(), "{error:?}");
            assert_eq!(held(&mut tables, &id).len(), 2);

            let offered = tables.features().unwrap().destroy_elements;
            let mut destroy = Transaction::new(id.clone());
            destroy.destroy_elements(&affinity(), [1, 2].map(|last| client(id.family, last, None)));
            match tables.commit(&destroy) {
                Ok(commit) => assert!(offered && commit.messages == 1),
                Err(error) => assert!(!offered && error.is_not_found(), "{error:?}"),
            }
            assert_eq!(held(&mut tables, &id).len(), if offered { 1 } else { 2 });
            assert_eq!(tables.list().unwrap().len(), if id.family == Family::Ip { 1 } else { 2 });
        }
    });
}

/// Between two clock ticks of the kernel nothing may tell the caller "gone" and the next "there".
#[test]
fn destroying_is_the_same_whether_elements_expire_before_or_meanwhile() {
    isolated(|| {
        let [id, _] = tables();
        let mut tables = loaded(&id);
        if !tables.features().unwrap().destroy_elements {
            return assert!(tables.commit(&delete(&id, &[9])).unwrap_err().is_not_found());
        }
        for round in 0..50 {
            let lives = Some(Duration::from_millis(1 + round % 5));
            let mut add = Transaction::new(id.clone());
            add.add_elements(&affinity(), (10..60).map(|last| client(id.family, last, lives)));
            tables.commit(&add).unwrap();
            thread::sleep(Duration::from_millis(round % 7));
            let mut destroy = Transaction::new(id.clone());
            destroy.destroy_elements(&affinity(), (10..60).map(|last| client(id.family, last, None)));
            tables.commit(&destroy).unwrap();
        }
    });
}
