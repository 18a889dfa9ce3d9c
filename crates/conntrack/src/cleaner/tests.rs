use portolan_core::{ChangeSet, Protocol, State};
use portolan_testkit::netns::{Program, isolated, wait_until_local};
use portolan_testkit::objects::{empty_lists, service, slice};
use portolan_testkit::world;

use super::*;
use crate::tests::{TCP, insert};
use crate::wire::protocol::UDP;

/// A service on 10.96.0.10:53, and what a start finds in question.
fn check() -> FlowCheck {
    let dns = service("ns/dns", "10.96.0.10").port("", Protocol::Udp, 53).applied();
    let pods = slice("ns/dns-1", "dns").port("", Protocol::Udp, 53).on("n1", "10.244.0.1").applied();
    let mut state = State::new(world::config());
    for event in empty_lists().into_iter().chain([dns, pods]) {
        state.handle(event);
    }
    state.prepare();
    FlowCheck::after(state.plan(IpFamily::V4), &ChangeSet::complete())
}

/// Tracks one stale and one good flow to the service, a flow to another address, and one of TCP.
fn insert_flows() {
    insert(UDP, "10.1.1.1:1000", "10.96.0.10:53", "10.244.0.9:53");
    insert(UDP, "10.1.1.2:1000", "10.96.0.10:53", "10.244.0.1:53");
    insert(UDP, "10.1.1.1:2000", "10.96.0.99:53", "10.244.0.9:53");
    insert(TCP, "10.1.1.1:1000", "10.96.0.10:53", "10.244.0.9:53");
}

#[test]
fn dump_of_a_kernel_without_filters_is_filtered_by_the_cleaner() {
    isolated(|| {
        insert_flows();
        let mut conntrack = Conntrack { filtering: Filtering::Useless, ..Conntrack::new() };
        assert_eq!(conntrack.remove_stale(IpFamily::V4, &check()).unwrap(), 1);
        assert_eq!(conntrack.flows_read(), 4, "TCP is shown, and left alone");
        assert_eq!(conntrack.count().unwrap(), 3);
    });
}

#[test]
fn entries_that_a_filter_excludes_give_a_kernel_away_that_does_not_filter() {
    isolated(|| {
        insert_flows();
        let check = check();
        let destination = Filter::Destination("10.96.0.10:53".parse().unwrap());
        let shown_by = |asked: Filter, judged_by: Filter| {
            let take = |listed: &mut Listed, message: &Message<'_>| listed.take(message, &check, judged_by);
            let listed = Table::open().unwrap().list(IpFamily::V4, asked, take).unwrap();
            (listed.stale.len(), listed.is_unfiltered)
        };
        assert_eq!(shown_by(destination, destination), (1, false));
        assert_eq!(shown_by(Filter::Udp, Filter::Udp), (1, false));
        // As if the kernel had taken no notice of the filter.
        assert_eq!(shown_by(Filter::Nothing, destination), (1, true));
        assert_eq!(shown_by(Filter::Nothing, Filter::Udp), (1, true));
        assert_eq!(shown_by(Filter::Nothing, Filter::Nothing), (1, false));
    });
}

#[test]
fn a_failed_check_closes_the_socket_and_a_later_one_opens_another() {
    isolated(|| {
        let mut conntrack = Conntrack::new();
        caps::drop(None, caps::CapSet::Effective, caps::Capability::CAP_NET_ADMIN).unwrap();
        conntrack.remove_stale(IpFamily::V4, &check()).unwrap_err();
        assert!(conntrack.table.is_none());
        caps::raise(None, caps::CapSet::Effective, caps::Capability::CAP_NET_ADMIN).unwrap();
        insert_flows();
        assert_eq!(conntrack.remove_stale(IpFamily::V4, &check()).unwrap(), 1);
    });
}

#[test]
fn addresses_are_local_by_interface_or_local_route_only() {
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
        let mut local = LocalAddresses::open().unwrap();
        for (address, is_local) in [
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
                assert_eq!(local.has(address).unwrap(), is_local, "{address}");
            }
        }
    });
}
