use portolan_testkit::netns::isolated;

use super::*;
use crate::entry::Entry;
use crate::tests::insert;
use crate::wire::protocol::UDP;

/// Tracks UDP flows from so many ports of one client to one address and port.
fn insert_from(source_ports: std::ops::Range<u16>) {
    for port in source_ports {
        insert(UDP, &format!("10.1.1.1:{port}"), "10.96.0.10:53", "10.244.0.1:53");
    }
}

fn handles(table: &mut Table) -> Vec<Box<[u8]>> {
    let read = |found: &mut Vec<_>, message: &Message<'_>| {
        found.extend(Entry::parse(message).map(|entry| entry.handle()));
    };
    table.list(IpFamily::V4, Filter::Udp, read).unwrap()
}

#[test]
fn entries_are_counted_listed_and_deleted() {
    isolated(|| {
        let mut table = Table::open().unwrap();
        assert_eq!(table.count().unwrap(), 0);
        insert_from(1000..1005);
        assert_eq!(table.count().unwrap(), 5);
        let listed = handles(&mut table);
        assert_eq!(listed.len(), 5);
        assert_eq!(table.delete(IpFamily::V4, &listed[..3]).unwrap(), []);
        assert_eq!(handles(&mut table), listed[3..]);
        assert_eq!(table.delete::<&[u8]>(IpFamily::V4, &[]).unwrap(), []);
        assert_eq!(table.count().unwrap(), 2, "deleting nothing deletes nothing");
    });
}

#[test]
fn an_entry_that_is_gone_is_refused_and_the_others_are_deleted() {
    isolated(|| {
        let mut table = Table::open().unwrap();
        insert_from(1000..1003);
        let listed = handles(&mut table);
        table.delete(IpFamily::V4, &listed[..1]).unwrap();

        let nacks = table.delete(IpFamily::V4, &listed).unwrap();

        assert_eq!(nacks.iter().map(|nack| nack.errno).collect::<Vec<_>>(), [libc::ENOENT]);
        assert_eq!(table.count().unwrap(), 0);
    });
}

#[test]
fn an_entry_with_the_same_tuple_and_another_number_stays() {
    isolated(|| {
        let mut table = Table::open().unwrap();
        insert_from(1000..1001);
        let mut earlier = handles(&mut table);
        // The number is what comes last.
        earlier[0].iter_mut().rev().take(4).for_each(|byte| *byte ^= 0x55);

        let nacks = table.delete(IpFamily::V4, &earlier).unwrap();

        assert_eq!(nacks.iter().map(|nack| nack.errno).collect::<Vec<_>>(), [libc::ENOENT]);
        assert_eq!(table.count().unwrap(), 1);
    });
}

#[test]
fn deletion_in_several_calls_deletes_all_and_reports_every_rejection() {
    isolated(|| {
        let mut table = Table::open().unwrap();
        let many = u16::try_from(2 * DELETIONS_PER_CALL + 7).unwrap();
        insert_from(1000..1000 + many);
        let listed = handles(&mut table);
        assert_eq!(table.delete(IpFamily::V4, &listed).unwrap(), []);
        let nacks = table.delete(IpFamily::V4, &listed).unwrap();
        assert_eq!(nacks.len(), usize::from(many), "none is left to delete");
    });
}
