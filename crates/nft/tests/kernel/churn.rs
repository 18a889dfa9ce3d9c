//! Reading a dynamic map while packets fill it and entries expire.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use portolan_nft::{
    Bytes, Chain, ChainKind, Element, Family, Hook, NetlinkTables, Rule, Selector, Set, SetTimeout,
    Statement, Table, TableId, Tables, Transaction,
};
use portolan_testkit::netns::isolated;

const STAYING: u32 = 10_000;
/// Readings; each may miss some entries.
const READINGS: usize = 50;

fn affinity() -> Arc<Set> {
    let map = Set::map("affinity", [Selector::Daddr], [Selector::Daddr]);
    Arc::new(map.filled_by_rules(SetTimeout::PerElement, Some(262_144)))
}

/// Remembers for a moment whom this host sends to, and sends nothing.
fn load(id: &TableId) -> Transaction {
    let learn = Statement::UpdateMap {
        map: "affinity".into(),
        key: vec![Selector::Daddr],
        data: vec![Selector::Daddr],
        timeout: Some(Duration::from_millis(100)),
    };
    let chain = Chain::base("output", ChainKind::Filter, Hook::Output, 0);
    let staying = (0..STAYING).map(|index| {
        let client = Bytes::addr(Ipv4Addr::from(0x0a00_0000 + index).into());
        Element::data(client, client)
    });
    let mut load = Transaction::new(id.clone());
    load.add_table(Table::default())
        .add_set(affinity())
        .add_elements(&affinity(), staying)
        .add_chain(chain.clone())
        .add_rule(chain.name, Rule::new([learn, Statement::Drop]));
    load
}

/// Sends to ever new addresses until told to stop, and says to how many.
fn come_and_go(done: &AtomicBool) -> u32 {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut sent = 0;
    while !done.load(Ordering::Relaxed) {
        let target = Ipv4Addr::from(0x7f00_0000 + sent % 0x00f0_0000);
        // Our own rule drops it, which is an error, unless the map is full: then it goes nowhere.
        drop(socket.send_to(b"x", (target, 9)));
        sent += 1;
        if sent % 20 == 0 {
            thread::sleep(Duration::from_millis(1));
        }
    }
    sent
}

/// The stop sign goes up even when a reading fails, or the test would never end.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_map_is_read_while_its_entries_come_and_go() {
    isolated(|| {
        let id = TableId::new(Family::Ip, "portolan");
        let mut tables = NetlinkTables::open().unwrap();
        tables.commit(&load(&id)).unwrap();
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            let traffic = scope.spawn(|| come_and_go(&done));
            let stop = Stop(&done);
            let (mut stayed, mut passing) = (BTreeSet::new(), 0);
            for reading in 0.. {
                let dumped = tables.dump_set(&id, "affinity").unwrap().unwrap();
                assert_eq!(dumped.set, Some(affinity()));
                let keys: BTreeSet<Bytes> = dumped.elements.iter().map(|element| element.key).collect();
                assert_eq!(keys.len(), dumped.elements.len(), "some are doubled");
                let (staying, others): (Vec<Bytes>, Vec<Bytes>) =
                    keys.into_iter().partition(|key| key[0] == 10);
                assert!(others.iter().all(|key| key[0] == 127));
                stayed.extend(staying);
                passing += others.len();
                if reading > 5 && passing > 1000 && stayed.len() == STAYING as usize {
                    break;
                }
                assert!(reading < READINGS, "{} entries not seen once", STAYING as usize - stayed.len());
            }
            drop(stop);
            let sent = traffic.join().unwrap();
            assert!(sent > 1000, "{sent} packets for {passing} entries");
        });
    });
}

/// The kernel moves a set's elements to a larger table at its own pace, after the commit that made
/// three quarters full the one they were in. A reading at that moment shows some elements twice and
/// others not at all.
#[test]
fn a_set_is_read_whole_while_the_kernel_still_makes_room_for_it() {
    isolated(|| {
        let id = TableId::new(Family::Ip, "portolan");
        let mut tables = NetlinkTables::open().unwrap();
        let set = Arc::new(Set::new("growing", [Selector::Daddr]));
        let mut add = Transaction::new(id.clone());
        add.add_table(Table::default()).add_set(Arc::clone(&set));
        tables.commit(&add).unwrap();
        let mut held = 0;
        for full in [3 << 10, 3 << 11, 3 << 12, 3 << 13, 3 << 14_u32] {
            for until in (held..full).step_by(4_000).skip(1).chain([full - 1, full + 1]) {
                let element = |index| Element::key(Bytes::addr(Ipv4Addr::from(index).into()));
                let mut add = Transaction::new(id.clone());
                add.add_elements(&set, (held..until).map(element));
                tables.commit(&add).unwrap();
                held = until;
            }
            let dumped = tables.dump_set(&id, &set.name).unwrap().unwrap();
            let keys: BTreeSet<Bytes> = dumped.elements.iter().map(|element| element.key).collect();
            assert_eq!((keys.len(), dumped.elements.len()), (held as usize, held as usize));
        }
    });
}
