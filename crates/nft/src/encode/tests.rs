use std::sync::Arc;
use std::time::Duration;

use portolan_netlink::MessageIter;

use super::*;
use crate::element::Ranges;
use crate::parse::element_at;
use crate::{Bytes, Chain, Element, Features, Rule, Selector, Set, SetTimeout, Statement, Table};

fn id() -> TableId {
    TableId::new(Family::Ip, "portolan")
}

fn flags(batch: &Batch) -> Vec<u16> {
    batch.pages().flat_map(MessageIter::new).map(|message| message.flags).collect()
}

#[test]
fn only_the_last_message_before_the_end_asks_for_an_answer() {
    let mut transaction = Transaction::new(id());
    transaction.add_table(Table::default()).add_chain(Chain::regular("a")).delete_chain("a");
    let encoded = encode(&transaction, Features::default(), Batch::new(7)).unwrap();
    assert_eq!(encoded.asked, 10);
    let asks: Vec<bool> = flags(&encoded.batch).iter().map(|flags| flags & flag::ACK != 0).collect();
    assert_eq!(asks, [false, false, false, true, false]);
    let kinds: Vec<u16> = encoded.batch.pages().flat_map(MessageIter::new).map(|m| m.kind).collect();
    assert_eq!((kinds[0], kinds[4]), (BATCH_BEGIN, BATCH_END));
}

#[test]
fn every_message_leads_back_to_its_step() {
    let set = Arc::new(Set::new("set", [Selector::Daddr]));
    let many = (0..5000_u32).map(|index| Element::key(Bytes::addr(std::net::Ipv4Addr::from(index).into())));
    let mut transaction = Transaction::new(id());
    transaction.add_set(Arc::clone(&set)).add_elements(&set, many).flush_set("set");
    let encoded = encode(&transaction, Features::default(), Batch::new(100)).unwrap();

    assert!(encoded.origin(100).is_none(), "the message that begins the batch");
    assert_eq!(encoded.origin(101), Some(0));
    let last = 100 + u32::try_from(encoded.messages()).unwrap();
    assert_eq!(encoded.origin(last), Some(2));
    assert!(encoded.origin(last + 1).is_none(), "the message that ends the batch");
    let message = |sequence| encoded.batch.message(sequence).unwrap();
    let first = |sequence| (0..).find_map(|at| element_at(message(sequence), at, Ranges::None)).unwrap().key;
    let keys: Vec<_> = (102..last).map(first).collect();
    assert!((102..last).all(|sequence| encoded.origin(sequence) == Some(1)));
    assert!(keys.len() > 1 && keys[0] == Bytes::addr([0; 4].into()) && keys.is_sorted(), "{keys:?}");
    assert!(keys[1] > Bytes::addr(std::net::Ipv4Addr::from(1000).into()), "{keys:?}");
}

#[test]
fn what_cannot_be_written_is_named() {
    let error = |fill: &dyn Fn(&mut Transaction)| {
        let mut transaction = Transaction::new(id());
        fill(&mut transaction);
        encode(&transaction, Features::default(), Batch::new(1)).map(|_| ()).unwrap_err().to_string()
    };
    let long = "x".repeat(256);
    let named = error(&|t| {
        t.add_chain(Chain::regular(long.as_str()));
    });
    assert_eq!(named, format!("chain ip portolan {long} cannot be written: a name must have 1 to 255 bytes"));
    let wide = Set::new("wide", vec![Selector::Iifname; 5]);
    let named = error(&|t| {
        t.add_set(wide.clone());
    });
    assert_eq!(named, "set ip portolan wide cannot be written: its key must have 1 to 64 bytes");
    let original = Set::new("original", [Selector::L4Proto, Selector::CtOriginalProtoDst]);
    let named = error(&|t| {
        t.add_set(original.clone());
    });
    assert!(named.ends_with("`th dport` has it"), "{named}");
    let timeless = Set::new("seen", [Selector::Saddr])
        .filled_by_rules(SetTimeout::Default(Duration::from_micros(999)), None);
    let named = error(&|t| {
        t.add_set(timeless.clone());
    });
    assert!(named.ends_with("its timeout must be at least a millisecond"), "{named}");
    let update = Statement::UpdateSet {
        set: "seen".into(),
        key: vec![Selector::Saddr],
        timeout: Some(Duration::ZERO),
    };
    let named = error(&|t| {
        t.add_rule("chain", Rule::new([update.clone()]));
    });
    assert!(named.ends_with("its timeout must be at least a millisecond"), "{named}");
    let named = error(&|t| {
        t.add_rule("chain", Rule::new(vec![Statement::Counter; 129]));
    });
    assert!(named.ends_with("it has too many expressions"), "{named}");
}

#[test]
fn comparisons_with_what_their_selector_never_loads_are_refused() {
    let (selector, op) = (Selector::ThDport, crate::MatchOp::Eq);
    let cases = [
        (Statement::Match { selector, op, value: Bytes::proto(1) }, "a value has not its selector's length"),
        (
            Statement::MatchPrefix { selector, op, value: Bytes::port(80), bits: 17 },
            "a prefix has not its selector's length",
        ),
        (
            Statement::MatchPrefix { selector, op, value: Bytes::proto(6), bits: 8 },
            "a prefix has not its selector's length",
        ),
        (Statement::MatchBits { selector, mask: 1, op }, "only selectors of flags have bits"),
    ];
    for (statement, reason) in cases {
        let mut transaction = Transaction::new(id());
        transaction.add_rule("chain", Rule::new([statement]));
        let encoded = encode(&transaction, Features::default(), Batch::new(1));
        let error = encoded.map(|_| ()).unwrap_err().to_string();
        assert!(error.ends_with(reason), "{error}");
    }
}

