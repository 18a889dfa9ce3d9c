use super::*;

fn read(line: &str) -> Option<String> {
    let mut buffer = Vec::new();
    parse(words(line, &mut buffer)?).map(|rule| rule.to_string())
}

/// Pairs of what we write and what the programs print of it (iptables 1.8.9).
const PAIRS: [(&str, &str); 10] = [
    (
        r#" -m comment --comment "a/b cluster IP" -m tcp -p tcp -d 10.0.0.1 --dport 80 -j KUBE-SVC-XPGD46QRK7WJZT7O"#,
        r#"-d 10.0.0.1/32 -p tcp -m comment --comment "a/b cluster IP" -m tcp --dport 80 -j KUBE-SVC-XPGD46QRK7WJZT7O"#,
    ),
    (
        " -m comment --comment a/b:c -m recent --name KUBE-SEP-XPGD46QRK7WJZT7O --set -m udp -p udp -j DNAT --to-destination 10.1.1.1:80",
        r#"-p udp -m comment --comment "a/b:c" -m recent --set --name KUBE-SEP-XPGD46QRK7WJZT7O --mask 255.255.255.255 --rsource -m udp -j DNAT --to-destination 10.1.1.1:80"#,
    ),
    (
        r#" -m comment --comment "a -> b" -m recent --name KUBE-SEP-XPGD46QRK7WJZT7O --rcheck --seconds 10800 --reap -j KUBE-SEP-XPGD46QRK7WJZT7O"#,
        r#"-m comment --comment "a -> b" -m recent --rcheck --seconds 10800 --reap --name KUBE-SEP-XPGD46QRK7WJZT7O --mask ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff --rsource -j KUBE-SEP-XPGD46QRK7WJZT7O"#,
    ),
    (
        " -m statistic --mode random --probability 0.3333333333 -j RETURN",
        "-m statistic --mode random --probability 0.33333333349 -j RETURN",
    ),
    (" -j MARK --or-mark 0x00004000", "-j MARK --set-xmark 0x4000/0x4000"),
    (" -j MARK --xor-mark 0x00004000", "-j MARK --set-xmark 0x4000/0x0"),
    (
        " -m mark ! --mark 0x00004000/0x00004000 -j MASQUERADE --random-fully",
        "-m mark ! --mark 0x4000/0x4000 -j MASQUERADE --random-fully",
    ),
    (" -j REJECT", "-j REJECT --reject-with icmp6-port-unreachable"),
    (
        " -m addrtype --dst-type LOCAL ! -d ::1 -j KUBE-NODEPORTS",
        "! -d ::1/128 -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS",
    ),
    (
        " -m tcp -p tcp -d 10.0.0.1 --dport 80 ! -i veth+ -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -m nfacct --nfacct-name foo -j DROP",
        "-d 10.0.0.1/32 ! -i veth+ -p tcp -m tcp --dport 80 -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -m nfacct --nfacct-name foo -j DROP",
    ),
];

#[test]
fn rules_as_the_programs_print_them_equal_ours() {
    for (ours, printed) in PAIRS {
        let (mut left, mut right) = (Vec::new(), Vec::new());
        let left = parse(words(ours, &mut left).unwrap()).unwrap_or_else(|| panic!("{ours}"));
        let right = parse(words(printed, &mut right).unwrap()).unwrap_or_else(|| panic!("{printed}"));
        assert_eq!(left.body, right.body, "{printed}");
        assert_eq!(left.comment.to_string(), right.comment.to_string());
        assert_eq!(left.to_string(), ours, "what is read is written as it was");
    }
}

#[test]
fn rules_with_other_options_are_unknown() {
    let lines = [
        "-m comment --comment \"open",
        "-m limit --limit 5/min -j DROP",
        "-j ELSEWHERE",
        "-p icmp -j DROP",
        "--dport 80:90 -j DROP",
        "-m recent --update --name KUBE-SEP-XPGD46QRK7WJZT7O -j DROP",
        "-m recent --set --name DEFAULT -j DROP",
        "-m addrtype ! --dst-type LOCAL -j DROP",
        "-j DNAT --to-destination 10.0.0.1:80 --random",
        "-j REJECT --reject-with tcp-reset",
        "-d",
    ];
    for line in lines {
        assert_eq!(read(line), None, "{line}");
    }
}

#[test]
fn probabilities_have_ten_decimals() {
    let expected = [
        "1.0000000000",
        "0.5000000000",
        "0.3333333333",
        "0.2500000000",
        "0.2000000000",
        "0.1666666667",
        "0.1428571429",
        "0.1250000000",
        "0.1111111111",
        "0.1000000000",
    ];
    for (parts, expected) in (1..).zip(expected) {
        let body = Body { probability: Some(Probability::one_in(parts)), ..Body::default() };
        let rule = Rule { body, ..Rule::default() };
        assert_eq!(rule.to_string(), format!(" -m statistic --mode random --probability {expected}"));
    }
}

#[test]
fn interface_prefixes_end_in_a_plus_unless_that_is_too_long() {
    let cases = [
        (Interface::parse("cni0"), "cni0"),
        (Interface::parse("veth+"), "veth+"),
        (Interface::with_prefix("veth"), "veth+"),
        (Interface::with_prefix("a-name-of-fifte"), "a-name-of-fifte"),
    ];
    for (interface, expected) in cases {
        assert_eq!(interface.to_string(), expected);
    }
    assert_eq!(Interface::parse("veth+"), Interface::with_prefix("veth"));
}
