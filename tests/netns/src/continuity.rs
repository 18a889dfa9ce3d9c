//! Changes and restarts under traffic: nothing is lost that has somewhere to go.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use portolan_core::Protocol::Tcp;
use portolan_core::backend::{ErrorKind, Retry};
use portolan_core::{IpFamily, ProxyBackend};
use portolan_testkit::block_on;
use portolan_testkit::netns::{
    Caller, LongConnection, ProbeReport, Prober, Program, Topology, Transport, assert_ruleset_reloads,
    isolated,
};
use portolan_testkit::objects::{service, slice};
use portolan_testkit::shop::{NODE, NODE_PORT, PORT, web, web_pods};

use crate::cluster::Cluster;

const PATIENCE: Duration = Duration::from_secs(30);

fn vip(address: &str) -> SocketAddr {
    (address.parse::<IpAddr>().unwrap(), PORT).into()
}

/// Starts a prober on each kind of address, in both families.
fn probe(cluster: &Cluster) -> Vec<(&'static str, Prober)> {
    let client = Caller::from(cluster.net.client());
    let start = |what, transport, to| (what, Prober::start(&client, transport, to).unwrap());
    vec![
        start("cluster IP, IPv4", Transport::Tcp, vip("10.96.0.80")),
        start("cluster IP, IPv6", Transport::Tcp, vip("fd00:10:96::80")),
        start("cluster IP, UDP", Transport::Udp, vip("10.96.0.80")),
        start("external IP", Transport::Tcp, vip("203.0.113.81")),
        start("node port", Transport::Tcp, (portolan_testkit::netns::NODE_V4, NODE_PORT).into()),
    ]
}

