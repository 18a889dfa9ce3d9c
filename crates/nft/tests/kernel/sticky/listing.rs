//! nft lists session affinity, and loads what it listed, whatever the map has learned.

use portolan_nft::{Bytes, DumpedRule, Element, ElementList, NetlinkTables, TableDump, Tables, Transaction};
use portolan_testkit::netns::{Namespace, isolated, list_ruleset, load_ruleset};

use super::{MINUTE, Sticky, call_until_served, node, server};
use crate::layout::{address, sorted, tables};

/// A service as long as Kubernetes lets its names be: namespace and service of 63, port of 15.
fn longest() -> String {
    let (namespace, service, port) = ("0Namespace-".repeat(6), "Service-9".repeat(7), "port-Name-12345");
    let name = format!("{}/{}/sctp/{port}", &namespace[..63], &service[..63]);
    assert_eq!(name.len(), 63 + 63 + 4 + 15 + 3);
    name
}

/// What a map has learned: one entry for ever, one for a minute, and one that a packet left.
fn learned(sticky: &Sticky) -> TableDump {
    let family = sticky.id.family;
    let entry = |last, expires| {
        let [client, endpoint] =
            [(60, last), (244, 7)].map(|(net, last)| Bytes::addr(address(family, net, last)));
        Element { expires, ..Element::data(client, endpoint) }
    };
    let mut tables = NetlinkTables::open().unwrap();
    tables.commit(&sticky.load()).unwrap();
    call_until_served(family, &server(family, 7));
    let mut add = Transaction::new(sticky.id.clone());
    add.add_elements(&sticky.affinity, [entry(1, Some(MINUTE)), entry(2, None)]);
    tables.commit(&add).unwrap();
    let dump = tables.dump(&sticky.id).unwrap().unwrap();
    assert_eq!(dump.set(&sticky.affinity.name).unwrap().elements.len(), 3);
    dump
}

/// Fails unless both tables hold the same; how long elements still live may differ.
#[track_caller]
fn assert_same(read: &TableDump, written: &TableDump, listing: &str) {
    assert_eq!((read.chains.len(), read.sets.len()), (written.chains.len(), written.sets.len()));
    for (read, written) in read.chains.iter().zip(&written.chains) {
        let expressions =
            |rules: &[DumpedRule]| rules.iter().map(|rule| rule.expressions.clone()).collect::<Vec<_>>();
        assert_eq!(read.chain, written.chain);
        assert_eq!(expressions(&read.rules), expressions(&written.rules), "{listing}");
    }
    for written in &written.sets {
        let read = read.set(&written.name).unwrap();
        assert_eq!(read.set, written.set, "{listing}");
        let timeless = |element: Element| (element.key, element.value, element.expires.is_some());
        let content = |list: &ElementList| sorted(list.iter()).into_iter().map(timeless).collect::<Vec<_>>();
        assert_eq!(content(&read.elements), content(&written.elements), "{listing}");
    }
}

#[test]
fn nft_lists_and_reloads_affinity_with_all_it_has_learned_under_the_longest_names() {
    isolated(|| {
        for id in tables() {
            let sticky = Sticky::new(&id, &longest());
            let here = node(id.family);
            let written = here.run(|| learned(&sticky)).unwrap();

            let listing = list_ruleset(&here).unwrap();
            let there = Namespace::create("there").unwrap();
            load_ruleset(&there, &listing).unwrap_or_else(|error| panic!("{error}\n{listing}"));

            let read = there.run(|| NetlinkTables::open().unwrap().dump(&id).unwrap().unwrap()).unwrap();
            assert_same(&read, &written, &listing);
            for gone in ["node", "there"] {
                here.ip(&format!("netns delete {gone}")).unwrap();
            }
        }
    });
}
