//! Large transactions go whole, or say why they cannot.

use portolan_netlink::NetlinkError;
use portolan_nft::{Bytes, Element, NetlinkTables, NftError, Tables, Transaction};
use portolan_testkit::netns::isolated;

use crate::layout::{Layout, many_endpoints, nth_slot, tables};

/// As root of the machine a batch may be as large as memory; a user namespace is held to
/// `net.core.wmem_max`, and the error must say so.
#[test]
fn twenty_five_megabytes_in_one_batch_are_taken_or_refused_with_the_sizes() {
    isolated(|| {
        let [id, _] = tables();
        let layout = Layout::new(id.family);
        let transaction = many_endpoints(&layout, &id, 600_000);
        let mut tables = NetlinkTables::open().unwrap();
        let room = tables.grow_send_buffer(28 << 20).unwrap();
        match tables.commit(&transaction) {
            Ok(commit) => {
                assert!(commit.bytes > 25 << 20 && room >= commit.bytes, "{commit:?}");
                // Reading so many back takes the kernel long; those that can be deleted are there.
                let ends = [0, 599_999].map(|index| Element::key(nth_slot(index)));
                let mut delete = Transaction::new(id);
                delete.delete_elements(layout.set("endpoints"), ends);
                tables.commit(&delete).unwrap();
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
        tables.commit(&many_endpoints(&layout, &id, 3000)).unwrap();
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
