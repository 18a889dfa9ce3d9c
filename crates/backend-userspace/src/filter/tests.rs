//! Programs are run on made-up packets, by the rules of the kernel's documentation.

use super::*;
use portolan_core::IpFamily::{V4, V6};

/// What a program says of a packet from `sender` that came in by the interface of this number.
fn run(program: &[Instruction], sender: IpAddr, interface: u32) -> bool {
    let bytes = match sender {
        IpAddr::V4(address) => [&[0; 12][..], &address.octets()].concat(),
        IpAddr::V6(address) => [&[0; 8][..], &address.octets()].concat(),
    };
    let (mut at, mut register) = (0, 0);
    loop {
        let Instruction { code, then, otherwise, k } = program[at];
        at += 1;
        match code {
            code::LOAD_WORD if k == INTERFACE => register = interface,
            code::LOAD_WORD => {
                let offset = usize::try_from(k - NETWORK_HEADER).unwrap();
                register = u32::from_be_bytes(bytes[offset..offset + 4].try_into().unwrap());
            }
            code::AND => register &= k,
            code::JUMP_EQUAL => at += usize::from(if register == k { then } else { otherwise }),
            code::JUMP => at += usize::try_from(k).unwrap(),
            code::RETURN => return k != 0,
            other => panic!("unknown instruction {other:#x}"),
        }
    }
}

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

/// The program and the definition agree on everybody.
#[track_caller]
fn assert_agree(guard: &Guard, family: IpFamily, senders: &[&str]) {
    let program = guard.instructions(family).unwrap();
    for sender in senders {
        let sender = sender.parse().unwrap();
        for (interface, is_node) in [(1, true), (7, false)] {
            let wanted = guard.admits(sender, is_node);
            assert_eq!(run(&program, sender, interface), wanted, "{sender} by {interface}: {program:?}");
        }
    }
}

const V4_SENDERS: [&str; 6] =
    ["10.244.0.1", "10.244.255.255", "10.245.0.0", "192.0.2.1", "192.0.2.2", "203.0.113.9"];
const V6_SENDERS: [&str; 6] =
    ["fd00:10:244::1", "fd00:10:244:0:ffff::", "fd00:10:245::1", "2001:db8::1", "2001:db8::2", "::1"];

fn scopes(pods: &str) -> [Scope; 3] {
    [Scope::Everywhere, Scope::Inside(Some(net(pods))), Scope::Inside(None)]
}

#[test]
fn programs_let_through_whom_the_guard_admits() {
    let v4 = [vec![], vec![net("192.0.2.1/32")], vec![net("10.244.0.0/16"), net("192.0.2.2/31")]];
    let v6 = [vec![], vec![net("2001:db8::1/128")], vec![net("fd00:10:244::/64"), net("2001:db8::2/127")]];
    for (family, pods, lists, senders) in
        [(V4, "10.244.0.0/16", v4, V4_SENDERS), (V6, "fd00:10:244::/50", v6, V6_SENDERS)]
    {
        for scope in scopes(pods) {
            for ranges in lists.iter().filter(|ranges| scope != Scope::Everywhere || !ranges.is_empty()) {
                assert_agree(&Guard { scope, ranges: ranges.clone().into() }, family, &senders);
            }
        }
    }
}

#[test]
fn a_closed_guard_drops_everybody() {
    assert_agree(&Guard::closed(), V4, &V4_SENDERS);
    assert!(!Guard::closed().admits("192.0.2.1".parse().unwrap(), true));
}

#[test]
fn an_open_guard_needs_no_program() {
    assert!(Guard::open().instructions(V4).is_none());
}

#[test]
fn a_range_of_everything_lets_everybody_through() {
    let guard = Guard { scope: Scope::Everywhere, ranges: [net("0.0.0.0/0")].into() };
    assert_agree(&guard, V4, &V4_SENDERS);
    assert!(guard.admits("203.0.113.9".parse().unwrap(), false));
}

#[test]
fn more_ranges_than_a_program_holds_are_left_to_whoever_accepts() {
    let ranges: Box<[IpNet]> = (0..=255)
        .flat_map(|a| (0..=7).map(move |b| (a, b)))
        .map(|(a, b)| net(&format!("10.{a}.{b}.1/32")))
        .collect();
    let guard = Guard { scope: Scope::Everywhere, ranges };
    assert!(guard.instructions(V4).is_none());
    assert!(guard.admits("10.200.3.1".parse().unwrap(), false));
}