fn wait(probers: &[(&'static str, Prober)], attempts: u64) {
    for (_, prober) in probers {
        prober.wait_for_attempts(attempts, PATIENCE).unwrap();
    }
}

#[track_caller]
fn assert_nothing_lost(probers: Vec<(&'static str, Prober)>) {
    for (what, prober) in probers {
        let ProbeReport { tally, first_failures, .. } = prober.stop();
        assert!(tally.attempts() > 200, "{what}: {tally}");
        assert_eq!(tally.failed(), 0, "{what}: {tally}; {first_failures:?}");
    }
}

#[test]
fn changing_endpoints_and_services_loses_no_new_connection() {
    isolated(|| {
        let mut cluster = Cluster::new(Topology::routed(3).unwrap());
        let pods = web_pods(&cluster.net, &[1, 2, 3]);
        cluster.apply([web()].into_iter().chain(pods));
        let probers = probe(&cluster);
        wait(&probers, 50);
        let lists: [&[usize]; 6] = [&[1], &[1, 2], &[2], &[2, 3, 1], &[3], &[1, 2, 3]];
        for round in 0..40 {
            let list = lists[round % lists.len()];
            let pods = web_pods(&cluster.net, list);
            // Services come and go next to it: classes are made, used and left.
            let neighbour = (0..=round % 4)
                .fold(slice("shop/next-1", "next").port("", portolan_core::Protocol::Tcp, 80), |s, i| {
                    s.on("node2", &format!("10.244.9.{}", i + 1))
                });
            let next = service("shop/next", "10.96.0.81").port("", portolan_core::Protocol::Tcp, 80);
            cluster.apply(pods.into_iter().chain([next.applied(), neighbour.applied()]));
            wait(&probers, 10);
        }
        assert_nothing_lost(probers);
        cluster.assert_sound();
    });
}

#[test]
fn established_connections_live_through_changes_and_restarts() {
    isolated(|| {
        let mut cluster = Cluster::new(Topology::routed(3).unwrap());
        let pods = web_pods(&cluster.net, &[1]);
        cluster.apply([web()].into_iter().chain(pods));
        let client = Caller::from(cluster.net.client());
        let open = |to| LongConnection::open(&client, to).unwrap();
        let connections: Vec<_> =
            ["10.96.0.80", "fd00:10:96::80", "203.0.113.80"].map(|ip| open(vip(ip))).into();
        let lists: [&[usize]; 4] = [&[1, 2, 3], &[2], &[], &[3, 1]];
        for list in lists {
            let pods = web_pods(&cluster.net, list);
            cluster.apply(pods);
            for connection in &connections {
                connection.wait_for_lines(5, PATIENCE).unwrap();
            }
            cluster = cluster.restart();
            cluster.apply([]);
            for connection in &connections {
                connection.wait_for_lines(5, PATIENCE).unwrap();
            }
        }
        for connection in connections {
            let report = connection.close();
            assert_eq!(report.broken, None);
            assert!(report.exchanged >= 40, "{report:?}");
        }
        cluster.assert_sound();
    });
}

#[test]
fn a_restart_adopts_the_tables_without_a_gap_and_writes_only_what_changed() {
    isolated(|| {
        let mut cluster = Cluster::new(Topology::routed(3).unwrap());
        let pods = web_pods(&cluster.net, &[1, 2]);
        cluster.apply([web()].into_iter().chain(pods));
        let probers = probe(&cluster);
        wait(&probers, 50);
        for list in [&[1, 2][..], &[2, 3], &[3, 1]] {
            let pods = web_pods(&cluster.net, list);
            cluster = cluster.restart();
            let operations = cluster.apply(pods);
            // Two claims of ownership; and per changed list one slot for each of four
            // addresses, two protocols and two families, plus who may reach itself.
            assert!(operations <= 2 + 2 * (2 * 2 * 4 + 2), "{operations}");
            wait(&probers, 50);
        }
        cluster = cluster.restart();
        assert_eq!(cluster.apply([]), 2, "an unchanged restart claims two tables and writes nothing");
        assert_nothing_lost(probers);
        cluster.assert_sound();
    });
}

#[test]
fn another_programs_flush_leaves_our_tables_and_only_ours() {
    isolated(|| {
        let mut cluster = Cluster::new(Topology::routed(1).unwrap());
        let pods = web_pods(&cluster.net, &[1]);
        cluster.apply([web()].into_iter().chain(pods));
        let nft = |words: &str| cluster.net.node().run_program(&Program::new("nft").args(words.split(' ')));
        nft("add table ip bystander").unwrap();
        let before = IpFamily::ALL.map(|family| cluster.dump(family));
        nft("flush ruleset").unwrap();
        nft("delete table ip portolan").expect_err("it has an owner");
        assert_eq!(IpFamily::ALL.map(|family| cluster.dump(family)), before);
        nft("list table ip bystander").expect_err("a table without an owner is flushed");
        assert_eq!(Caller::from(cluster.net.client()).connect_tcp(vip("10.96.0.80")).unwrap().pod, "pod1");
        cluster.assert_sound();
    });
}

#[test]
fn a_second_proxy_waits_for_the_first_to_let_go() {
    isolated(|| {
        let mut cluster = Cluster::new(Topology::routed(1).unwrap());
        let pods = web_pods(&cluster.net, &[1]);
        cluster.apply([web()].into_iter().chain(pods));
        let mut rival = cluster.rival();
        let plan = cluster.state.plan(IpFamily::V4).clone();
        let everything = portolan_core::ChangeSet::complete();
        let error = block_on(rival.apply(&plan, &everything)).unwrap_err();
        assert!(error.kind() == ErrorKind::Busy, "{error:?}");
        assert_eq!(error.retry(), Retry::SameChanges);
        assert!(error.to_string().contains("ip portolan"), "{error}");
        block_on(rival.cleanup()).expect_err("nor may it remove what the other one serves");
        drop(cluster);
        let report = block_on(rival.apply(&plan, &everything)).unwrap();
        assert_eq!(report.operations, 1, "it claims the table and finds all in order");
    });
}

/// Gives the node tables without an owner, as before Linux 6.9, which any process may change.
fn make_unowned(cluster: &mut Cluster) {
    cluster.clean();
    for family in ["ip", "ip6"] {
        nft(cluster, &format!("add table {family} portolan"));
    }
    cluster.apply([]);
}

fn nft(cluster: &Cluster, words: &str) {
    cluster.net.node().run_program(&Program::new("nft").args(words.split(' '))).unwrap();
}

#[test]
fn whatever_others_put_into_an_unowned_table_is_set_right_by_the_next_comparison() {
    isolated(|| {
        let mut cluster = Cluster::new(Topology::routed(2).unwrap());
        let pods = web_pods(&cluster.net, &[1]);
        cluster.apply([web()].into_iter().chain(pods));
        let meddling: [&[&str]; 12] = [
            &["add element ip portolan services { * : drop }"],
            &["add element ip portolan restricted-services { * }"],
            &["add set ip portolan foreign { type ipv4_addr; flags interval; elements = { * } }"],
            &["add table ip portolan { flags dormant; }"],
            &["add chain ip portolan foreign { type filter hook forward priority 0; policy drop; }"],
            &[
                "add chain ip portolan fw-x",
                "add map ip portolan fw { type ipv4_addr : verdict; elements = { 192.0.2.9 : goto fw-x } }",
            ],
            &["add rule ip portolan services ip saddr { 192.0.2.77, 192.0.2.78 } drop"],
            &[
                "add chain ip portolan foreign",
                "add rule ip portolan foreign ip saddr vmap { 192.0.2.77 : drop, 192.0.2.78 : accept }",
            ],
            &[
                "add chain ip portolan cluster-7",
                "add map ip portolan fw { type ipv4_addr : verdict; elements = { 192.0.2.9 : goto cluster-7 } }",
            ],
            &[
                "add chain ip portolan fw-x/y",
                "add chain ip portolan fw-x",
                "add rule ip portolan fw-x jump fw-x/y",
                "add rule ip portolan services ip saddr 192.0.2.77 jump fw-x",
            ],
            &["add element ip portolan source-ranges { 10.9.0.1-10.9.0.7 . tcp . 80 . 192.0.2.0/24 }"],
            &[
                "add counter ip portolan foreign",
                "add chain ip portolan foreign",
                "add rule ip portolan foreign counter name foreign",
            ],
        ];
        for commands in meddling {
            make_unowned(&mut cluster);
            for command in commands {
                nft(&cluster, command);
            }
            cluster = cluster.restart();
            assert!(cluster.apply([]) > 0, "{commands:?}");
            let answer = Caller::from(cluster.net.client()).connect_tcp(vip("10.96.0.80"));
            assert_eq!(answer.unwrap_or_else(|e| panic!("{commands:?}: {e}")).pod, "pod1");
            cluster.assert_sound();
            let dump = cluster.dump(IpFamily::V4).unwrap();
            assert!(dump.chain("fw-x").is_none() && dump.set("fw").is_none(), "{commands:?}");
            assert!(dump.chain("foreign").is_none() && dump.set("foreign").is_none(), "{commands:?}");
        }
        make_unowned(&mut cluster);
        nft(&cluster, "add element ip portolan services { * : drop }");
        cluster.clean();
        assert_eq!(cluster.dump(IpFamily::V4), None, "cleanup works on it too");
    });
}

/// An earlier version may have had fewer hooks, and the kernel takes none while a table changes its owner.
#[test]
fn a_table_left_by_a_version_with_fewer_hooks_is_taken_over() {
    isolated(|| {
        let mut cluster = Cluster::new(Topology::routed(1).unwrap());
        let pods = web_pods(&cluster.net, &[1]);
        cluster.apply([web()].into_iter().chain(pods));
        cluster = cluster.restart();
        for family in ["ip", "ip6"] {
            for chain in ["refuse-output", "nat-postrouting", "filter-forward"] {
                nft(&cluster, &format!("flush chain {family} portolan {chain}"));
                nft(&cluster, &format!("delete chain {family} portolan {chain}"));
            }
        }
        assert!(cluster.apply([]) > 0);
        let answer = Caller::from(cluster.net.client()).connect_tcp(vip("10.96.0.80"));
        assert_eq!(answer.unwrap().pod, "pod1");
        cluster.assert_sound();
        let dump = cluster.dump(IpFamily::V4).unwrap();
        assert_eq!(dump.owner, portolan_nft::Owner::Us);
    });
}

/// What has a service's name in it must be a word to nft, and no longer than the kernel's names.
#[test]
fn services_of_all_names_have_affinity_and_the_ruleset_loads_again() {
    isolated(|| {
        let mut cluster = Cluster::new(Topology::routed(2).unwrap());
        let longest = format!("{}/{}", "n".repeat(63), "s".repeat(63));
        let too_long = format!("{}/{}", "n".repeat(63), "s".repeat(200));
        let known_as = [
            ("1ns/2svc", "3p"),
            ("0/0", "0"),
            ("dead/beef", "cafe"),
            ("ip6/tcp", "drop"),
            ("a-/b.c", "-"),
            (&longest, &*"p".repeat(63)),
            (&too_long, ""),
            ("shop/\"; flush ruleset", "{"),
        ];
        for (index, (name, port)) in known_as.into_iter().enumerate() {
            let (namespace, plain) = name.split_once('/').unwrap();
            let vips = format!("10.96.7.{index},fd00:10:96::70{index}");
            let sticky = service(name, &vips).port(port, Tcp, PORT).affinity(PATIENCE).external_local();
            let sticky = sticky.node_port(30_100 + u16::try_from(index).unwrap());
            let pods = |family| {
                let pods = slice(&format!("{namespace}/pods-{family}-{index}"), plain).port(port, Tcp, 8080);
                pods.family(family)
            };
            let [first, second] = [cluster.net.pod(1), cluster.net.pod(2)];
            let in_v4 =
                pods(IpFamily::V4).on(NODE, &first.ipv4.to_string()).on("n2", &second.ipv4.to_string());
            let in_v6 =
                pods(IpFamily::V6).on(NODE, &first.ipv6.to_string()).on("n2", &second.ipv6.to_string());
            cluster.apply([sticky.applied(), in_v4.applied(), in_v6.applied()]);
            let client = Caller::from(cluster.net.client());
            for vip in vips.split(',').map(vip) {
                let pod = client.connect_tcp(vip).unwrap_or_else(|e| panic!("{name}: {e}")).pod;
                for _ in 0..5 {
                    assert_eq!(client.connect_tcp(vip).unwrap().pod, pod, "{name} by {vip}");
                }
            }
            assert_ruleset_reloads(cluster.net.node());
        }
        assert_eq!(cluster.restart().apply([]), 2, "the tables are claimed, and all else is found again");
    });
}
