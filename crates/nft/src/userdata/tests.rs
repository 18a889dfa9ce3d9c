//! The wanted bytes were read back from sets that nft 1.0.6 had made.

use super::*;

fn hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

const VIP: [Selector; 3] = [Selector::Daddr, Selector::L4Proto, Selector::ThDport];

#[track_caller]
fn check(set: &Set, family: Family, wanted: &str) {
    let notes = of_set(set, family);
    assert_eq!(notes, hex(wanted), "{}", set.name);
    let read = read_set(&notes, family).unwrap();
    assert_eq!((&read.key, &read.comment), (&set.key, &set.comment));
    let data = match &set.data {
        SetData::Value(data) => Some(data.clone()),
        SetData::None | SetData::Verdict => None,
    };
    assert_eq!(read.data, data);
}

/// `map services { typeof ip daddr . meta l4proto . th dport : verdict; }`
#[test]
fn a_verdict_map_has_the_notes_nft_gives_it() {
    check(
        &Set::verdict_map("services", VIP),
        Family::Ip,
        concat!(
            "000400000000",
            "010400000000",
            "0344",
            "00040d000000",
            "013c",
            "0014000407000000010c00040c00000001040c000000",
            "010e0004090000000106000410000000",
            "0214000407000000010c00040b000000010402000000",
            "0408000401000000",
            "0100",
            "060400000000"
        ),
    );
}

/// `map endpoints { typeof ip daddr . … . numgen random mod 2 : ip daddr . th dport; }`
#[test]
fn a_data_map_with_numgen_has_the_notes_nft_gives_it() {
    let key = [VIP[0], VIP[1], VIP[2], Selector::NumgenRandom { modulus: 2 }];
    check(
        &Set::map("endpoints", key, [Selector::Daddr, Selector::ThDport]),
        Family::Ip,
        concat!(
            "000400000000",
            "010400000000",
            "0360",
            "00040d000000",
            "0158",
            "0014000407000000010c00040c00000001040c000000",
            "010e0004090000000106000410000000",
            "0214000407000000010c00040b000000010402000000",
            "031a0004170000000112000401000000010402000000020400000000",
            "0434",
            "00040d000000",
            "012c",
            "0014000407000000010c00040c00000001040c000000",
            "0114000407000000010c00040b000000010402000000",
            "060400000000",
        ),
    );
}

/// `set cips { typeof ip daddr; comment "hello"; }`
#[test]
fn a_set_of_one_component_carries_its_byte_order_and_comment() {
    check(
        &Set::new("cips", [Selector::Daddr]).with_comment("hello"),
        Family::Ip,
        "0004020000000314000407000000010c00040c00000001040c000000070668656c6c6f00",
    );
}

/// `map aff2 { typeof ct original ip6 saddr : ip6 daddr . th dport; … }`
#[test]
fn ct_and_ip6_components_have_the_notes_nft_gives_them() {
    check(
        &Set::map("aff2", [Selector::CtOriginalSaddr], [Selector::Daddr, Selector::ThDport]),
        Family::Ip6,
        concat!(
            "000402000000",
            "010400000000",
            "031400040c000000010c000415000000010400000000",
            "0434",
            "00040d000000",
            "012c",
            "0014000407000000010c00040d000000010409000000",
            "0114000407000000010c00040b000000010402000000",
            "060400000000",
        ),
    );
}

#[test]
fn notes_that_are_cut_short_are_ignored() {
    let notes = of_set(&Set::verdict_map("services", VIP), Family::Ip);
    for length in 0..notes.len() {
        let read = read_set(&notes[..length], Family::Ip);
        assert!(read.is_none_or(|read| read.key == VIP));
    }
}

#[test]
fn a_comment_survives_beside_the_open_interval_flag() {
    assert_eq!(comment(&open_interval(Some("all"))), Some("all"));
    assert_eq!(comment(&open_interval(None)), None);
    assert_eq!(open_interval(None), hex("010401000000"));
}
