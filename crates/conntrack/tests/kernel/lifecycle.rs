//! What becomes of flows over a service's life.

use portolan_core::IpFamily;
use portolan_core::Protocol::{Tcp, Udp};
use portolan_core::event::{Change, Conditions, Event};
use portolan_testkit::netns::isolated;
use portolan_testkit::objects::{object_name, service, service_cidr, slice};

use crate::cluster::{Cluster, become_node};
use crate::flows::{TCP, Tracked, track, tracked, translated, untranslated};

const VIP: &str = "10.96.0.10:53";
const NODE_PORT: &str = "192.0.2.1:30053";
const A: &str = "10.244.0.1:5353";
const B: &str = "10.244.0.2:5353";

fn dns() -> Event {
    service("kube-system/dns", "10.96.0.10").port("", Udp, 53).node_port(30053).applied()
}

fn pods(addresses: &[&str]) -> Event {
    let slice = slice("kube-system/dns-1", "dns").port("", Udp, 5353).family(IpFamily::V4);
    addresses.iter().fold(slice, |slice, address| slice.on("n1", address)).applied()
}

fn deleted(name: &str) -> Event {
    Event::Service(Change::Deleted(object_name(name)))
}

fn flows_to(endpoint: &str) -> [Tracked; 2] {
    let port = endpoint.as_bytes()[9];
    [
        translated(&format!("10.1.1.1:10{port}"), VIP, endpoint),
        translated(&format!("10.1.1.1:20{port}"), NODE_PORT, endpoint),
    ]
}

#[test]
fn scaling_to_zero_and_back_leaves_no_flow_to_a_former_endpoint() {
    isolated(|| {
        become_node();
        let mut cluster = Cluster::new();
        cluster.happen([dns(), pods(&["10.244.0.1"])]);
        track(flows_to(A));

        assert_eq!(cluster.happen([pods(&[])]), 2, "there is no endpoint, so no flow leads to one");
        // A packet passed before the reject rule was programmed.
        track([untranslated("10.1.1.1:3000", VIP), flows_to(A)[0]]);
        assert_eq!(cluster.happen([pods(&["10.244.0.2"])]), 2);

        track(flows_to(B));
        assert_eq!(cluster.happen([pods(&["10.244.0.2", "10.244.0.3"])]), 0);
        assert_eq!(tracked(), flows_to(B).into());
    });
}

#[test]
fn a_service_made_after_its_client_began_to_send_gets_the_client() {
    isolated(|| {
        become_node();
        let mut cluster = Cluster::new();
        cluster.happen([pods(&["10.244.0.1"])]);
        let early = [untranslated("10.1.1.1:1000", VIP), untranslated("10.1.1.1:1001", NODE_PORT)];
        track(early);

        assert_eq!(cluster.happen([dns()]), 2);
        assert_eq!(tracked(), [].into());
    });
}

#[test]
fn a_restart_leaves_good_flows_alone() {
    isolated(|| {
        become_node();
        let mut cluster = Cluster::new();
        let dying = Conditions { ready: false, serving: true, terminating: true };
        let slice = slice("kube-system/dns-1", "dns").port("", Udp, 5353).on("n1", "10.244.0.1");
        cluster.happen([dns(), slice.endpoint("10.244.0.2", Some("n1"), dying).applied()]);
        let good: Vec<_> = flows_to(A).into_iter().chain(flows_to(B)).collect();
        track(good.clone());

        assert_eq!(cluster.restart(), 0, "one endpoint serves, one serves until it ends");
        assert_eq!(tracked(), good.into_iter().collect());
    });
}

#[test]
fn a_restart_removes_what_became_stale_meanwhile() {
    isolated(|| {
        become_node();
        let mut cluster = Cluster::new();
        cluster.happen([dns(), pods(&["10.244.0.2"])]);
        track(flows_to(A).into_iter().chain(flows_to(B)));

        assert_eq!(cluster.restart(), 2);
        assert_eq!(tracked(), flows_to(B).into());
    });
}

