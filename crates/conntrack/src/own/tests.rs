//! Addresses of a network namespace, by interface and by route.

use portolan_testkit::netns::{Program, isolated, wait_until_local};

use super::*;

#[test]
fn addresses_are_own_by_interface_or_local_route_and_by_nothing_else() {
    isolated(|| {
        for command in [
            "address add 192.0.2.1/24 dev lo",
            "address add 2001:db8::1/64 dev lo nodad",
            "route add local 198.51.100.0/24 dev lo",
            "route add blackhole 203.0.113.0/24",
            "route add 10.96.0.0/16 dev lo",
        ] {
            Program::new("ip").args(command.split(' ')).run().unwrap();
        }
        wait_until_local("2001:db8::1").unwrap();
        let mut own = OwnAddresses::open().unwrap();
        for (address, is_own) in [
            ("192.0.2.1", true),
            ("127.1.2.3", true),
            ("198.51.100.77", true),
            ("2001:db8::1", true),
            ("::1", true),
            ("192.0.2.255", false),
            ("203.0.113.1", false),
            ("10.96.0.10", false),
            ("8.8.8.8", false),
            ("2001:db8::2", false),
            ("2001:db8:9::1", false),
        ] {
            let address: IpAddr = address.parse().unwrap();
            for _ in 0..2 {
                assert_eq!(own.has(address).unwrap(), is_own, "{address}");
            }
        }
    });
}
