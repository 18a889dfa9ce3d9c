//! Each rule against what `nft --debug=netlink` prints for it (nft 1.0.6).
//!
//! nft prints values as words of the host's order; here they are plain bytes.

use std::time::Duration;

use crate::Statement::{Counter, DnatMap, InSet, Masquerade, Match, MatchBits, MatchPrefix, UpdateMap, Vmap};
use portolan_netlink::MessageWriter;

use crate::{
    Bytes, CT_STATE_NEW, CT_STATUS_DNAT, Expr, Expressions, FIB_TYPE_LOCAL, Family, MatchOp, Rule, Selector,
    Statement,
};

use MatchOp::{Eq, Ne};
use Selector::{CtOriginalDaddr, CtOriginalProtoDst, CtOriginalSaddr, Daddr, L4Proto, Saddr, ThDport};

mod interface;

#[track_caller]
fn check(family: Family, statements: &[Statement], text: &str, expressions: &str) {
    let rule = Rule::new(statements);
    assert_eq!(rule.display(family).to_string(), text);
    let written: Vec<String> = rule.expressions(family).unwrap().iter().map(|expr| show(&expr)).collect();
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
fn each_part_of_a_key_has_a_register_of_four_bytes() {
    let key = vec![Selector::Mark; 16];
    let rule = Rule::new([InSet { key, op: Eq, set: "marks".into() }]).expressions(Family::Ip).unwrap();
    let numbers: Vec<u32> = rule.iter().filter(|e| e.name() == "meta").filter_map(|e| e.number(1)).collect();
    assert_eq!(numbers, [1, 9, 10, 11, 2, 13, 14, 15, 3, 17, 18, 19, 4, 21, 22, 23]);
    let beyond = Rule::new([InSet { key: vec![Selector::Mark; 17], op: Eq, set: "marks".into() }]);
    assert!(beyond.expressions(Family::Ip).is_err());
}

/// A list of one expression with these attributes.
fn list(name: &str, fill: impl FnOnce(&mut MessageWriter<'_>)) -> Expressions {
    let mut bytes = Vec::new();
    let written = MessageWriter::attributes(&mut bytes, |list| {
        list.nest(1, |one| _ = one.text(1, name).nest(2, fill));
    });
    written.unwrap();
    Expressions::new(&bytes)
}

#[test]
fn attributes_that_only_repeat_others_make_no_other_expression() {
    let write = |more: &[(u16, u32)]| {
        list("nat", |nat| {
            for (kind, number) in [(1, 1), (2, 2), (3, 1), (5, 9)].iter().chain(more) {
                nat.attribute(*kind, &u32::to_be_bytes(*number));
            }
        })
    };
    let sent = write(&[]);
    assert_eq!(sent, write(&[(4, 1), (6, 9), (7, 3)]), "as the kernel lists it");
    for other in [(4, 2), (6, 10), (7, 16), (7, 19), (8, 1), (77, 1)] {
        assert_ne!(sent, write(&[other]), "{other:?}");
    }
    let lookup = |more: &[u16]| {
        list("lookup", |lookup| {
            lookup.text(1, "set").attribute(2, &1_u32.to_be_bytes());
            for kind in more {
                lookup.attribute(*kind, &[0; 4]);
            }
        })
    };
    assert_eq!(lookup(&[]), lookup(&[5]), "flags of zero");
    assert_ne!(lookup(&[]), lookup(&[3]), "a result that is the verdict");
}

#[test]
fn values_of_other_lengths_and_other_verdicts_are_other_expressions() {
    let compare = |value: &[u8]| {
        list("cmp", |cmp| {
            cmp.attribute(1, &1_u32.to_be_bytes()).nest(3, |data| _ = data.attribute(1, value));
        })
    };
    assert_eq!(compare(&[0; 4]), compare(&[0; 4]));
    assert_ne!(compare(&[0; 4]), compare(&[0; 2]));
    let rule = |statement| Rule::new([statement]).expressions(Family::Ip).unwrap();
    let verdicts = [
        Statement::Accept,
        Statement::Drop,
        Statement::Return,
        Statement::Jump("a".into()),
        Statement::Goto("a".into()),
        Statement::Goto("b".into()),
    ];
    for (index, one) in verdicts.iter().enumerate() {
        let written = rule(one.clone());
        assert_eq!(written.iter().next().unwrap().verdict(), one.verdict());
        let equal = verdicts.iter().position(|other| rule(other.clone()) == written);
        assert_eq!(equal, Some(index));
    }
}

/// An expression as `nft --debug=netlink` prints it, without the bytes' word order. Kinds are those of
/// linux/netfilter/nf_tables.h.
fn show(expr: &Expr<'_>) -> String {
    let number = |kind| expr.number(kind).unwrap();
    let register = |kind| format!("reg {}", number(kind));
    let text = |kind| expr.text(kind).unwrap();
    let find = |kind| expr.attributes.find_kind(kind);
    let value = |kind| {
        format!("{:x}", Bytes::from_slice(find(kind).unwrap().nested().next().unwrap().value).unwrap())
    };
    let optional =
        |kind, what: &str| expr.number(kind).map_or_else(String::new, |reg| format!(" {what} reg {reg}"));
    let shown = match expr.name {
        "meta" => {
            let key = match number(2) {
                3 => "mark",
                6 => "iifname",
                16 => "l4proto",
                other => panic!("meta key {other}"),
            };
            match expr.number(3) {
                Some(from) => format!("meta set {key} with reg {from}"),
                None => format!("meta load {key} => {}", register(1)),
            }
        }
        "payload" => {
            let base = if number(2) == 1 { "network" } else { "transport" };
            format!("payload load {}b @ {base} header + {} => {}", number(4), number(3), register(1))
        }
        "ct" => {
            let key = match number(2) {
                0 => "state",
                2 => "status",
                12 => "proto_dst",
                19 => "src_ip",
                20 => "dst_ip",
                21 => "src_ip6",
                22 => "dst_ip6",
                other => panic!("ct key {other}"),
            };
            let direction = match find(3).map(|direction| direction.value) {
                None => "",
                Some([0]) => "original ",
                Some(other) => panic!("direction {other:?}"),
            };
            format!("ct load {direction}{key} => {}", register(1))
        }
        "fib" => {
            assert_eq!(number(2), 3, "what it asks for");
            format!("fib {} type => {}", if number(3) == 1 { "saddr" } else { "daddr" }, register(1))
        }
        "numgen" => {
            assert_eq!((number(3), number(4)), (1, 0), "random, from zero");
            format!("numgen {} = random mod {}", register(1), number(2))
        }
        "cmp" => format!("cmp {} {} {}", if number(2) == 0 { "eq" } else { "neq" }, register(1), value(3)),
        "bitwise" => {
            format!("bitwise {} = ( {} & {} ) ^ {}", register(2), register(1), value(4), value(5))
        }
        "lookup" => {
            let result = match (expr.number(3), expr.number(5)) {
                (None, None) => String::new(),
                (None, Some(1)) => " inverted".to_owned(),
                (Some(0), None) => " => verdict".to_owned(),
                (Some(to), None) => format!(" => reg {to}"),
                other => panic!("{other:?}"),
            };
            format!("lookup {} set {}{result}", register(2), text(1))
        }
        "immediate" => match expr.verdict() {
            Some(verdict) => verdict.to_string(),
            None => format!("immediate {} {}", register(1), value(2)),
        },
        "nat" => {
            assert_eq!(number(1), 1, "of the destination");
            let family = Family::from_number(u8::try_from(number(2)).unwrap()).unwrap();
            let flags = expr.number(7).unwrap_or(0);
            format!("dnat {family}{}{} flags {flags:#x}", optional(3, "address"), optional(5, "port"))
        }
        "masq" => format!("masq flags {:#x}", expr.number(1).unwrap_or(0)),
        "reject" => format!("reject type {} code {}", number(1), find(2).unwrap().value[0]),
        "dynset" => {
            assert_eq!(number(3), 1, "an update");
            let timeout = find(6)
                .map_or_else(String::new, |timeout| format!(" timeout {}ms", timeout.as_be64().unwrap()));
            format!("update {} key {}{}{timeout}", text(1), register(4), optional(5, "data"))
        }
        name => name.to_owned(),
    };
    format!("[ {shown} ]")
}
