//! Messages byte by byte, messages that come back as they were written, and what is not whole.

use super::entry::read_lookup;
use super::*;
use crate::{Message, MessageIter, MessageWriter};

fn message(fill: impl FnOnce(&mut MessageWriter<'_>)) -> Vec<u8> {
    let mut buffer = Vec::new();
    let mut writer = MessageWriter::new(&mut buffer, kind::GET_LINK, 0, 1);
    fill(&mut writer);
    writer.finish().unwrap();
    buffer
}

fn first(bytes: &[u8]) -> Message<'_> {
    MessageIter::new(bytes).next().unwrap()
}

/// `struct ifinfomsg` with the interface's number, `IFLA_IFNAME`, and `IFLA_LINKINFO` if software made it.
#[test]
fn a_link_has_its_number_its_name_and_its_kind() {
    let mut header = [0; 16];
    header[4..8].copy_from_slice(&7_u32.to_ne_bytes());
    let dummy = message(|link| {
        link.bytes(&header).text(3, "kube-ipvs0");
        link.nest(18, |info| _ = info.text(1, "dummy"));
    });
    let (name, kind) = (Some("kube-ipvs0".to_owned()), Some("dummy".to_owned()));
    assert_eq!(read_link(&first(&dummy)), Some(Link { index: 7, name, kind }));
    let hardware = message(|link| _ = link.bytes(&header).text(3, "eth0"));
    let name = Some("eth0".to_owned());
    assert_eq!(read_link(&first(&hardware)), Some(Link { index: 7, name, kind: None }));
    assert_eq!(read_link(&first(&message(|_| ()))), None);
    assert_eq!(message(|link| write_link(link, 7))[16..], header);
}

/// `struct ifaddrmsg`, `IFA_ADDRESS` (of the far end, where there is one) and `IFA_LOCAL`.
#[test]
fn an_interfaces_own_address_counts_and_not_the_far_ends() {
    let address = message(|address| {
        address.bytes(&[2, 32, 0, 0]).bytes(&7_u32.to_ne_bytes());
        address.attribute(1, &[192, 0, 2, 9]).attribute(2, &[192, 0, 2, 1]);
    });
    let read = read_address(&first(&address)).unwrap();
    assert_eq!((read.interface, read.address), (7, "192.0.2.1".parse().unwrap()));
    assert!(read.is_lasting());
}

#[test]
fn an_address_that_the_kernel_made_is_not_lasting() {
    let address = message(|address| {
        address.bytes(&[10, 64, 0, 253]).bytes(&7_u32.to_ne_bytes()).attribute(1, &[0xfe; 16]);
    });
    assert!(!read_address(&first(&address)).unwrap().is_lasting());
}

/// `ip address add 10.96.0.10/32 dev 7`, without the broadcast address.
#[test]
fn a_new_address_stands_for_itself_alone() {
    let wanted = [
        [vec![2, 32, 0, 0], 7_u32.to_ne_bytes().to_vec()].concat(),
        vec![8, 0, 2, 0, 10, 96, 0, 10],
        vec![8, 0, 1, 0, 10, 96, 0, 10],
    ];
    let ip = "10.96.0.10".parse().unwrap();
    assert_eq!(message(|request| write_address(request, 7, ip))[16..], wanted.concat());
}

fn local(address: &str) -> Route {
    let address = address.parse().unwrap();
    let route_type = RouteType::Local;
    Route { address, route_type, table: TABLE_LOCAL, metric: 8080, protocol: 80, source: None }
}

#[test]
fn a_route_is_read_as_it_was_written_in_whatever_table() {
    let source = Some("192.0.2.1".parse().unwrap());
    for route in [
        local("10.96.0.80"),
        local("fd00:10:96::80"),
        Route { table: 800_600_080, source, ..local("192.0.2.2") },
        Route { route_type: RouteType::Prohibit, ..local("192.0.2.2") },
    ] {
        let bytes = message(|message| write_route(message, &route));
        assert_eq!(read_route(&first(&bytes)), Some(route));
        // After the message's header: family and the prefix's length; at 23 the type, here of a route to elsewhere.
        for (field, other) in [(17, 24), (23, 1)] {
            let mut foreign = bytes.clone();
            foreign[field] = other;
            assert_eq!(read_route(&first(&foreign)), None, "byte {field}");
        }
    }
}

#[test]
fn a_rule_for_one_port_is_read_as_it_was_written_and_others_are_none() {
    let rule = PortRule { ip_protocol: 17, port: 53, table: 801_700_053, priority: 80, protocol: 80 };
    let bytes = message(|message| write_port_rule(message, Family::V4, &rule));
    assert_eq!(read_port_rule(&first(&bytes)), Some(rule));
    // One for a range of addresses, one that leads to no table, and one for a range of ports, which comes last.
    let end = bytes.len();
    for (field, other) in [(17, 24), (23, 8), (end - 2, 0xff)] {
        let mut foreign = bytes.clone();
        foreign[field] = other;
        assert_eq!(read_port_rule(&first(&foreign)), None, "byte {field}");
    }
}

#[test]
fn messages_that_are_cut_short_are_read_as_nothing() {
    let rule = PortRule { ip_protocol: 17, port: 53, table: 801_700_053, priority: 80, protocol: 80 };
    for bytes in [
        message(|message| write_route(message, &local("10.96.0.80"))),
        message(|message| write_port_rule(message, Family::V6, &rule)),
    ] {
        for end in 16..bytes.len() {
            let mut short = bytes[..end].to_vec();
            short[..4].copy_from_slice(&u32::try_from(end).unwrap().to_ne_bytes());
            for message in MessageIter::new(&short) {
                // None of them panics, and a route or a rule without its attributes is none.
                let (_, _, _) = (read_lookup(&message), read_address(&message), read_link(&message));
                assert!(end > 28 || read_route(&message).is_none());
                assert!(read_port_rule(&message).is_none());
            }
        }
    }
}

#[test]
fn nothing_is_heard_of_addresses_while_nothing_happens() {
    let mut monitor = AddressMonitor::open(Family::V4).unwrap();
    assert_eq!(monitor.listen(|address| panic!("{address:?}")).unwrap(), Heard::All);
}
