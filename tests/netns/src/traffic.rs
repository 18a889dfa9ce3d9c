//! Who reaches what, as whom, and what a refusal looks like: one table of ways, every caller.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::{IpAddr, UdpSocket};
use std::time::{Duration, Instant};

use portolan_core::Protocol;
use portolan_core::event::{Change, Event};
use portolan_core::node::{DetectLocal, NodeConfig, NodePortSelection};
use portolan_testkit::netns::{Caller, NODE_V4, Topology, Transport, isolated};
use portolan_testkit::objects::{node, object_name, service, slice};

use crate::cluster::{Cluster, NODE, NODE_PORT, POD_PORT, PORT, Way, config, ways, web, web_pods};

/// Addresses that the node answers with when it masquerades towards a pod, or asks itself.
fn is_nodes_own(cluster: &Cluster, peer: IpAddr) -> bool {
    let ours = cluster.net.node().ip("-oneline addr").unwrap();
    ours.contains(&format!(" {peer}/"))
}

#[test]
fn every_address_leads_to_every_pod_from_everywhere_and_shows_the_right_caller() {
    isolated(|| {
        let mut cluster = Cluster::new(Topology::routed(3).unwrap());
        let pods = web_pods(&cluster.net, &[1, 2]);
        cluster.apply([web()].into_iter().chain(pods));
        let bystander = cluster.net.pod(3).clone();
        for way in ways() {
            for (from, caller) in cluster.callers() {
                let mut answered = BTreeSet::new();
                for _ in 0..24 {
                    let answer =
                        way.ask(&caller).unwrap_or_else(|e| panic!("{from} {way:?}: {}", e.reason()));
                    let peer = answer.peer.ip();
                    let shown = [IpAddr::from(bystander.ipv4), bystander.ipv6.into()].contains(&peer);
                    if from == "pod" && way.kind == "cluster IP" {
                        assert!(shown, "a pod keeps its address to a cluster IP, not {peer}: {way:?}");
                    } else {
                        assert!(is_nodes_own(&cluster, peer), "{from} by {way:?} was seen as {peer}");
                    }
                    answered.insert(answer.pod);
                }
                // Missing one of two pods 24 times in a row happens once in eight million.
                assert_eq!(answered.len(), 2, "{from} {way:?}: {answered:?}");
            }
        }
        cluster.assert_sound();
    });
}

#[test]
fn masquerade_all_hides_pods_too_and_no_cluster_cidr_hides_nobody() {
    isolated(|| {
        let net = Topology::routed(2).unwrap();
        let mut cluster = Cluster::with_config(net, NodeConfig { masquerade_all: true, ..config() });
        let pods = web_pods(&cluster.net, &[1]);
        cluster.apply([web()].into_iter().chain(pods));
        let way = ways()[0];
        let pod = Caller::from(&cluster.net.pod(2).namespace);
        assert!(is_nodes_own(&cluster, way.ask(&pod).unwrap().peer.ip()));
        cluster.assert_sound();

        let plain = NodeConfig { detect_local: DetectLocal::ClusterCidr(Vec::new()), ..config() };
        let mut state = portolan_core::State::new(plain);
        for event in portolan_testkit::objects::empty_lists() {
            state.handle(event);
        }
        cluster.state = state;
        let mut cluster = cluster.restart();
        let pods = web_pods(&cluster.net, &[1]);
        cluster.apply([web()].into_iter().chain(pods));
        let client = Caller::from(cluster.net.client());
        assert_eq!(way.ask(&client).unwrap().peer.ip(), IpAddr::from(portolan_testkit::netns::CLIENT_V4));
        cluster.assert_sound();
    });
}

#[test]
fn a_service_without_endpoints_refuses_at_once_until_it_has_one() {
    isolated(|| {
        let mut cluster = Cluster::new(Topology::routed(2).unwrap());
        let none = web_pods(&cluster.net, &[]);
        cluster.apply([web()].into_iter().chain(none.clone()));
        for round in ["new", "empty again"] {
            for way in ways() {
                for (from, caller) in cluster.callers() {
                    let start = Instant::now();
                    let kind = way.ask(&caller).expect_err("nobody is there").kind();
                    // A datagram that the sender's own kernel refuses fails in `send` already.
                    let at_home =
                        from == "node" && way.transport == Transport::Udp && way.kind != "node port";
                    let wanted =
                        if at_home { ErrorKind::PermissionDenied } else { ErrorKind::ConnectionRefused };
                    assert_eq!(kind, wanted, "{round}: {from} {way:?}");
                    // A SYN that gets no answer is repeated after a second; a refusal does not wait for that.
                    assert!(start.elapsed() < Duration::from_millis(800), "{round}: {from} {way:?}");
                }
            }
            cluster.assert_sound();
            let one = web_pods(&cluster.net, &[1]);
            cluster.apply(one);
            for way in ways() {
                for (from, caller) in cluster.callers() {
                    let answer =
                        way.ask(&caller).unwrap_or_else(|e| panic!("{from} {way:?}: {}", e.reason()));
                    assert_eq!(answer.pod, "pod1");
                }
            }
            cluster.assert_sound();
            cluster.apply(none.clone());
        }
    });
}

