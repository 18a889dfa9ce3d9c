//! Interval sets of concatenations: who may come to which address, protocol and port.

use std::net::IpAddr;
use std::sync::Arc;

use portolan_nft::{
    Bytes, Chain, ChainKind, Element, Family, Hook, MatchOp, NetlinkTables, PRIORITY_DSTNAT, Rule, Selector,
    Set, Statement, Table, TableId, Tables, Transaction,
};
use portolan_testkit::fake::FakeTables;
use portolan_testkit::netns::{Namespace, assert_ruleset_reloads, isolated, list_ruleset, load_ruleset};

use Selector::Saddr;

use crate::layout::{VIP, sorted, tables, vip_key};

fn restricted() -> Arc<Set> {
    Arc::new(Set::new("restricted-services", VIP))
}

fn ranges() -> Arc<Set> {
    Arc::new(Set::intervals("source-ranges", [&VIP[..], &[Saddr]].concat()))
}

/// The rule that drops what comes from elsewhere, and its sets.
fn fill(transaction: &mut Transaction) {
    let key = |selectors: &[Selector]| selectors.to_vec();
    let chain = Chain::base("prerouting", ChainKind::Filter, Hook::Prerouting, PRIORITY_DSTNAT - 10);
    let rule = Rule::new([
        Statement::InSet { key: key(&VIP), op: MatchOp::Eq, set: "restricted-services".into() },
        Statement::InSet { key: key(&ranges().key), op: MatchOp::Ne, set: "source-ranges".into() },
        Statement::Drop,
    ]);
    transaction
        .add_table(Table::default())
        .add_set(restricted())
        .add_set(ranges())
        .add_chain(chain.clone())
        .add_rule(chain.name, rule);
}

/// The kernel's tables with nothing else in them.
fn loaded(id: &TableId) -> NetlinkTables {
    let mut tables = NetlinkTables::open().unwrap();
    change(&mut tables, id, fill).unwrap();
    tables
}

/// Networks that may come to VIP `last`: none lies in another.
fn allowed(family: Family, last: u8) -> Vec<Element> {
    let nets = match family {
        Family::Ip => ["192.0.2.7/32", "198.51.100.0/24", "203.0.113.128/25", "10.0.0.0/8"],
        Family::Ip6 => ["2001:db8::7/128", "fd00:1::/64", "2001:db8:8000::/33", "fe80::/10"],
    };
    nets.map(|net| allow(vip_key(family, last, 6, 443), net)).to_vec()
}

fn allow(head: Bytes, net: &str) -> Element {
    let (address, bits) = net.split_once('/').unwrap();
    Element::key_with_prefix(head, address.parse::<IpAddr>().unwrap(), bits.parse().unwrap())
}

fn drop_of(_: &mut Transaction) {}

fn change(tables: &mut impl Tables, id: &TableId, fill: impl FnOnce(&mut Transaction)) -> Result<(), i32> {
    let mut transaction = Transaction::new(id.clone());
    fill(&mut transaction);
    tables.commit(&transaction).map(drop).map_err(|error| error.errno().unwrap())
}

fn held(tables: &mut NetlinkTables, id: &TableId) -> Vec<Element> {
    let dumped = tables.dump_set(id, "source-ranges").unwrap().unwrap();
    assert_eq!(dumped.set, Some(ranges()));
    sorted(dumped.elements.iter())
}

#[test]
fn prefixes_are_added_replaced_and_deleted_as_they_were_written() {
    isolated(|| {
        for id in tables() {
            let family = id.family;
            let mut tables = loaded(&id);
            let both = || [allowed(family, 10), allowed(family, 11)].concat();
            change(&mut tables, &id, |t| drop_of(t.add_elements(&ranges(), both()))).unwrap();
            assert_eq!(held(&mut tables, &id), sorted(both().into_iter()));
            let read = held(&mut tables, &id);
            let head = vip_key(family, 10, 6, 443);
            assert!(read.iter().any(|element| {
                element.split_prefix(family).is_some_and(|(found, _, bits)| found == head && bits > 30)
            }));

            // One network becomes another half its size, the rest of the VIP's go.
            let mut left = allowed(family, 10);
            let wide = left.pop().unwrap();
            let (head, address, bits) = wide.split_prefix(family).unwrap();
            let narrow = Element::key_with_prefix(head, address, bits + 1);
            change(&mut tables, &id, |t| {
                t.delete_elements(&ranges(), [wide]).add_elements(&ranges(), [narrow.clone()]);
                t.delete_elements(&ranges(), left);
            })
            .unwrap();
            let wanted = [allowed(family, 11), vec![narrow]].concat();
            assert_eq!(held(&mut tables, &id), sorted(wanted.into_iter()));
        }
    });
}

