//! Virtual servers and their device, which take a kernel with IPVS and dummy devices.
//!
//! Virtual servers are made over netlink and read back from `/proc`, so that `ipvsadm` is not needed; `ip`,
//! `ipset` and `modprobe` are. The chains of the mode, which any kernel has, are in `tests/kernel`.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, SocketAddr};

use portolan_core::IpFamily;
use portolan_leftovers::{LeftoverError, Outcome, Part, remove, retire};
use portolan_netlink::{NetlinkSocket, Protocol, flag, generic_header};
use portolan_testkit::netns::{Program, isolated};
use portolan_testkit::upstream::{Service, ipvs};

const TCP: u8 = 6;
const UDP: u8 = 17;
const SCTP: u8 = 132;

fn run(words: &str) {
    let mut words = words.split_whitespace();
    Program::new(words.next().unwrap()).args(words).run().unwrap();
}

/// Makes a virtual server, of `IPVS_SVC_ATTR_*` with scheduler `rr`, no flags and no time-out (linux/ip_vs.h).
fn serve(protocol: u8, at: &str) {
    const NEW_SERVICE: u8 = 1;
    let at: SocketAddr = at.parse().unwrap();
    let (family, address, netmask) = match at.ip() {
        IpAddr::V4(ip) => (2_u16, [ip.octets().to_vec(), vec![0; 12]].concat(), u32::MAX),
        IpAddr::V6(ip) => (10, ip.octets().to_vec(), 128),
    };
    // To list the families, as is done here, loads nothing.
    run("modprobe ip_vs");
    let mut socket = NetlinkSocket::open(Protocol::Generic).unwrap();
    let kind = socket.generic_family("IPVS").unwrap().expect("the kernel has no IPVS");
    let made = socket.request(
        kind,
        flag::ACK,
        |request| {
            request.bytes(&generic_header(NEW_SERVICE, 1)).nest(1, |fields| {
                fields.attribute(1, &family.to_ne_bytes()).attribute(2, &u16::from(protocol).to_ne_bytes());
                fields.attribute(3, &address).attribute(4, &at.port().to_be_bytes()).text(6, "rr");
                fields.attribute(7, &[0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]);
                fields.attribute(8, &0_u32.to_ne_bytes()).attribute(9, &netmask.to_ne_bytes());
            });
        },
        |(): &mut (), _| {},
    );
    made.unwrap();
}

/// The virtual servers there are, as the kernel shows them: `TCP 0A60000A:0050`.
fn servers() -> BTreeSet<String> {
    let table = fs::read_to_string("/proc/thread-self/net/ip_vs").unwrap();
    let server = |line: &str| {
        let mut words = line.split_whitespace();
        let (protocol, at) = (words.next()?, words.next()?);
        ["TCP", "UDP", "SCTP"].contains(&protocol).then(|| format!("{protocol} {at}"))
    };
    table.lines().filter_map(server).collect()
}

fn links() -> String {
    Program::new("ip").args(["-o", "link"]).run().unwrap()
}

fn services() -> [Service; 3] {
    let udp = Service::new("default/dns", "10.96.0.53:53").node_port(30053);
    [
        Service::new("default/web", "10.96.0.10:80").node_port(30080).endpoint("10.244.0.11:8080"),
        Service::new("default/web", "[fd00:10:96::10]:80").node_port(30080),
        udp.protocol(portolan_core::Protocol::Udp),
    ]
}

/// A node in ipvs mode, beside virtual servers of somebody else.
fn load_node() {
    run("ip address add 192.0.2.1/24 dev lo");
    run("ip address add 2001:db8::1/64 dev lo");
    run("ip link add kube-ipvs0 type dummy");
    for address in ["10.96.0.10/32", "10.96.0.53/32", "fd00:10:96::10/128"] {
        run(&format!("ip address add {address} dev kube-ipvs0"));
    }
    for family in IpFamily::ALL {
        ipvs::load_sets(family, &services()).unwrap();
    }
    run("ipset add KUBE-NODE-PORT-SCTP-HASH 192.0.2.1,132:30132");
    for (protocol, at) in KUBE_PROXYS.iter().chain(&FOREIGN) {
        serve(*protocol, at);
    }
}

const KUBE_PROXYS: [(u8, &str); 7] = [
    (TCP, "10.96.0.10:80"),
    (UDP, "10.96.0.53:53"),
    (TCP, "[fd00:10:96::10]:80"),
    (TCP, "192.0.2.1:30080"),
    (UDP, "192.0.2.1:30053"),
    (TCP, "[2001:db8::1]:30080"),
    (SCTP, "192.0.2.1:30132"),
];

const FOREIGN: [(u8, &str); 5] = [
    // Not on this node, another port, another protocol, another family's node port, another address.
    (TCP, "198.51.100.7:30080"),
    (TCP, "192.0.2.1:443"),
    (UDP, "192.0.2.1:30080"),
    (UDP, "[2001:db8::1]:30053"),
    (SCTP, "127.0.0.1:30132"),
];

