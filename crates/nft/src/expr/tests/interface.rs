//! Names of interfaces, whole and by their beginning.

use super::*;

#[test]
fn interface_names_match_whole_or_by_their_beginning() {
    let value = Bytes::ifname("veth");
    check(
        Family::Ip,
        &[MatchPrefix { selector: Selector::Iifname, op: Eq, value, bits: 32 }],
        "iifname \"veth*\"",
        "[ meta load iifname => reg 1 ]
        [ cmp eq reg 1 0x76657468 ]",
    );
    check(
        Family::Ip,
        &[Match { selector: Selector::Iifname, op: Ne, value: Bytes::ifname("lo") }],
        "iifname != \"lo\"",
        "[ meta load iifname => reg 1 ]
        [ cmp neq reg 1 0x6c6f0000000000000000000000000000 ]",
    );
}

#[test]
fn a_prefix_as_long_as_names_can_be_is_the_whole_name() {
    let value = Bytes::ifname("fifteen-letters");
    for bits in [120, 128] {
        check(
            Family::Ip,
            &[MatchPrefix { selector: Selector::Iifname, op: Ne, value, bits }],
            "iifname != \"fifteen-letters\"",
            "[ meta load iifname => reg 1 ]
            [ cmp neq reg 1 0x6669667465656e2d6c65747465727300 ]",
        );
    }
}

#[test]
fn a_star_in_a_name_is_not_taken_for_a_prefix() {
    let text = |statement: Statement| statement.display(Family::Ip).to_string();
    let name = |name| Match { selector: Selector::Iifname, op: Eq, value: Bytes::ifname(name) };
    assert_eq!(text(name("eth*")), "iifname \"eth\\*\"");
    assert_eq!(text(name("e*th")), "iifname \"e*th\"");
    let value = Bytes::ifname("eth*");
    let prefix = MatchPrefix { selector: Selector::Iifname, op: Eq, value, bits: 32 };
    assert_eq!(text(prefix), "iifname \"eth**\"");
}