#[test]
fn a_deleted_service_is_nobodys_address() {
    isolated(|| {
        let mut cluster = Cluster::new(Topology::routed(2).unwrap());
        let pods = web_pods(&cluster.net, &[1]);
        cluster.apply([web()].into_iter().chain(pods));
        cluster.apply([Event::Service(Change::Deleted(object_name("shop/web")))]);
        for way in ways() {
            let client = Caller::from(cluster.net.client()).with_patience(Duration::from_millis(150));
            assert!(way.ask(&client).is_err(), "{way:?}");
        }
        cluster.assert_sound();
    });
}

#[test]
fn a_routed_pod_reaches_itself_through_every_address() {
    isolated(|| drop(hairpin(Topology::routed(1).unwrap())));
}

#[test]
fn a_pod_on_a_bridge_reaches_itself_and_its_neighbours() {
    isolated(|| {
        let net = Topology::bridged(2).unwrap();
        let mut cluster = hairpin(net);
        let both = web_pods(&cluster.net, &[1, 2]);
        cluster.apply(both);
        for way in ways() {
            let caller = Caller::from(&cluster.net.pod(1).namespace);
            for _ in 0..10 {
                way.ask(&caller).unwrap_or_else(|e| panic!("{way:?}: {}", e.reason()));
            }
        }
        cluster.assert_sound();
    });
}

fn hairpin(net: Topology) -> Cluster {
    let mut cluster = Cluster::new(net);
    let pods = web_pods(&cluster.net, &[1]);
    cluster.apply([web()].into_iter().chain(pods));
    let pod = cluster.net.pod(1).clone();
    for way in ways() {
        let answer =
            way.ask(&Caller::from(&pod.namespace)).unwrap_or_else(|e| panic!("{way:?}: {}", e.reason()));
        assert_eq!(answer.pod, "pod1");
        assert!(is_nodes_own(&cluster, answer.peer.ip()), "{way:?} was seen as {}", answer.peer);
    }
    cluster.assert_sound();
    cluster
}

#[test]
fn node_ports_answer_on_the_addresses_they_are_given_and_never_on_loopback() {
    isolated(|| {
        let net = Topology::routed(2).unwrap();
        let primary = NodeConfig { node_port_addresses: NodePortSelection::Primary, ..config() };
        let mut cluster = Cluster::with_config(net, primary);
        let pods = web_pods(&cluster.net, &[1]);
        let this_node = Event::Node(Change::Applied(node(NODE, &["192.0.2.1", "2001:db8:2::1"])));
        cluster.apply([web(), this_node].into_iter().chain(pods));
        let node_ports = || ways().into_iter().filter(|way| way.kind == "node port");
        let refused = |cluster: &Cluster, address: &str, why: &str| {
            for way in node_ports()
                .map(|way| Way { to: (address.parse::<IpAddr>().unwrap(), NODE_PORT).into(), ..way })
            {
                let error = way.ask(&Caller::from(cluster.net.node())).expect_err(why);
                assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "{why}: {way:?}");
            }
        };
        for way in node_ports() {
            assert_eq!(way.ask(&Caller::from(cluster.net.client())).unwrap().pod, "pod1", "{way:?}");
        }
        for (address, why) in [
            ("127.0.0.1", "loopback"),
            ("::1", "loopback"),
            ("10.244.0.1", "another address of the node"),
            ("fd00:10:244::1", "another address of the node"),
        ] {
            refused(&cluster, address, why);
        }
        cluster.assert_sound();

        // A range, and an address in it that the node gets only later.
        let range = NodePortSelection::Cidrs(vec!["192.0.2.0/24".parse().unwrap()]);
        cluster.state = portolan_core::State::new(NodeConfig { node_port_addresses: range, ..config() });
        let mut cluster = cluster.restart();
        let pods = web_pods(&cluster.net, &[1]);
        cluster.apply([web()].into_iter().chain(pods));
        cluster.net.node().ip("addr add 192.0.2.77/24 dev client").unwrap();
        for address in [IpAddr::from(NODE_V4), "192.0.2.77".parse().unwrap()] {
            let way = Way { kind: "node port", to: (address, NODE_PORT).into(), transport: Transport::Tcp };
            assert_eq!(way.ask(&Caller::from(cluster.net.client())).unwrap().pod, "pod1", "{way:?}");
        }
        refused(&cluster, "10.244.0.1", "an address outside the range");
        cluster.assert_sound();
    });
}