#[test]
fn elements_are_destroyed_where_the_kernel_can_and_else_deleted() {
    let set = Arc::new(Set::new("set", [Selector::Daddr]));
    let kind = |destroy_elements| {
        let mut transaction = Transaction::new(id());
        transaction.destroy_elements(&set, [Element::key(Bytes::addr([10, 0, 0, 1].into()))]);
        assert_eq!(transaction.element_count(), 1);
        let features = Features { destroy_elements, ..Features::default() };
        let encoded = encode(&transaction, features, Batch::new(1)).unwrap();
        encoded.batch.pages().flat_map(MessageIter::new).nth(1).unwrap().kind
    };
    assert_eq!(kind(true), message_kind(message::DESTROY_ELEMENTS));
    assert_eq!(kind(false), message_kind(message::DEL_ELEMENTS));

    let ranges = Arc::new(Set::intervals("ranges", [Selector::Daddr]));
    let mut transaction = Transaction::new(id());
    transaction.destroy_elements(&ranges, [Element::prefix(Bytes::addr([10, 0, 0, 0].into()), 8)]);
    let error = encode(&transaction, Features::default(), Batch::new(1)).map(|_| ()).unwrap_err();
    assert!(error.to_string().ends_with("ranges can be deleted but not destroyed"), "{error}");
}

#[test]
fn interfaces_that_nft_could_not_write_are_refused() {
    let accepts = |name: &str, letters: Option<u8>| {
        let (selector, op, value) = (Selector::Iifname, crate::MatchOp::Ne, Bytes::ifname(name));
        let statement = match letters {
            Some(letters) => Statement::MatchPrefix { selector, op, value, bits: letters * 8 },
            None => Statement::Match { selector, op, value },
        };
        let mut transaction = Transaction::new(id());
        transaction.add_rule("chain", Rule::new([statement]));
        encode(&transaction, Features::default(), Batch::new(1)).is_ok()
    };
    for (name, letters) in [("veth", 4), ("a+b", 3), ("e*", 2), ("fifteen-letters", 15), ("a\\b", 3)] {
        assert!(accepts(name, Some(letters)) && accepts(name, None), "{name}");
    }
    for name in ["", "a\"b", "a b", "a/b", "a:b", "a\u{7f}"] {
        let letters = u8::try_from(name.len()).unwrap();
        assert!(!accepts(name, Some(letters)) && !accepts(name, None), "{name}");
    }
    assert!(!accepts("veth", Some(0)), "every name begins with nothing");
    assert!(!accepts("veth", Some(9)), "only one name begins with its end");
    assert!(!accepts("a\\", Some(2)) && accepts("a\\", None), "the star would be a letter");
}

#[test]
fn elements_that_do_not_fit_their_set_are_named() {
    let set = Arc::new(Set::new("set", [Selector::Daddr]));
    let error = |element: Element| {
        let mut transaction = Transaction::new(id());
        let good = Element::key(Bytes::addr([10, 0, 0, 1].into()));
        transaction.add_elements(&set, [good, element]);
        encode(&transaction, Features::default(), Batch::new(1)).map(|_| ()).unwrap_err().to_string()
    };
    let address = Bytes::addr([10, 0, 0, 2].into());
    let named = error(Element::data(address, Bytes::port(1)));
    let wanted =
        "element 10.0.0.2 of set ip portolan set cannot be written: its value is not what the set holds";
    assert_eq!(named, wanted);
    assert!(error(Element::prefix(address, 24)).ends_with("the set holds no ranges"));
    assert!(error(Element::key(Bytes::port(1))).ends_with("the length of the set's"));
    assert!(error(Element::key(address).with_comment("a\"b")).contains("its comment"));
}

/// As `nft --debug=netlink,mnl` shows for `delete rule ip nat OUTPUT handle 258; flush chain ip nat KUBE-A;
/// delete chain ip nat KUBE-A` (numbers of a little-endian machine).
#[test]
fn a_rule_is_deleted_by_its_handle() {
    let text = |kind: u8, text: &str| {
        let length = u8::try_from(text.len() + 5).unwrap();
        let mut bytes = [&[length, 0, kind, 0], text.as_bytes(), &[0]].concat();
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    };
    let mut transaction = Transaction::new(TableId::new(Family::Ip, "nat"));
    transaction.delete_rule("OUTPUT", 258).flush_chain("KUBE-A").delete_chain("KUBE-A");
    let encoded = encode(&transaction, Features::default(), Batch::new(7)).unwrap();
    let bytes: Vec<u8> = encoded.batch.pages().flatten().copied().collect();
    let messages: Vec<_> = MessageIter::new(&bytes).map(|m| (m.kind, m.flags, m.payload.to_vec())).collect();
    let header = vec![2, 0, 0, 0];
    let handle = vec![12, 0, 3, 0, 0, 0, 0, 0, 0, 0, 1, 2];
    let bracket = vec![0, 0, 0, 10];
    let wanted = [
        (16, 1, bracket.clone()),
        (0x0a08, 1, [header.clone(), text(1, "nat"), text(2, "OUTPUT"), handle].concat()),
        (0x0a08, 1, [header.clone(), text(1, "nat"), text(2, "KUBE-A")].concat()),
        (0x0a05, 1 | 4, [header, text(1, "nat"), text(3, "KUBE-A")].concat()),
        (17, 1, bracket),
    ];
    assert_eq!(messages, wanted);
}
