//! Each rule against what `nft --debug=netlink` prints for it (nft 1.0.6).
//!
//! nft prints values as words of the host's order; here they are plain bytes.

use std::time::Duration;

use crate::Statement::{Counter, DnatMap, InSet, Masquerade, Match, MatchBits, MatchPrefix, UpdateMap, Vmap};
use crate::{
    Bytes, CT_STATE_NEW, CT_STATUS_DNAT, Expr, FIB_TYPE_LOCAL, Family, MatchOp, Register, Rule, Selector,
    Statement,
};

use MatchOp::{Eq, Ne};
use Selector::{CtOriginalDaddr, CtOriginalProtoDst, CtOriginalSaddr, Daddr, L4Proto, Saddr, ThDport};

mod interface;

#[track_caller]
fn check(family: Family, statements: &[Statement], text: &str, expressions: &str) {
    let rule = Rule::new(statements);
    assert_eq!(rule.display(family).to_string(), text);
    let written: Vec<String> = rule.expressions(family).iter().map(ToString::to_string).collect();
    let wanted: Vec<&str> = expressions.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    assert_eq!(written, wanted);
}

fn number(value: u32) -> String {
    format!("{:x}", Bytes::u32_host(value))
}

#[test]
fn marks_are_changed_under_a_mask() {
    let change = |statement: Statement, text: &str, mask: u32, xor: u32| {
        let expressions = format!(
            "[ meta load mark => reg 1 ]
            [ bitwise reg 1 = ( reg 1 & {} ) ^ {} ]
            [ meta set mark with reg 1 ]",
            number(mask),
            number(xor)
        );
        check(Family::Ip, &[statement], text, &expressions);
    };
    change(Statement::MarkOr(0x4000), "meta mark set meta mark | 0x00004000", 0xffff_bfff, 0x4000);
    change(Statement::MarkXor(0x4000), "meta mark set meta mark ^ 0x00004000", 0xffff_ffff, 0x4000);
    change(Statement::MarkAnd(0x4000), "meta mark set meta mark & 0x00004000", 0x4000, 0);
}

#[test]
fn bits_are_tested_under_a_mask() {
    let test = |selector, mask, op, load: &str, text: &str| {
        let compare = if op == Ne { "neq" } else { "eq" };
        let expressions = format!(
            "[ {load} => reg 1 ]
            [ bitwise reg 1 = ( reg 1 & {} ) ^ {zero} ]
            [ cmp {compare} reg 1 {zero} ]",
            number(mask),
            zero = number(0)
        );
        check(Family::Ip, &[MatchBits { selector, mask, op }], text, &expressions);
    };
    test(Selector::CtState, CT_STATE_NEW, Ne, "ct load state", "ct state new");
    test(Selector::CtStatus, CT_STATUS_DNAT, Ne, "ct load status", "ct status dnat");
    test(Selector::Mark, 0x4000, Ne, "meta load mark", "meta mark & 0x00004000 != 0x00000000");
    test(Selector::Mark, 0x4000, Eq, "meta load mark", "meta mark & 0x00004000 == 0x00000000");
}

#[test]
fn prefixes_of_whole_bytes_load_less() {
    let value = Bytes::addr([127, 0, 0, 0].into());
    check(
        Family::Ip,
        &[MatchPrefix { selector: Daddr, op: Ne, value, bits: 8 }],
        "ip daddr != 127.0.0.0/8",
        "[ payload load 1b @ network header + 16 => reg 1 ]
        [ cmp neq reg 1 0x7f ]",
    );
    let value = Bytes::addr("fd00::".parse().unwrap());
    check(
        Family::Ip6,
        &[MatchPrefix { selector: Saddr, op: Eq, value, bits: 16 }],
        "ip6 saddr fd00::/16",
        "[ payload load 2b @ network header + 8 => reg 1 ]
        [ cmp eq reg 1 0xfd00 ]",
    );
}

#[test]
fn what_is_not_in_the_packet_is_loaded_whole_and_compared_in_part() {
    let value = Bytes::addr([10, 1, 0, 0].into());
    check(
        Family::Ip,
        &[MatchPrefix { selector: CtOriginalSaddr, op: Eq, value, bits: 16 }],
        "ct original ip saddr 10.1.0.0/16",
        "[ ct load original src_ip => reg 1 ]
        [ cmp eq reg 1 0x0a01 ]",
    );
}

