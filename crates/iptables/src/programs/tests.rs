//! The programs of this host, and shell scripts in their place.

use super::*;
use crate::run::tests::script;

#[test]
fn programs_of_both_variants_are_found_with_their_variant() {
    for variant in [Variant::Nft, Variant::Legacy] {
        for family in IpFamily::ALL {
            let programs = Programs::of_variant(family, variant).unwrap();
            assert_eq!((programs.variant(), programs.family()), (variant, family));
        }
    }
    let (plain, version) = Programs::find_with_version(IpFamily::V4).unwrap();
    let (_, of_variant) = Programs::named(IpFamily::V4, &format!("iptables-{}", plain.variant())).unwrap();
    assert_eq!(version, of_variant);
    assert!(version >= OLDEST);
}

#[test]
fn a_missing_program_is_named() {
    let error = Programs::named(IpFamily::V4, "no-such-iptables").unwrap_err();
    assert_eq!(error.to_string(), "program no-such-iptables is not in PATH");
}

#[test]
fn a_table_that_is_not_shown_is_distinguished_from_an_empty_one() {
    let cases = [
        ("# Table `nat' is incompatible, use 'nft' tool.", Some(Table::Nat)),
        ("# Table `security' is incompatible, use 'nft' tool.", None),
        ("# Table `foo' contains a base-chain, use 'nft' tool.", None),
        ("*nat", None),
    ];
    for (line, expected) in cases {
        assert_eq!(hidden_table(line), expected, "{line}");
    }
}

#[test]
fn version_output_gives_version_and_variant() {
    let cases = [
        ("iptables v1.8.9 (nf_tables)\n", Some((Version(1, 8, 9), Variant::Nft))),
        ("ip6tables v1.8.11 (legacy)\n", Some((Version(1, 8, 11), Variant::Legacy))),
        ("iptables v1.6.1\n", Some((Version(1, 6, 1), Variant::Legacy))),
        ("iptables v1.10 (nf_tables)", Some((Version(1, 10, 0), Variant::Nft))),
        ("iptables", None),
        ("iptables 1.8.9", None),
        ("iptables v1.x", None),
        ("", None),
    ];
    for (answer, expected) in cases {
        assert_eq!(parse_version(answer), expected, "{answer}");
    }
    assert!(Version(1, 8, 11) > Version(1, 8, 9));
    assert!(Version(1, 6, 2) > Version(1, 6, 1));
}

#[test]
fn lines_are_read_up_to_a_limit() {
    let lines = |text: &[u8]| {
        let mut lines = Vec::new();
        each_line_of(&mut &*text, |line| lines.push(line.to_owned())).map(|()| lines)
    };
    assert_eq!(lines(b"*nat\n\nlast").unwrap(), ["*nat", "", "last"]);
    assert!(lines(&vec![b'x'; 1 << 16]).is_err());
}

/// What is missing where `iptables` is this shell script.
fn missing(body: &str) -> Result<(), String> {
    let (_directory, path) = script(body);
    let place = path.display().to_string();
    list_chain(&path, Duration::from_millis(500)).map_err(|missing| missing.replace(&place, "iptables"))
}

#[test]
fn a_program_that_lists_the_chain_works() {
    let script = "[ \"$*\" = '-w 5 -t nat -S POSTROUTING' ] && echo '-P POSTROUTING ACCEPT'";
    assert_eq!(missing(script), Ok(()));
}

#[test]
fn a_program_that_fails_is_quoted() {
    let error = missing("echo 'iptables v1.8.9: no table nat' >&2; echo 'do you need root?' >&2; exit 3");
    let expected = "a working iptables: iptables v1.8.9: no table nat; do you need root?";
    assert_eq!(error.unwrap_err(), expected);
    assert_eq!(missing("exit 4").unwrap_err(), "a working iptables: exit status: 4");
}

#[test]
fn a_program_that_hangs_is_killed() {
    let error = missing("exec sleep 60").unwrap_err();
    assert_eq!(error, "a working iptables: iptables was still running after 0.5 seconds");
}
