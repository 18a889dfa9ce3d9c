//! The kernel's own loopback, and addresses that come and go.

use std::net::IpAddr;
use std::time::Duration;

use portolan_testkit::netns::{isolated, wait_until};

use super::*;

#[test]
fn loopback_is_found_with_its_address_and_what_does_not_exist_is_not() {
    let mut links = Links::open().unwrap();
    let loopback = links.find("lo").unwrap().unwrap();
    assert_eq!(loopback.kind, None);
    let addresses = links.addresses(IpFamily::V4).unwrap();
    let is_own = |found: &InterfaceAddress| found.interface == loopback.index && found.address.is_loopback();
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
            all.iter().any(|found| found.address == ip && found.interface == device)
        };
        for ip in ips {
            let mut watch = AddressWatch::open(IpFamily::of(ip)).unwrap();
            assert!(!watch.has_changed(|_| true).unwrap());
            for _ in 0..2 {
                links.change(&[AddressChange::Add(device, ip)]).unwrap();
                assert!(has(&mut links, ip));
            }
            // For IPv6 the notification is sent a little later, by a worker of the kernel.
            let mut is_told = || watch.has_changed(|found| found.address == ip).unwrap();
            wait_until("the address is told of", Duration::from_secs(10), &mut is_told).unwrap();
            assert!(!watch.has_changed(|_| true).unwrap(), "it was told before");
            for _ in 0..2 {
                links.change(&[AddressChange::Remove(device, ip)]).unwrap();
                assert!(!has(&mut links, ip));
            }
            assert!(!watch.has_changed(|found| found.interface != device).unwrap(), "another's");
        }
    });
}