#[test]
fn nft_lists_and_reloads_prefixes_behind_addresses_and_ports() {
    isolated(|| {
        for id in tables() {
            let here = Namespace::create("here").unwrap();
            here.run(|| {
                let mut tables = loaded(&id);
                let elements = allowed(id.family, 10);
                change(&mut tables, &id, |t| drop_of(t.add_elements(&ranges(), elements))).unwrap();
            })
            .unwrap();

            let listing = assert_ruleset_reloads(&here);

            for net in ["198.51.100.0/24", "10.0.0.0/8"].iter().filter(|_| id.family == Family::Ip) {
                assert!(listing.contains(&format!("10.96.0.10 . tcp . 443 . {net}")), "{listing}");
            }
            let there = Namespace::create("there").unwrap();
            load_ruleset(&there, &list_ruleset(&here).unwrap()).unwrap();
            let read = there.run(|| held(&mut NetlinkTables::open().unwrap(), &id)).unwrap();
            assert_eq!(read, sorted(allowed(id.family, 10).into_iter()));
            for gone in ["here", "there"] {
                here.ip(&format!("netns delete {gone}")).unwrap();
            }
        }
    });
}

/// One network of a VIP with 10.1.0.0/16, and what becomes of a second in the kernel and the fake.
fn second(nets: &str, vip: u8) -> [Result<(), i32>; 2] {
    let [id, _] = tables();
    let elements = [
        allow(vip_key(Family::Ip, 10, 6, 443), "10.1.0.0/16"),
        range(vip_key(Family::Ip, vip, 6, 443), nets),
    ];
    let add = |transaction: &mut Transaction| {
        fill(transaction.ensure_table_absent(id.clone()));
        transaction.add_elements(&ranges(), elements.clone());
    };
    let kernel = change(&mut NetlinkTables::open().unwrap(), &id, add);
    [kernel, change(&mut FakeTables::new(), &id, add)]
}

fn range(head: Bytes, nets: &str) -> Element {
    let Some((first, last)) = nets.split_once('-') else { return allow(head, nets) };
    let key = |address: &str| *head.clone().push_addr(address.parse().unwrap());
    Element::range(key(first), key(last))
}

#[test]
fn of_two_overlapping_ranges_of_one_vip_the_second_is_refused() {
    isolated(|| {
        let inner = ["10.1.5.0/24", "10.1.0.0/24", "10.1.255.0/24", "10.1.0.7/32"];
        let across = ["10.0.9.0-10.1.0.5", "10.1.9.0-10.2.0.0", "10.0.9.0-10.1.255.255"];
        for nets in inner.into_iter().chain(across) {
            assert_eq!(second(nets, 10), [Err(libc::EEXIST); 2], "{nets}");
        }
        assert_eq!(second("10.1.0.0/16", 10), [Ok(()); 2], "just the same again");
        assert_eq!(second("10.2.0.0/16", 10), [Ok(()); 2], "its neighbour");
        for nets in ["10.1.0.0/16", "10.1.5.0/24", "10.0.0.0/8"] {
            assert_eq!(second(nets, 11), [Ok(()); 2], "{nets} for another VIP");
        }
    });
}

/// Why ranges have to be made disjoint before they are added: Linux 6.18 neither refuses all that are
/// not, nor looks at where a range to delete ends. A kernel that does better may refuse either.
#[test]
fn what_the_kernel_may_let_through_the_fake_refuses() {
    isolated(|| {
        let [id, _] = tables();
        let head = vip_key(Family::Ip, 10, 6, 443);
        let [kernel, fake] = second("10.0.0.0/8", 10);
        assert_eq!(fake, Err(libc::EEXIST), "a range around one that is there");
        assert!(kernel.is_ok() || kernel == fake, "{kernel:?}");

        let add = |t: &mut Transaction| {
            fill(t.ensure_table_absent(id.clone()));
            t.add_elements(&ranges(), [allow(head, "10.1.0.0/16")]);
        };
        let delete = |t: &mut Transaction| {
            t.delete_elements(&ranges(), [allow(head, "10.1.0.0/24")]);
        };
        let mut tables = FakeTables::new();
        change(&mut tables, &id, add).unwrap();
        assert_eq!(change(&mut tables, &id, delete), Err(libc::ENOENT));
        let mut tables = NetlinkTables::open().unwrap();
        change(&mut tables, &id, add).unwrap();
        match change(&mut tables, &id, delete) {
            Ok(()) => assert_eq!(held(&mut tables, &id), [], "the whole range went for its first key"),
            Err(errno) => assert_eq!(errno, libc::ENOENT),
        }
    });
}
