//! Programs are run on made-up packets, by the rules of the kernel's documentation.

use portolan_core::Endpoint;
use portolan_core::event::TrafficPolicy;
use portolan_core::plan::Locality;

use super::*;

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

/// The program and the definition agree on all senders.
#[track_caller]
fn assert_agree(guard: &Guard, senders: &[&str]) {
    let program = guard.instructions().unwrap();
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
fn programs_pass_the_clients_that_the_guard_admits() {
    let v4 = [vec![], vec![net("192.0.2.1/32")], vec![net("10.244.0.0/16"), net("192.0.2.2/31")]];
    let v6 = [vec![], vec![net("2001:db8::1/128")], vec![net("fd00:10:244::/64"), net("2001:db8::2/127")]];
    for (pods, lists, senders) in [("10.244.0.0/16", v4, V4_SENDERS), ("fd00:10:244::/50", v6, V6_SENDERS)] {
        for scope in scopes(pods) {
            for ranges in lists.iter().filter(|ranges| scope != Scope::Everywhere || !ranges.is_empty()) {
                assert_agree(&Guard { scope, ranges: ranges.clone().into() }, &senders);
            }
        }
    }
}

#[test]
fn a_closed_guard_drops_all_clients() {
    assert_agree(&Guard::closed(), &V4_SENDERS);
    assert!(!Guard::closed().admits("192.0.2.1".parse().unwrap(), true));
}

#[test]
fn an_open_guard_needs_no_program() {
    assert!(Guard::open().instructions().is_none());
}

#[test]
fn a_range_of_all_addresses_admits_all_clients() {
    let guard = Guard { scope: Scope::Everywhere, ranges: [net("0.0.0.0/0")].into() };
    assert_agree(&guard, &V4_SENDERS);
    assert!(guard.admits("203.0.113.9".parse().unwrap(), false));
}

#[test]
fn more_ranges_than_fit_into_a_program_are_checked_on_accept() {
    let ranges: Box<[IpNet]> = (0..=255)
        .flat_map(|a| (0..=7).map(move |b| (a, b)))
        .map(|(a, b)| net(&format!("10.{a}.{b}.1/32")))
        .collect();
    let guard = Guard { scope: Scope::Everywhere, ranges };
    assert!(guard.instructions().is_none());
    assert!(guard.admits("10.200.3.1".parse().unwrap(), false));
}

const EXTERNAL: [AddressKind; 3] =
    [AddressKind::NodePort, AddressKind::LoadBalancer, AddressKind::ExternalIp];

fn port(cluster: u8, local: u8, unserved: Unserved) -> ServicePort {
    let endpoint = |number| Endpoint {
        address: IpAddr::from([10, 244, 0, number]),
        port: 8080,
        locality: Locality::Unknown,
    };
    ServicePort {
        cluster_ip: Some(IpAddr::from([10, 96, 0, 80])),
        load_balancer_ips: [IpAddr::from([203, 0, 113, 80])].into(),
        external_ips: [IpAddr::from([203, 0, 113, 81])].into(),
        node_port: Some(30_080),
        external_traffic_policy: TrafficPolicy::Local,
        cluster_endpoints: (1..=cluster).map(endpoint).collect(),
        local_endpoints: (1..=local).map(endpoint).collect(),
        unserved,
        ..ServicePort::new(80)
    }
}

#[test]
fn without_endpoints_nothing_listens() {
    let port = port(0, 0, Unserved::Reject);
    for kind in
        [AddressKind::ClusterIp, AddressKind::NodePort, AddressKind::LoadBalancer, AddressKind::ExternalIp]
    {
        assert_eq!(guard_for(&port, kind, None), None);
    }
}

#[test]
fn without_local_endpoints_only_the_node_and_its_pods_reach_external_addresses() {
    let port = port(2, 0, Unserved::Drop);
    let pods = "10.244.0.0/24".parse().unwrap();
    for kind in EXTERNAL {
        let scope =
            |detector: Option<LocalDetector>| guard_for(&port, kind, detector.as_ref()).unwrap().scope;
        assert_eq!(scope(None), Scope::Inside(None));
        assert_eq!(scope(Some(LocalDetector::Cidr(pods))), Scope::Inside(Some(pods)));
        assert_eq!(scope(Some(LocalDetector::Interface("cni0".into()))), Scope::Everywhere);
    }
    assert_eq!(guard_for(&port, AddressKind::ClusterIp, None), Some(Guard::open()));
}

#[test]
fn with_local_endpoints_all_clients_are_let_in() {
    for kind in EXTERNAL {
        assert_eq!(guard_for(&port(2, 1, Unserved::Drop), kind, None), Some(Guard::open()));
    }
}

#[test]
fn a_cluster_ip_without_local_endpoints_is_silent() {
    let port = ServicePort { internal_traffic_policy: TrafficPolicy::Local, ..port(2, 0, Unserved::Drop) };
    assert_eq!(guard_for(&port, AddressKind::ClusterIp, None), Some(Guard::closed()));
}

#[test]
fn source_ranges_guard_load_balancer_addresses_only() {
    let ranges: Box<[ipnet::IpNet]> = ["192.0.2.0/24".parse().unwrap()].into();
    let port = ServicePort { source_ranges: ranges.clone(), ..port(2, 1, Unserved::Drop) };
    assert_eq!(guard_for(&port, AddressKind::LoadBalancer, None).unwrap().ranges, ranges);
    for kind in [AddressKind::ClusterIp, AddressKind::NodePort, AddressKind::ExternalIp] {
        assert_eq!(guard_for(&port, kind, None), Some(Guard::open()));
    }
}
