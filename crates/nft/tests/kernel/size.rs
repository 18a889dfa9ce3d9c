//! Large transactions go whole, or say why they cannot.

use portolan_netlink::NetlinkError;
use portolan_nft::{Bytes, Element, Family, NetlinkTables, NftError, Tables, Transaction};
use portolan_testkit::netns::isolated;

use crate::layout::{Layout, endpoint, tables};

/// So many endpoints, each of a VIP of its own, as one transaction.
fn endpoints(layout: &Layout, load: &Transaction, count: u32) -> Transaction {
    let element = |index: u32| {
        let [_, b, c, d] = index.to_be_bytes();
        let mut key = Bytes::new();
        key.push_addr([11, b, c, d].into()).push_proto(6).push_port(443).push_u32_host(0);
        Element::data(key, endpoint(Family::Ip, d, 8443))
    };
    let mut transaction = load.clone();
    transaction.add_elements(layout.set("endpoints"), (0..count).map(element));
    transaction
}

/// As root of the machine a batch may be as large as memory; a user namespace is held to
/// `net.core.wmem_max`, and the error must say so.
#[test]
fn twenty_five_megabytes_in_one_batch_are_taken_or_refused_with_the_sizes() {
    isolated(|| {
        let [id, _] = tables();
        let layout = Layout::new(id.family);
        let transaction = endpoints(&layout, &layout.load(id.clone()), 600_000);
        let mut tables = NetlinkTables::open().unwrap();
        let room = tables.make_room(28 << 20).unwrap();
        match tables.commit(&transaction) {
            Ok(commit) => {
                assert!(commit.bytes > 25 << 20 && room >= commit.bytes, "{commit:?}");
                let endpoints = tables.dump_set(&id, "endpoints").unwrap().unwrap();
                assert_eq!(endpoints.elements.len(), 600_002);
            }
            Err(NftError::Netlink { source: NetlinkError::TooLarge { size, limit }, .. }) => {
                assert!(size > 25 << 20 && limit < size && limit == room);
                assert_eq!(tables.dump(&id).unwrap(), None);
            }
            Err(other) => panic!("{other:?}"),
        }
    });
}

#[test]
fn a_small_commit_follows_a_large_one_on_the_same_socket() {
    isolated(|| {
        let [id, _] = tables();
        let layout = Layout::new(id.family);
        let mut tables = NetlinkTables::open().unwrap();
        tables.commit(&endpoints(&layout, &layout.load(id.clone()), 3000)).unwrap();
        for _ in 0..100 {
            let mut transaction = Transaction::new(id.clone());
            let services = layout.set("cluster-ips");
            let element = Element::key(Bytes::addr([10, 9, 8, 7].into()));
            transaction.add_elements(services, [element.clone()]).delete_elements(services, [element]);
            let commit = tables.commit(&transaction).unwrap();
            assert_eq!(commit.messages, 2);
        }
    });
}
