//! Sets and rules as we write them are, byte for byte, those that nft writes.

use std::collections::BTreeMap;

use portolan_netlink::{Message, NetlinkSocket, Protocol};
use portolan_nft::{Family, NetlinkTables, Rule, Selector, Set, Table, TableId, Tables, Transaction};
use portolan_testkit::fake::FakeTables;
use portolan_testkit::netns::{Namespace, isolated, load_ruleset};

use crate::layout::{Layout, tables};

/// `NFT_MSG_GETSET` and `NFT_MSG_GETRULE` of `NFNL_SUBSYS_NFTABLES`.
const GET_SET: u16 = 0x0a0a;
const GET_RULE: u16 = 0x0a07;

type Raw = BTreeMap<String, Vec<(u16, Vec<u8>)>>;

/// The attributes of all sets of a family: flags, types, lengths, size, time-out and notes.
fn raw_sets(family: Family) -> Raw {
    let kinds = [3, 4, 5, 6, 7, 9, 11, 13];
    let mut socket = NetlinkSocket::open(Protocol::Netfilter).unwrap();
    let header = [family.number(), 0, 0, 0];
    let each = |sets: &mut Raw, message: &Message<'_>| {
        let attributes = message.attributes(4);
        let name = attributes.find_kind(2).unwrap().as_str().unwrap().to_owned();
        let kept = attributes.filter(|a| kinds.contains(&a.kind)).map(|a| (a.kind, a.value.to_vec()));
        sets.insert(name, kept.collect());
    };
    let fill = |message: &mut portolan_netlink::MessageWriter<'_>| {
        message.bytes(&header);
    };
    socket.dump(GET_SET, fill, each).unwrap()
}

/// The expressions and notes of all rules of a family, by chain.
fn raw_rules(family: Family) -> Raw {
    let mut socket = NetlinkSocket::open(Protocol::Netfilter).unwrap();
    let header = [family.number(), 0, 0, 0];
    let each = |rules: &mut Raw, message: &Message<'_>| {
        let attributes = message.attributes(4);
        let chain = attributes.find_kind(2).unwrap().as_str().unwrap().to_owned();
        let kept = attributes.filter(|a| [4, 7].contains(&a.kind)).map(|a| (a.kind, a.value.to_vec()));
        rules.entry(chain).or_default().extend(kept);
    };
    let fill = |message: &mut portolan_netlink::MessageWriter<'_>| {
        message.bytes(&header);
    };
    socket.dump(GET_RULE, fill, each).unwrap()
}

/// Loads `transaction` here and its text through nft there, and gives what the kernel kept of both.
fn both<T: Send>(transaction: &Transaction, read: impl Fn() -> T + Send + Copy) -> (T, T) {
    let ours = Namespace::create("ours").unwrap();
    let nfts = Namespace::create("nfts").unwrap();
    let mut fake = FakeTables::new();
    fake.commit(transaction).unwrap();
    let text = fake.to_nft();
    load_ruleset(&nfts, &text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    ours.run(|| NetlinkTables::open().unwrap().commit(transaction).unwrap()).unwrap();
    (ours.run(read).unwrap(), nfts.run(read).unwrap())
}

/// Every set of the layout and, alone and paired with an address, every selector.
fn every_shape(id: &TableId) -> Transaction {
    let mut transaction = Transaction::new(id.clone());
    transaction.add_table(Table::default());
    for (set, _) in Layout::new(id.family).sets {
        transaction.add_set(set);
    }
    let selectors = [
        Selector::Saddr,
        Selector::Daddr,
        Selector::L4Proto,
        Selector::ThSport,
        Selector::ThDport,
        Selector::NumgenRandom { modulus: 7 },
        Selector::Mark,
        Selector::Iifname,
        Selector::CtState,
        Selector::CtStatus,
        Selector::CtOriginalSaddr,
        Selector::CtOriginalDaddr,
        Selector::FibSaddrType,
        Selector::FibDaddrType,
    ];
    for (index, selector) in selectors.into_iter().enumerate() {
        transaction.add_set(Set::new(format!("alone-{index}"), [selector]));
        transaction.add_set(Set::new(format!("paired-{index}"), [selector, Selector::Daddr]));
        transaction.add_set(Set::map(format!("data-{index}"), [Selector::Saddr], [selector]));
    }
    transaction
}

#[test]
fn every_set_has_the_bytes_that_nft_gives_it() {
    isolated(|| {
        let [id, _] = tables();
        let (ours, nfts) = both(&every_shape(&id), || raw_sets(Family::Ip));
        assert_eq!(ours.len(), 13 + 3 * 14);
        for (name, set) in &ours {
            assert_eq!(Some(set), nfts.get(name), "{name}");
        }
    });
}

#[test]
fn every_ip6_set_has_the_bytes_that_nft_gives_it() {
    isolated(|| {
        let [_, id] = tables();
        let (ours, nfts) = both(&every_shape(&id), || raw_sets(Family::Ip6));
        for (name, set) in &ours {
            assert_eq!(Some(set), nfts.get(name), "{name}");
        }
    });
}

/// But for one expression that does nothing, and that later versions of nft leave out, and for one
/// that makes nft 1.0.6 abort.
fn is_beyond_nft(rule: &Rule) -> bool {
    let text = rule.display(Family::Ip6).to_string();
    text.contains("@source-ranges") || text.contains("ip6 daddr . th dport }")
}

fn check_rules(id: TableId) {
    let family = id.family;
    let mut layout = Layout::new(family);
    layout.chains.iter_mut().for_each(|(_, rules)| rules.retain(|rule| !is_beyond_nft(rule)));
    let (ours, nfts) = both(&layout.load(id), move || raw_rules(family));
    assert_eq!(ours.len(), layout.chains.len());
    for (chain, rules) in &ours {
        assert_eq!(Some(rules), nfts.get(chain), "{chain}");
    }
}

#[test]
fn every_rule_has_the_bytes_that_nft_gives_it() {
    isolated(|| {
        let [id, _] = tables();
        check_rules(id);
    });
}

#[test]
fn every_ip6_rule_has_the_bytes_that_nft_gives_it() {
    isolated(|| {
        let [_, id] = tables();
        check_rules(id);
    });
}
