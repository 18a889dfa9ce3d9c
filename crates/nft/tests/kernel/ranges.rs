//! Interval sets: added, read back, deleted.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use portolan_nft::{Bytes, Element, NetlinkTables, Selector, Set, Table, TableId, Tables, Transaction};
use portolan_testkit::netns::{Program, isolated};

use crate::layout::{sorted, tables};

fn v4(range: &str) -> Element {
    element(range, |text| Bytes::addr(text.parse::<IpAddr>().unwrap()))
}

fn element(range: &str, parse: impl Fn(&str) -> Bytes) -> Element {
    match (range.split_once('/'), range.split_once('-')) {
        (Some((net, bits)), _) => Element::prefix(parse(net), bits.parse().unwrap()),
        (_, Some((first, last))) => Element::range(parse(first), parse(last)),
        _ => Element::key(parse(range)),
    }
}

fn with_set(id: &TableId) -> (NetlinkTables, Arc<Set>) {
    let set = Arc::new(Set::intervals("ranges", [Selector::Saddr]));
    let mut transaction = Transaction::new(id.clone());
    transaction.add_table(Table::default()).add_set(Arc::clone(&set));
    let mut tables = NetlinkTables::open().unwrap();
    tables.commit(&transaction).unwrap();
    (tables, set)
}

#[track_caller]
fn assert_held(tables: &mut NetlinkTables, id: &TableId, wanted: &[Element]) {
    let held = tables.dump_set(id, "ranges").unwrap().unwrap();
    assert_eq!(sorted(held.elements.iter()), sorted(wanted.iter().cloned()));
}

#[test]
fn neighbouring_open_and_single_ranges_survive_and_go_one_by_one() {
    isolated(|| {
        let [id, _] = tables();
        let (mut tables, set) = with_set(&id);
        let ranges =
            ["0.0.0.0/8", "10.0.0.0/16", "10.1.0.0/16", "10.2.0.5", "10.2.0.7-10.2.0.9", "240.0.0.0/4"];
        let mut wanted: Vec<Element> = ranges.map(v4).to_vec();
        let mut add = Transaction::new(id.clone());
        add.add_elements(&set, wanted.clone());
        tables.commit(&add).unwrap();
        assert_held(&mut tables, &id, &wanted);

        while let Some(gone) = wanted.pop() {
            let mut delete = Transaction::new(id.clone());
            delete.delete_elements(&set, [gone]);
            tables.commit(&delete).unwrap();
            assert_held(&mut tables, &id, &wanted);
        }
    });
}

#[test]
fn the_range_of_everything_has_no_end_and_nft_lists_it() {
    isolated(|| {
        let [_, id] = tables();
        let (mut tables, set) = with_set(&id);
        let all = Element::prefix(Bytes::addr(Ipv6Addr::UNSPECIFIED.into()), 0);
        let mut add = Transaction::new(id.clone());
        add.add_elements(&set, [all.clone()]);
        tables.commit(&add).unwrap();
        assert_held(&mut tables, &id, std::slice::from_ref(&all));

        let listing = Program::new("nft").args(["list", "ruleset"]).run().unwrap();
        assert!(listing.contains("elements = { ::/0 }"), "{listing}");
        let mut delete = Transaction::new(id.clone());
        delete.delete_elements(&set, [all]);
        tables.commit(&delete).unwrap();
        assert_held(&mut tables, &id, &[]);
    });
}

/// nft also marks where the first range begins; that mark is no range.
#[test]
fn ranges_that_nft_added_are_read_as_they_are() {
    isolated(|| {
        let [id, _] = tables();
        let (mut tables, _) = with_set(&id);
        let elements = "{ 10.0.0.0/16, 10.2.0.5, 10.2.0.7-10.2.0.9, 240.0.0.0/4 }";
        Program::new("nft").args(["add", "element", "ip", "portolan", "ranges", elements]).run().unwrap();
        let wanted = ["10.0.0.0/16", "10.2.0.5", "10.2.0.7-10.2.0.9", "240.0.0.0/4"].map(v4);
        assert_held(&mut tables, &id, &wanted);
    });
}

#[test]
fn overlapping_ranges_are_refused_by_name() {
    isolated(|| {
        let [id, _] = tables();
        let (mut tables, set) = with_set(&id);
        let mut add = Transaction::new(id.clone());
        add.add_elements(&set, ["10.0.0.0/16", "10.0.5.0/24"].map(v4));
        let error = tables.commit(&add).unwrap_err();
        assert!(error.is_exists(), "{error:?}");
        assert!(error.to_string().contains("element 10.0.5.0/24 of set ip portolan ranges"), "{error}");
        assert_held(&mut tables, &id, &[]);
    });
}
