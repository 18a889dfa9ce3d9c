//! Messages about interfaces byte by byte, and the kernel's own loopback.

use portolan_netlink::MessageIter;
use portolan_testkit::netns::isolated;

use super::*;
use crate::sent::Request;

fn message(fill: impl FnOnce(&mut MessageWriter<'_>)) -> Vec<u8> {
    let mut buffer = Vec::new();
    let mut writer = MessageWriter::new(&mut buffer, wire::GET_LINK, 0, 1);
    fill(&mut writer);
    writer.finish().unwrap();
    buffer
}

fn first(bytes: &[u8]) -> Message<'_> {
    MessageIter::new(bytes).next().unwrap()
}

/// `struct ifinfomsg` with the interface's number, and `IFLA_LINKINFO` if it was made by software.
#[test]
fn a_link_has_its_number_and_its_kind() {
    let mut header = [0; 16];
    header[4..8].copy_from_slice(&7_u32.to_ne_bytes());
    let dummy = message(|link| {
        link.bytes(&header).text(3, "kube-ipvs0");
        link.nest(18, |info| _ = info.text(1, "dummy"));
    });
    let read = wire::link(&first(&dummy)).unwrap();
    assert_eq!(read, Link { index: 7, kind: Some("dummy".to_owned()) });
    assert!(read.is_dummy());
    let hardware = message(|link| _ = link.bytes(&header).text(3, "eth0"));
    assert_eq!(wire::link(&first(&hardware)), Some(Link { index: 7, kind: None }));
    assert_eq!(wire::link(&first(&message(|_| ()))), None);
    assert_eq!(message(|link| wire::write_link_index(link, 7))[16..], header);
}

/// `struct ifaddrmsg`, `IFA_ADDRESS` (of the far end, where there is one) and `IFA_LOCAL`.
#[test]
fn an_interfaces_own_address_counts_and_not_the_far_ends() {
    let address = message(|address| {
        address.bytes(&[2, 32, 0, 0]).bytes(&7_u32.to_ne_bytes());
        address.attribute(1, &[192, 0, 2, 9]).attribute(2, &[192, 0, 2, 1]);
    });
    let read = wire::interface_address(&first(&address), IpFamily::V4).unwrap();
    assert_eq!((read.device, read.ip), (7, "192.0.2.1".parse().unwrap()));
    assert!(read.is_lasting());
}

#[test]
fn an_address_that_the_kernel_made_is_not_lasting() {
    let address = message(|address| {
        address.bytes(&[10, 64, 0, 253]).bytes(&7_u32.to_ne_bytes()).attribute(1, &[0xfe; 16]);
    });
    assert!(!wire::interface_address(&first(&address), IpFamily::V6).unwrap().is_lasting());
}

/// `ip address add 10.96.0.10/32 dev 7`, without the broadcast address.
#[test]
fn a_new_address_stands_for_itself_alone() {
    let change = AddressChange::Add(7, "10.96.0.10".parse().unwrap());
    let wanted = [
        [vec![2, 32, 0, 0], 7_u32.to_ne_bytes().to_vec()].concat(),
        vec![8, 0, 2, 0, 10, 96, 0, 10],
        vec![8, 0, 1, 0, 10, 96, 0, 10],
    ];
    assert_eq!(message(|request| change.write(request))[16..], wanted.concat());
}

#[test]
fn loopback_is_found_with_its_address_and_what_does_not_exist_is_not() {
    let mut links = Links::open().unwrap();
    let loopback = links.find("lo").unwrap().unwrap();
    assert_eq!(loopback.kind, None);
    let addresses = links.addresses(IpFamily::V4).unwrap();
    let is_own = |address: &Address| address.device == loopback.index && address.ip.is_loopback();
    assert!(addresses.iter().any(is_own), "{addresses:?}");
    assert_eq!(links.find("portolan-none").unwrap(), None);
}

#[test]
fn addresses_come_and_go_and_doing_it_twice_is_no_error() {
    isolated(|| {
        let mut links = Links::open().unwrap();
        let device = links.find("lo").unwrap().unwrap().index;
        let ips: [IpAddr; 2] = ["10.96.0.10", "fd00:10:96::10"].map(|ip| ip.parse().unwrap());
        let has = |links: &mut Links, ip: IpAddr| {
            let all = links.addresses(IpFamily::of(ip)).unwrap();
            all.iter().any(|address| address.ip == ip && address.device == device)
        };
        for ip in ips {
            for _ in 0..2 {
                links.change(&[AddressChange::Add(device, ip)]).unwrap();
                assert!(has(&mut links, ip));
            }
            for _ in 0..2 {
                links.change(&[AddressChange::Remove(device, ip)]).unwrap();
                assert!(!has(&mut links, ip));
            }
        }
    });
}