#[test]
fn connections_spread_evenly_over_three_endpoints() {
    isolated(|| {
        let mut cluster = Cluster::new(Topology::routed(3).unwrap());
        let pods = web_pods(&cluster.net, &[1, 2, 3]);
        cluster.apply([web()].into_iter().chain(pods));
        let client = Caller::from(cluster.net.client());
        for address in ["10.96.0.80", "fd00:10:96::80"] {
            let tally = client.many_tcp((address.parse::<IpAddr>().unwrap(), PORT).into(), 3_000).unwrap();
            assert_eq!(tally.attempts(), tally.successes(), "{tally}");
            for pod in ["pod1", "pod2", "pod3"] {
                let percent = tally.answers_of(pod) * 100 / tally.successes();
                assert!(
                    (28..=38).contains(&percent),
                    "{pod} got {percent} %, not 33 give or take 5: {tally}"
                );
            }
            assert!(tally.is_even_over(&["pod1", "pod2", "pod3"], 5), "{tally}");
        }
        cluster.assert_sound();
    });
}

#[test]
fn a_one_way_flow_to_a_living_pod_goes_on_when_its_service_has_no_endpoints_left() {
    isolated(|| {
        let mut cluster = Cluster::new(Topology::routed(1).unwrap());
        let (pods, none) = (web_pods(&cluster.net, &[1]), web_pods(&cluster.net, &[]));
        // Nobody answers on this port: to conntrack the flow stays new.
        let sink = cluster.net.pod(1).namespace.run(|| UdpSocket::bind("0.0.0.0:7000")).unwrap().unwrap();
        sink.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let silent = |slice: Event| match slice {
            Event::EndpointSlice(Change::Applied(mut slice)) => {
                slice.ports.iter_mut().for_each(|port| port.port = 7000);
                Event::EndpointSlice(Change::Applied(slice))
            }
            other => other,
        };
        cluster.apply([web()].into_iter().chain(pods.map(silent)));
        let sender = cluster.net.client().run(|| UdpSocket::bind("0.0.0.0:0")).unwrap().unwrap();
        sender.connect(("10.96.0.80", PORT)).unwrap();
        let mut buffer = [0; 16];
        for round in 0..20 {
            if round == 5 {
                cluster.apply(none.clone());
            }
            sender.send(b"metric").unwrap_or_else(|error| panic!("datagram {round}: {error}"));
            assert_eq!(sink.recv(&mut buffer).unwrap(), 6, "datagram {round}");
        }
        cluster.assert_sound();
    });
}

#[test]
fn a_vip_on_the_nodes_address_is_served_although_a_node_port_there_has_no_endpoints() {
    isolated(|| {
        let mut cluster = Cluster::new(Topology::routed(1).unwrap());
        let pod = cluster.net.pod(1).ipv4.to_string();
        cluster.apply([
            service("ns/a", "10.96.0.1")
                .port("", Protocol::Tcp, NODE_PORT)
                .external_ip("192.0.2.1")
                .applied(),
            slice("ns/a-1", "a").port("", Protocol::Tcp, POD_PORT).on(NODE, &pod).applied(),
            service("ns/b", "10.96.0.2").port("", Protocol::Tcp, PORT).node_port(NODE_PORT).applied(),
        ]);
        let client = Caller::from(cluster.net.client());
        assert_eq!(client.connect_tcp((NODE_V4, NODE_PORT).into()).unwrap().pod, "pod1");
        let other = (IpAddr::from([10, 244, 0, 1]), NODE_PORT).into();
        assert_eq!(client.connect_tcp(other).unwrap_err().kind(), ErrorKind::ConnectionRefused);
        cluster.assert_sound();
    });
}