#[test]
fn a_deleted_service_leaves_no_flows() {
    isolated(|| {
        become_node();
        let mut cluster = Cluster::new();
        cluster.happen([dns(), pods(&["10.244.0.1"])]);
        let tcp = flows_to(A)[0].of(TCP);
        track(flows_to(A).into_iter().chain([tcp]));

        assert_eq!(cluster.happen([deleted("kube-system/dns")]), 2);
        assert_eq!(tracked(), [tcp].into());
    });
}

/// One that another proxy serves, or that was deleted while none of us ran: both look the same.
#[test]
fn flows_of_a_service_that_we_do_not_know_stay_whatever_range_its_cluster_ip_is_in() {
    isolated(|| {
        become_node();
        let mut cluster = Cluster::new();
        let cidr = |cidrs: &[&str]| service_cidr("default", cidrs);
        cluster.happen([cidr(&["10.96.0.0/24", "fd00:10:96::/124"]), dns(), pods(&["10.244.0.1"])]);
        let unknown = [
            translated("10.1.1.1:1000", "10.96.0.7:99", "10.244.0.9:99"),
            translated("10.1.1.1:1001", "10.96.7.7:99", "10.244.0.9:99"),
            translated("10.1.1.1:1002", "10.96.0.10:54", A),
            translated("[2001:db8:1::1]:1000", "[fd00:10:96::7]:99", "[fd00:10:244::9]:99"),
            // Sent to the number of a node port, but to no address of this node.
            translated("10.1.1.1:1003", "10.96.7.7:30053", A),
            translated("10.1.1.1:1004", "10.96.7.7:30053", B),
            untranslated("10.1.1.1:1005", "10.96.7.7:30053"),
        ];
        let of_ours = flows_to(A);
        track(unknown.into_iter().chain(of_ours));

        assert_eq!(cluster.restart(), 0);
        assert_eq!(cluster.compare(), 0);
        assert_eq!(cluster.happen([cidr(&["10.96.0.0/16", "fd00:10:96::/112"])]), 0);
        assert_eq!(cluster.compare(), 0);
        assert_eq!(cluster.happen([pods(&["10.244.0.2"])]), of_ours.len(), "only ours, even so");
        assert_eq!(tracked(), unknown.into());
    });
}

#[test]
fn frontends_that_pass_to_another_service_take_no_flows_of_the_first_with_them() {
    // Which of the two changes is looked at first is a matter of chance.
    isolated(|| {
        become_node();
        for _ in 0..8 {
            let mut cluster = Cluster::new();
            cluster.happen([dns(), pods(&["10.244.0.1"])]);
            track(flows_to(A));

            let heir = service("shop/heir", "10.96.0.10").port("", Udp, 53).node_port(30053).applied();
            let pods = slice("shop/heir-1", "heir").port("", Udp, 5353).on("n1", "10.244.0.2").applied();
            assert_eq!(cluster.happen([deleted("kube-system/dns"), heir, pods]), 2);
            assert_eq!(tracked(), [].into());
        }
    });
}

#[test]
fn changes_of_tcp_service_ports_look_at_nothing() {
    isolated(|| {
        let mut cluster = Cluster::new();
        let web = || service("shop/web", "10.96.0.20").port("", Tcp, 80).applied();
        let pods = |address| slice("shop/web-1", "web").port("", Tcp, 80).on("n1", address).applied();
        let flow = translated("10.1.1.1:1000", "10.96.0.20:80", "10.244.0.1:80");
        track([flow, flow.of(TCP)]);
        let read = cluster.conntrack.flows_read();

        assert_eq!(cluster.happen([web(), pods("10.244.0.1")]) + cluster.happen([pods("10.244.0.2")]), 0);
        assert_eq!(cluster.conntrack.flows_read(), read);
        assert_eq!(tracked(), [flow, flow.of(TCP)].into());
    });
}