#[test]
fn other_prefixes_compare_under_a_mask() {
    let value = Bytes::addr([172, 16, 0, 0].into());
    check(
        Family::Ip,
        &[MatchPrefix { selector: Daddr, op: Ne, value, bits: 12 }, Statement::Accept],
        "ip daddr != 172.16.0.0/12 accept",
        "[ payload load 4b @ network header + 16 => reg 1 ]
        [ bitwise reg 1 = ( reg 1 & 0xfff00000 ) ^ 0x00000000 ]
        [ cmp neq reg 1 0xac100000 ]
        [ accept ]",
    );
}

#[test]
fn a_dnat_map_puts_its_key_into_registers_of_four_bytes() {
    let key = vec![Daddr, L4Proto, ThDport, Selector::NumgenRandom { modulus: 2 }];
    let map: Statement = DnatMap { key, map: "endpoints".into() };
    check(
        Family::Ip,
        std::slice::from_ref(&map),
        "dnat ip to ip daddr . meta l4proto . th dport . numgen random mod 2 map @endpoints",
        "[ payload load 4b @ network header + 16 => reg 1 ]
        [ meta load l4proto => reg 9 ]
        [ payload load 2b @ transport header + 2 => reg 10 ]
        [ numgen reg 11 = random mod 2 ]
        [ lookup reg 1 set endpoints => reg 1 ]
        [ dnat ip address reg 1 port reg 9 flags 0x0 ]",
    );
    check(
        Family::Ip6,
        &[map],
        "dnat ip6 to ip6 daddr . meta l4proto . th dport . numgen random mod 2 map @endpoints",
        "[ payload load 16b @ network header + 24 => reg 1 ]
        [ meta load l4proto => reg 2 ]
        [ payload load 2b @ transport header + 2 => reg 13 ]
        [ numgen reg 14 = random mod 2 ]
        [ lookup reg 1 set endpoints => reg 1 ]
        [ dnat ip6 address reg 1 port reg 2 flags 0x0 ]",
    );
}

#[test]
fn lookups_may_decide_exclude_or_only_confirm() {
    check(
        Family::Ip,
        &[Vmap { key: vec![Daddr, L4Proto, ThDport], map: "services".into() }],
        "ip daddr . meta l4proto . th dport vmap @services",
        "[ payload load 4b @ network header + 16 => reg 1 ]
        [ meta load l4proto => reg 9 ]
        [ payload load 2b @ transport header + 2 => reg 10 ]
        [ lookup reg 1 set services => verdict ]",
    );
    check(
        Family::Ip,
        &[InSet { key: vec![Saddr], op: Ne, set: "pods".into() }, Statement::Jump("mark".into())],
        "ip saddr != @pods jump mark",
        "[ payload load 4b @ network header + 12 => reg 1 ]
        [ lookup reg 1 set pods inverted ]
        [ jump mark ]",
    );
    check(
        Family::Ip6,
        &[
            InSet { key: vec![Saddr, Daddr], op: Eq, set: "hairpin".into() },
            Masquerade { random_fully: true },
        ],
        "ip6 saddr . ip6 daddr @hairpin masquerade fully-random",
        "[ payload load 16b @ network header + 8 => reg 1 ]
        [ payload load 16b @ network header + 24 => reg 2 ]
        [ lookup reg 1 set hairpin ]
        [ masq flags 0x10 ]",
    );
}

#[test]
fn learned_data_starts_on_a_register_of_sixteen_bytes() {
    let (key, data) = (vec![CtOriginalSaddr], vec![Daddr, ThDport]);
    let learn = UpdateMap { map: "affinity".into(), key, data, timeout: None };
    check(
        Family::Ip,
        &[Match { selector: L4Proto, op: Eq, value: Bytes::proto(6) }, learn],
        "meta l4proto tcp update @affinity { ct original ip saddr : ip daddr . th dport }",
        "[ meta load l4proto => reg 1 ]
        [ cmp eq reg 1 0x06 ]
        [ ct load original src_ip => reg 1 ]
        [ payload load 4b @ network header + 16 => reg 2 ]
        [ payload load 2b @ transport header + 2 => reg 13 ]
        [ update affinity key reg 1 data reg 2 ]",
    );
}