fn foreign_servers() -> BTreeSet<String> {
    let v6 = "UDP [2001:0db8:0000:0000:0000:0000:0000:0001]:7565".to_owned();
    let v4 = ["TCP C6336407:7580", "TCP C0000201:01BB", "UDP C0000201:7580", "SCTP 7F000001:75B4"];
    v4.into_iter().map(str::to_owned).chain([v6]).collect()
}

fn total(outcomes: &[Outcome]) -> usize {
    outcomes.iter().map(|outcome| outcome.removed).sum()
}

fn assert_done(outcomes: &[Outcome]) {
    assert!(outcomes.iter().all(|outcome| outcome.result.is_ok()), "{outcomes:?}");
}

#[test]
#[ignore = "needs IPVS and dummy devices: run by tests/vm"]
fn virtual_servers_device_and_sets_go_and_servers_of_others_stay() {
    isolated(|| {
        load_node();
        assert_eq!(servers().len(), KUBE_PROXYS.len() + FOREIGN.len());

        let outcomes = remove(&[Part::Iptables, Part::Ipvs], &IpFamily::ALL);

        assert_done(&outcomes);
        assert_eq!(servers(), foreign_servers());
        assert!(!links().contains("kube-ipvs0"), "{}", links());
        assert_eq!(Program::new("ipset").args(["list", "-name"]).run().unwrap(), "");
        // Virtual servers, the device, and sets of both families.
        assert_eq!(total(&outcomes), KUBE_PROXYS.len() + 1 + 2 * 17);
        let again = remove(&Part::ALL, &IpFamily::ALL);
        assert_done(&again);
        assert_eq!((total(&again), servers()), (0, foreign_servers()));
    });
}

#[test]
#[ignore = "needs IPVS and dummy devices: run by tests/vm"]
fn a_device_with_addresses_of_a_family_that_is_not_asked_for_stays() {
    isolated(|| {
        load_node();
        let outcomes = remove(&[Part::Iptables, Part::Ipvs], &[IpFamily::V4]);
        assert_done(&outcomes);
        assert!(outcomes.iter().all(|outcome| outcome.kept.is_empty()), "it goes with the other family");
        assert!(links().contains("kube-ipvs0"));
        assert_eq!(servers().len(), FOREIGN.len() + 2, "{:?}", servers());

        // The addresses of the first family went with it.
        assert_done(&remove(&[Part::Iptables, Part::Ipvs], &[IpFamily::V6]));
        assert!(!links().contains("kube-ipvs0"));
    });
}

#[test]
#[ignore = "needs IPVS and dummy devices: run by tests/vm"]
fn a_device_of_that_name_that_is_no_dummy_stays_with_its_servers_and_is_an_error() {
    isolated(|| {
        run("ip link add kube-ipvs0 type bridge");
        run("ip address add 10.96.0.10/32 dev kube-ipvs0");
        serve(TCP, "10.96.0.10:80");
        let outcomes = remove(&[Part::Ipvs], &IpFamily::ALL);
        let errors: Vec<_> = outcomes.iter().filter_map(|outcome| outcome.result.as_ref().err()).collect();
        assert!(
            matches!(&errors[..], [LeftoverError::NotDummy { kind, .. }] if kind == "bridge"),
            "{errors:?}"
        );
        assert_eq!((servers().len(), total(&outcomes)), (1, 0));
        assert!(links().contains("kube-ipvs0"));
    });
}

/// The kernel's modules, without those that nf_tables brings along, which there is no way around.
fn modules() -> BTreeSet<String> {
    let table = fs::read_to_string("/proc/modules").unwrap();
    let names = table.lines().filter_map(|line| line.split(' ').next());
    let expected = ["nfnetlink", "nf_tables", "libcrc32c", "crc32c_generic"];
    names.filter(|name| !expected.contains(name)).map(str::to_owned).collect()
}

#[test]
#[ignore = "needs a kernel with modules: run by tests/vm, best by itself"]
fn looking_loads_no_modules() {
    isolated(|| {
        let before = modules();
        assert_done(&remove(&Part::ALL, &IpFamily::ALL));
        assert_eq!(modules(), before);
    });
}

/// What a mode does that takes over.
#[test]
#[ignore = "needs IPVS and dummy devices: run by tests/vm"]
fn what_no_connection_uses_is_retired_at_once() {
    isolated(|| {
        load_node();
        let outcomes = retire(&[Part::Iptables, Part::Ipvs], &IpFamily::ALL);
        assert_done(&outcomes);
        assert!(outcomes.iter().all(|outcome| outcome.lasting == 0), "{outcomes:?}");
        assert_eq!((total(&outcomes), servers()), (KUBE_PROXYS.len() + 1 + 2 * 17, foreign_servers()));
    });
}