#[test]
fn what_is_learned_may_have_a_time_of_its_own() {
    let timeout = Some(Duration::from_secs(10_800));
    let learn = UpdateMap { map: "affinity".into(), key: vec![CtOriginalSaddr], data: vec![Daddr], timeout };
    check(
        Family::Ip6,
        &[learn],
        "update @affinity { ct original ip6 saddr timeout 3h : ip6 daddr }",
        "[ ct load original src_ip6 => reg 1 ]
        [ payload load 16b @ network header + 24 => reg 2 ]
        [ update affinity key reg 1 data reg 2 timeout 10800000ms ]",
    );
    let timeout = Some(Duration::from_micros(1_500_900));
    check(
        Family::Ip,
        &[Statement::UpdateSet { set: "seen".into(), key: vec![Saddr], timeout }],
        "update @seen { ip saddr timeout 1s500ms }",
        "[ payload load 4b @ network header + 12 => reg 1 ]
        [ update seen key reg 1 timeout 1500ms ]",
    );
}

#[test]
fn a_constant_port_goes_beside_the_address_from_a_map() {
    let to = |port| Statement::DnatMapPort { key: vec![Saddr], map: "affinity".into(), port };
    check(
        Family::Ip,
        &[Match { selector: L4Proto, op: Eq, value: Bytes::proto(6) }, to(8080)],
        "meta l4proto tcp dnat ip to ip saddr map @affinity : 8080",
        "[ meta load l4proto => reg 1 ]
        [ cmp eq reg 1 0x06 ]
        [ payload load 4b @ network header + 12 => reg 1 ]
        [ lookup reg 1 set affinity => reg 1 ]
        [ immediate reg 2 0x1f90 ]
        [ dnat ip address reg 1 port reg 2 flags 0x0 ]",
    );
    check(
        Family::Ip6,
        &[to(53)],
        "dnat ip6 to ip6 saddr map @affinity : 53",
        "[ payload load 16b @ network header + 8 => reg 1 ]
        [ lookup reg 1 set affinity => reg 1 ]
        [ immediate reg 2 0x0035 ]
        [ dnat ip6 address reg 1 port reg 2 flags 0x0 ]",
    );
}

#[test]
fn the_original_tuple_is_loaded_like_a_packets() {
    check(
        Family::Ip6,
        &[Vmap { key: vec![CtOriginalDaddr, L4Proto, CtOriginalProtoDst], map: "learn".into() }],
        "ct original ip6 daddr . meta l4proto . ct original proto-dst vmap @learn",
        "[ ct load original dst_ip6 => reg 1 ]
        [ meta load l4proto => reg 2 ]
        [ ct load original proto_dst => reg 13 ]
        [ lookup reg 1 set learn => verdict ]",
    );
}

#[test]
fn a_rejection_tells_that_the_port_is_unreachable() {
    let local = Bytes::u32_host(FIB_TYPE_LOCAL);
    let fib = Match { selector: Selector::FibDaddrType, op: Eq, value: local };
    let load = format!("[ fib daddr type => reg 1 ]\n[ cmp eq reg 1 {local:x} ]\n[ counter ]\n");
    let rule = [fib, Counter, Statement::Reject];
    check(
        Family::Ip,
        &rule,
        "fib daddr type local counter reject",
        &(load.clone() + "[ reject type 0 code 3 ]"),
    );
    check(Family::Ip6, &rule, "fib daddr type local counter reject", &(load + "[ reject type 0 code 4 ]"));
}

#[test]
fn both_names_of_a_register_mean_the_same_place() {
    assert_eq!(Register::from_number(1), Register::from_number(8));
    assert_eq!(Register::from_number(2), Register::from_number(12));
    assert_eq!(Register::from_number(0), None);
    assert_eq!(Register::from_number(24), None);
    let numbers: Vec<u32> = (0..16).map(|word| Register::at(word).unwrap().number()).collect();
    assert_eq!(numbers, [1, 9, 10, 11, 2, 13, 14, 15, 3, 17, 18, 19, 4, 21, 22, 23]);
}

#[test]
fn an_unknown_expression_equals_nothing() {
    let unknown = Expr::unknown("log");
    assert_ne!(unknown, unknown.clone());
}
